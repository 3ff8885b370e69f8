//! Kafka: the only room that knows rdkafka. Source, publisher, ingest, admin, live reader, compacted topics, dead
//! letters, and the embedded broker.

mod admin;
mod cluster;
mod config_topic;
mod embedded;
mod log;
mod native;
mod publisher;
mod publishing;
mod single;
mod source;
mod wakeup;

pub use admin::{AdminError, Broker, ClusterView, KafkaAdmin, PartitionView, TopicSpec, TopicView};
pub use cluster::{Cluster, ClusterOptions, ProducerKind, ProducerTuning, Sasl, Tls};
pub use config_topic::{Change, ConfigTopic, Entry, OnChange, TableError};
pub use embedded::EmbeddedBroker;
pub use publisher::{Guarantee, KafkaPublisher, OutputTopics};
pub use publishing::{Publishing, PublishingFigures};
pub use single::{Place, SingleSender};
pub use source::{GroupHandle, Source, SourceControl, SourceError, SourceOptions, SourceThread};
