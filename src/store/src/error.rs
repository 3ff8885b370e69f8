//! What can go wrong with a folder or a shared place, each in one line that says what to do.

use std::io;
use std::path::{Path, PathBuf};
use tidecast_config::SharedPlace;

/// Why the store cannot do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or written.
    #[error(
        "state folder {} cannot be used ({source}): give this user the right to write there, or set state.dir to another \
         folder",
        dir.display()
    )]
    NotWritable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "state folder {} is in use by another process{}: stop that one, or set state.dir to another folder",
        dir.display(),
        holder.map(|pid| format!(" ({pid})")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other's process id, where it is known.
        holder: Option<u32>,
    },
    /// A file was written by a newer version.
    #[error(
        "snapshot {file} has {what} {found}, this version reads up to {known}: start the version that wrote it, or remove the \
         file to build the state anew from Kafka"
    )]
    Newer {
        /// The file, or its name in the shared place.
        file: String,
        /// Which of its versions.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// Reading or writing failed.
    #[error("{action} {} failed ({source}): look at the disk's space and health", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The place that all machines reach does not do as asked.
    #[error(
        "state.shared {place} cannot be {action} ({cause}): see that it is there, that this machine reaches it, and that it may \
         list, read, write and delete there{}",
        hint(place)
    )]
    Shared {
        /// The place.
        place: SharedPlace,
        /// What was tried.
        action: &'static str,
        /// What the place said.
        cause: String,
    },
    /// Asked for something that cannot be stored.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { action, path, source }
    }

    /// Trying again later may help: the disk may have room again.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Io { .. } | StoreError::Shared { .. })
    }
}

/// Where to look for what this place wants.
fn hint(place: &SharedPlace) -> &'static str {
    match place {
        SharedPlace::S3 { .. } => {
            " (credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, \
             AWS_ENDPOINT_URL)"
        }
        SharedPlace::Folder(_) => "",
    }
}
