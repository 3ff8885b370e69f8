//! One record at a time, each with its own answer: hand-sent messages, entries of compacted topics.

use crate::cluster::{Cluster, ProducerKind, explain};
use crate::log::QuietContext;
use crate::publishing::Publishing;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::{Duration, Instant};

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NotTaken {
    /// In words.
    pub message: String,
    /// It is larger than the brokers or the producer allow.
    pub too_large: bool,
}

/// Sends single records and waits for each. Cheap to clone.
#[derive(Clone)]
pub struct SingleSender {
    producer: FutureProducer<QuietContext>,
    publishing: Publishing,
    timeout: Duration,
}

impl SingleSender {
    /// Makes the producer; the brokers need not be there yet. Called within a tokio runtime.
    pub fn new(cluster: &Cluster, publishing: Publishing) -> Result<Self, String> {
        let mut config = cluster.producer_config(ProducerKind::Committing);
        // Somebody waits for this one record.
        config.set("linger.ms", "0");
        let producer = FutureProducer::from_config_and_context(&config, QuietContext::default())
            .map_err(|error| explain(&error))?;
        Ok(SingleSender { producer, publishing, timeout: cluster.options().producer.request_timeout })
    }

    /// Sends one record; `None` as value is a tombstone. Answers when it is acknowledged.
    pub async fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Place, NotTaken> {
        let begun = Instant::now();
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic);
        record.key = key;
        record.payload = value;
        match self.producer.send(record, self.timeout).await {
            Ok(delivery) => {
                let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                self.publishing.sent(topic, bytes, u64::try_from(begun.elapsed().as_micros()).ok());
                Ok(Place { partition: delivery.partition, offset: delivery.offset })
            }
            Err((error, _)) => {
                self.publishing.failed(topic);
                let message = format!("topic {topic} did not take the record: {}", explain(&error));
                let too_large = error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge);
                Err(NotTaken { message, too_large })
            }
        }
    }
}
