//! The folder, and the folder with a shared place, as the actors know them.

use crate::error::StoreError;
use crate::shared::SharedStore;
use crate::store::{FolderStore, Loaded};
use tidecast_event::TopicPartition;
use tidecast_ports::snapshot::{Found, Snapshot, SnapshotStore};

/// The actors put the version of their state into the state itself; the file's field is for those who do not.
pub(crate) const STATE_VERSION: u32 = 1;

impl SnapshotStore for FolderStore {
    fn save(&self, partition: &TopicPartition, offset: i64, state: &[u8]) -> Result<(), String> {
        FolderStore::save(self, partition, offset, STATE_VERSION, state)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn newest(&self, partition: &TopicPartition, at_most: i64) -> Result<Found, String> {
        found(self.load(partition, at_most, STATE_VERSION))
    }
}

impl SnapshotStore for SharedStore {
    fn save(&self, partition: &TopicPartition, offset: i64, state: &[u8]) -> Result<(), String> {
        SharedStore::save(self, partition, offset, state).map_err(|error| error.to_string())
    }

    fn newest(&self, partition: &TopicPartition, at_most: i64) -> Result<Found, String> {
        found(self.load(partition, at_most))
    }
}

fn found(loaded: Result<Loaded, StoreError>) -> Result<Found, String> {
    let loaded = loaded.map_err(|error| error.to_string())?;
    let snapshot =
        loaded.snapshot.map(|snapshot| Snapshot { offset: snapshot.offset, state: snapshot.state });
    Ok(Found { snapshot, passed_over: loaded.warnings })
}
