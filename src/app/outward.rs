//! The edges as the actors see them, where neither may know the other.

use std::sync::Arc;
use tidecast_actors::actions::{ActionOrder, ActionSink};
use tidecast_event::TopicPartition;
use tidecast_notify::{Notifier, Order};
use tidecast_ports::Tracer;
use tracing::Span;

/// The notifier as the actors see it.
pub struct Outward(pub Arc<Notifier>);

impl ActionSink for Outward {
    fn act(&self, order: ActionOrder) {
        let ActionOrder { rule, action, event, priority } = order;
        self.0.submit(priority, Order { rule, action, event });
    }
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
