//! The models of this process as others see them: where each stands, and where to ask it something.

use crate::brain::Brain;
use crate::messages::ForecasterMessage;
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_config::ModelSpec;
use tidecast_event::EventTime;
use tidecast_forecast::stream::State;
use tidecast_mailbox::Mailbox;
use tidecast_ports::control::{HistoryPoint, ModelState};

/// Rows of history of all models together (32 bytes each), and of one.
pub(crate) const HISTORY_ROWS: usize = 1 << 19;
pub(crate) const HISTORY_MIN: usize = 64;
const HISTORY_MAX: usize = 1_024;

/// What is known of a model without asking its actor.
#[derive(Debug, Clone)]
pub struct ModelStatus {
    /// Where it stands.
    pub state: ModelState,
    /// Observations taken.
    pub observations: u64,
    /// Observations still wanted before the first forecast.
    pub needed: u64,
    /// In [0, 1].
    pub accuracy: Option<f64>,
    /// Event time of the newest forecast.
    pub last_forecast_time: Option<EventTime>,
    /// Anomalies found.
    pub anomalies: u64,
    /// The newest fit, as JSON text: a tree of it is many times the bytes, and there may be ten thousand.
    pub summary: Option<Arc<RawValue>>,
    /// Why the last fit failed.
    pub error: Option<String>,
}

impl ModelStatus {
    /// A model nothing is known of yet.
    pub fn new(state: ModelState) -> Self {
        ModelStatus {
            state,
            observations: 0,
            needed: 0,
            accuracy: None,
            last_forecast_time: None,
            anomalies: 0,
            summary: None,
            error: None,
        }
    }

    /// Takes over where the model stands.
    pub fn follow(&mut self, brain: &dyn Brain) {
        self.error = brain.failure();
        self.state = match brain.state() {
            State::WarmingUp { .. } if self.error.is_some() => ModelState::Failed,
            State::WarmingUp { .. } => ModelState::WarmingUp,
            State::Fitting => ModelState::Fitting,
            State::Live => ModelState::Live,
        };
        self.observations = brain.observations();
        self.needed = match brain.state() {
            State::WarmingUp { observations, needed } => needed.saturating_sub(observations),
            State::Fitting | State::Live => 0,
        };
        if self.needed > 0 && self.observations >= brain.needed() && self.error.is_none() {
            self.error = Some(crate::forecaster::TOO_FEW_NUMBERS.to_owned());
        }
        self.accuracy = brain.accuracy();
    }

    /// Takes over what the fit in use found.
    pub fn tell_fit(&mut self, brain: &dyn Brain) {
        self.summary = brain.summary().and_then(|summary| to_raw_value(&summary).ok()).map(Arc::from);
    }
}

/// Where a model stands that does not forecast, as other processes are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Warming up, being fitted or failed.
    pub state: ModelState,
    /// Observations taken.
    pub observations: u64,
    /// Observations still wanted.
    pub needed: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A row of history in a third of the room: `NaN` where there is no value, and what is only looked at in single precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    window_start: f64,
    value: f64,
    /// Predicted, lower, upper, score.
    model: [f32; 4],
}

impl Row {
    /// The last so many of these, in their order.
    pub(crate) fn newest(rows: &VecDeque<Row>, limit: usize) -> Vec<HistoryPoint> {
        rows.iter().skip(rows.len().saturating_sub(limit)).map(HistoryPoint::from).collect()
    }

    /// Epoch seconds.
    pub(crate) fn window_start(&self) -> f64 {
        self.window_start
    }
}

impl From<&HistoryPoint> for Row {
    fn from(point: &HistoryPoint) -> Self {
        let HistoryPoint { window_start, value, predicted, lower, upper, anomaly_score } = point;
        let model = [predicted, lower, upper, anomaly_score].map(|v| v.map_or(f32::NAN, single));
        Row { window_start: *window_start, value: value.unwrap_or(f64::NAN), model }
    }
}

impl From<&Row> for HistoryPoint {
    fn from(row: &Row) -> Self {
        let [predicted, lower, upper, anomaly_score] = row.model.map(shortest);
        let value = Some(row.value).filter(|v| !v.is_nan());
        HistoryPoint { window_start: row.window_start, value, predicted, lower, upper, anomaly_score }
    }
}

/// In single precision, finite where it was.
fn single(v: f64) -> f32 {
    if v.is_finite() { v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 } else { v as f32 }
}

/// The number with the fewest digits that single precision does not tell from `v`: 0.1 and not 0.10000000149.
fn shortest(v: f32) -> Option<f64> {
    v.to_string().parse().ok().filter(|v: &f64| !v.is_nan())
}

/// One model, shared between its actor and those who ask.
#[derive(Debug)]
pub struct ModelEntry {
    /// The model as registered; an instance of a template with its own id and series.
    pub spec: Arc<ModelSpec>,
    /// The template that made it.
    pub template: Option<String>,
    status: Mutex<ModelStatus>,
    history: Mutex<VecDeque<Row>>,
    mailbox: Mutex<Option<Mailbox<ForecasterMessage>>>,
}

