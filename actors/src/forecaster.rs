//! One model: owns its state, receives the closed windows of its series, emits forecasts and anomalies.
//!
//! A fit runs in the pool while observations go on; it takes effect before one fixed observation, and when that one
//! is here first the forecaster waits for the fit, so that what it says depends on the observations alone.

use crate::brain::{Brain, severity};
use crate::elsewhere::{OBSERVED, Observed};
use crate::fit_pool::FitPool;
use crate::messages::{ForecastEvent, ForecasterMessage, ForecastingMessage, ModelOutput};
use crate::metrics::ModelMetrics;
use crate::registry::{ModelEntry, Registry};
use crate::regressors::{GivenUp, Regressors, counts};
use crate::wire;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::{Aggregate, Anomaly, EventTime, OutputId};
use tidecast_forecast::stream::{FitOutcome, State as ModelLife};
use tidecast_mailbox::{Envelope, Reply};
use tidecast_ports::control::{HistoryPoint, ModelState};
use tidecast_ports::{ControlError, Destination, OutputRecord};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Windows without an event between two observations that are filled in, about at most: of a longer silence its end.
const GAP_MAX: i64 = 2_000;

/// The actor.
pub struct Forecaster;

/// What a forecaster is started with.
pub struct ForecasterArguments {
    /// The model, shared with readers.
    pub entry: Arc<ModelEntry>,
    /// Its state.
    pub brain: Box<dyn Brain>,
    /// The window it saw last, when restored.
    pub progress: Progress,
    /// How often a new fit was asked for by now.
    pub refits: u64,
    /// Where answers go.
    pub answers: Reply<ForecastingMessage>,
    /// Where fits run.
    pub fits: FitPool,
    /// Counters.
    pub metrics: Arc<ModelMetrics>,
    /// For counting forecasts.
    pub registry: Arc<Registry>,
    /// Windows of its exogenous series.
    pub regressors: Arc<Regressors>,
    /// An update or a forecast that takes longer is told of.
    pub max_latency: Duration,
}

/// How far a model has come in event time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Start of the newest window observed, microseconds; `None` before the first.
    pub window_start: Option<i64>,
    /// Its end.
    pub window_end: i64,
    /// From one window's start to the next's; of sessions, as far as they usually are apart.
    pub advance: i64,
    /// Anomalies found so far.
    pub anomalies: u64,
    /// How often an operator had asked for a new fit when that was last heeded. At the end of the record: older ones end
    /// without it.
    #[serde(skip)]
    pub refits: u64,
}

/// The actor's state.
pub struct ForecasterState {
    with: ForecasterArguments,
    fitting: Option<oneshot::Receiver<FitOutcome>>,
    given_up: GivenUp,
}

impl Actor for Forecaster {
    type Msg = Envelope<ForecasterMessage>;
    type State = ForecasterState;
    type Arguments = ForecasterArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        with: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut state = ForecasterState { with, fitting: None, given_up: GivenUp::default() };
        state.refit(state.with.refits);
        state.submit_fit();
        state.tell_summary();
        state.tell_status();
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Envelope { message, permit } = envelope;
        let (place, output) = match message {
            ForecasterMessage::Observe { place, window, advance_micros, silent } => {
                (place, state.observe(&window, advance_micros, silent).await)
            }
            ForecasterMessage::Snapshot { place } => {
                (place, ModelOutput { state: Some(state.encode()), ..ModelOutput::default() })
            }
            ForecasterMessage::Again { place } => (place, state.forecast_again()),
            ForecasterMessage::Refit { asked } => {
                state.refit(asked);
                return Ok(());
            }
            ForecasterMessage::Forecast { horizon, reply } => {
                // The asker may have gone away meanwhile.
                let _ = reply.send(state.answer(horizon));
                return Ok(());
            }
        };
        // The room in this mailbox ends here: the stage may be waiting for it, and would never get to read the word of
        // the last answer. What answers take is bounded by what the stage has asked.
        drop(permit);
        match place.put(output) {
            true => state.with.answers.send(ForecastingMessage::Answered).map_err(ActorProcessingErr::from),
            false => Ok(()),
        }
    }
}

