//! Snapshots in a folder through damage, restarts and rivals.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidecast_event::TopicPartition;
use tidecast_store::{FolderStore, KEPT, StoreError};

fn flights() -> TopicPartition {
    TopicPartition::new("flights", 3)
}

fn open() -> (TempDir, FolderStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    (folder, store)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder.join("snapshots"))
        .unwrap()
        .flat_map(|partition| fs::read_dir(partition.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    found.sort();
    found
}

fn found(store: &FolderStore, committed: i64) -> Option<(i64, Vec<u8>)> {
    let loaded = store.load(&flights(), committed, 1).unwrap();
    loaded.snapshot.map(|snapshot| (snapshot.offset, snapshot.state))
}

#[test]
fn the_newest_at_or_before_the_committed_offset_is_found() {
    let (folder, store) = open();
    assert_eq!(found(&store, 100), None);
    for offset in [10, 20, 30] {
        store.save(&flights(), offset, 1, format!("state {offset}").as_bytes()).unwrap();
    }
    assert_eq!(found(&store, 100), Some((30, b"state 30".to_vec())));
    assert_eq!(found(&store, 30), Some((30, b"state 30".to_vec())));
    drop(store);
    let store = FolderStore::open(folder.path()).unwrap();
    assert_eq!(found(&store, 100), Some((30, b"state 30".to_vec())), "after a restart");
    assert_eq!(found(&store, 29), Some((20, b"state 20".to_vec())));
    assert_eq!(
        found(&store, 100),
        Some((20, b"state 20".to_vec())),
        "what lay past a commit is of another history"
    );
    assert_eq!(found(&store, 9), None);
    assert_eq!(found(&store, 100), None);
    store.save(&flights(), 40, 1, b"state 40").unwrap();
    assert!(store.load(&TopicPartition::new("flights", 4), 100, 1).unwrap().snapshot.is_none());
    store.forget(&flights()).unwrap();
    store.forget(&flights()).unwrap();
    assert_eq!(found(&store, 100), None);
}

#[test]
fn three_are_kept_those_written_last_also_after_a_group_went_back() {
    let (folder, store) = open();
    for offset in [1_000, 2_000, 3_000, 4_000] {
        store.save(&flights(), offset, 1, b"old").unwrap();
    }
    assert_eq!(files(folder.path()).len(), KEPT);
    for offset in [10, 20, 30, 1_500] {
        store.save(&flights(), offset, 1, b"new").unwrap();
    }
    assert_eq!(files(folder.path()).len(), KEPT);
    assert_eq!(found(&store, 5_000), Some((1_500, b"new".to_vec())));
    assert_eq!(found(&store, 1_499), Some((30, b"new".to_vec())));
}

#[test]
fn damage_is_passed_over_with_a_warning() {
    let (folder, store) = open();
    for offset in [10, 20, 30] {
        store.save(&flights(), offset, 1, format!("state {offset}").as_bytes()).unwrap();
    }
    let all = files(folder.path());
    let mut bytes = fs::read(&all[2]).unwrap();
    bytes[40] ^= 1;
    fs::write(&all[2], bytes).unwrap();
    let torn = fs::read(&all[1]).unwrap();
    fs::write(&all[1], &torn[..torn.len() / 2]).unwrap();
    let loaded = store.load(&flights(), 100, 1).unwrap();
    assert_eq!(loaded.snapshot.unwrap().offset, 10);
    assert_eq!(loaded.warnings.len(), 2);
    assert!(
        loaded.warnings[0].contains("checksum") && loaded.warnings[0].contains("30.snapshot"),
        "{:?}",
        loaded.warnings
    );
    fs::write(&all[0], b"").unwrap();
    let loaded = store.load(&flights(), 100, 1).unwrap();
    assert!(loaded.snapshot.is_none() && loaded.warnings.len() == 3);
    // A damaged folder goes on being written, and is well again with the next snapshot.
    store.save(&flights(), 40, 1, b"state 40").unwrap();
    assert_eq!(found(&store, 100), Some((40, b"state 40".to_vec())));
}

#[test]
fn a_file_in_the_wrong_place_is_not_believed() {
    let (folder, store) = open();
    store.save(&flights(), 10, 1, b"flights").unwrap();
    let file = files(folder.path()).remove(0);
    let renamed = file.with_file_name("000000000009-0000000000000000099.snapshot");
    fs::copy(&file, &renamed).unwrap();
    let other = TopicPartition::new("flights", 4);
    store.save(&other, 50, 1, b"other").unwrap();
    let others =
        files(folder.path()).into_iter().find(|file| file.to_str().unwrap().contains("-4/")).unwrap();
    fs::copy(others, file.with_file_name("000000000010-0000000000000000050.snapshot")).unwrap();
    let loaded = store.load(&flights(), 1_000, 1).unwrap();
    assert_eq!(loaded.snapshot.unwrap().state, b"flights");
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
}

#[test]
fn a_newer_state_stops_and_an_older_one_is_told() {
    let (_folder, store) = open();
    store.save(&flights(), 10, 1, b"one").unwrap();
    store.save(&flights(), 20, 2, b"two").unwrap();
    let error = store.load(&flights(), 100, 1).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }));
    let text = error.to_string();
    assert!(text.contains("state version 2") && text.contains("up to 1") && !text.contains('\n'), "{text}");
    assert_eq!(store.load(&flights(), 100, 5).unwrap().snapshot.unwrap().state_version, 2);
    assert_eq!(store.load(&flights(), 15, 5).unwrap().snapshot.unwrap().state_version, 1);
}

