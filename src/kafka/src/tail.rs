//! A topic's newest records, for a person to look at.

use crate::topic_reader::{TopicReader, positions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::collections::BTreeMap;
use tidecast_event::EventTime;
use tidecast_ports::operations::{RecordsRequest, TopicRecord};
use tidecast_ports::{ControlError, Page};

/// Bytes shown of a key, a value and a header.
const SHOWN: usize = 16 << 10;

/// One page of a topic. Judged whole and shown cut: what is not wanted is not kept.
pub(crate) fn page(
    reader: &mut TopicReader,
    request: &RecordsRequest,
) -> Result<Page<TopicRecord>, ControlError> {
    let RecordsRequest { topic, partition, contains: text, limit, cursor } = request;
    let positions = positions(cursor.as_deref())?;
    let mut bounds = reader.bounds(topic)?;
    if let Some(partition) = partition {
        bounds.retain(|known, _| known == partition);
        if bounds.is_empty() {
            return Err(ControlError::Invalid {
                field: "partition".into(),
                message: format!("topic {topic:?} has no partition {partition}"),
            });
        }
    }
    let text = text.as_ref().map(|text| text.to_lowercase()).filter(|text| !text.is_empty());
    reader.newest(topic, &bounds, positions.as_ref(), *limit.max(&1), |message| {
        text.as_ref().is_none_or(|text| contains(message, text)).then(|| view(message))
    })
}

fn contains(message: &BorrowedMessage<'_>, lower: &str) -> bool {
    let has = |bytes: Option<&[u8]>| {
        bytes.is_some_and(|bytes| String::from_utf8_lossy(bytes).to_lowercase().contains(lower))
    };
    let in_headers = || {
        message.headers().is_some_and(|headers| {
            headers.iter().any(|header| has(header.value) || header.key.to_lowercase().contains(lower))
        })
    };
    has(message.key()) || has(message.payload()) || in_headers()
}

fn view(message: &BorrowedMessage<'_>) -> TopicRecord {
    let mut truncated = false;
    let mut text = |bytes: &[u8]| {
        let shown = &bytes[..shown(bytes)];
        truncated |= shown.len() < bytes.len();
        String::from_utf8_lossy(shown).into_owned()
    };
    let key = message.key().map(&mut text);
    let headers: BTreeMap<String, String> = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
        .collect();
    let (value, value_base64) = match message.payload() {
        None => (None, None),
        Some(value) => {
            let cut = &value[..shown(value)];
            truncated |= cut.len() < value.len();
            match std::str::from_utf8(cut) {
                Ok(text) => (Some(text.to_owned()), None),
                Err(_) => (None, Some(STANDARD.encode(cut))),
            }
        }
    };
    TopicRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: EventTime::from_millis(message.timestamp().to_millis().unwrap_or(0)).to_rfc3339(),
        key,
        value,
        value_base64,
        headers,
        truncated,
    }
}

/// Bytes that are shown: whole characters, where they are text.
fn shown(bytes: &[u8]) -> usize {
    if bytes.len() <= SHOWN {
        return bytes.len();
    }
    let is_inside = |at: &usize| bytes[*at] & 0xC0 == 0x80;
    (SHOWN - 3..=SHOWN).rev().find(|at| !is_inside(at)).unwrap_or(SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(shown(b"short"), 5);
        let long = "é".repeat(SHOWN);
        for from in 0..2 {
            let bytes = &long.as_bytes()[2 * from..];
            assert!(std::str::from_utf8(&bytes[..shown(bytes)]).is_ok());
        }
        let odd = format!("x{long}");
        let cut = shown(odd.as_bytes());
        assert_eq!((cut, std::str::from_utf8(&odd.as_bytes()[..cut]).is_ok()), (SHOWN - 1, true));
        assert_eq!(shown(&[0x80; 2 * SHOWN]), SHOWN);
    }
}
