//! Files that people bring: CSV read and written, times understood, series put together.

pub mod csv;
pub mod series;
pub mod stamp;
pub mod timeline;

use anyhow::{Context, bail};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Standard input, by the name that shells know.
const STANDARD_INPUT: &str = "-";

/// Opens a file for reading; `-` is standard input.
pub fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    if path.as_os_str() == STANDARD_INPUT {
        return Ok(Box::new(std::io::stdin()));
    }
    if path.is_dir() {
        bail!("{} is a folder: name a file", path.display());
    }
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(Box::new(file))
}

/// What a file is called in messages.
pub fn shown(path: &Path) -> String {
    if path.as_os_str() == STANDARD_INPUT { "standard input".to_owned() } else { path.display().to_string() }
}

/// What the one series of a file is called: the file's name without its extension.
fn stem(path: &Path) -> String {
    if path.as_os_str() == STANDARD_INPUT {
        return "stdin".to_owned();
    }
    path.file_stem().map_or_else(|| "series".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
