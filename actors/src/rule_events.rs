//! What happened, as rules see it: from what the pipeline has in hand, and from what lies in the output topics.

use crate::trouble;
use serde_json::{Map, Value};
use tidecast_event::{Aggregate, Alert, Anomaly, EventKind, EventTime, OutputId, Priority};
use tidecast_ports::OutputKind;
use tidecast_rules::RuleEvent;

/// Something that happened, and its identity.
pub struct Happened {
    /// The event.
    pub event: RuleEvent,
    /// The same whenever it is made again.
    pub id: OutputId,
}

/// A window closed, or was corrected.
pub fn window_closed(aggregate: &Aggregate) -> Option<Happened> {
    let event = RuleEvent {
        kind: EventKind::WindowClosed,
        priority: Priority::Low,
        model_id: None,
        timestamp: aggregate.window_end,
        data: object(aggregate)?,
        metadata: Map::new(),
    };
    let of = format!("{}:{}", aggregate.series, aggregate.key);
    Some(Happened { id: identity(&event, &of, aggregate.revision), event })
}

/// A forecast as rules see it: the message, with `model_accuracy` beside `predicted_value` as older rules expect.
pub fn forecast_event(json: &[u8], kind: EventKind) -> Option<Happened> {
    let mut data: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let mut metadata = match data.get("metadata") {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => Map::new(),
    };
    metadata.remove("path");
    if let Some(accuracy) = metadata.get("accuracy") {
        data.insert("model_accuracy".into(), accuracy.clone());
    }
    let model_id = data.get("model_id").and_then(Value::as_str).map(str::to_owned);
    let timestamp = data.get("timestamp").and_then(Value::as_str).map_or(EventTime(0), time);
    let event = RuleEvent { kind, priority: Priority::Medium, model_id, timestamp, data, metadata };
    Some(Happened { id: identity(&event, event.model_id.as_deref().unwrap_or(""), 0), event })
}

/// An anomaly was found.
pub fn anomaly_detected(anomaly: &Anomaly) -> Option<Happened> {
    let event = RuleEvent {
        kind: EventKind::AnomalyDetected,
        priority: trouble::priority(anomaly.severity),
        model_id: Some(anomaly.model_id.clone()),
        timestamp: time(&anomaly.timestamp),
        data: object(anomaly)?,
        metadata: Map::new(),
    };
    Some(Happened { id: identity(&event, &anomaly.model_id, 0), event })
}

/// Something of our own failed.
pub fn system_error(alert: Alert) -> Happened {
    let event = RuleEvent {
        kind: EventKind::SystemError,
        priority: alert.priority,
        model_id: alert.model_id,
        timestamp: time(&alert.timestamp),
        data: alert.data,
        metadata: Map::new(),
    };
    Happened { id: identity(&event, &alert.message, 0), event }
}

/// What a record of an output topic tells of: nothing, where it is a rule's own alert, figures, or cannot be read.
pub fn of_record(kind: OutputKind, value: &[u8]) -> Option<RuleEvent> {
    let happened = match kind {
        OutputKind::Forecast => forecast_event(value, EventKind::ForecastGenerated),
        OutputKind::Aggregate => window_closed(&serde_json::from_slice(value).ok()?),
        OutputKind::Alert => match serde_json::from_slice::<Anomaly>(value) {
            Ok(anomaly) => anomaly_detected(&anomaly),
            Err(_) => {
                let alert: Alert = serde_json::from_slice(value).ok()?;
                (alert.event_type == EventKind::SystemError).then(|| system_error(alert))
            }
        },
        OutputKind::Metrics => None,
    };
    Some(happened?.event)
}

/// A time of ours, as it was written.
pub fn time(text: &str) -> EventTime {
    EventTime::parse_rfc3339(text).unwrap_or(EventTime(0))
}

fn object(value: &impl serde::Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

fn identity(event: &RuleEvent, of: &str, revision: u32) -> OutputId {
    let at = event.timestamp.0.to_le_bytes();
    OutputId::of(&[event.kind.as_str().as_bytes(), of.as_bytes(), &at, &revision.to_le_bytes()])
}
