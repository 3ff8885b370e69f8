//! Lines that rules save: one JSON object each, in files below the state folder, bounded by rotation.

use crate::error::StoreError;
use crate::store::FolderStore;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

impl FolderStore {
    /// Puts a line at the end of `saved/<file>`. A file that would grow past `max_bytes` becomes `<file>.1` first, in
    /// the place of the one before. Not synced: these lines are for reading, the topics are the record.
    pub fn append_line(&self, file: &str, line: &str, max_bytes: u64) -> Result<PathBuf, StoreError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if file.is_empty() || file.starts_with('.') || file.len() > 200 || !file.bytes().all(legal) {
            return Err(StoreError::Refused(format!(
                "{file:?} as a file's name: a-z A-Z 0-9 . _ - only, no folders"
            )));
        }
        let folder = self.dir().join("saved");
        fs::create_dir_all(&folder).map_err(StoreError::io("making", &folder))?;
        let path = folder.join(file);
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if size > 0 && size + line.len() as u64 + 1 > max_bytes {
            let before = folder.join(format!("{file}.1"));
            fs::rename(&path, &before).map_err(StoreError::io("renaming", &path))?;
        }
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(StoreError::io("opening", &path))?;
        // One write: a line is never half there when the process dies between two.
        out.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes())
            .map_err(StoreError::io("writing", &path))?;
        Ok(path)
    }
}
