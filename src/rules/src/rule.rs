//! A rule: as written → compiled.

use crate::action::Action;
use crate::condition::{Condition, EvaluationError, RULE_VARIABLES};
use crate::event::RuleEvent;
use crate::fault::RuleFault;
use crate::scope::Scope;
use serde_json::Value as Json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tidecast_event::{EventKind, Priority};

/// Which events a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFilter {
    /// All (written `*`).
    Any,
    /// One kind.
    Only(EventKind),
}

impl EventFilter {
    /// Whether it lets events of `kind` through.
    pub fn takes(self, kind: EventKind) -> bool {
        match self {
            EventFilter::Any => true,
            EventFilter::Only(only) => only == kind,
        }
    }
}

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// The events it looks at.
    pub events: EventFilter,
    /// Only events of this priority.
    pub priority_filter: Option<Priority>,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// What it asks for, in order.
    pub actions: Arc<[Action]>,
    /// When.
    pub condition: Condition,
    /// How it has fared.
    pub counts: Arc<Counts>,
}

/// How a rule has fared since the process started; shared with the rule that replaces it.
#[derive(Debug)]
pub struct Counts {
    fired: AtomicU64,
    errors: AtomicU64,
    /// Event time in microseconds of the newest event.
    last_fired: AtomicI64,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            fired: AtomicU64::default(),
            errors: AtomicU64::default(),
            last_fired: AtomicI64::new(i64::MIN),
        }
    }
}

impl Counts {
    /// Times it fired.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Relaxed)
    }

    /// Evaluations without an answer.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Time of the newest event it fired on.
    pub fn last_fired(&self) -> Option<tidecast_event::EventTime> {
        (self.fired() > 0).then(|| tidecast_event::EventTime(self.last_fired.load(Ordering::Relaxed)))
    }

    pub(crate) fn count_fired(&self, event: &RuleEvent) {
        self.add(1, event.timestamp);
    }

    /// It fired so many times, the newest an event of that time: for a rule that fires on everything and does nothing,
    /// which nobody needs to evaluate.
    pub fn add(&self, times: u64, newest: tidecast_event::EventTime) {
        // Of a batch the urgent come first, whatever their times.
        self.last_fired.fetch_max(newest.0, Ordering::Relaxed);
        self.fired.fetch_add(times, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a dry run found.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// It would have fired: enabled or not, the event is of its kind and priority and the condition holds.
    pub matched: bool,
    /// What the condition alone says.
    pub condition: bool,
    /// Why the condition has no answer.
    pub error: Option<EvaluationError>,
    /// What would have been done, in order, without secrets.
    pub actions: Vec<Json>,
}

impl Rule {
    /// Reads and compiles `{"name", "event_type", "condition", "action", "priority_filter", "enabled"}`.
    pub fn from_json(json: &Json) -> Result<Rule, RuleFault> {
        let object = json.as_object().ok_or_else(|| RuleFault::new("", "another value", "an object"))?;
        let known = ["name", "event_type", "condition", "action", "priority_filter", "enabled"];
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(RuleFault::new(name, "an unknown field", known.join(", ")));
        }
        let given = |name: &str| object.get(name).filter(|value| !value.is_null());
        let text = |name: &str, allowed: &str| match given(name) {
            Some(Json::String(text)) if !text.is_empty() => Ok(text.as_str()),
            Some(Json::String(_)) => Err(RuleFault::new(name, "an empty text", allowed)),
            Some(_) => Err(RuleFault::new(name, "another value", allowed)),
            None => Err(RuleFault::new(name, "nothing", allowed)),
        };
        let kinds = "FORECAST_GENERATED, ANOMALY_DETECTED, SYSTEM_ERROR, WINDOW_CLOSED, MODEL_RETRAINED or *";
        let condition = text("condition", "a CEL expression")?;
        Ok(Rule {
            name: Arc::from(text("name", "a text that is not empty")?),
            events: match text("event_type", kinds)? {
                "*" => EventFilter::Any,
                name => EventFilter::Only(
                    serde_json::from_value(Json::from(name))
                        .map_err(|_| RuleFault::new("event_type", format!("{name:?}"), kinds))?,
                ),
            },
            priority_filter: match given("priority_filter") {
                None => None,
                Some(value) => Some(serde_json::from_value(value.clone()).map_err(|_| {
                    RuleFault::new(
                        "priority_filter",
                        value.to_string(),
                        "CRITICAL, HIGH, MEDIUM, LOW or null",
                    )
                })?),
            },
            enabled: match given("enabled") {
                None => true,
                Some(value) => value
                    .as_bool()
                    .ok_or_else(|| RuleFault::new("enabled", value.to_string(), "true or false"))?,
            },
            actions: Action::read(given("action").unwrap_or(&Json::Null))?.into(),
            condition: Condition::compile(condition, &RULE_VARIABLES)
                .map_err(|error| RuleFault::new("condition", error.found, error.allowed))?,
            counts: Arc::default(),
        })
    }

    /// The event is of the rule's kind and priority.
    pub fn looks_at(&self, event: &RuleEvent) -> bool {
        self.events.takes(event.kind)
            && self.priority_filter.is_none_or(|priority| priority == event.priority)
    }

    pub(crate) fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        self.condition.evaluate(scope)
    }

    /// Evaluates against one event, counting and doing nothing.
    pub fn dry_run(&self, event: &RuleEvent) -> DryRun {
        let answer = self.holds(&event.scope());
        let condition = matches!(answer, Ok(true));
        let matched = condition && self.looks_at(event);
        let actions = if matched { self.actions.iter().map(Action::describe).collect() } else { Vec::new() };
        DryRun { matched, condition, error: answer.err(), actions }
    }
}
