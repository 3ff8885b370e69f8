//! Changes of models and rules by REST, one at a time.

use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, MutexGuard};

/// One change at a time of each name: between the look at what there is and the record that changes it nothing else comes.
/// Names share some locks. Two gateways may still change the same thing at once: the later record stands.
#[derive(Debug, Default)]
pub struct Changes {
    locks: [Mutex<()>; 32],
    hasher: RandomState,
    /// The newest version that something new was given.
    newest: AtomicU64,
}

impl Changes {
    /// Waits until no other change of the name is under way.
    pub async fn begin(&self, name: &str) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one(name) as usize % self.locks.len();
        self.locks[place].lock().await
    }

    /// The version of what is made where nothing was, or nothing any more. No earlier thing of the name had it: versions begin
    /// at the time in milliseconds, and every change takes longer than one. So whoever has read the earlier thing does not
    /// change this one by mistake.
    pub fn first_version(&self, removed: u64) -> u64 {
        let mut version = crate::wall_clock_ms().max(removed + 1);
        let last = self.newest.fetch_max(version, Ordering::AcqRel);
        if last >= version {
            version = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
        }
        version
    }
}
