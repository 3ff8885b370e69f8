//! Shapes of bodies for the description alone: what travels is written and read by the rooms that own it. A test
//! compares the names of fields, so that the description cannot drift.

#![allow(dead_code)] // described, not built

mod operations;

pub use operations::*;

use crate::live::alerts::AlertItem;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A model as registered. A field that is not here is refused.
#[derive(ToSchema)]
pub struct Model {
    /// Its name: 1 to 500 characters, without `*`.
    #[schema(example = "sales_sarima")]
    model_id: String,
    /// Its family.
    model_type: ModelType,
    /// `[p, d, q]`, or `[p, q]` of GARCH.
    order: Option<Vec<u32>>,
    /// `[P, D, Q, m]`.
    seasonal_order: Option<Vec<u32>>,
    /// Windows in a season, for the seasonal families but SARIMA.
    #[schema(minimum = 1, maximum = 8784)]
    season: Option<u32>,
    /// `<family>:<key>`, or `<family>:*` for one model per key.
    #[schema(example = "by_source:sensor_0001")]
    series: Option<String>,
    /// `event_count` or `<value>.<statistic>`.
    #[schema(default = "event_count")]
    field: Option<String>,
    /// Observations to begin with, oldest first, null where missing.
    history: Option<Vec<Option<f64>>>,
    /// Windows ahead.
    #[schema(minimum = 1, maximum = 1000)]
    horizon: Option<u32>,
    /// Confidence level of the intervals.
    #[schema(default = 0.95)]
    level: Option<f64>,
    /// Score from which on an observation is an anomaly.
    #[schema(default = 0.8, minimum = 0, maximum = 1)]
    anomaly_threshold: Option<f64>,
    /// Forecast again that often.
    update_frequency_seconds: Option<f64>,
    /// Regressors of SARIMAX, `<family>:<key>/<field>` each.
    exogenous: Option<Vec<String>>,
    /// Carried along in every forecast.
    metadata: Option<Map<String, Value>>,
    /// Whether it forecasts.
    #[schema(default = true)]
    enabled: Option<bool>,
}

/// The families of models.
#[derive(ToSchema)]
#[allow(missing_docs)] // the contract's names
pub enum ModelType {
    #[schema(rename = "ARIMA")]
    Arima,
    #[schema(rename = "SARIMA")]
    Sarima,
    #[schema(rename = "SARIMAX")]
    Sarimax,
    #[schema(rename = "AutoARIMA")]
    AutoArima,
    #[schema(rename = "ETS")]
    Ets,
    #[schema(rename = "AutoETS")]
    AutoEts,
    Theta,
    DynamicOptimizedTheta,
    #[schema(rename = "GARCH")]
    Garch,
    SeasonalNaive,
    Ensemble,
    External,
}

/// A model, and how it fares.
#[derive(ToSchema)]
pub struct ModelView {
    #[serde(flatten)]
    spec: Model,
    /// `template`, `warming_up`, `fitting`, `live`, `disabled`, `failed` or `external`.
    state: String,
    /// Observations taken.
    observations: u64,
    /// Observations still wanted before the first forecast.
    needed: u64,
    /// From its own past forecasts, 0 to 1.
    accuracy: Option<f64>,
    /// Event time of the newest forecast.
    last_forecast_time: Option<String>,
    /// Anomalies found.
    anomalies: u64,
    /// Made by this template.
    template: Option<String>,
    /// The newest fit.
    summary: Option<Value>,
    /// Why the last fit failed.
    error: Option<String>,
    /// Changes with every change; the ETag.
    version: u64,
}

/// A page of models.
#[derive(ToSchema)]
pub struct ModelPage {
    items: Vec<ModelView>,
    /// Cursor of the next page, null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A forecast.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    #[schema(example = "sales_model_001")]
    model_id: String,
    /// When it was made (event time).
    #[schema(format = DateTime)]
    timestamp: String,
    /// At the last step of the horizon.
    predicted_value: f64,
    /// Lower and upper bound.
    #[schema(min_items = 2, max_items = 2)]
    confidence_interval: Vec<f64>,
    /// Steps ahead.
    #[schema(minimum = 1, value_type = usize)]
    forecast_horizon: u64,
    model_type: String,
    /// `path`: one `{"timestamp","mean","lower","upper"}` per step; and what the model was registered with.
    #[schema(nullable = false)]
    metadata: Option<Map<String, Value>>,
}

/// An anomaly.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Anomaly {
    model_id: String,
    #[schema(format = DateTime)]
    timestamp: String,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    anomaly_score: f64,
    observed_value: f64,
    predicted_value: f64,
    #[schema(min_items = 2, max_items = 2)]
    expected_range: Vec<f64>,
    severity: Severity,
    message: String,
    #[schema(nullable = false)]
    recommended_actions: Option<Vec<String>>,
}

/// How serious an anomaly is.
#[derive(ToSchema)]
#[allow(missing_docs)] // the contract's names
#[schema(rename_all = "UPPERCASE")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// One row of history.
#[derive(ToSchema)]
pub struct HistoryPoint {
    /// Epoch seconds.
    window_start: f64,
    /// What came; null where nothing did.
    value: Option<f64>,
    /// What was predicted one step before.
    predicted: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    anomaly_score: Option<f64>,
}

/// Rows, oldest first.
#[derive(ToSchema)]
pub struct HistoryPage {
    items: Vec<HistoryPoint>,
    /// Always null: a larger `limit` gives more.
    #[schema(required)]
    next: Option<String>,
}

