//! Rules: conditions in CEL over what happens in the house, and what a fired rule asks for, as data.
//!
//! Pure: nothing here logs, waits or sends. A condition is compiled once, refused then if it names what there is not,
//! and costs a bounded number of steps for any event.

mod action;
mod condition;
mod dialect;
mod event;
mod fault;
mod filter;
mod rule;
mod rule_set;
mod scope;
mod simple;

pub use action::{Action, HiddenText, HiddenUrl, LogLevel};
pub use condition::{Condition, ConditionError, EvaluationError, FILTER_VARIABLES, RULE_VARIABLES};
pub use event::RuleEvent;
pub use fault::RuleFault;
pub use filter::{Filter, FilterEvent};
pub use rule::{Counts, DryRun, EventFilter, Rule};
pub use rule_set::{Fired, RuleSet, built_in};
pub use scope::Scope;
