//! The compiled rules, shared by all evaluators; and what REST asks of rules without running them.

use crate::catalog::Registrar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tidecast_config::RuleSpec;
use tidecast_event::{EventKind, EventTime};
use tidecast_ports::ControlError;
use tidecast_ports::control::{PastEvent, RuleTest, RuleTestResult, RuleTrial, TRIAL_MATCHES};
use tidecast_rules::{EventFilter, Rule, RuleEvent, RuleFault, RuleSet};

/// Rules that a process tells the others of.
const TOLD_MAX: usize = 1_000;

/// How a rule has fared since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fared {
    /// Times it fired.
    pub fired: u64,
    /// Evaluations without an answer.
    pub errors: u64,
    /// Event time of the newest event it fired on, RFC 3339.
    pub last_fired: Option<String>,
}

impl Fared {
    /// Takes in how it fared in another process.
    pub fn add(&mut self, other: &Fared) {
        self.fired = self.fired.saturating_add(other.fired);
        self.errors = self.errors.saturating_add(other.errors);
        // RFC 3339 in UTC: the order of the texts is that of the times.
        self.last_fired = self.last_fired.take().max(other.last_fired.clone());
    }
}

/// The rules as compiled, and which of them are the house's own.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Compiled.
    pub set: RuleSet,
    /// There from the start: what they fire on is no alert by itself.
    pub built_in: BTreeSet<String>,
}

/// The rules of this process.
#[derive(Debug, Default)]
pub struct RuleBook {
    generation: AtomicU64,
    rules: RwLock<Arc<Rules>>,
}

impl RuleBook {
    /// Moves with every change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets or removes a rule. One that does not compile (written by another version) is left out and told.
    pub fn set(&self, name: &str, rule: Option<(&RuleSpec, Registrar)>) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let rules = Arc::make_mut(&mut rules);
        rules.built_in.remove(name);
        match rule.map(|(spec, by)| (compile(spec), by)) {
            Some((Ok(rule), by)) => {
                rules.set.put(rule);
                if by == Registrar::BuiltIn {
                    rules.built_in.insert(name.to_owned());
                }
            }
            Some((Err(fault), _)) => {
                tracing::error!(rule = name, %fault, "a rule cannot be compiled and is left out");
                rules.set.remove(name);
            }
            None => {
                rules.set.remove(name);
            }
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// How a rule has fared here.
    pub fn fared(&self, name: &str) -> Fared {
        let rules = self.rules();
        rules.set.get(name).map_or_else(Fared::default, |rule| fared(rule))
    }

    /// How those have fared that did anything, by name; a thousand at most.
    pub fn all_fared(&self) -> BTreeMap<String, Fared> {
        let rules = self.rules();
        let all = rules.set.iter().map(|rule| (rule.name.to_string(), fared(rule)));
        all.filter(|(_, fared)| *fared != Fared::default()).take(TOLD_MAX).collect()
    }
}

fn fared(rule: &Rule) -> Fared {
    Fared {
        fired: rule.counts.fired(),
        errors: rule.counts.errors(),
        last_fired: rule.counts.last_fired().map(EventTime::to_rfc3339),
    }
}

fn compile(spec: &RuleSpec) -> Result<Rule, RuleFault> {
    // The specification serialises to the contract's object, which is what the rules room reads.
    Rule::from_json(&serde_json::to_value(spec).unwrap_or(Value::Null))
}

fn invalid(fault: &RuleFault) -> ControlError {
    ControlError::Invalid { field: fault.field.clone(), message: fault.message() }
}

/// Refuses a rule that does not compile.
pub fn check(spec: &RuleSpec) -> Result<(), ControlError> {
    compile(spec).map(drop).map_err(|fault| invalid(&fault))
}

/// Evaluates a rule over what happened, newest first, doing nothing.
pub fn try_on(rule: &RuleSpec, past: &[PastEvent]) -> Result<RuleTrial, ControlError> {
    let rule = compile(rule).map_err(|fault| invalid(&fault))?;
    let mut trial = RuleTrial::default();
    for past in past {
        let event = crate::rule_events::of_record(past.kind, past.value.as_bytes());
        let Some(event) = event.filter(|event| rule.looks_at(event)) else { continue };
        trial.events += 1;
        let run = rule.dry_run(&event);
        if let Some(error) = run.error {
            trial.errors += 1;
            trial.error.get_or_insert_with(|| error.to_string());
        }
        if run.matched {
            trial.matched += 1;
            if trial.matches.len() < TRIAL_MATCHES {
                trial.matches.push(shown(&event));
            }
        }
    }
    Ok(trial)
}

/// An event as a sample of it is written.
fn shown(event: &RuleEvent) -> Value {
    json!({"event_type": event.kind.as_str(), "priority": event.priority.as_str(), "model_id": event.model_id,
        "timestamp": event.timestamp.to_rfc3339(), "data": event.data, "metadata": event.metadata})
}

/// Evaluates a rule against a sample event, doing nothing.
pub fn test(test: &RuleTest) -> Result<RuleTestResult, ControlError> {
    let rule = compile(&test.rule).map_err(|fault| invalid(&fault))?;
    let kind = match rule.events {
        EventFilter::Only(kind) => kind,
        EventFilter::Any => EventKind::ForecastGenerated,
    };
    let now = EventTime::from_millis(crate::wall_clock_ms() as i64);
    let event = RuleEvent::from_json(&test.event, kind, now).map_err(|fault| invalid(&fault))?;
    let run = rule.dry_run(&event);
    Ok(RuleTestResult {
        matched: run.matched,
        condition: run.condition,
        error: run.error.map(|error| error.to_string()),
        actions: run.actions,
    })
}
