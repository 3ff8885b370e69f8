//! The events that rules look at.

use crate::fault::RuleFault;
use crate::scope::Scope;
use serde_json::{Map, Value as Json};
use tidecast_event::{Alert, EventKind, EventTime, Priority};

/// Something that happened in the house.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleEvent {
    /// What.
    pub kind: EventKind,
    /// How urgent.
    pub priority: Priority,
    /// Which model, where there is one.
    pub model_id: Option<String>,
    /// When, event time.
    pub timestamp: EventTime,
    /// The message itself: a forecast, an anomaly, an aggregate.
    pub data: Map<String, Json>,
    /// What goes with it.
    pub metadata: Map<String, Json>,
}

impl RuleEvent {
    /// Reads the sample of a dry run: `{"event_type", "priority", "model_id", "timestamp", "data", "metadata"}`, all
    /// optional but `data`. `now` is the timestamp of a sample without one; the kind is that of the rule.
    pub fn from_json(json: &Json, kind: EventKind, now: EventTime) -> Result<RuleEvent, RuleFault> {
        let refuse =
            |field: &str, allowed: &str| RuleFault::new(format!("event.{field}"), "another value", allowed);
        let object = json.as_object().ok_or_else(|| RuleFault::new("event", "another value", "an object"))?;
        let known = ["event_type", "priority", "model_id", "timestamp", "data", "metadata"];
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(RuleFault::new(format!("event.{name}"), "an unknown field", known.join(", ")));
        }
        let given = |name: &str| object.get(name).filter(|value| !value.is_null());
        let map = |name: &str| match given(name) {
            Some(Json::Object(map)) => Ok(Some(map.clone())),
            Some(_) => Err(refuse(name, "an object")),
            None => Ok(None),
        };
        let timestamp = match given("timestamp") {
            None => now,
            Some(value) => {
                time(value).ok_or_else(|| refuse("timestamp", "epoch seconds or an RFC 3339 date-time"))?
            }
        };
        Ok(RuleEvent {
            kind: match given("event_type") {
                None => kind,
                Some(value) => serde_json::from_value(value.clone())
                    .map_err(|_| refuse("event_type", "FORECAST_GENERATED, ANOMALY_DETECTED, SYSTEM_ERROR, WINDOW_CLOSED or MODEL_RETRAINED"))?,
            },
            priority: match given("priority") {
                None => Priority::Medium,
                Some(value) => serde_json::from_value(value.clone())
                    .map_err(|_| refuse("priority", "CRITICAL, HIGH, MEDIUM or LOW"))?,
            },
            model_id: match given("model_id") {
                None => None,
                Some(value) => Some(value.as_str().ok_or_else(|| refuse("model_id", "a text"))?.to_owned()),
            },
            timestamp,
            data: map("data")?.ok_or_else(|| RuleFault::new("event.data", "nothing", "an object"))?,
            metadata: map("metadata")?.unwrap_or_default(),
        })
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope::new(
            self.kind.as_str(),
            self.model_id.as_deref(),
            self.priority,
            Some(self.timestamp),
            &self.data,
            Some(&self.metadata),
        )
    }

    /// The alert that a rule makes of it.
    pub fn alert(&self, rule: &str) -> Alert {
        let of = self.model_id.as_ref().map(|model| format!(" of {model}")).unwrap_or_default();
        // An anomaly, an error: its own words say more than ours.
        let message = match self.data.get("message").and_then(Json::as_str) {
            Some(message) => message.to_owned(),
            None => format!("{}{of}", self.kind),
        };
        Alert {
            rule: rule.to_owned(),
            event_type: self.kind,
            priority: self.priority,
            timestamp: self.timestamp.to_rfc3339(),
            model_id: self.model_id.clone(),
            message,
            data: self.data.clone(),
        }
    }
}

fn time(value: &Json) -> Option<EventTime> {
    if let Some(seconds) = value.as_f64() {
        // As in events: past 10^11 the number is milliseconds.
        let micros = if seconds.abs() > 1e11 { seconds * 1e3 } else { seconds * 1e6 };
        return (micros.abs() < 9e18).then_some(EventTime(micros as i64));
    }
    let time = chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(EventTime(time.timestamp_micros()))
}
