//! The newest alerts, for `GET /api/alerts` and the pages.

use super::update::{Update, UpdateType};
use crate::rest::alerts::Acknowledgement;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// What raised an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A model did not expect what came.
    Anomaly,
    /// A rule fired.
    Rule,
    /// Something of ours failed.
    System,
}

/// One alert as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertItem {
    /// Names it: its place in its topic.
    pub id: String,
    /// Its update's `position`.
    pub position: String,
    /// Event time, RFC 3339.
    pub timestamp: String,
    /// What raised it.
    pub kind: AlertKind,
    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    pub severity: String,
    /// The model, where there is one.
    pub model_id: Option<String>,
    /// The rule, where one fired.
    pub rule: Option<String>,
    /// What happened, in a sentence.
    pub message: String,
    /// The anomaly, or the event on which the rule fired.
    pub data: Map<String, Value>,
    /// Somebody sees to it.
    pub acknowledged: Option<Acknowledgement>,
    /// A silence covers it now.
    pub silenced: bool,
}

impl AlertItem {
    /// Reads an anomaly or a fired rule.
    pub fn read(update: &Update) -> Option<Self> {
        let mut value: Map<String, Value> = serde_json::from_slice(&update.value).ok()?;
        let text = |value: &Map<String, Value>, name: &str| {
            value.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        let is_anomaly = update.kind == UpdateType::Anomaly;
        let is_system = value.get("event_type").and_then(Value::as_str) == Some("SYSTEM_ERROR");
        Some(AlertItem {
            id: update.name_of_place(),
            position: update.position.to_string(),
            timestamp: text(&value, "timestamp").unwrap_or_default(),
            kind: match (is_anomaly, is_system) {
                (true, _) => AlertKind::Anomaly,
                (false, true) => AlertKind::System,
                (false, false) => AlertKind::Rule,
            },
            severity: text(&value, if is_anomaly { "severity" } else { "priority" })
                .unwrap_or_else(|| "MEDIUM".into()),
            model_id: text(&value, "model_id"),
            rule: if is_anomaly { None } else { text(&value, "rule") },
            message: text(&value, "message").unwrap_or_default(),
            // The event on which a rule fired is in the alert; an anomaly is itself.
            data: match if is_anomaly { Some(Value::Object(value)) } else { value.remove("data") } {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            },
            acknowledged: None,
            silenced: false,
        })
    }
}

/// The newest alerts within a bound of number and bytes; past it the oldest go.
#[derive(Debug)]
pub struct RecentAlerts {
    items_max: usize,
    bytes_max: usize,
    bytes: usize,
    items: VecDeque<(u64, usize, AlertItem)>,
    number: u64,
}

impl RecentAlerts {
    /// Empty.
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        RecentAlerts { items_max, bytes_max, bytes: 0, items: VecDeque::new(), number: 0 }
    }

    /// Keeps an alert.
    pub fn keep(&mut self, update: &Update) {
        let Some(item) = AlertItem::read(update) else { return };
        self.number += 1;
        self.bytes += update.weight();
        self.items.push_back((self.number, update.weight(), item));
        while self.items.len() > self.items_max || (self.bytes > self.bytes_max && self.items.len() > 1) {
            if let Some((_, weight, _)) = self.items.pop_front() {
                self.bytes -= weight;
            }
        }
    }

    /// Newest first: those older than `before` (a number of an earlier answer), at most `limit`, that `wanted` lets
    /// pass. Beside each its number, and whether there are more.
    pub fn page(
        &self,
        before: Option<u64>,
        limit: usize,
        wanted: impl Fn(&AlertItem) -> bool,
    ) -> (Vec<(u64, AlertItem)>, bool) {
        let mut found = self
            .items
            .iter()
            .rev()
            .filter(|(number, _, item)| before.is_none_or(|before| *number < before) && wanted(item));
        let page = found.by_ref().take(limit).map(|(number, _, item)| (*number, item.clone())).collect();
        (page, found.next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::tests::record;
    use super::*;
    use serde_json::json;
    use tidecast_ports::OutputKind;

    #[test]
    fn pages_go_from_new_to_old_and_the_bound_holds() {
        let mut recent = RecentAlerts::new(5, usize::MAX);
        for offset in 0..8 {
            let value = json!({"rule": "r", "event_type": if offset == 7 {"SYSTEM_ERROR"} else {"WINDOW_CLOSED"},
                "priority": "HIGH", "timestamp": "t", "message": "x", "data": {"n": offset}});
            recent.keep(&Update::read(&record(OutputKind::Alert, offset, &value)).unwrap());
        }
        let (page, more) = recent.page(None, 2, |_| true);
        assert_eq!(
            page.iter().map(|(_, item)| item.kind).collect::<Vec<_>>(),
            [AlertKind::System, AlertKind::Rule]
        );
        assert!(more);
        let (page, more) = recent.page(Some(page[1].0), 10, |_| true);
        assert_eq!(page.iter().map(|(_, item)| &*item.id).collect::<Vec<_>>(), ["a2-5", "a2-4", "a2-3"]);
        assert!(!more);
        assert_eq!(page[0].1.data["n"], 5);
    }
}
