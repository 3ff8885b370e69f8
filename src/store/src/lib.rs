//! Snapshots of partitions in a folder: checksummed, versioned, compressed, written whole or not at all.
//!
//! A snapshot is a cache; the group's committed offset is the authority. So a damaged file is passed over with a
//! warning (the one before it, or the log itself, gives the same state), while a file of a newer version stops the
//! start: running on would let an older program write over it.
//!
//! With [`SharedStore`] they are also put where every machine reaches them, so that another one can take a partition over.
//!
//! Every call blocks on the disk or on that place: call from a thread that may wait.

mod checked;
mod error;
mod format;
mod lines;
mod naming;
mod place;
mod place_steps;
mod port;
mod shared;
mod store;

pub use error::StoreError;
pub use shared::SharedStore;
pub use store::{FolderStore, KEPT, Loaded, Saved, Snapshot};
