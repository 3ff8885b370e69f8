//! The edges as the actors see them, where neither may know the other.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tidecast_actors::actions::{ActionOrder, ActionSink};
use tidecast_event::TopicPartition;
use tidecast_notify::{Notifier, Order};
use tidecast_ports::Tracer;
use tidecast_ports::notes::{SILENCES, Silence};
use tidecast_rules::Action;
use tracing::Span;

/// The silences that people made, as the notes have them now.
#[derive(Default)]
pub struct Silences(RwLock<BTreeMap<String, Silence>>);

impl Silences {
    /// A note changed.
    pub fn changed(&self, key: &str, value: Option<&[u8]>) {
        let Some(name) = key.strip_prefix(SILENCES) else { return };
        let silence = value.and_then(|value| serde_json::from_slice::<Silence>(value).ok());
        let mut silences = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match silence {
            Some(silence) => drop(silences.insert(name.to_owned(), silence)),
            None => drop(silences.remove(name)),
        }
    }

    fn cover(&self, rule: &str, model_id: Option<&str>) -> bool {
        let silences = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if silences.is_empty() {
            return false;
        }
        let now_ms = i64::try_from(tidecast_actors::wall_clock_ms()).unwrap_or(i64::MAX);
        silences.values().any(|silence| silence.covers(Some(rule), model_id, now_ms))
    }
}

/// The notifier as the actors see it. What goes to people is held back while a silence covers it.
pub struct Outward {
    /// Carries out.
    pub notifier: Arc<Notifier>,
    /// What notifies nobody.
    pub silences: Arc<Silences>,
}

impl ActionSink for Outward {
    fn act(&self, order: ActionOrder) {
        let ActionOrder { rule, action, event, priority } = order;
        let to_people =
            matches!(action, Action::SendAlert { .. } | Action::Webhook { .. } | Action::SlackNotify { .. });
        if to_people && self.silences.cover(&rule, event.model_id.as_deref()) {
            tracing::debug!(rule = &*rule, "a silence covers this notification");
            return;
        }
        self.notifier.submit(priority, Order { rule, action, event });
    }
}

/// Carries out nothing: what rules of the past ask for was done when it was the present.
pub struct Nobody;

impl ActionSink for Nobody {
    fn act(&self, _: ActionOrder) {}
}

/// Spans that go to the collector.
pub struct Spans;

impl Tracer for Spans {
    fn receive(&self, traceparent: Option<&[u8]>, partition: &TopicPartition, offset: i64) -> Option<Span> {
        tidecast_telemetry::receive(traceparent, &partition.topic, partition.partition, offset)
    }

    fn stage(&self, parent: &Span, stage: &'static str) -> Span {
        tidecast_telemetry::stage(parent, stage)
    }

    fn deliver(&self, traceparent: &[u8], of: &str) -> Option<Span> {
        tidecast_telemetry::deliver(traceparent, of)
    }

    fn traceparent(&self, span: &Span) -> Option<String> {
        tidecast_telemetry::traceparent(span)
    }
}
