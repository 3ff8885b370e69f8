//! The opening handshake (RFC 6455 section 4.2), over HTTP/1.1.

use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Why a request cannot become a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAWebSocket {
    /// 400 or 426.
    pub status: StatusCode,
    /// What is wrong.
    pub detail: &'static str,
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let mut tokens = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}

/// The value of `Sec-WebSocket-Accept` for a request that asks for a WebSocket.
pub fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, NotAWebSocket> {
    let refuse = |status, detail| Err(NotAWebSocket { status, detail });
    if !has_token(headers, CONNECTION, "upgrade") || !has_token(headers, UPGRADE, "websocket") {
        return refuse(
            StatusCode::UPGRADE_REQUIRED,
            "this address speaks WebSocket: connect with ws:// or wss://",
        );
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        return refuse(StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version: only 13 is spoken");
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing");
    };
    if STANDARD.decode(key.as_bytes()).map_or(true, |nonce| nonce.len() != 16) {
        return refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key: not 16 bytes in base64");
    }
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Ok(HeaderValue::from_str(&STANDARD.encode(hash.finalize())).expect("base64 is a header value"))
}

/// The headers of a 101 that accepts.
pub fn accept_headers(accept: HeaderValue) -> [(HeaderName, HeaderValue); 3] {
    [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect()
    }

    const ASKS: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(accept_key(&headers(&ASKS)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn anything_missing_is_named() {
        let without = |name: &str| {
            let kept: Vec<_> = ASKS.into_iter().filter(|(header, _)| *header != name).collect();
            accept_key(&headers(&kept)).unwrap_err().status
        };
        assert_eq!(without("connection"), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(without("upgrade"), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(without("sec-websocket-version"), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(without("sec-websocket-key"), StatusCode::BAD_REQUEST);
    }
}
