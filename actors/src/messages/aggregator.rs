//! To the aggregator of a partition.

use crate::decisions::Decisions;
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
    /// Of a partition that is followed: what its owner has decided, before any record that comes after this.
    Follow(Decisions),
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
