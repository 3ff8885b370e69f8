//! Models and rules while running: what the REST API asks of the house.

use crate::OutputKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use tidecast_config::{ModelSpec, RuleSpec};
use tidecast_event::ForecastMessage;

/// Why a request about a model or rule was not done. Becomes a problem document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// There is none of that name (404).
    #[error("{0}")]
    NotFound(String),
    /// There is one already, or it is not ready for this: a model that warms up, a template (409).
    #[error("{0}")]
    Conflict(String),
    /// It is not as it was when the one who asks read it (412).
    #[error("{0}")]
    Changed(String),
    /// A field is wrong (422).
    #[error("{field}: {message}")]
    Invalid {
        /// Dotted path of the field at fault.
        field: String,
        /// What was found and what is allowed.
        message: String,
    },
    /// Not now: Kafka away (503).
    #[error("{0}")]
    Unavailable(String),
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page, `None` at the end.
    pub next: Option<String>,
}

/// Which page is wanted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct PageRequest {
    /// Most items to give; the callee's default when absent.
    pub limit: Option<usize>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// Keep items whose name contains this, ignoring case.
    pub search: Option<String>,
}

/// Where a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// A template: it has no series of its own, its instances do.
    Template,
    /// Not enough observations yet.
    WarmingUp,
    /// The first fit is under way.
    Fitting,
    /// Forecasting.
    Live,
    /// Registered and switched off.
    Disabled,
    /// The last fit failed; `error` says why.
    Failed,
    /// Forecasts come from elsewhere.
    External,
}

/// What `GET /api/models/{id}` tells; the registered object's own fields are beside these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelView {
    /// The model as registered (an instance of a template: with its own id and series).
    #[serde(flatten)]
    pub spec: ModelSpec,
    /// Where it stands.
    pub state: ModelState,
    /// Observations taken so far.
    pub observations: u64,
    /// Observations still wanted before the first forecast.
    pub needed: u64,
    /// From the model's own past forecasts, in [0, 1].
    pub accuracy: Option<f64>,
    /// When the newest forecast was made (event time), RFC 3339.
    pub last_forecast_time: Option<String>,
    /// Anomalies found so far.
    pub anomalies: u64,
    /// Made by this template.
    pub template: Option<String>,
    /// Parameters, likelihood and criteria of the newest fit.
    pub summary: Option<Box<RawValue>>,
    /// Why the last fit failed.
    pub error: Option<String>,
    /// Another with every change of the registered object, and never one again that another object of this name had; for
    /// `ETag` and `If-Match`.
    pub version: u64,
}

/// What rules could have seen: a record of an output topic.
#[derive(Debug, Clone)]
pub struct PastEvent {
    /// Its topic.
    pub kind: OutputKind,
    /// The record's value.
    pub value: String,
}

/// What a rule would have done with what happened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RuleTrial {
    /// Events of the rule's kind and priority.
    pub events: u64,
    /// Those that it fires on.
    pub matched: u64,
    /// Those on which its condition has no answer.
    pub errors: u64,
    /// The first of these.
    pub error: Option<String>,
    /// The newest that it fires on, newest first, as a rule sees them.
    pub matches: Vec<Value>,
}

/// Matches that a trial shows.
pub const TRIAL_MATCHES: usize = 20;

/// One row of a model's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// Start of the window, epoch seconds.
    pub window_start: f64,
    /// What came; `None` for a missing observation.
    pub value: Option<f64>,
    /// What was predicted one step before.
    pub predicted: Option<f64>,
    /// Lower bound of that prediction.
    pub lower: Option<f64>,
    /// Upper bound.
    pub upper: Option<f64>,
    /// Score of what came.
    pub anomaly_score: Option<f64>,
}

/// What `POST /api/rules/test` asks: a rule and a sample event.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RuleTest {
    /// The rule, whole, or only its condition under `condition`.
    pub rule: RuleSpec,
    /// The sample: `{"event_type","priority","model_id","timestamp","data","metadata"}`, all optional but `data`.
    pub event: Value,
}

/// What a dry run found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleTestResult {
    /// The condition held, the event type matched and the filter let it pass.
    pub matched: bool,
    /// What the condition alone said.
    pub condition: bool,
    /// Why the condition could not be evaluated.
    pub error: Option<String>,
    /// What would have been done, in order.
    pub actions: Vec<Value>,
}

/// A rule and how it has fared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleView {
    /// The rule as registered.
    #[serde(flatten)]
    pub spec: RuleSpec,
    /// Present from the start.
    pub built_in: bool,
    /// Times it fired, in all processes of the group since each was started.
    pub fired: u64,
    /// Evaluations that failed.
    pub errors: u64,
    /// When it last fired, RFC 3339.
    pub last_fired: Option<String>,
    /// For `ETag` and `If-Match`.
    pub version: u64,
}

/// Models and rules while running.
#[async_trait::async_trait]
pub trait ControlPlane: Send + Sync {
    /// Models by name, instances of templates included.
    async fn models(&self, page: PageRequest) -> Result<Page<ModelView>, ControlError>;
    /// Everything that is registered, as it is: of templates not what they have made.
    fn registered(&self) -> Vec<Arc<ModelSpec>>;
    /// One model.
    async fn model(&self, id: &str) -> Result<ModelView, ControlError>;
    /// Registers a model; acknowledged by Kafka when it returns.
    async fn create_model(&self, spec: ModelSpec) -> Result<ModelView, ControlError>;
    /// Replaces a model; refused where `if_version` does not name the version that it has.
    async fn replace_model(
        &self,
        id: &str,
        spec: ModelSpec,
        if_version: Option<&[u64]>,
    ) -> Result<ModelView, ControlError>;
    /// Removes a model (a template: its instances too).
    async fn delete_model(&self, id: &str, if_version: Option<&[u64]>) -> Result<(), ControlError>;
    /// Asks for a new fit of a model, or of all that a template has made, before their next window.
    async fn refit_model(&self, id: &str) -> Result<ModelView, ControlError>;
    /// A forecast now, `horizon` steps ahead (the model's own when absent).
    async fn forecast(&self, id: &str, horizon: Option<usize>) -> Result<ForecastMessage, ControlError>;
    /// The newest rows of what came and what was predicted, oldest first.
    async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryPoint>, ControlError>;

    /// Rules by name.
    async fn rules(&self, page: PageRequest) -> Result<Page<RuleView>, ControlError>;
    /// One rule.
    async fn rule(&self, name: &str) -> Result<RuleView, ControlError>;
    /// Registers a rule.
    async fn create_rule(&self, spec: RuleSpec) -> Result<RuleView, ControlError>;
    /// Replaces a rule.
    async fn replace_rule(
        &self,
        name: &str,
        spec: RuleSpec,
        if_version: Option<&[u64]>,
    ) -> Result<RuleView, ControlError>;
    /// Removes a rule.
    async fn delete_rule(&self, name: &str, if_version: Option<&[u64]>) -> Result<(), ControlError>;
    /// Dry run against a sample event.
    async fn test_rule(&self, test: RuleTest) -> Result<RuleTestResult, ControlError>;
    /// Dry run over what happened, newest first.
    async fn try_rule(&self, rule: RuleSpec, past: Vec<PastEvent>) -> Result<RuleTrial, ControlError>;
}
