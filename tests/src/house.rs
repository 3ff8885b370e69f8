//! The house itself, as its tests see it: the files under version control and what `cargo metadata` says.

use crate::kafka::repository;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file that git knows or would take (so not what `.gitignore` names), relative to the root.
pub fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<PathBuf> =
        names.lines().map(PathBuf::from).filter(|f| repository().join(f).is_file()).collect();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    files
}

/// Files that people wrote by hand: no lock files, no built pages, no data, no notices.
pub fn written() -> Vec<PathBuf> {
    let made = |f: &Path| {
        let name = f.file_name().unwrap_or_default().to_string_lossy();
        let folder = |part: &str| f.components().any(|c| c.as_os_str() == part);
        name.ends_with(".lock")
            || name.ends_with("-lock.json")
            || name == "LICENSE"
            || folder("dist")
            || folder("snapshots")
    };
    files().into_iter().filter(|f| !made(f)).collect()
}

/// A file's text; none when it is not UTF-8.
pub fn text(file: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(repository().join(file)).ok()?).ok()
}

/// Everything with the extension `rs` whose path begins with one of `folders` (all with none given).
pub fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let wanted = |f: &Path| {
        f.extension().is_some_and(|e| e == "rs")
            && (folders.is_empty() || folders.iter().any(|folder| f.starts_with(folder)))
    };
    written().into_iter().filter(|f| wanted(f)).filter_map(|f| text(&f).map(|t| (f, t))).collect()
}

/// A source without its test module and without comments: what runs.
pub fn running_code(text: &str) -> String {
    let until_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_string();
    until_tests.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// `cargo metadata`, offline; `with_dependencies` resolves the whole graph for the platform that tests run on.
pub fn metadata(with_dependencies: bool) -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline"]).current_dir(repository());
    if with_dependencies {
        cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    } else {
        cargo.arg("--no-deps");
    }
    let out = cargo.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// What is written under a key of a JSON value, as a list (empty when it is missing).
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}
