//! Kafka: the only room that knows rdkafka. Source, publisher, ingest, admin, live reader, compacted topics, dead
//! letters, and the embedded broker.

mod admin;
mod cluster;
mod config_topic;
mod dead_letters;
mod delivery;
mod embedded;
mod history;
mod ingest;
mod live;
mod log;
mod native;
mod operations;
mod owner;
mod partition_list;
mod publisher;
mod publishing;
mod publishing_history;
mod seen_events;
mod single;
mod source;
mod tail;
mod topic_reader;
mod wakeup;

pub use admin::{AdminError, Broker, ClusterView, KafkaAdmin, PartitionView, TopicSpec, TopicView};
pub use cluster::{ClientError, Cluster, ClusterOptions, ProducerKind, ProducerTuning, Sasl, Tls};
pub use config_topic::{Change, ConfigTopic, Entry, OnChange, TableError};
pub use dead_letters::DeadLetterTopic;
pub use embedded::EmbeddedBroker;
pub use history::OutputHistory;
pub use ingest::Ingest;
pub use live::{LiveOptions, LiveReader, Reached};
pub use operations::Operations;
pub use publisher::{Guarantee, KafkaPublisher, OutputTopics};
pub use publishing::{Publishing, PublishingFigures};
pub use publishing_history::PublishingHistory;
pub use single::{Place, SingleSender};
pub use source::{GroupHandle, Source, SourceControl, SourceError, SourceOptions, SourceThread};
