//! Where partitions keep their state between lives.

use tidecast_event::TopicPartition;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The input offset it stands at: the next record to be processed.
    pub offset: i64,
    /// The state.
    pub state: Vec<u8>,
}

/// What was found of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest that can be used; `None` where there is none, or none that can.
    pub snapshot: Option<Snapshot>,
    /// Newer ones that were passed over because they are torn or flipped, for the log.
    pub passed_over: Vec<String>,
}

/// Keeps the newest snapshots of each partition. Calls block: make them off the async threads.
pub trait SnapshotStore: Send + Sync {
    /// Writes a snapshot, whole or not at all, and forgets the oldest.
    fn save(&self, partition: &TopicPartition, offset: i64, state: &[u8]) -> Result<(), String>;

    /// The newest valid snapshot at or before `at_most`. An error is one that an operator has to settle (a format of a
    /// newer version, a folder that cannot be read).
    fn newest(&self, partition: &TopicPartition, at_most: i64) -> Result<Found, String>;
}
