//! To the aggregator of a partition.

use tidecast_ports::RecordBatch;
use tokio::sync::oneshot;

/// What an aggregator receives.
#[derive(Debug)]
pub enum AggregatorMessage {
    /// Records, in order.
    Batch(RecordBatch),
    /// The end of the partition was reached, at this offset; nothing waits.
    CaughtUp(i64),
    /// A moment has passed: quiet partitions may be due to close.
    Tick,
    /// What was held back goes on.
    LetGo,
    /// A snapshot is wanted.
    Snapshot,
    /// Told once everything before it is committed.
    Drain {
        /// Take a snapshot with it.
        snapshot: bool,
        /// Told.
        done: oneshot::Sender<()>,
    },
}
