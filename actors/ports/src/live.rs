//! Output topics read for live delivery: ahead of commits, repeats dropped by id.

use bytes::Bytes;
use tidecast_event::OutputId;

/// Which output topic a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// `streaming-aggregates`.
    Aggregate,
    /// `ml-predictions`.
    Forecast,
    /// `streaming-alerts`: an anomaly (its value has `anomaly_score`) or a fired rule.
    Alert,
    /// `streaming-metrics`.
    Metrics,
}

/// One output record as read.
#[derive(Debug, Clone)]
pub struct LiveRecord {
    /// Its topic.
    pub kind: OutputKind,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its identity, from the header `id`.
    pub id: Option<OutputId>,
    /// Its Kafka timestamp, epoch milliseconds.
    pub timestamp_ms: i64,
    /// The key's bytes.
    pub key: Bytes,
    /// The value's bytes: the JSON as written.
    pub value: Bytes,
    /// Written before the reader started (read again to fill caches): keep, do not push.
    pub replayed: bool,
    /// W3C `traceparent`, where the record had one and the reader looks for it.
    pub traceparent: Option<Box<[u8]>>,
}

/// Who takes live records. Called on the reader's thread; must not wait.
pub trait LiveSink: Send + Sync {
    /// Takes a poll's worth of records, in order per partition.
    fn publish(&self, records: Vec<LiveRecord>);
}
