//! Output topics read for live delivery: ahead of commits, repeats dropped by id.

use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use tidecast_event::OutputId;

/// Which output topic a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Of a forecast: what its model had seen, from the header `observed`, where the record has one.
    pub observed: Option<Box<[u8]>>,
}

/// Who takes live records. Called on the reader's thread; must not wait.
pub trait LiveSink: Send + Sync {
    /// Takes a poll's worth of records, in order per partition.
    fn publish(&self, records: Vec<LiveRecord>);

    /// Everything that was written before the reader started has been handed over: what comes from now on is live.
    fn caught_up(&self) {}
}

/// Records of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its topic.
    pub kind: OutputKind,
    /// Its partition.
    pub partition: i32,
    /// The first offset wanted.
    pub from: i64,
    /// The offset after the last one wanted; nothing is wanted when it is not past `from`, which is checked all the same.
    pub until: i64,
}

/// Output records wanted once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// What is wanted.
    pub stretches: Vec<Stretch>,
    /// Offsets that all stretches together may span.
    pub records_max: usize,
    /// Bytes that the records together may have.
    pub bytes_max: usize,
}

/// Why output records are not given once more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Retention took them, or their topic was made anew.
    #[error("it is not there any more: {0}")]
    Gone(String),
    /// More than asked for at most.
    #[error("it is more than is replayed")]
    TooMuch,
    /// Kafka is away or slow, or too many ask at once.
    #[error("it cannot be read now: {0}")]
    Unavailable(String),
}

/// Resolves with the records: each partition's in order, partitions by their records' times, each id once.
pub type Reading = Pin<Box<dyn Future<Output = Result<Vec<LiveRecord>, HistoryError>> + Send>>;

/// Reads output records once more.
pub trait LiveHistory: Send + Sync {
    /// Reads, or says why not.
    fn read(&self, request: HistoryRequest) -> Reading;
}
