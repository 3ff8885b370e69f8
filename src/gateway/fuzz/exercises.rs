//! What each fuzz target does with its bytes, and what must hold of it; the corpus is run through the same.

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::value::RawValue;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;
use tidecast_config::{Settings, Sources};
use tidecast_event::EventTime;
use tidecast_gateway::live::position::Position;
use tidecast_gateway::websocket::frame::{Decoder, FrameError, Message};
use tidecast_gateway::websocket::{deflate, protocol};
use tidecast_gateway::{Authenticator, cut_events};

/// Bytes of a message that the decoder of frames takes.
const MESSAGE_BYTES_MAX: usize = 1_024;

fn messages(mut decoder: Decoder, bytes: &[u8], step: usize) -> (Vec<Message>, Option<FrameError>) {
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

fn any_cut(bytes: &[u8], decoder: impl Fn() -> Decoder) {
    let whole = messages(decoder(), bytes, bytes.len().max(1));
    for message in &whole.0 {
        if let Message::Text(payload) | Message::Binary(payload) = message {
            assert!(payload.len() <= MESSAGE_BYTES_MAX, "past the limit");
        }
    }
    for step in [1, 7] {
        assert_eq!(messages(decoder(), bytes, step), whole, "cut every {step} bytes");
    }
}

/// Frames of a client: however the stream is cut, the same messages and the same end.
pub fn frames(bytes: &[u8]) {
    any_cut(bytes, || Decoder::new(MESSAGE_BYTES_MAX));
}

/// The same where compression was agreed, and what a client may offer of it.
pub fn compressed(bytes: &[u8]) {
    any_cut(bytes, || Decoder::new(MESSAGE_BYTES_MAX).with_deflate());
    let Ok(offer) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, offer)]);
    if let Some(agreed) = deflate::negotiate(&headers) {
        assert!(agreed.answer().to_str().unwrap().starts_with("permessage-deflate; "));
        assert!(agreed.session(0).bytes_max >= 256);
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

/// A body of events: cut out of it, byte for byte, whatever it is said to be; each is then taken or refused.
pub fn batches(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    for kind in ["application/json", "application/x-ndjson", "application/msgpack", ""] {
        let Ok(cut) = cut_events(&body, kind) else { continue };
        assert!(cut.iter().map(Bytes::len).sum::<usize>() <= body.len(), "no byte is in two events");
        for event in &cut {
            // A slice of the body: it panics where it is none.
            assert_eq!(body.slice_ref(event), *event);
            events(event);
        }
    }
}

/// Tokens: as they come, and with these bytes for the claims of one that is signed well. Nobody gets in whose time is over.
pub fn tokens(bytes: &[u8]) {
    const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";
    static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
        let overrides = vec![format!("auth.hs256_secret={SECRET}")];
        let settings = Settings::load(&Sources { overrides, ..Sources::default() }).unwrap();
        Authenticator::new(&settings, Arc::new(|_| Box::pin(std::future::pending()))).ok().unwrap()
    });
    let check = |token: &str| {
        let checked = AUTHENTICATOR.check(token).now_or_never().expect("a secret is waited for by nobody");
        if let Ok(caller) = &checked {
            assert!(caller.expires.is_some() && !caller.has_expired(SystemTime::now()));
        }
        checked.is_ok()
    };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(!check(text), "a token that nobody signed: {text}");
    if let Ok(claims) = serde_json::from_str::<&RawValue>(text) {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        check(&jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap());
    }
}

/// The header that a trace goes on with: of one form, or none.
pub fn traceparents(bytes: &[u8]) {
    if tidecast_telemetry::extract(bytes).is_some() {
        let text = std::str::from_utf8(bytes).unwrap();
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{text}");
        assert!(text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{text}");
    }
}