impl ForecasterState {
    async fn observe(&mut self, window: &Aggregate, advance: i64, silent: bool) -> ModelOutput {
        let progress = self.with.progress;
        if window.revision > 0 || progress.window_start.is_some_and(|start| window.window_start.0 <= start) {
            // A correction of what the model has learnt from already: models learn from first emissions only.
            return ModelOutput::default();
        }
        let spec = self.with.entry.spec.clone();
        let new_fit_in_gap = self.fill_gap(window.window_start, advance, &spec.field).await;
        let advance = if advance > 0 { advance } else { self.usual_advance(window.window_start) };
        let value = window.field(&spec.field).filter(|value| value.is_finite());
        let (observed, is_new_fit) = self.step(value.unwrap_or(f64::NAN), window.window_start.0).await;
        self.with.progress = Progress {
            window_start: Some(window.window_start.0),
            window_end: window.window_end.0,
            advance,
            ..self.with.progress
        };
        let score = observed.score;
        let point = HistoryPoint {
            window_start: window.window_start.as_seconds(),
            value,
            predicted: observed.predicted,
            lower: observed.expected.map(|[lower, _]| lower),
            upper: observed.expected.map(|[_, upper]| upper),
            anomaly_score: score.as_ref().map(|score| score.score),
        };
        self.with.entry.record(&point, self.with.registry.history_kept());
        let mut output = ModelOutput::default();
        if let (Some(score), Some(observed_value)) = (score, value)
            && score.score >= spec.anomaly_threshold
        {
            self.with.progress.anomalies += 1;
            let anomaly = Anomaly {
                model_id: spec.model_id.clone(),
                timestamp: window.window_end.to_rfc3339(),
                anomaly_score: score.score,
                observed_value,
                predicted_value: observed.predicted.unwrap_or(observed_value),
                expected_range: score.expected,
                severity: severity(score.severity),
                message: score.message,
                recommended_actions: score.recommended_actions,
            };
            if !silent {
                output.records.push(OutputRecord {
                    destination: Destination::Alerts,
                    partition: None,
                    key: Some(spec.model_id.clone().into()),
                    value: Some(wire::json(&anomaly)),
                    id: Some(self.output_id("anomaly", window.window_end)),
                    headers: Vec::new(),
                });
                output.anomaly = Some(anomaly);
            }
        }
        if !silent && spec.enabled {
            self.push_forecast(&mut output, is_new_fit || new_fit_in_gap, Some(point));
        }
        self.tell_status();
        output
    }

    /// Sessions begin when they do: the times of what is forecast are told by how far they begin apart, the newest an eighth of
    /// it; 0 before the second.
    fn usual_advance(&self, start: EventTime) -> i64 {
        let Progress { window_start, advance, .. } = self.with.progress;
        let Some(apart) = window_start.map(|last| start.0 - last) else { return 0 };
        if advance > 0 { advance + (apart - advance) / 8 } else { apart }
    }

    /// Windows without an event between the last one and this: zero for what counts or sums, missing otherwise, so
    /// that a season stays a season. True when a fit came into use.
    async fn fill_gap(&mut self, start: EventTime, advance: i64, field: &str) -> bool {
        let Some(last) = self.with.progress.window_start.filter(|_| advance > 0) else { return false };
        let missing = ((start.0 - last) / advance - 1).max(0);
        // Of a long silence its end, and a multiple of the seasons less: they go on where they were.
        let cycle = self.with.brain.cycle() as i64;
        let left_out = (missing - GAP_MAX).max(0) / cycle * cycle;
        let value = if counts(field) { 0.0 } else { f64::NAN };
        let mut is_new_fit = false;
        for nth in left_out + 1..=missing {
            is_new_fit |= self.step(value, last + nth * advance).await.1;
        }
        is_new_fit
    }

