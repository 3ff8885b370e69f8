//! Traces: the way of a sampled event, from its record to the frame, as spans that know each other.

use std::sync::Arc;
use tidecast_event::TopicPartition;
use tracing::Span;

/// Makes spans that are exported. Without a collector there is none of it, and nothing is traced.
pub trait Tracer: Send + Sync {
    /// The first span of records read from `partition`: a child of the context that a record's `traceparent` header
    /// names, or else a root of its own. `None` when it is not sampled.
    fn receive(&self, traceparent: Option<&[u8]>, partition: &TopicPartition, offset: i64) -> Option<Span>;

    /// A stage of the way, below `parent`. It lasts until the span is dropped.
    fn stage(&self, parent: &Span, stage: &'static str) -> Span;

    /// The last stage, from an output record that names its context: `deliver`. `None` when it is not sampled.
    fn deliver(&self, traceparent: &[u8], of: &str) -> Option<Span>;

    /// What an output record carries so that its readers go on with the trace: the W3C `traceparent` of `span`.
    fn traceparent(&self, span: &Span) -> Option<String>;
}

/// The tracer, where a collector is set.
pub type Tracing = Option<Arc<dyn Tracer>>;
