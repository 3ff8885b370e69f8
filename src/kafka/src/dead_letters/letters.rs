//! Reading the dead-letter topic by offsets.

use crate::cluster::{Cluster, explain};
use crate::log::QuietContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidecast_event::EventTime;
use tidecast_ports::operations::DeadLetter;

/// How long reading some letters may take.
const READ: Duration = Duration::from_secs(10);

/// One dead letter as read.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub reason: String,
    pub detail: String,
    pub origin_topic: String,
    pub origin_partition: i32,
    pub origin_offset: i64,
    pub truncated: bool,
}

impl Letter {
    fn read(message: &BorrowedMessage<'_>) -> Self {
        let header = |name: &str| {
            let headers = message.headers()?;
            let header = headers.iter().find(|header| header.key == name)?;
            Some(String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
        };
        let number = |name: &str| header(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
        Letter {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            reason: header("reason").unwrap_or_default(),
            detail: header("detail").unwrap_or_default(),
            origin_topic: header("topic").unwrap_or_default(),
            origin_partition: i32::try_from(number("partition")).unwrap_or(-1),
            origin_offset: number("offset"),
            truncated: header("truncated").is_some_and(|text| text != "false"),
        }
    }

    /// `<partition>-<offset>`.
    pub fn id(&self) -> String {
        format!("{}-{}", self.partition, self.offset)
    }

    /// Whether its words, key or payload contain this text, given in lower case.
    pub fn contains(&self, lower: &str) -> bool {
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().is_some_and(|bytes| String::from_utf8_lossy(bytes).to_lowercase().contains(lower))
        };
        self.detail.to_lowercase().contains(lower)
            || self.reason.contains(lower)
            || text(&self.key)
            || text(&self.payload)
    }

    pub fn view(self) -> DeadLetter {
        let id = self.id();
        let (payload, payload_base64) = match self.payload.map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(error)) => (None, Some(base64(error.as_bytes()))),
        };
        DeadLetter {
            id,
            reason: self.reason,
            detail: self.detail,
            topic: self.origin_topic,
            partition: self.origin_partition,
            offset: self.origin_offset,
            timestamp: EventTime::from_millis(self.timestamp_ms).to_rfc3339(),
            key: self.key.map(|key| String::from_utf8_lossy(&key).into_owned()),
            payload,
            payload_base64,
            truncated: self.truncated,
        }
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, at| word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A reader of one topic, by offsets.
pub(super) struct Letters {
    consumer: BaseConsumer<QuietContext>,
    topic: String,
}

impl Letters {
    pub fn open(cluster: &Cluster, topic: &str) -> Result<Self, String> {
        let group = format!("{}-dead-letters", cluster.options().group_id);
        let mut config = cluster.reader_config(&group, "read_committed");
        config
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "8192")
            // The log's beginning may move while we read.
            .set("auto.offset.reset", "earliest");
        let consumer = BaseConsumer::from_config_and_context(&config, QuietContext::default())
            .map_err(|error| explain(&error))?;
        Ok(Letters { consumer, topic: topic.to_owned() })
    }

    /// First and next offset of each partition.
    pub fn bounds(&self) -> Result<BTreeMap<i32, (i64, i64)>, String> {
        let metadata =
            self.consumer.fetch_metadata(Some(&self.topic), READ).map_err(|error| self.fault(&error))?;
        let found = metadata.topics().first();
        if let Some(code) = found.and_then(|found| found.error()) {
            return Err(format!("topic {}: {}", self.topic, RDKafkaErrorCode::from(code)));
        }
        found
            .map_or(&[][..], |found| found.partitions())
            .iter()
            .map(|partition| {
                let bounds = self.consumer.fetch_watermarks(&self.topic, partition.id(), READ);
                bounds.map(|bounds| (partition.id(), bounds)).map_err(|error| self.fault(&error))
            })
            .collect()
    }

    /// Letters of one partition with offsets from `from` to before `to`, oldest first.
    pub fn read(&mut self, partition: i32, from: i64, to: i64) -> Result<Vec<Letter>, String> {
        let mut letters = Vec::new();
        self.each(partition, from, to, |message| letters.push(Letter::read(message)))?;
        Ok(letters)
    }

    /// Calls `take` on each record of a partition with offsets from `from` to before `to`.
    pub fn each(
        &mut self,
        partition: i32,
        from: i64,
        to: i64,
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), String> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, Offset::Offset(from))
            .map_err(|error| self.fault(&error))?;
        self.consumer.assign(&list).map_err(|error| self.fault(&error))?;
        let deadline = Instant::now() + READ;
        let outcome = loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    if message.partition() != partition || message.offset() < from {
                        continue;
                    }
                    if message.offset() < to {
                        take(&message);
                    }
                    // What follows the last may be markers only.
                    if message.offset() >= to - 1 {
                        break Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(at))) if at == partition => break Ok(()),
                _ if Instant::now() >= deadline => {
                    let why = self
                        .consumer
                        .context()
                        .last_error()
                        .unwrap_or_else(|| "no answer in time".to_owned());
                    break Err(format!("topic {} cannot be read: {why}", self.topic));
                }
                _ => {}
            }
        };
        self.consumer.unassign().map_err(|error| self.fault(&error))?;
        outcome
    }

    fn fault(&self, error: &KafkaError) -> String {
        let why = self.consumer.context().last_error().unwrap_or_else(|| explain(error));
        format!("topic {} cannot be read: {why}", self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_as_in_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