#[test]
fn one_folder_one_process() {
    let (folder, store) = open();
    let error = FolderStore::open(folder.path()).unwrap_err();
    let text = error.to_string();
    let pid = std::process::id();
    assert!(matches!(error, StoreError::InUse { holder: Some(holder), .. } if holder == pid), "{text}");
    assert!(text.contains("state.dir") && text.contains(&format!("({pid})")), "{text}");
    drop(store);
    FolderStore::open(folder.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let text = FolderStore::open(&file.join("below")).unwrap_err().to_string();
    assert!(text.contains("cannot be used") && text.contains("state.dir") && !text.contains('\n'), "{text}");
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let (folder, store) = open();
    store.save(&flights(), 10, 1, b"good").unwrap();
    // Another's folder where the temporary file has to go.
    let file = files(folder.path()).remove(0);
    fs::create_dir(file.with_file_name("000000000002-0000000000000000020.tmp")).unwrap();
    let error = store.save(&flights(), 20, 1, b"never").unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(found(&store, 100), Some((10, b"good".to_vec())));
    assert!(store.save(&flights(), -1, 1, b"").is_err());
}

#[test]
fn what_a_killed_writer_left_is_removed() {
    let (folder, store) = open();
    let saved = store.save(&flights(), 10, 1, b"good").unwrap();
    drop(store);
    let leftover = saved.file.with_file_name("000000000002-0000000000000000020.tmp");
    fs::write(&leftover, "half").unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    assert!(!leftover.exists());
    assert_eq!(found(&store, 100), Some((10, b"good".to_vec())));
}

#[test]
fn a_large_state_comes_back_whole_and_smaller_on_disk() {
    let (_folder, store) = open();
    let state: Vec<u8> = (0..5_000_000u32).flat_map(|n| (n / 100).to_le_bytes()).collect();
    let saved = store.save(&flights(), 7, 1, &state).unwrap();
    assert!(saved.bytes < state.len() as u64 / 4, "{} bytes", saved.bytes);
    assert_eq!(found(&store, 7), Some((7, state)));
}

#[test]
fn saved_lines_are_bounded_and_stay_in_their_folder() {
    let (folder, store) = open();
    for index in 0..100 {
        store.append_line("anomalies.jsonl", &format!("{{\"n\":{index},\"text\":\"a\nb\"}}"), 500).unwrap();
    }
    let saved = folder.path().join("saved");
    let newest = fs::read_to_string(saved.join("anomalies.jsonl")).unwrap();
    assert!(newest.len() <= 500 && newest.ends_with("{\"n\":99,\"text\":\"a b\"}\n"), "{newest}");
    assert!(fs::read_to_string(saved.join("anomalies.jsonl.1")).unwrap().len() <= 500);
    assert_eq!(fs::read_dir(&saved).unwrap().count(), 2);
    for name in ["../x", "", ".", "..", "a/b", ".hidden"] {
        assert!(store.append_line(name, "x", 500).is_err(), "{name}");
    }
}

#[test]
fn the_actors_see_the_same_snapshots_through_their_port() {
    use tidecast_ports::snapshot::{Found, SnapshotStore};
    let (folder, store) = open();
    let port: &dyn SnapshotStore = &store;
    assert_eq!(port.newest(&flights(), 100), Ok(Found::default()));
    port.save(&flights(), 10, b"ten").unwrap();
    port.save(&flights(), 20, b"twenty").unwrap();
    fs::write(files(folder.path()).pop().unwrap(), b"torn").unwrap();
    let Found { snapshot, passed_over } = port.newest(&flights(), 100).unwrap();
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.offset, snapshot.state.as_slice(), passed_over.len()), (10, &b"ten"[..], 1));
    assert!(port.save(&flights(), -5, b"x").is_err());
}
