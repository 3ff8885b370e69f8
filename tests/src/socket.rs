//! A WebSocket client that knows the protocol's shapes and nothing of the server.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// One connection.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What came: a message, or the end.
#[derive(Debug, PartialEq)]
pub enum Came {
    /// A text frame with JSON, or a binary frame with MessagePack (then `true`).
    Message(Value, bool),
    /// The server closed with this code; 1005 without one, 1006 when the connection just broke.
    Closed(u16),
}

impl Socket {
    /// Connects.
    pub async fn open(url: &str) -> Socket {
        Socket::try_open(url).await.unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    /// Connects, or says why not.
    pub async fn try_open(url: &str) -> Result<Socket, tungstenite::Error> {
        let (stream, _) = tokio_tungstenite::connect_async(url).await?;
        Ok(Socket { stream })
    }

    /// Sends JSON as text.
    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    /// Sends JSON as text, or tells that the connection is gone.
    pub async fn try_send(&mut self, message: Value) -> bool {
        self.stream.send(Message::text(message.to_string())).await.is_ok()
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.unwrap();
    }

    /// Sends any bytes.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.stream.send(Message::binary(bytes)).await.unwrap();
    }

    /// Queues a frame without flushing; [`Socket::flush`] sends all that was queued.
    pub async fn feed_text(&mut self, text: String) {
        self.stream.feed(Message::text(text)).await.unwrap();
    }

    /// Sends what was queued.
    pub async fn flush(&mut self) {
        self.stream.flush().await.unwrap();
    }

    /// The text of the next frame that has one, unread: for whoever counts microseconds.
    pub async fn next_text(&mut self, limit: Duration) -> Option<tungstenite::Utf8Bytes> {
        let deadline = Instant::now() + limit;
        loop {
            if let Message::Text(text) = timeout_at(deadline, self.stream.next()).await.ok()??.ok()? {
                return Some(text);
            }
        }
    }

    /// The next message or the end, within `limit`; pings and pongs are answered and passed over.
    pub async fn next(&mut self, limit: Duration) -> Option<Came> {
        let deadline = Instant::now() + limit;
        loop {
            let frame = match timeout_at(deadline, self.stream.next()).await {
                Err(_) => return None,
                Ok(None) => return Some(Came::Closed(1006)),
                Ok(Some(frame)) => frame,
            };
            match frame {
                Ok(Message::Text(text)) => {
                    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                    return Some(Came::Message(json, false));
                }
                Ok(Message::Binary(bytes)) => {
                    let value = rmp_serde::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {bytes:?}"));
                    return Some(Came::Message(value, true));
                }
                Ok(Message::Close(close)) => {
                    return Some(Came::Closed(close.map_or(1005, |frame| frame.code.into())));
                }
                Ok(_) => {}
                Err(_) => return Some(Came::Closed(1006)),
            }
        }
    }

    /// The next message of that type; others are passed over. Panics after `limit` or when the connection ends.
    pub async fn expect(&mut self, kind: &str, limit: Duration) -> Value {
        self.expect_where(kind, limit, |_| true).await
    }

    /// The next message of that type which `wanted` takes.
    pub async fn expect_where(
        &mut self,
        kind: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        let mut passed = Vec::new();
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await {
                Some(Came::Message(message, _)) if message["type"] == kind && wanted(&message) => {
                    return message;
                }
                Some(Came::Message(message, _)) => passed.push(message),
                other => panic!("no {kind} within {limit:?} ({other:?}); passed over {passed:?}"),
            }
        }
    }

    /// Waits for the end and returns its code; messages are passed over.
    pub async fn closed(&mut self, limit: Duration) -> u16 {
        let deadline = Instant::now() + limit;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await {
                Some(Came::Closed(code)) => return code,
                Some(Came::Message(..)) => {}
                None => panic!("still open after {limit:?}"),
            }
        }
    }

    /// Subscribes and waits for the confirmation.
    pub async fn subscribe(&mut self, model_ids: &[&str], update_types: &[&str]) -> Value {
        self.send(json!({"type": "subscribe", "model_ids": model_ids, "update_types": update_types})).await;
        self.expect("subscribed", Duration::from_secs(10)).await
    }
}
