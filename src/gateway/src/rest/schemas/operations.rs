//! Shapes of Kafka's side: publishing, dead letters, topics, clients.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Publishing in a period, of all instances.
#[derive(ToSchema)]
pub struct PublishingSummary {
    /// `today` (UTC) or `last_7_days`.
    period: String,
    #[schema(inline)]
    #[serde(flatten)]
    figures: PublishingFigures,
}

/// Publishing in one hour.
#[derive(ToSchema)]
pub struct PublishingHour {
    /// Its beginning, RFC 3339.
    hour: String,
    /// The topic, where one was asked for.
    topic: Option<String>,
    #[serde(flatten)]
    figures: PublishingFigures,
}

/// Hours of publishing.
#[derive(ToSchema)]
pub struct PublishingHours {
    items: Vec<PublishingHour>,
    #[schema(required)]
    next: Option<String>,
}

/// Figures of publishing.
#[derive(ToSchema)]
pub struct PublishingFigures {
    total_messages: u64,
    messages_sent: u64,
    messages_failed: u64,
    /// 0 to 1; 1 without a message.
    success_rate: f64,
    total_bytes: u64,
    avg_latency_ms: f64,
    p90_latency_ms: f64,
    p99_latency_ms: f64,
}

/// How many rows went.
#[derive(ToSchema)]
pub struct Cleaned {
    deleted: u64,
}

/// One dead letter.
#[derive(ToSchema)]
pub struct DeadLetter {
    /// Names it for a replay.
    id: String,
    reason: String,
    detail: String,
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: String,
    key: Option<String>,
    /// Where it is UTF-8.
    payload: Option<String>,
    /// Where it is not.
    payload_base64: Option<String>,
    truncated: bool,
}

/// A page of dead letters.
#[derive(ToSchema)]
pub struct DeadLetterPage {
    items: Vec<DeadLetter>,
    #[schema(required)]
    next: Option<String>,
}

/// Which dead letters go back.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// By id.
    ids: Option<Vec<String>>,
    /// All of one reason.
    reason: Option<String>,
    /// Everything.
    all: Option<bool>,
    /// An edited payload, with a single id.
    payload: Option<Value>,
}

/// What a replay did.
#[derive(ToSchema)]
pub struct ReplayResult {
    replayed: u64,
    skipped: u64,
}

/// A page of topics.
#[derive(ToSchema)]
pub struct TopicPage {
    items: Vec<Map<String, Value>>,
    #[schema(required)]
    next: Option<String>,
}

/// A record of a topic.
#[derive(ToSchema)]
pub struct TopicRecord {
    partition: i32,
    offset: i64,
    /// RFC 3339.
    timestamp: String,
    /// As text.
    #[schema(required)]
    key: Option<String>,
    /// As text, when it is UTF-8; `null` with no `value_base64` is a tombstone.
    #[schema(required)]
    value: Option<String>,
    /// When it is not.
    #[schema(required)]
    value_base64: Option<String>,
    headers: BTreeMap<String, String>,
    /// Something of it is longer than what is shown.
    truncated: bool,
}

/// A page of a topic's records.
#[derive(ToSchema)]
pub struct RecordPage {
    items: Vec<TopicRecord>,
    #[schema(required)]
    next: Option<String>,
}

/// A page of connected clients.
#[derive(ToSchema)]
pub struct SessionPage {
    items: Vec<crate::live::roster::SessionItem>,
    #[schema(required)]
    next: Option<String>,
}

/// Whether connection settings work.
#[derive(ToSchema)]
pub struct ConnectionTest {
    /// `success` or `error`.
    status: String,
    connected: bool,
    bootstrap_servers: Value,
    test_timestamp: String,
}
