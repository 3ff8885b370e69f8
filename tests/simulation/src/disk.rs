//! A process's disk: the real store on a folder of its own, with the faults that disks have.

use crate::broker::Mutation;
use crate::process::Life;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidecast_event::TopicPartition;
use tidecast_ports::SnapshotStore;
use tidecast_ports::snapshot::Found;
use tidecast_store::FolderStore;

/// Implements [`SnapshotStore`].
pub struct SimDisk {
    life: Arc<Life>,
    store: Mutex<Option<FolderStore>>,
}

impl SimDisk {
    /// Opens a folder; the process before must have let go of it.
    pub fn open(life: &Arc<Life>, dir: &Path) -> Result<SimDisk, String> {
        let store = FolderStore::open(dir).map_err(|error| error.to_string())?;
        Ok(SimDisk { life: life.clone(), store: Mutex::new(Some(store)) })
    }

    fn store(&self) -> MutexGuard<'_, Option<FolderStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the folder, as the end of a process does.
    pub fn close(&self) {
        *self.store() = None;
    }
}

impl SnapshotStore for SimDisk {
    fn save(&self, partition: &TopicPartition, offset: i64, state: &[u8]) -> Result<(), String> {
        let world = &self.life.world;
        let guard = self.store();
        let Some(store) = guard.as_ref().filter(|_| self.life.is_alive()) else {
            return Err("the process has died".to_owned());
        };
        let faults = &world.plan.faults;
        if world.draw(faults.disk_full) {
            return Err("no space left on the device".to_owned());
        }
        if world.draw(faults.crash_at_step) {
            // Written in part, not renamed.
            let half = store.dir().join("snapshots").join("half-written.tmp");
            let _ = std::fs::write(half, &state[..state.len() / 2]);
            self.life.crash();
            return Err("the process has died".to_owned());
        }
        let saved = store.save(partition, offset, 1, state).map_err(|error| error.to_string())?;
        if world.draw(faults.damaged_snapshot) {
            damage(&saved.file, world.below(u64::MAX));
        }
        if world.draw(faults.crash_at_step) {
            self.life.crash();
            return Err("the process has died".to_owned());
        }
        Ok(())
    }

    fn newest(&self, partition: &TopicPartition, at_most: i64) -> Result<Found, String> {
        let mut found = match self.store().as_ref() {
            Some(store) => SnapshotStore::newest(store, partition, at_most),
            None => Err("the process has died".to_owned()),
        }?;
        let early = i64::from(self.life.world.broker().mutation == Some(Mutation::WrongSnapshots));
        if let Some(snapshot) = &mut found.snapshot {
            snapshot.offset = (snapshot.offset - early).max(0);
        }
        Ok(found)
    }
}

/// Flips a bit of a file, or cuts it short.
fn damage(file: &PathBuf, random: u64) {
    let Ok(mut bytes) = std::fs::read(file) else { return };
    let at = (random >> 8) as usize % bytes.len().max(1);
    if random & 1 == 0 {
        bytes.truncate(at);
    } else if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << ((random >> 1) & 7);
    }
    let _ = std::fs::write(file, bytes);
}
