//! From a file's bytes to a snapshot, for every place that keeps such files.

use crate::error::StoreError;
use crate::format::{self, FILE_VERSION, Unusable};
use crate::store::Snapshot;
use tidecast_event::TopicPartition;

/// The snapshot in `bytes`; the inner error says why it is passed over, the outer one stops the start. `file` is its name
/// in messages, `offset` the one in its name.
pub(crate) fn read(
    bytes: &[u8],
    partition: &TopicPartition,
    file: &str,
    offset: i64,
    state_version: u32,
) -> Result<Result<Snapshot, String>, StoreError> {
    let newer = |what, found, known| StoreError::Newer { file: file.to_owned(), what, found, known };
    let why = match format::read(bytes, partition) {
        Ok(contents) if contents.state_version > state_version => {
            return Err(newer("state version", contents.state_version, state_version));
        }
        Ok(contents) if contents.offset != offset => "its name has another offset than its contents",
        Ok(format::Contents { state_version, offset, state }) => {
            return Ok(Ok(Snapshot { offset, state_version, state }));
        }
        Err(Unusable::Newer(found)) => return Err(newer("file version", found, FILE_VERSION)),
        Err(Unusable::Misplaced) => "it is of another partition",
        Err(Unusable::Damaged(what)) => what,
    };
    Ok(Err(passed_over(file, why)))
}

/// The line that is logged.
pub(crate) fn passed_over(file: &str, why: &str) -> String {
    format!("snapshot {file} is passed over: {why}; the one before it is used, or the log")
}
