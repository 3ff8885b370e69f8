//! What rules ask of the world outside, handed to the notifier.

use std::sync::Arc;
use tidecast_actors::actions::{ActionOrder, ActionSink};
use tidecast_notify::{Notifier, Order};

/// The notifier as the actors see it.
pub struct Outward(pub Arc<Notifier>);

impl ActionSink for Outward {
    fn act(&self, order: ActionOrder) {
        let ActionOrder { rule, action, event, priority } = order;
        self.0.submit(priority, Order { rule, action, event });
    }
}