    /// One observation, that of the window that begins at `start`, with the fit that has to be in place before it and what
    /// the exogenous series were in that window. True when a fit came into use.
    async fn step(&mut self, value: f64, start: i64) -> (tidecast_forecast::stream::Observed, bool) {
        let mut is_new_fit = self.collect_fit().await;
        let exogenous = match &*self.with.entry.spec.exogenous {
            [] => Vec::new(),
            regressors => self.with.regressors.row(regressors, start, &mut self.given_up).await,
        };
        let started = Instant::now();
        let observed = self.with.brain.observe(value, &exogenous);
        self.took(started);
        self.submit_fit();
        if matches!(self.with.brain.state(), ModelLife::Fitting) {
            is_new_fit |= self.collect_fit().await;
        }
        // Not before: a fit that replaces another takes effect with the observation.
        if is_new_fit {
            self.tell_summary();
        }
        (observed, is_new_fit)
    }

    /// Notes how long the model took.
    fn took(&self, started: Instant) {
        let (took, most) = (started.elapsed(), self.with.max_latency);
        self.with.metrics.inference_ms.observe(took.as_secs_f64() * 1e3);
        if took > most {
            self.with.metrics.inference_slow.inc();
            let model = &self.with.entry.spec.model_id;
            tracing::warn!(model, ?took, ?most, "an inference took longer than realtime_ml.max_latency_ms");
        }
    }

    /// Heeds that a new fit was asked for so often, if it was more often than before. A model that was registered anew is
    /// counted anew.
    fn refit(&mut self, asked: u64) {
        if std::mem::replace(&mut self.with.progress.refits, asked) < asked {
            self.with.brain.refit();
            self.submit_fit();
        }
    }

    fn submit_fit(&mut self) {
        if self.fitting.is_none()
            && let Some(job) = self.with.brain.take_fit()
        {
            self.fitting = Some(self.with.fits.run(move || job.run()));
        }
    }

    /// Waits for the fit that must be in place before the next observation, and only for that one. True if it is in use now.
    async fn collect_fit(&mut self) -> bool {
        let wanted =
            self.with.brain.needs_fit_before_next() || matches!(self.with.brain.state(), ModelLife::Fitting);
        if !wanted {
            return false;
        }
        self.submit_fit();
        let Some(result) = self.fitting.take() else { return false };
        // A fit that panicked leaves the sender dropped: the model then goes on by itself and says so.
        let outcome = result.await;
        let mut is_well = outcome.is_ok();
        if let Ok(outcome) = outcome {
            self.with.brain.install(outcome);
            is_well = self.with.brain.failure().is_none();
        }
        if !is_well {
            self.with.metrics.inference_failures.inc();
        }
        is_well
    }

    fn push_forecast(&mut self, output: &mut ModelOutput, retrained: bool, point: Option<HistoryPoint>) {
        let spec = self.with.entry.spec.clone();
        let Some((json, timestamp)) = self.forecast_json(spec.horizon) else { return };
        output.records.push(OutputRecord {
            destination: Destination::Predictions,
            partition: None,
            key: Some(spec.model_id.clone().into()),
            value: Some(json.clone()),
            id: Some(self.output_id("forecast", timestamp)),
            headers: point.map(|point| (OBSERVED, self.observed(point))).into_iter().collect(),
        });
        output.forecast = Some(ForecastEvent { model_id: spec.model_id.as_str().into(), json, retrained });
        self.with.registry.count_forecast(crate::wall_clock_ms());
    }

    /// For those who do not run this model: see [`crate::elsewhere`].
    fn observed(&self, point: HistoryPoint) -> bytes::Bytes {
        let observed: Observed = (self.with.brain.observations(), self.with.progress.anomalies, point);
        wire::json(&observed)
    }

    fn forecast_again(&mut self) -> ModelOutput {
        let mut output = ModelOutput::default();
        self.push_forecast(&mut output, false, None);
        output
    }