/// A rule. A field that is not here is refused.
#[derive(ToSchema)]
pub struct Rule {
    /// Its name: 1 to 200 characters, without `*`.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it looks at; `*` is everything.
    #[schema(
        example = "FORECAST_GENERATED",
        pattern = "^(FORECAST_GENERATED|ANOMALY_DETECTED|SYSTEM_ERROR|WINDOW_CLOSED|MODEL_RETRAINED|[*])$"
    )]
    event_type: String,
    /// CEL over `data`, `model_id`, `priority`, `event_type`, `timestamp`, `metadata`.
    #[schema(example = "data.get('predicted_value', 0) > 5000")]
    condition: String,
    /// A name, an object with `type`, or a list of these.
    #[schema(example = "log")]
    action: Value,
    /// Only events of this priority.
    #[schema(pattern = "^(LOW|MEDIUM|HIGH|CRITICAL)$")]
    priority_filter: Option<String>,
    #[schema(default = true)]
    enabled: Option<bool>,
}

/// A rule, and how it fares.
#[derive(ToSchema)]
pub struct RuleView {
    #[schema(inline)]
    #[serde(flatten)]
    spec: Rule,
    /// Present from the start.
    built_in: bool,
    /// Times it fired.
    fired: u64,
    /// Evaluations that failed.
    errors: u64,
    last_fired: Option<String>,
    /// Changes with every change; the ETag.
    version: u64,
}

/// A page of rules.
#[derive(ToSchema)]
pub struct RulePage {
    items: Vec<RuleView>,
    #[schema(required)]
    next: Option<String>,
}

/// A dry run: a rule (whole, or its name) or a condition, and a sample event.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// A rule, or the name of one that is registered.
    rule: Option<Value>,
    /// A condition alone.
    #[schema(example = "data.predicted_value > 5000")]
    condition: Option<String>,
    /// `{"event_type","priority","model_id","timestamp","data","metadata"}`, all optional but `data`.
    event: Map<String, Value>,
}

/// What a dry run found.
#[derive(ToSchema)]
pub struct RuleTestResult {
    /// It would fire.
    matched: bool,
    /// What the condition alone says.
    condition: bool,
    /// Why it could not be evaluated.
    error: Option<String>,
    /// What would be done, in order.
    actions: Vec<Value>,
}

/// A dry run over what happened: a rule or its name, or a condition alone.
#[derive(ToSchema)]
pub struct RuleTry {
    /// The rule in full, or the name of one that is registered.
    rule: Option<Value>,
    /// A condition alone.
    condition: Option<String>,
    /// How far back.
    #[schema(exclusive_minimum = 0, maximum = 24, default = 2)]
    hours: Option<f64>,
}

/// What a rule would have done.
#[derive(ToSchema)]
pub struct RuleTrial {
    /// Events of the rule's kind and priority.
    events: u64,
    /// Those that it fires on.
    matched: u64,
    /// Those on which its condition has no answer.
    errors: u64,
    /// The first of these.
    error: Option<String>,
    /// The newest that it fires on, newest first, 20 at most, as samples are written.
    matches: Vec<Map<String, Value>>,
    /// Records since then were looked at, RFC 3339.
    since: String,
    /// All of them; otherwise the newest 10,000 of a topic.
    complete: bool,
}

/// One event. MessagePack maps of the same names are taken too.
#[derive(ToSchema)]
pub struct Event {
    /// A text, if it is to be stored once however often it is sent.
    id: Option<Value>,
    #[schema(example = "sensor_0001", min_length = 1)]
    source: String,
    #[schema(example = "sensor_data", min_length = 1)]
    r#type: String,
    /// Epoch seconds or an ISO 8601 date-time; the time of arrival where absent.
    timestamp: Option<Value>,
    data: Map<String, Value>,
    /// Carried along; an object, if anything.
    metadata: Option<Value>,
}

/// What became of events that were sent.
#[derive(ToSchema)]
pub struct Accepted {
    /// Acknowledged by Kafka.
    accepted: u64,
    /// Refused, and not stored.
    refused: u64,
    /// The refused ones; the first 1,000.
    errors: Vec<crate::problem::FieldProblem>,
}

/// A page of alerts.
#[derive(ToSchema)]
pub struct AlertPage {
    items: Vec<AlertItem>,
    #[schema(required)]
    next: Option<String>,
}

/// A page of changes.
#[derive(ToSchema)]
pub struct AuditPage {
    items: Vec<crate::audit::AuditEntry>,
    #[schema(required)]
    next: Option<String>,
}

/// Alerts that notify nobody for a while.
#[derive(ToSchema)]
pub struct Silence {
    name: String,
    #[schema(required)]
    model_id: Option<String>,
    #[schema(required)]
    rule: Option<String>,
    until: String,
    until_ms: i64,
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    by: Option<String>,
}

/// A page of silences.
#[derive(ToSchema)]
pub struct SilencePage {
    items: Vec<Silence>,
    #[schema(required)]
    next: Option<String>,
}

/// Where the live connection is.
#[derive(ToSchema)]
pub struct ClientConfig {
    websocket_url: Option<String>,
    auth_required: bool,
    version: String,
    heartbeat_interval_seconds: f64,
}

/// A ticket for one WebSocket.
#[derive(ToSchema)]
pub struct Ticket {
    /// For `?ticket=`.
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

/// Figures. More may stand beside these.
#[derive(ToSchema)]
#[allow(missing_docs)] // the contract's names
pub struct Stats {
    processor: BTreeMap<String, Value>,
    buffer: BTreeMap<String, Value>,
    service: BTreeMap<String, Value>,
    websocket: BTreeMap<String, Value>,
    kafka: BTreeMap<String, Value>,
    /// Events by type.
    distribution: BTreeMap<String, u64>,
    top_sources: Vec<BTreeMap<String, Value>>,
}