impl ModelEntry {
    /// An entry without an actor.
    pub fn new(spec: Arc<ModelSpec>, template: Option<String>, status: ModelStatus) -> Self {
        ModelEntry {
            spec,
            template,
            status: Mutex::new(status),
            history: Mutex::new(VecDeque::new()),
            mailbox: Mutex::new(None),
        }
    }

    /// Where the model stands.
    pub fn status(&self) -> ModelStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known.
    pub fn set_status(&self, change: impl FnOnce(&mut ModelStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds a row of history, forgetting the oldest past `keep`.
    pub fn record(&self, point: &HistoryPoint, keep: usize) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        while history.len() >= keep.max(1) {
            history.pop_front();
        }
        if history.len() == history.capacity() {
            // Grown by an eighth and not doubled: there may be ten thousand of these.
            let more = (history.len() / 8).max(8);
            history.reserve_exact(more);
        }
        history.push_back(Row::from(point));
    }

    /// The newest rows, oldest first.
    pub fn history(&self, limit: usize) -> Vec<HistoryPoint> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        Row::newest(&history, limit)
    }

    /// The actor's mailbox, while it has one.
    pub fn mailbox(&self) -> Option<Mailbox<ForecasterMessage>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The actor started, or stopped (`None`).
    pub fn attach(&self, mailbox: Option<Mailbox<ForecasterMessage>>) {
        *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner) = mailbox;
    }
}

/// All models of this process. Sharing is real here: every partition's stage and every REST call read it.
#[derive(Debug, Default)]
pub struct Registry {
    models: DashMap<String, Arc<ModelEntry>>,
    /// Models whose partition has left, and of which no other process has told yet. What was known of them still holds.
    left: DashMap<String, Arc<ModelEntry>>,
    /// Forecasts made since the start.
    pub forecasts: AtomicU64,
    /// Wall clock of the newest forecast, epoch milliseconds; 0 before the first.
    pub last_forecast_ms: AtomicU64,
    /// Models, as counted when one came or went.
    count: AtomicUsize,
}

impl Registry {
    /// Looks a model up.
    pub fn get(&self, id: &str) -> Option<Arc<ModelEntry>> {
        self.models.get(id).map(|entry| entry.value().clone())
    }

    /// Puts a model in place, replacing one of the same name.
    pub fn put(&self, entry: Arc<ModelEntry>) {
        self.left.remove(&entry.spec.model_id);
        self.models.insert(entry.spec.model_id.clone(), entry);
        self.count.store(self.models.len(), Relaxed);
    }

    /// Removes a model, if it is still this one.
    pub fn remove(&self, entry: &Arc<ModelEntry>) {
        self.models.remove_if(&entry.spec.model_id, |_, known| Arc::ptr_eq(known, entry));
        self.count.store(self.models.len(), Relaxed);
    }

    /// A model's partition has left this process: no longer here, but known until another process tells of it.
    pub fn leave(&self, entry: &Arc<ModelEntry>) {
        let id = &entry.spec.model_id;
        if self.models.remove_if(id, |_, known| Arc::ptr_eq(known, entry)).is_some() {
            self.left.insert(id.clone(), entry.clone());
            self.count.store(self.models.len(), Relaxed);
        }
    }

    /// A model whose partition has left.
    pub fn left(&self, id: &str) -> Option<Arc<ModelEntry>> {
        self.left.get(id).map(|entry| entry.value().clone())
    }

    /// Another process tells of a model that was here.
    pub(crate) fn take_left(&self, id: &str) -> Option<Arc<ModelEntry>> {
        self.left.remove(id).map(|(_, entry)| entry)
    }

    /// Forgets those models that have left whose names are like that.
    pub(crate) fn forget_left(&self, is_like_that: impl Fn(&str) -> bool) {
        self.left.retain(|name, _| !is_like_that(name));
    }

    /// Models that do not forecast yet, or not any more, and where they stand; so many at most.
    pub fn waiting(&self, most: usize) -> BTreeMap<String, Waiting> {
        let waiting = |entry: &ModelEntry| {
            let ModelStatus { state, observations, needed, error, .. } = entry.status();
            let waits = matches!(state, ModelState::WarmingUp | ModelState::Fitting | ModelState::Failed);
            waits.then_some(Waiting { state, observations, needed, error })
        };
        let all = self.models.iter().filter_map(|entry| Some((entry.key().clone(), waiting(entry.value())?)));
        all.take(most).collect()
    }

    /// The names of all models in order, those included that have left.
    pub fn names(&self) -> Vec<String> {
        let all = self.models.iter().chain(self.left.iter());
        let mut names: Vec<String> = all.map(|entry| entry.key().clone()).collect();
        names.sort_unstable();
        names
    }

    /// Rows of history that each model may keep, so that all of them together stay within megabytes.
    pub fn history_kept(&self) -> usize {
        (HISTORY_ROWS / self.count.load(Relaxed).max(1)).clamp(HISTORY_MIN, HISTORY_MAX)
    }

    /// How many were made from templates.
    pub fn of_templates(&self) -> usize {
        self.models.iter().filter(|entry| entry.template.is_some()).count()
    }

    /// How many models there are.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Counts a forecast made at `now_ms`.
    pub fn count_forecast(&self, now_ms: u64) {
        self.forecasts.fetch_add(1, Relaxed);
        self.last_forecast_ms.fetch_max(now_ms, Relaxed);
    }
}
