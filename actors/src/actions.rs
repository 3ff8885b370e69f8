//! What fired rules ask of the world outside: carried out elsewhere, so that nothing outside slows the stream.

use std::sync::Arc;
use tidecast_event::Priority;
use tidecast_rules::{Action, RuleEvent};

/// One action of one fired rule.
#[derive(Debug, Clone)]
pub struct ActionOrder {
    /// The rule.
    pub rule: Arc<str>,
    /// What it asks for.
    pub action: Action,
    /// What it fired on.
    pub event: Arc<RuleEvent>,
    /// In which order orders that wait are carried out.
    pub priority: Priority,
}

/// Carries out actions. Must not wait: what finds no room is counted as dropped by the one who carries out.
pub trait ActionSink: Send + Sync {
    /// Takes an order.
    fn act(&self, order: ActionOrder);
}
