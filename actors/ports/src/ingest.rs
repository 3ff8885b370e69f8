//! Events and outputs that come in by HTTP or WebSocket and go to Kafka.

use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use tidecast_event::{Anomaly, ForecastMessage, Rejection};

/// Why something was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// The event itself cannot be used.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Kafka did not acknowledge it; the sender may try again.
    #[error("Kafka did not take it: {0}; send it again")]
    Unavailable(String),
}

/// Resolves once Kafka has acknowledged.
pub type Acknowledged = Pin<Box<dyn Future<Output = Result<(), IngestError>> + Send>>;

/// Puts events on the events topic, bytes as they came, keyed by their source.
pub trait EventIngest: Send + Sync {
    /// Checks and queues one event; `arrival_ms` (epoch milliseconds) becomes the record's timestamp. `Err` at once
    /// for an event that cannot be used; the future resolves with Kafka's answer. Waits for room when the
    /// producer's buffer is full, so that a sender is slowed, not dropped.
    fn ingest(&self, bytes: Bytes, arrival_ms: i64) -> Result<Acknowledged, IngestError>;

    /// As [`EventIngest::ingest`] for many; one result each, in order, all acknowledged together by the future.
    /// The future fails when any of the accepted was not acknowledged.
    fn ingest_batch(&self, events: Vec<Bytes>, arrival_ms: i64)
    -> (Vec<Result<(), Rejection>>, Acknowledged);
}

/// Forecasts and anomalies made elsewhere.
#[async_trait::async_trait]
pub trait OutputIngest: Send + Sync {
    /// Publishes forecasts as our own; an unknown model becomes an External one.
    async fn forecasts(&self, forecasts: Vec<ForecastMessage>) -> Result<(), IngestError>;

    /// Publishes anomalies likewise.
    async fn anomalies(&self, anomalies: Vec<Anomaly>) -> Result<(), IngestError>;
}
