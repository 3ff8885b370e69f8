//! Kafka as operators see it, and the dead letters.

use crate::control::{ControlError, Page, PageRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `<partition>-<offset>` in the dead-letter topic; names it for a replay.
    pub id: String,
    /// The contract's reason.
    pub reason: String,
    /// What was found.
    pub detail: String,
    /// Origin.
    pub topic: String,
    /// Origin.
    pub partition: i32,
    /// Origin.
    pub offset: i64,
    /// When it was written, RFC 3339.
    pub timestamp: String,
    /// The key, as text (lossy).
    pub key: Option<String>,
    /// The payload as text when it is UTF-8.
    pub payload: Option<String>,
    /// The payload in base64 when it is not.
    pub payload_base64: Option<String>,
    /// The payload was cut.
    pub truncated: bool,
}

/// Which dead letters go back, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// By id; empty with a `reason` or `all`.
    #[serde(default)]
    pub ids: Vec<String>,
    /// All of one reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// Everything.
    #[serde(default)]
    pub all: bool,
    /// An edited payload in place of the original; only with a single id.
    #[serde(default)]
    pub payload: Option<Value>,
}

/// What a replay did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayResult {
    /// Records written back to their topic.
    pub replayed: u64,
    /// Asked for and not found, or replayed already.
    pub skipped: u64,
}

/// Rejected input, and its way back.
#[async_trait::async_trait]
pub trait DeadLetters: Send + Sync {
    /// Newest first; `reason` filters.
    async fn list(&self, reason: Option<String>, page: PageRequest)
    -> Result<Page<DeadLetter>, ControlError>;
    /// Puts letters back on their topic, each once.
    async fn replay(&self, request: ReplayRequest) -> Result<ReplayResult, ControlError>;
}

/// Which records of a topic.
#[derive(Debug, Clone, Default)]
pub struct RecordsRequest {
    /// Its name.
    pub topic: String,
    /// Of one partition alone.
    pub partition: Option<i32>,
    /// Only those whose key, value or headers have this text in them, whatever the case.
    pub contains: Option<String>,
    /// Most of them, at least 1.
    pub limit: usize,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A record of any topic, for a person to look at.
#[derive(Debug, Clone, Serialize)]
pub struct TopicRecord {
    /// Its place.
    pub partition: i32,
    /// Its place.
    pub offset: i64,
    /// Kafka's, RFC 3339.
    pub timestamp: String,
    /// The key, as text (lossy).
    pub key: Option<String>,
    /// The value as text when it is UTF-8; `null` with no `value_base64` is a tombstone.
    pub value: Option<String>,
    /// The value in base64 when it is not.
    pub value_base64: Option<String>,
    /// As text (lossy); of several with one name the last.
    pub headers: BTreeMap<String, String>,
    /// Key, value or a header is longer than what is shown of it.
    pub truncated: bool,
}

/// Kafka for `/api/kafka/**`. Answers are JSON objects as the contract shows them.
#[async_trait::async_trait]
pub trait KafkaOperations: Send + Sync {
    /// Connection, brokers and how long the look took.
    async fn health(&self) -> Map<String, Value>;
    /// Topics with partitions and offsets.
    async fn topics(&self) -> Result<Vec<Value>, ControlError>;
    /// A topic's records, newest first.
    async fn records(&self, request: RecordsRequest) -> Result<Page<TopicRecord>, ControlError>;
    /// Publishing counters since the start.
    async fn metrics(&self) -> Map<String, Value>;
    /// Figures of `today` or `last_7_days`, of all instances.
    fn publishing_summary(&self, period: &str) -> Result<Value, ControlError>;
    /// Figures of each of the last hours, oldest first.
    fn publishing_hourly(&self, hours: u32) -> Result<Vec<Value>, ControlError>;
    /// Figures of one topic by hour, newest first.
    fn publishing_of_topic(&self, topic: &str, limit: usize) -> Result<Vec<Value>, ControlError>;
    /// Removes figures older than `days`; answers how many rows.
    async fn clean_publishing(&self, days: u32) -> Result<u64, ControlError>;
    /// Tries connection settings without keeping them.
    async fn test(&self, settings: Map<String, Value>) -> Map<String, Value>;
    /// Sends one message by hand; answers with its place.
    async fn send(&self, topic: &str, key: Option<&str>, message: &Value) -> Result<Value, ControlError>;
}
