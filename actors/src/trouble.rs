//! Failures of our own, as `SYSTEM_ERROR` events.

use serde_json::{Map, Value};
use tidecast_event::{Alert, EventKind, Priority, Severity};

/// The event that tells of a failure in `part`, now.
pub fn alert(part: &str, model_id: Option<&str>, priority: Priority, message: String) -> Alert {
    let mut data = Map::new();
    data.insert("component".into(), Value::from(part));
    data.insert("error".into(), Value::from(message.as_str()));
    Alert {
        rule: part.to_owned(),
        event_type: EventKind::SystemError,
        priority,
        timestamp: tidecast_event::EventTime::from_millis(crate::wall_clock_ms() as i64).to_rfc3339(),
        model_id: model_id.map(str::to_owned),
        message,
        data,
    }
}

/// The priority of an event about an anomaly.
pub fn priority(severity: Severity) -> Priority {
    match severity {
        Severity::Low => Priority::Low,
        Severity::Medium => Priority::Medium,
        Severity::High => Priority::High,
        Severity::Critical => Priority::Critical,
    }
}
