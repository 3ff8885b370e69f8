//! All the rules of the house, in the order of registration.

use crate::action::Action;
use crate::event::RuleEvent;
use crate::rule::Rule;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// A rule that fired: what it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// The rule.
    pub rule: Arc<str>,
    /// What it asks for, in order.
    pub actions: Arc<[Action]>,
}

/// The rules. Cheap to clone: a change makes a new set that shares the rules that stay.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
}

/// The rules that are there from the start, as `POST /api/rules` would have them. Critical anomalies are told by mail too
/// where `mail` says that there is somebody to write to.
pub fn built_in(mail: bool) -> Vec<Json> {
    let told = match mail {
        true => json!([{"type": "log", "level": "warn"}, "publish", "send_alert"]),
        false => json!([{"type": "log", "level": "warn"}, "publish"]),
    };
    vec![
        json!({"name": "log_all_events", "event_type": "*", "condition": "true",
            "action": {"type": "log", "level": "debug"}, "priority_filter": null, "enabled": true}),
        json!({"name": "save_anomalies", "event_type": "ANOMALY_DETECTED", "condition": "true",
            "action": {"type": "save_to_file", "file": "anomalies.jsonl"}, "priority_filter": null, "enabled": true}),
        json!({"name": "alert_critical_anomalies", "event_type": "ANOMALY_DETECTED",
            "condition": "priority == EventPriority.CRITICAL",
            "action": told, "priority_filter": null, "enabled": true}),
        json!({"name": "update_performance_metrics", "event_type": "FORECAST_GENERATED", "condition": "true",
            "action": "update_metrics", "priority_filter": null, "enabled": true}),
    ]
}

impl RuleSet {
    /// Adds a rule at the end, or puts it in the place of the one of its name, whose counts go on.
    pub fn put(&mut self, mut rule: Rule) {
        match self.rules.iter_mut().find(|known| known.name == rule.name) {
            Some(known) => {
                rule.counts = Arc::clone(&known.counts);
                *known = Arc::new(rule);
            }
            None => self.rules.push(Arc::new(rule)),
        }
    }

    /// Takes a rule out; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| &*rule.name != name);
        self.rules.len() < before
    }

    /// The rule of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| &*rule.name == name)
    }

    /// All rules, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// Rules that there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Evaluates every enabled rule that looks at such events, in order. A rule without an answer is counted, and
    /// stops neither itself nor another. The event is made CEL values once, and only if a rule looks at it.
    pub fn evaluate(&self, event: &RuleEvent) -> Vec<Fired> {
        let mut fired = Vec::new();
        let mut scope = None;
        for rule in self.rules.iter().filter(|rule| rule.enabled && rule.looks_at(event)) {
            match rule.holds(scope.get_or_insert_with(|| event.scope())) {
                Ok(true) => {
                    rule.counts.count_fired(event);
                    fired.push(Fired { rule: Arc::clone(&rule.name), actions: Arc::clone(&rule.actions) });
                }
                Ok(false) => {}
                Err(_) => rule.counts.count_error(),
            }
        }
        fired
    }
}
