//! `save_to_file`: a line of JSON at the end of a file, renamed to `.1` before it grows past its bound.

use crate::{OrderError, json};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_rules::RuleEvent;

/// The files of one folder. Writes follow one another: two lines never mix.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
    one_at_a_time: Arc<Mutex<()>>,
}

impl Files {
    /// Files below `folder`, made when the first line is saved.
    pub fn new(folder: PathBuf) -> Self {
        Files { folder, one_at_a_time: Arc::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Appends the event; the name is one without folders, as the rules room has checked.
    pub async fn save(
        &self,
        file: Option<&str>,
        max_bytes: u64,
        rule: &str,
        event: &RuleEvent,
    ) -> Result<(), OrderError> {
        let safe = |name: &str| -> String {
            name.chars()
                .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
                .collect()
        };
        let name = file.map_or_else(|| format!("{}.jsonl", safe(rule)), str::to_owned);
        let mut line = json(rule, event).to_string();
        line.push('\n');
        let files = self.clone();
        let saved =
            tokio::task::spawn_blocking(move || files.append(&name, max_bytes, line.as_bytes())).await;
        match saved {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(OrderError::Later(format!("{}: {error}", self.folder.display()))),
            Err(error) => Err(OrderError::Never(error.to_string())),
        }
    }

    fn append(&self, name: &str, max_bytes: u64, line: &[u8]) -> std::io::Result<()> {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(name);
        let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        if length > 0 && length + line.len() as u64 > max_bytes {
            std::fs::rename(&path, self.folder.join(format!("{name}.1")))?;
            file = std::fs::File::options().create(true).append(true).open(&path)?;
        }
        file.write_all(line)
    }
}

#[cfg(test)]
mod tests {
    use super::Files;

    #[test]
    fn a_full_file_makes_room_by_renaming() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::new(folder.path().join("saved"));
        for line in [b"first\n", b"secnd\n", b"third\n"] {
            files.append("a.jsonl", 12, line).expect("appends");
        }
        let read =
            |name: &str| std::fs::read_to_string(folder.path().join("saved").join(name)).expect("reads");
        assert_eq!((read("a.jsonl").as_str(), read("a.jsonl.1").as_str()), ("third\n", "first\nsecnd\n"));
    }
}
