//! A series model as a forecaster uses it. The forecasting room's is the real one; tests bring their own to fail.

use tidecast_config::{ModelSpec, ModelType, Order};
use tidecast_event::Severity;
use tidecast_forecast::stream::{
    DecodeError, FitJob, FitOutcome, Observed, State, StreamConfig, StreamModel,
};
use tidecast_forecast::{FitError, Spec, Step, Summary};

/// What a forecaster needs of a model.
pub trait Brain: Send {
    /// Where it is in its life.
    fn state(&self) -> State;
    /// Takes an observation.
    fn observe(&mut self, y: f64, exogenous: &[f64]) -> Observed;
    /// The fit under way, when its outcome is not here.
    fn take_fit(&self) -> Option<FitJob>;
    /// Asks for a new fit, effective before the next observation.
    fn refit(&mut self);
    /// Hands in an outcome.
    fn install(&mut self, outcome: FitOutcome);
    /// The next observation needs an outcome first.
    fn needs_fit_before_next(&self) -> bool;
    /// A path.
    fn forecast(&self, horizon: usize, level: f64) -> Option<Vec<Step>>;
    /// From its own past forecasts.
    fn accuracy(&self) -> Option<f64>;
    /// The fit in use.
    fn summary(&self) -> Option<Summary>;
    /// Observations so far.
    fn observations(&self) -> u64;
    /// Observations at which the first fit is possible.
    fn needed(&self) -> u64;
    /// Observations after which its seasons begin anew; 1 without any.
    fn cycle(&self) -> usize;
    /// Why the last fit failed.
    fn failure(&self) -> Option<String>;
    /// Its record.
    fn encode(&self) -> Vec<u8>;
}

impl Brain for StreamModel {
    fn state(&self) -> State {
        StreamModel::state(self)
    }
    fn observe(&mut self, y: f64, exogenous: &[f64]) -> Observed {
        StreamModel::observe_with(self, y, exogenous)
    }
    fn take_fit(&self) -> Option<FitJob> {
        StreamModel::take_fit(self)
    }
    fn refit(&mut self) {
        StreamModel::refit(self);
    }
    fn install(&mut self, outcome: FitOutcome) {
        StreamModel::install(self, outcome);
    }
    fn needs_fit_before_next(&self) -> bool {
        StreamModel::needs_fit_before_next(self)
    }
    fn forecast(&self, horizon: usize, level: f64) -> Option<Vec<Step>> {
        StreamModel::forecast(self, horizon, level)
    }
    fn accuracy(&self) -> Option<f64> {
        StreamModel::accuracy(self)
    }
    fn summary(&self) -> Option<Summary> {
        StreamModel::summary(self)
    }
    fn observations(&self) -> u64 {
        StreamModel::observations(self)
    }
    fn needed(&self) -> u64 {
        StreamModel::needed(self)
    }
    fn cycle(&self) -> usize {
        StreamModel::spec(self).cycle().max(1)
    }
    fn failure(&self) -> Option<String> {
        StreamModel::failure(self).map(str::to_owned)
    }
    fn encode(&self) -> Vec<u8> {
        StreamModel::encode(self)
    }
}

/// Makes and restores models. One for the process.
pub trait BrainMaker: Send + Sync {
    /// A model that has seen the history of its registration.
    fn make(&self, spec: &ModelSpec) -> Result<Box<dyn Brain>, FitError>;
    /// A model from its record.
    fn restore(&self, record: &[u8]) -> Result<Box<dyn Brain>, DecodeError>;
}

/// The forecasting room's models.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamModels;

impl BrainMaker for StreamModels {
    fn make(&self, spec: &ModelSpec) -> Result<Box<dyn Brain>, FitError> {
        let config = StreamConfig {
            spec: family(spec)?,
            season: spec.season.unwrap_or(1),
            horizon: spec.horizon,
            level: spec.level,
            anomaly_threshold: spec.anomaly_threshold,
            history: spec.history.iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
            seed: seed_of(&spec.model_id),
        };
        Ok(Box::new(StreamModel::with_exogenous(config, &[], spec.exogenous.len())))
    }

    fn restore(&self, record: &[u8]) -> Result<Box<dyn Brain>, DecodeError> {
        Ok(Box::new(StreamModel::decode(record)?))
    }
}

/// The forecasting room's name for a registered model.
fn family(spec: &ModelSpec) -> Result<Spec, FitError> {
    if spec.model_type == ModelType::External {
        return Err(FitError::Specification("an External model is forecast elsewhere".into()));
    }
    let order = spec.order.map(|order| match order {
        Order::Arima { p, d, q } => [p, d, q],
        Order::Garch { p, q } => [p, 0, q],
    });
    Spec::from_parts(spec.model_type.as_str(), order, spec.seasonal_order, spec.season)
}

/// Randomness without a clock: each model draws its own numbers, the same after a restart.
fn seed_of(model_id: &str) -> u64 {
    tidecast_event::OutputId::of(&[model_id.as_bytes()]).0 as u64
}

/// The forecasting room's severity in the words of the contract.
pub fn severity(of: tidecast_forecast::anomaly::Severity) -> Severity {
    use tidecast_forecast::anomaly::Severity as Forecast;
    match of {
        Forecast::Low => Severity::Low,
        Forecast::Medium => Severity::Medium,
        Forecast::High => Severity::High,
        Forecast::Critical => Severity::Critical,
    }
}
