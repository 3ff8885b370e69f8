//! The traits the actors own: what they need of Kafka, of the store and of the gateway, in words of the house.
//!
//! The edges (`kafka`, `gateway`, `store`) implement or call these; neither knows the other.

pub mod control;
pub mod ingest;
pub mod live;
pub mod notes;
pub mod operations;
pub mod paths;
pub mod publish;
pub mod snapshot;
pub mod source;
pub mod stats;
pub mod table;
pub mod trace;

pub use control::{ControlError, ControlPlane, Page, PageRequest};
pub use ingest::{EventIngest, IngestError, OutputIngest};
pub use live::{LiveHistory, LiveRecord, LiveSink, OutputKind};
pub use notes::Notes;
pub use operations::{DeadLetters, KafkaOperations};
pub use publish::{Destination, OutputRecord, PublishError, Publisher, Recover};
pub use snapshot::SnapshotStore;
pub use source::{
    Assigned, BatchPool, Committed, PartitionSink, Preparer, RecordBatch, RecordMeta, SourceHandler, Wake,
};
pub use stats::{Health, StatsSource};
pub use table::{Table, TableReader};
pub use trace::{Tracer, Tracing};
