//! The folder: who has it, what is in it, how a snapshot gets in and out.

use crate::checked;
use crate::error::StoreError;
use crate::format;
use crate::naming;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tidecast_event::TopicPartition;

/// Snapshots kept of each partition.
pub const KEPT: usize = 3;

/// A state folder, held by this process alone until dropped (or until the process dies).
#[derive(Debug)]
pub struct FolderStore {
    dir: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

/// One partition's state as of an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The next input offset that the state has not seen.
    pub offset: i64,
    /// Version of `state`'s own format, as given when it was saved.
    pub state_version: u32,
    /// The state.
    pub state: Vec<u8>,
}

/// What was found for a partition.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The newest usable snapshot, `None` where there is none.
    pub snapshot: Option<Snapshot>,
    /// Files passed over, each with the reason in one line: to be logged and counted.
    pub warnings: Vec<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl FolderStore {
    /// Opens the folder, made where missing, and holds it against other processes.
    pub fn open(dir: &Path) -> Result<FolderStore, StoreError> {
        let refuse = |source| StoreError::NotWritable { dir: dir.to_owned(), source };
        fs::create_dir_all(dir.join("snapshots")).map_err(refuse)?;
        let path = dir.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(refuse)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(StoreError::InUse { dir: dir.to_owned(), holder: holder.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(refuse(source)),
        }
        lock.set_len(0).map_err(refuse)?;
        lock.write_all(std::process::id().to_string().as_bytes()).map_err(refuse)?;
        let store = FolderStore { dir: dir.to_owned(), _lock: lock };
        store.remove_leftovers().map_err(refuse)?;
        Ok(store)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a partition's state as of `offset` (the next input offset it has not seen) and removes the oldest
    /// beyond [`KEPT`]. On disk when it returns, whole; on an error the snapshots before are as they were.
    pub fn save(
        &self,
        partition: &TopicPartition,
        offset: i64,
        state_version: u32,
        state: &[u8],
    ) -> Result<Saved, StoreError> {
        if offset < 0 {
            return Err(StoreError::Refused(format!(
                "a snapshot of {partition} at offset {offset}: offsets start at 0"
            )));
        }
        let folder = self.folder(partition);
        let made = !folder.exists();
        fs::create_dir_all(&folder).map_err(StoreError::io("making", &folder))?;
        if made {
            sync_folder(&self.dir.join("snapshots"))?;
        }
        let before = list(&folder)?;
        let sequence = before.last().map_or(1, |last| last.sequence + 1);
        let file = folder.join(naming::file(sequence, offset));
        let temporary = file.with_extension("tmp");
        let bytes = write_synced(&temporary, partition, offset, state_version, state)
            .and_then(|bytes| fs::rename(&temporary, &file).map(|()| bytes))
            .map_err(|source| {
                // The half-written file would only take the space that is missing.
                let _ = fs::remove_file(&temporary);
                StoreError::Io { action: "writing", path: file.clone(), source }
            })?;
        sync_folder(&folder)?;
        let surplus = (before.len() + 1).saturating_sub(KEPT);
        for old in &before[..surplus] {
            fs::remove_file(&old.path).map_err(StoreError::io("removing", &old.path))?;
        }
        Ok(Saved { file, bytes })
    }

    /// The snapshot written last among those with an offset at or before `committed`. Damaged files are passed over
    /// with a warning; one of a newer version (of the file, or of the state: past `state_version`) is an error.
    ///
    /// Those past it are removed. Each was written after the commit of its offset, so the group was set back since, or the
    /// topic made anew: they are of another history, and would be taken for this one's once it has come as far.
    pub fn load(
        &self,
        partition: &TopicPartition,
        committed: i64,
        state_version: u32,
    ) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let folder = self.folder(partition);
        if !folder.exists() {
            return Ok(loaded);
        }
        for entry in list(&folder)?.into_iter().rev() {
            if entry.offset > committed {
                fs::remove_file(&entry.path).map_err(StoreError::io("removing", &entry.path))?;
                continue;
            }
            let file = entry.path.display().to_string();
            let read = match fs::read(&entry.path) {
                Ok(bytes) => checked::read(&bytes, partition, &file, entry.offset, state_version)?,
                Err(error) => Err(checked::passed_over(&file, &error.to_string())),
            };
            match read {
                Ok(snapshot) => {
                    loaded.snapshot = Some(snapshot);
                    return Ok(loaded);
                }
                Err(warning) => loaded.warnings.push(warning),
            }
        }
        Ok(loaded)
    }

    /// Removes every snapshot of a partition: its state is to be built anew.
    pub fn forget(&self, partition: &TopicPartition) -> Result<(), StoreError> {
        let folder = self.folder(partition);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("removing", &folder)(error))
            }
            _ => sync_folder(&self.dir.join("snapshots")),
        }
    }

    fn folder(&self, partition: &TopicPartition) -> PathBuf {
        self.dir.join("snapshots").join(naming::folder(partition))
    }

    /// What a process that died while writing has left.
    fn remove_leftovers(&self) -> io::Result<()> {
        for folder in fs::read_dir(self.dir.join("snapshots"))? {
            let folder = folder?.path();
            if !folder.is_dir() {
                continue;
            }
            for file in fs::read_dir(&folder)? {
                let file = file?.path();
                if file.extension().is_some_and(|extension| extension == "tmp") {
                    fs::remove_file(&file)?;
                }
            }
        }
        Ok(())
    }
}

struct Entry {
    sequence: u64,
    offset: i64,
    path: PathBuf,
}

/// The snapshots of a folder in the order in which they were written.
fn list(folder: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for file in fs::read_dir(folder).map_err(StoreError::io("listing", folder))? {
        let path = file.map_err(StoreError::io("listing", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((sequence, offset)) = name.and_then(naming::parse_file) {
            entries.push(Entry { sequence, offset, path });
        }
    }
    entries.sort_by_key(|entry| entry.sequence);
    Ok(entries)
}

fn write_synced(
    path: &Path,
    partition: &TopicPartition,
    offset: i64,
    state_version: u32,
    state: &[u8],
) -> io::Result<u64> {
    let mut out = io::BufWriter::with_capacity(1 << 16, File::create(path)?);
    format::write(&mut out, partition, offset, state_version, state)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// A rename is on disk once its folder is.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("syncing", folder))
}