    /// The forecast message as JSON, and the event time it is made at.
    fn forecast_json(&self, horizon: usize) -> Option<(bytes::Bytes, EventTime)> {
        let spec = &self.with.entry.spec;
        let started = Instant::now();
        let path = self.with.brain.forecast(horizon, spec.level)?;
        self.with.metrics.inference_requests.inc();
        let at = self.forecast_time();
        let message = wire::Forecast {
            spec,
            at,
            advance_micros: self.with.progress.advance,
            path: &path,
            accuracy: self.with.brain.accuracy(),
        };
        let json = message.to_json();
        self.took(started);
        Some((json, at))
    }

    /// The end of the newest window; for a model trained on its `history` alone, the clock's now.
    fn forecast_time(&self) -> EventTime {
        match self.with.progress.window_start {
            Some(_) => EventTime(self.with.progress.window_end),
            None => EventTime::from_millis(crate::wall_clock_ms() as i64),
        }
    }

    fn answer(&self, horizon: Option<usize>) -> Result<tidecast_event::ForecastMessage, ControlError> {
        let spec = &self.with.entry.spec;
        let Some((json, _)) = self.forecast_json(horizon.unwrap_or(spec.horizon)) else {
            return Err(not_yet(spec.model_id.as_str(), &*self.with.brain));
        };
        serde_json::from_slice(&json)
            .map_err(|error| ControlError::Unavailable(format!("forecast unreadable: {error}")))
    }

    fn output_id(&self, kind: &str, at: EventTime) -> OutputId {
        let id = self.with.entry.spec.model_id.as_bytes();
        OutputId::of(&[crate::PIPELINE_VERSION, kind.as_bytes(), id, &at.0.to_le_bytes()])
    }

    fn encode(&self) -> Vec<u8> {
        let record = (self.with.progress, self.with.brain.encode(), self.with.progress.refits);
        bincode::serde::encode_to_vec(record, bincode::config::standard()).unwrap_or_default()
    }

    /// What the newest fit found. Parameters change with fits alone, so not with every window.
    fn tell_summary(&self) {
        self.with.entry.set_status(|status| status.tell_fit(&*self.with.brain));
    }

    fn tell_status(&self) {
        let last = self.with.progress.window_start.map(|_| EventTime(self.with.progress.window_end));
        self.with.entry.set_status(|status| {
            status.follow(&*self.with.brain);
            status.anomalies = self.with.progress.anomalies;
            if !self.with.entry.spec.enabled {
                status.state = ModelState::Disabled;
            }
            if status.state == ModelState::Live {
                status.last_forecast_time = last;
            }
        });
    }
}

/// Reads what [`ForecasterState::encode`] wrote: how far the model had come, and its own record.
pub fn decode(record: &[u8]) -> Option<(Progress, Vec<u8>)> {
    let config = bincode::config::standard();
    let newest = bincode::serde::decode_from_slice::<(Progress, Vec<u8>, u64), _>(record, config);
    if let Ok(((progress, brain, refits), _)) = newest {
        return Some((Progress { refits, ..progress }, brain));
    }
    bincode::serde::decode_from_slice(record, config).ok().map(|(record, _)| record)
}

/// Why a model is not fitted although it has as many windows as it needs.
pub(crate) const TOO_FEW_NUMBERS: &str =
    "too many of its windows have no number in its field, or are missing";

/// Why a model cannot be asked yet.
pub fn not_yet(model_id: &str, brain: &dyn Brain) -> ControlError {
    let (have, needed) = (brain.observations(), brain.needed());
    let wait = match (brain.failure(), brain.state()) {
        (Some(error), _) => format!("its last fit failed: {error}"),
        (None, ModelLife::Fitting) => {
            format!("it is being fitted to its {have} observations; ask again in a moment")
        }
        (None, _) if have >= needed => format!("{TOO_FEW_NUMBERS} (it has {have})"),
        (None, _) => format!("it has {have} observations and needs {needed}"),
    };
    ControlError::Conflict(format!("{model_id} cannot forecast yet: {wait}"))
}
