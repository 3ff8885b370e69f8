//! Who is connected: what is known of each client besides its queue.

use super::hub::Hub;
use super::outbox::Outbox;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidecast_event::EventTime;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `/forecast-updates`.
    WebSocket,
    /// `/stream/metrics`.
    Sse,
    /// `/ws/ingest`: sends events, and gets no updates.
    Ingest,
}

/// A client, as it is known to the hub.
#[derive(Debug, Clone)]
pub struct About {
    /// How it is connected.
    pub kind: Kind,
    /// Where from.
    pub address: Option<IpAddr>,
    /// The subject of its token, once it has shown one.
    pub user: Option<Arc<str>>,
    /// Since when.
    pub connected: EventTime,
    /// It asked for MessagePack.
    pub is_binary: bool,
}

impl About {
    /// A client that connects now.
    pub fn new(kind: Kind, address: Option<IpAddr>, user: Option<Arc<str>>) -> Self {
        let connected = EventTime::from_millis(crate::ingest::http::now_ms());
        About { kind, address, user, connected, is_binary: false }
    }

    /// What is told of every client; nothing waits and nothing was asked for.
    fn item(&self, id: u64) -> SessionItem {
        SessionItem {
            id,
            kind: self.kind,
            address: self.address.map(|address| address.to_string()),
            user: self.user.as_ref().map(ToString::to_string),
            connected_at: self.connected.to_rfc3339(),
            format: None,
            subscriptions: 0,
            queued: 0,
            queued_bytes: 0,
            skipped: 0,
            accepted: None,
            refused: None,
        }
    }
}

/// A client in the hub's list.
#[derive(Debug)]
pub(super) struct Member {
    pub outbox: Arc<Outbox>,
    pub about: About,
}

/// A client, for a person to look at.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionItem {
    /// Its number in this process.
    pub id: u64,
    /// How it is connected.
    pub kind: Kind,
    /// Where from.
    pub address: Option<String>,
    /// The subject of its token; `null` without access control.
    pub user: Option<String>,
    /// RFC 3339.
    pub connected_at: String,
    /// `json` or `msgpack`; `null` for server-sent events, and for senders, who may send both.
    pub format: Option<&'static str>,
    /// Names and patterns that it asked for.
    pub subscriptions: usize,
    /// Updates that wait for it; of a sender, events that are on their way to Kafka.
    pub queued: usize,
    /// Their bytes, about.
    pub queued_bytes: usize,
    /// Updates that were not sent because it was too slow, since it connected.
    pub skipped: u64,
    /// Of a sender: events that Kafka has, since it connected.
    pub accepted: Option<u64>,
    /// Of a sender: events that were refused.
    pub refused: Option<u64>,
}

impl Member {
    pub fn item(&self, subscriptions: usize) -> SessionItem {
        let About { kind, is_binary, .. } = self.about;
        let waiting = self.outbox.waiting();
        SessionItem {
            format: (kind == Kind::WebSocket).then_some(if is_binary { "msgpack" } else { "json" }),
            subscriptions,
            queued: waiting.updates,
            queued_bytes: waiting.bytes,
            skipped: waiting.skipped,
            ..self.about.item(self.outbox.id)
        }
    }
}

/// How a sender of events gets on; written by its connection.
#[derive(Debug, Default)]
pub struct SenderFigures {
    /// Events on their way to Kafka.
    pub on_the_way: AtomicU64,
    /// Their bytes.
    pub bytes_on_the_way: AtomicU64,
    /// Events that Kafka has.
    pub accepted: AtomicU64,
    /// Events that were refused.
    pub refused: AtomicU64,
}

/// A sender of events in the hub's list.
#[derive(Debug)]
pub(super) struct Sender {
    pub about: About,
    pub figures: Arc<SenderFigures>,
}

impl Sender {
    pub fn item(&self, id: u64) -> SessionItem {
        let figure = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let count = |value: &AtomicU64| usize::try_from(figure(value)).unwrap_or(usize::MAX);
        SessionItem {
            queued: count(&self.figures.on_the_way),
            queued_bytes: count(&self.figures.bytes_on_the_way),
            accepted: Some(figure(&self.figures.accepted)),
            refused: Some(figure(&self.figures.refused)),
            ..self.about.item(id)
        }
    }
}

/// A sender's place in the list, which it has until this is dropped.
pub struct SenderPlace {
    pub(super) hub: Arc<Hub>,
    pub(super) id: u64,
    /// To be kept up to date.
    pub figures: Arc<SenderFigures>,
}

impl SenderPlace {
    /// Who it is became known.
    pub fn is_of(&self, user: Option<Arc<str>>) {
        self.hub.describe(self.id, |about| about.user = user);
    }
}

impl Drop for SenderPlace {
    fn drop(&mut self) {
        self.hub.sender_left(self.id);
    }
}
