//! Dead letters: records that cannot be used, as they came, with the reason and where they were.

use bytes::Bytes;
use tidecast_config::Settings;
use tidecast_event::{OutputId, Reason, Rejection, TopicPartition};
use tidecast_ports::publish::Refusal;
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
        let at = record.offset.to_le_bytes();
        let place = self.partition.partition.to_le_bytes();
        let id = [crate::PIPELINE_VERSION, b"letter", self.partition.topic.as_bytes(), &place, &at];
        let headers = [
            Bytes::from_static(rejection.reason.as_str().as_bytes()),
            cut(&rejection.detail),
            Bytes::from(self.partition.topic.to_string()),
            Bytes::from(self.partition.partition.to_string()),
            Bytes::from(record.offset.to_string()),
        ];
        let (key, value) = (batch.key(record), batch.value(record));
        let mut letter = letter(key, value, Some(OutputId::of(&id)), headers, self.bytes_max);
        // What an event without a time of its own has, should it be sent again.
        letter.headers.push(("timestamp", Bytes::from(record.timestamp_ms.to_string())));
        if let Some(traceparent) = batch.traceparent(record) {
            letter.headers.push((crate::trace::HEADER, Bytes::copy_from_slice(traceparent)));
        }
        letter
    }
}

/// An output that cannot be written, as a dead letter: nothing is left out without a trace. It never was in the log, so it
/// has no place there.
pub fn of_output(record: &OutputRecord, refusal: Refusal) -> OutputRecord {
    let id = record.id.map(|id| OutputId::of(&[crate::PIPELINE_VERSION, b"unwritten", &id.0.to_le_bytes()]));
    let headers = [
        Bytes::from_static(refusal.reason.as_bytes()),
        cut(&refusal.detail),
        Bytes::from(refusal.topic),
        Bytes::from(record.partition.unwrap_or(-1).to_string()),
        Bytes::from_static(b"-1"),
    ];
    let bytes_max = refusal.bytes_max.saturating_sub(OVERHEAD);
    letter(record.key.as_deref(), record.value.as_deref(), id, headers, bytes_max)
}

fn cut(detail: &str) -> Bytes {
    Bytes::copy_from_slice(&detail.as_bytes()[..detail.floor_char_boundary(DETAIL_MAX)])
}

/// `headers`: reason, detail, topic, partition and offset. What is past `bytes_max` is cut, the key last.
fn letter(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    id: Option<OutputId>,
    headers: [Bytes; 5],
    bytes_max: usize,
) -> OutputRecord {
    let kept = key.map(|key| &key[..key.len().min(bytes_max)]);
    let room = bytes_max - kept.map_or(0, <[u8]>::len);
    let mut headers: Vec<(&'static str, Bytes)> =
        ["reason", "detail", "topic", "partition", "offset"].into_iter().zip(headers).collect();
    if value.is_some_and(|value| value.len() > room) || key != kept {
        headers.push(("truncated", Bytes::from_static(b"true")));
    }
    OutputRecord {
        destination: Destination::DeadLetters,
        partition: None,
        key: kept.map(Bytes::copy_from_slice),
        value: value.map(|value| Bytes::copy_from_slice(&value[..value.len().min(room)])),
        id,
        headers,
    }
}
