//! A model that panics is missing from its batch and told as trouble; its siblings and the batches behind it go on.

mod stage;

use stage::{batch, start};
use std::sync::Arc;
use tidecast_actors::brain::{Brain, BrainMaker, StreamModels};
use tidecast_config::ModelSpec;
use tidecast_forecast::stream::{DecodeError, FitJob, FitOutcome, Observed, State};
use tidecast_forecast::{FitError, Step, Summary};
use tidecast_ports::control::ModelState;

/// A real model, but for one observation that it does not survive.
struct Brittle(Box<dyn Brain>, bool);

impl Brain for Brittle {
    fn state(&self) -> State {
        self.0.state()
    }
    fn observe(&mut self, y: f64, exogenous: &[f64]) -> Observed {
        assert!(!(self.1 && y == 13.0), "thirteen is too much");
        self.0.observe(y, exogenous)
    }
    fn take_fit(&self) -> Option<FitJob> {
        self.0.take_fit()
    }
    fn refit(&mut self) {
        self.0.refit();
    }
    fn install(&mut self, outcome: FitOutcome) {
        self.0.install(outcome);
    }
    fn needs_fit_before_next(&self) -> bool {
        self.0.needs_fit_before_next()
    }
    fn forecast(&self, horizon: usize, level: f64) -> Option<Vec<Step>> {
        self.0.forecast(horizon, level)
    }
    fn accuracy(&self) -> Option<f64> {
        self.0.accuracy()
    }
    fn summary(&self) -> Option<Summary> {
        self.0.summary()
    }
    fn observations(&self) -> u64 {
        self.0.observations()
    }
    fn needed(&self) -> u64 {
        self.0.needed()
    }
    fn cycle(&self) -> usize {
        self.0.cycle()
    }
    fn failure(&self) -> Option<String> {
        self.0.failure()
    }
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
}

struct BrittleModels;

impl BrainMaker for BrittleModels {
    fn make(&self, spec: &ModelSpec) -> Result<Box<dyn Brain>, FitError> {
        Ok(Box::new(Brittle(StreamModels.make(spec)?, spec.model_id == "naive/JFK")))
    }
    fn restore(&self, record: &[u8]) -> Result<Box<dyn Brain>, DecodeError> {
        StreamModels.restore(record)
    }
}

#[tokio::test]
async fn siblings_and_later_batches_do_not_notice() {
    let model =
        serde_json::json!({"model_id": "naive", "model_type": "SeasonalNaive", "series": "departures:*"});
    let mut stage = start(&[model], Arc::new(BrittleModels), Vec::new()).await;
    for hour in 0..6 {
        let output = stage.pass(batch(hour, &[("JFK", 10), ("LGA", 20 + hour as u64)])).await;
        assert!(output.troubles.is_empty());
    }
    let hurt = stage.pass(batch(6, &[("JFK", 13), ("LGA", 26)])).await;
    let told: Vec<&str> = hurt.forecasts.iter().map(|forecast| &*forecast.model_id).collect();
    assert_eq!(told, ["naive/LGA"], "the sibling forecasts in the same batch");
    let [trouble] = hurt.troubles.as_slice() else { panic!("one trouble, not {:?}", hurt.troubles) };
    assert_eq!(trouble.model_id.as_deref(), Some("naive/JFK"));
    assert!(trouble.message.contains("thirteen is too much"), "{}", trouble.message);

    // Started again, it learns anew and forecasts before long.
    let mut recovered = false;
    for hour in 7..20 {
        let output = stage.pass(batch(hour, &[("JFK", 10), ("LGA", 20)])).await;
        assert!(output.forecasts.iter().any(|forecast| &*forecast.model_id == "naive/LGA"));
        recovered |= output.forecasts.iter().any(|forecast| &*forecast.model_id == "naive/JFK");
    }
    assert!(recovered);
    let entry = stage.registry.get("naive/JFK").expect("still registered");
    assert_eq!(entry.status().state, ModelState::Live);
}
