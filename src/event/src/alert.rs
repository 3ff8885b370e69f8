//! What rules see (events with a kind and a priority) and what a fired rule says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The event types of the contract's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventKind {
    /// A model made a forecast; `data` is the forecast message.
    ForecastGenerated,
    /// A score reached its threshold; `data` is the anomaly.
    AnomalyDetected,
    /// Something of ours failed.
    SystemError,
    /// A window closed or was corrected; `data` is the aggregate.
    WindowClosed,
    /// A model was fitted anew.
    ModelRetrained,
}

impl EventKind {
    /// The contract's name.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::ForecastGenerated => "FORECAST_GENERATED",
            EventKind::AnomalyDetected => "ANOMALY_DETECTED",
            EventKind::SystemError => "SYSTEM_ERROR",
            EventKind::WindowClosed => "WINDOW_CLOSED",
            EventKind::ModelRetrained => "MODEL_RETRAINED",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The order in which waiting events are handled; the greatest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// When there is time.
    Low,
    /// The usual.
    Medium,
    /// Before the usual.
    High,
    /// Before all else.
    Critical,
}

impl Priority {
    /// The contract's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Low => "LOW",
            Priority::Medium => "MEDIUM",
            Priority::High => "HIGH",
            Priority::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule that fired, as written to `streaming-alerts` and pushed as `rule_alert`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule, or the part of the system for a `SYSTEM_ERROR`.
    pub rule: String,
    /// What it fired on.
    pub event_type: EventKind,
    /// The priority of what it fired on.
    pub priority: Priority,
    /// Time of the event, RFC 3339.
    pub timestamp: String,
    /// The model, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// What happened, in a sentence.
    pub message: String,
    /// The event's own data.
    #[serde(default)]
    pub data: Map<String, Value>,
}
