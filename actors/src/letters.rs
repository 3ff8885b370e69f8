//! Dead letters: records that cannot be used, as they came, with the reason and where they were.

use bytes::Bytes;
use tidecast_config::Settings;
use tidecast_event::{OutputId, Reason, Rejection, TopicPartition};
use tidecast_ports::source::RecordMeta;
use tidecast_ports::{Destination, OutputRecord, RecordBatch};

/// Room that a dead letter's headers and the record's own framing take of the largest request.
const OVERHEAD: usize = 1_024;
/// Longest `detail` of a dead letter, bytes.
const DETAIL_MAX: usize = 400;

/// Writes the dead letters of one partition.
#[derive(Debug)]
pub struct Letters {
    partition: TopicPartition,
    bytes_max: usize,
}

/// Why a record is refused that made the code which handles it panic. The same words whoever sets it apart: a repeated
/// output is identical.
pub fn panicked() -> Rejection {
    let detail = "processing it panicked each time that it was tried; the service's log has the words";
    Rejection::new(Reason::Panic, detail)
}

impl Letters {
    /// Of a partition's records.
    pub fn new(settings: &Settings, partition: &TopicPartition) -> Self {
        let bytes_max = (settings.kafka.max_request_size as usize).saturating_sub(OVERHEAD);
        Letters { partition: partition.clone(), bytes_max }
    }

    /// The record with why it is refused, as it came but for what is past the largest request.
    pub fn of(&self, batch: &RecordBatch, record: &RecordMeta, rejection: &Rejection) -> OutputRecord {
        let key = batch.key(record);
        let value = batch.value(record);
        let room = self.bytes_max.saturating_sub(key.map_or(0, <[u8]>::len));
        let mut detail = rejection.detail.clone();
        if detail.len() > DETAIL_MAX {
            detail.truncate((0..=DETAIL_MAX).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or(0));
        }
        let mut headers = vec![
            ("reason", Bytes::from_static(rejection.reason.as_str().as_bytes())),
            ("detail", Bytes::from(detail)),
            ("topic", Bytes::from(self.partition.topic.to_string())),
            ("partition", Bytes::from(self.partition.partition.to_string())),
            ("offset", Bytes::from(record.offset.to_string())),
        ];
        if value.is_some_and(|value| value.len() > room) {
            headers.push(("truncated", Bytes::from_static(b"true")));
        }
        let at = record.offset.to_le_bytes();
        let place = self.partition.partition.to_le_bytes();
        OutputRecord {
            destination: Destination::DeadLetters,
            partition: None,
            key: key.map(Bytes::copy_from_slice),
            value: value.map(|value| Bytes::copy_from_slice(&value[..value.len().min(room)])),
            id: Some(OutputId::of(&[
                crate::PIPELINE_VERSION,
                b"letter",
                self.partition.topic.as_bytes(),
                &place,
                &at,
            ])),
            headers,
        }
    }
}
