//! What each fuzz target does with its bytes, and what must hold of it; the corpus is run through the same.

use bytes::BytesMut;
use tidecast_event::EventTime;
use tidecast_gateway::live::position::Position;
use tidecast_gateway::websocket::frame::{Decoder, FrameError, Message};
use tidecast_gateway::websocket::protocol;

fn messages(bytes: &[u8], step: usize) -> (Vec<Message>, Option<FrameError>) {
    let mut decoder = Decoder::new(1_024);
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// Frames of a client: however the stream is cut, the same messages and the same end.
pub fn frames(bytes: &[u8]) {
    let whole = messages(bytes, bytes.len().max(1));
    for message in &whole.0 {
        if let Message::Text(payload) | Message::Binary(payload) = message {
            assert!(payload.len() <= 1_024, "past the limit");
        }
    }
    for step in [1, 7] {
        assert_eq!(messages(bytes, step), whole, "cut every {step} bytes");
    }
}

/// Control messages: understood or complained about, with a code and words.
pub fn control(bytes: &[u8]) {
    for read in [protocol::read_text(bytes), protocol::read_binary(bytes)] {
        if let Err(complaint) = read {
            assert!(!complaint.code.is_empty() && !complaint.message.is_empty());
        }
    }
}

/// Positions: what is read is written back as the same.
pub fn positions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(position) = Position::decode(text) {
        assert_eq!(Position::decode(&position.encode()), Some(position));
    }
}

/// Events as they come in: taken or refused with a reason.
pub fn events(bytes: &[u8]) {
    let mut decoder = tidecast_event::decode::Decoder::new();
    let arrival = EventTime::from_millis(1_732_150_000_000);
    match decoder.decode(bytes, arrival, 86_400_000_000) {
        Ok(event) => assert!(!event.source().is_empty() && !event.event_type().is_empty()),
        Err(rejection) => assert!(!rejection.detail.is_empty()),
    }
}
