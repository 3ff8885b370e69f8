//! Publishing figures, written while the service runs and once more at its end.

use std::time::Duration;
use tidecast_kafka::PublishingHistory;
use tokio_util::sync::CancellationToken;

/// How long the last figures of publishing may take to be written.
const LAST_FIGURES: Duration = Duration::from_secs(1);

/// Writes what is published, by hour and topic, and the last of it at the end.
pub async fn keep_history(history: PublishingHistory, days: i64, stopping: CancellationToken) {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = history.run(days) => {}
    }
    if let Ok(Err(error)) = tokio::time::timeout(LAST_FIGURES, history.write()).await {
        tracing::debug!(error, "the last publishing figures are not written");
    }
}
