//! A record of the dead-letter topic.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use tidecast_event::EventTime;
use tidecast_ports::operations::DeadLetter;

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
    /// Epoch milliseconds; `None` of letters that were written without.
    pub origin_timestamp_ms: Option<i64>,
    pub truncated: bool,
}

impl Letter {
    pub fn read(message: &BorrowedMessage<'_>) -> Self {
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
            origin_timestamp_ms: Some(number("timestamp")).filter(|ms| *ms > 0),
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
            Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
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
