//! Snapshots in the folder of this machine and in a place that all machines reach.
//!
//! The folder is written first and read where it is not older, so a process that comes back where it was downloads
//! nothing. A snapshot counts as written once it is in both: what led to it may be forgotten then, and who takes the
//! partition over has only the place.

use crate::checked;
use crate::error::StoreError;
use crate::naming;
use crate::place::Place;
use crate::port::STATE_VERSION;
use crate::store::{FolderStore, KEPT, Loaded};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidecast_config::SharedPlace;
use tidecast_event::TopicPartition;

/// A folder and a shared place, as one store.
#[derive(Debug)]
pub struct SharedStore {
    local: Arc<FolderStore>,
    place: Place,
    /// The folder in the place of everything of this consumer group.
    group: String,
    /// At most one entry for each partition.
    taken_back: Mutex<BTreeMap<TopicPartition, TakenBack>>,
}

/// Snapshots past the committed offset. Each was written after the commit of its offset, so the group was set back since,
/// or the topic made anew: they are of another history, and would be taken for this one's once it has come as far.
#[derive(Debug)]
struct TakenBack {
    committed: i64,
    names: Vec<String>,
}

/// A snapshot in the place.
#[derive(Debug)]
struct Object {
    sequence: u64,
    offset: i64,
    name: String,
}

impl SharedStore {
    /// Opens the place beside the folder; fails where it cannot be listed. What S3 wants to know beside the address comes
    /// from the process's `AWS_` variables.
    pub fn open(
        local: Arc<FolderStore>,
        place: &SharedPlace,
        group_id: &str,
    ) -> Result<SharedStore, StoreError> {
        SharedStore::open_with(local, place, group_id, std::env::vars_os())
    }

    /// The same with these variables.
    pub fn open_with(
        local: Arc<FolderStore>,
        place: &SharedPlace,
        group_id: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<SharedStore, StoreError> {
        let place = Place::open(place, variables)?;
        let group = naming::group(group_id);
        place.reach(&group)?;
        Ok(SharedStore { local, place, group, taken_back: Mutex::default() })
    }

    /// Whether the place can be listed, without a folder.
    pub fn reach(place: &SharedPlace, group_id: &str) -> Result<(), StoreError> {
        Place::open(place, std::env::vars_os())?.reach(&naming::group(group_id))
    }

    /// Writes a partition's state as of `offset` to the folder, then to the place, and removes the oldest beyond [`KEPT`]
    /// from each. On an error the snapshots before are as they were, but the folder may have the new one.
    pub fn save(&self, partition: &TopicPartition, offset: i64, state: &[u8]) -> Result<(), StoreError> {
        let saved = self.local.save(partition, offset, STATE_VERSION, state)?;
        let before = self.list(partition)?;
        let sequence = before.last().map_or(1, |last| last.sequence.saturating_add(1));
        let name = self.name(partition, &naming::file(sequence, offset));
        // The same bytes: a state is packed once, and what goes up is read as it goes.
        let mut file = File::open(&saved.file).map_err(StoreError::io("reading", &saved.file))?;
        self.place.write(&name, &mut file)?;
        let taken_back = self.taken_back_by(partition, offset);
        let (gone, kept): (Vec<Object>, Vec<Object>) =
            before.into_iter().partition(|object| taken_back.contains(&object.name));
        let surplus = (kept.len() + 1).saturating_sub(KEPT);
        for old in gone.iter().chain(&kept[..surplus]) {
            self.place.remove(&self.name(partition, &old.name))?;
        }
        Ok(())
    }

    /// The newest of both with an offset at or before `committed`. Damaged ones are passed over with a warning; one of a
    /// newer version is an error, and so is a place that does not answer: an older one of the folder may lack what was
    /// decided and forgotten since.
    pub fn load(&self, partition: &TopicPartition, committed: i64) -> Result<Loaded, StoreError> {
        let mut loaded = self.local.load(partition, committed, STATE_VERSION)?;
        let (past, mut objects): (Vec<Object>, Vec<Object>) =
            self.list(partition)?.into_iter().partition(|object| object.offset > committed);
        let names = past.into_iter().map(|object| object.name).collect();
        self.taken_back().insert(partition.clone(), TakenBack { committed, names });
        // By offset, not by when it was written: a process that was frozen may write an old one late.
        objects.sort_by_key(|object| (object.offset, object.sequence));
        let at_hand = loaded.snapshot.as_ref().map(|snapshot| snapshot.offset);
        for object in objects.into_iter().rev().take_while(|object| at_hand < Some(object.offset)) {
            let name = self.name(partition, &object.name);
            let bytes = self.place.read(&name)?;
            let file = self.place.full(&name);
            match checked::read(&bytes, partition, &file, object.offset, STATE_VERSION)? {
                Ok(snapshot) => {
                    loaded.snapshot = Some(snapshot);
                    break;
                }
                Err(warning) => loaded.warnings.push(warning),
            }
        }
        Ok(loaded)
    }

    /// What a snapshot at `offset` proves to be of another history: it was committed after the look that found them, which
    /// a process that looked with an offset of long ago cannot do.
    fn taken_back_by(&self, partition: &TopicPartition, offset: i64) -> Vec<String> {
        match self.taken_back().get_mut(partition) {
            Some(taken_back) if taken_back.committed < offset => std::mem::take(&mut taken_back.names),
            _ => Vec::new(),
        }
    }

    fn taken_back(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, TakenBack>> {
        self.taken_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition's snapshots in the place in the order in which they were written.
    fn list(&self, partition: &TopicPartition) -> Result<Vec<Object>, StoreError> {
        let names = self.place.list(&self.name(partition, ""))?;
        let mut objects: Vec<Object> = names
            .into_iter()
            .filter_map(|name| {
                naming::parse_file(&name).map(|(sequence, offset)| Object { sequence, offset, name })
            })
            .collect();
        objects.sort_by_key(|object| (object.sequence, object.offset));
        Ok(objects)
    }

    fn name(&self, partition: &TopicPartition, file: &str) -> String {
        format!("{}/{}/{file}", self.group, naming::folder(partition))
    }
}
