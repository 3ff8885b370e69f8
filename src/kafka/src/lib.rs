//! Kafka: the only room that knows rdkafka. Source, publisher, ingest, admin, live reader, compacted topics, dead
//! letters, and the embedded broker.

mod cluster;
mod log;
mod native;
mod source;
mod wakeup;

pub use cluster::{Cluster, ClusterOptions, ProducerKind, ProducerTuning, Sasl, Tls};
pub use source::{GroupHandle, Source, SourceControl, SourceError, SourceOptions, SourceThread};
