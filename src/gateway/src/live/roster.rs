//! Who is connected: what is known of each client besides its queue.

use super::outbox::Outbox;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use tidecast_event::EventTime;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `/forecast-updates`.
    WebSocket,
    /// `/stream/metrics`.
    Sse,
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
    /// `json` or `msgpack`; `null` for server-sent events.
    pub format: Option<&'static str>,
    /// Names and patterns that it asked for.
    pub subscriptions: usize,
    /// Updates that wait for it.
    pub queued: usize,
    /// Their bytes, about.
    pub queued_bytes: usize,
    /// Updates that were not sent because it was too slow, since it connected.
    pub skipped: u64,
}

impl Member {
    pub fn item(&self, subscriptions: usize) -> SessionItem {
        let About { kind, address, user, connected, is_binary } = &self.about;
        let waiting = self.outbox.waiting();
        SessionItem {
            id: self.outbox.id,
            kind: *kind,
            address: address.map(|address| address.to_string()),
            user: user.as_ref().map(ToString::to_string),
            connected_at: connected.to_rfc3339(),
            format: (*kind == Kind::WebSocket).then_some(if *is_binary { "msgpack" } else { "json" }),
            subscriptions,
            queued: waiting.updates,
            queued_bytes: waiting.bytes,
            skipped: waiting.skipped,
        }
    }
}
