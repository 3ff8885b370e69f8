//! Snapshots that two machines share through a folder: take-over, damage, groups that went back, places that fail.

mod seeded;

use seeded::bits;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tidecast_config::SharedPlace;
use tidecast_event::TopicPartition;
use tidecast_ports::SnapshotStore;
use tidecast_store::{FolderStore, KEPT, SharedStore, StoreError};

/// A name that is not the same on a disk as it is.
fn flights() -> TopicPartition {
    TopicPartition::new("Flights.eu/1", 3)
}

/// A machine with a disk of its own.
struct Machine {
    disk: TempDir,
    store: SharedStore,
}

impl Machine {
    fn new(shared: &TempDir) -> Machine {
        Machine::of("tidecast-eu", shared)
    }

    fn of(group: &str, shared: &TempDir) -> Machine {
        let disk = tempfile::tempdir().unwrap();
        let local = Arc::new(FolderStore::open(disk.path()).unwrap());
        let store = SharedStore::open(local, &place(shared.path()), group).unwrap();
        Machine { disk, store }
    }

    fn save(&self, offset: i64) {
        self.store.save(&flights(), offset, text(offset).as_bytes()).unwrap();
    }

    /// Offset of what is found, which is checked, and how many were passed over.
    fn found(&self, at_most: i64) -> (Option<i64>, usize) {
        let found = self.store.newest(&flights(), at_most).unwrap();
        let offset = found.snapshot.map(|snapshot| {
            assert_eq!(snapshot.state, text(snapshot.offset).as_bytes());
            snapshot.offset
        });
        (offset, found.passed_over.len())
    }
}

fn text(offset: i64) -> String {
    format!("state {offset}")
}

fn place(folder: &Path) -> SharedPlace {
    SharedPlace::parse(&format!("file://{}", folder.display())).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Offsets of the files of one partition in the order in which they were written.
fn offsets(folder: &Path) -> Vec<i64> {
    let offset = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        name.split_once('-').unwrap().1.parse().unwrap()
    };
    files(folder).into_iter().map(offset).collect()
}

#[test]
fn one_machine_saves_and_another_takes_over() {
    let shared = tempfile::tempdir().unwrap();
    let (first, second) = (Machine::new(&shared), Machine::new(&shared));
    assert_eq!(second.found(100), (None, 0));
    for offset in [10, 20, 30] {
        first.save(offset);
    }
    assert_eq!(second.found(100), (Some(30), 0));
    assert_eq!(second.found(30), (Some(30), 0));
    assert_eq!(second.found(29), (Some(20), 0));
    assert_eq!(second.found(9), (None, 0));
    let other = second.store.newest(&TopicPartition::new("Flights.eu/1", 4), 100).unwrap();
    assert!(other.snapshot.is_none());
    // The second goes on where the first was, and a third finds what the second did.
    second.save(40);
    assert_eq!(Machine::new(&shared).found(100), (Some(40), 0));
    assert_eq!(first.found(100), (Some(40), 0), "newer than what it has itself");
    assert_eq!(Machine::of("another", &shared).found(100), (None, 0), "each group has its own");
    assert!(shared.path().join("tidecast-eu").is_dir());
}

#[test]
fn what_this_machine_has_is_not_fetched() {
    let shared = tempfile::tempdir().unwrap();
    let machine = Machine::new(&shared);
    machine.save(10);
    machine.save(20);
    // Damage that would be told if it were read.
    for file in files(shared.path()) {
        fs::write(file, "damaged").unwrap();
    }
    assert_eq!(machine.found(100), (Some(20), 0));
    assert_eq!(machine.found(15), (Some(10), 0));
    assert_eq!(Machine::new(&shared).found(100), (None, 2));
    // And the other way: what this machine's disk lost is in the place.
    machine.save(30);
    for file in files(&machine.disk.path().join("snapshots")) {
        fs::write(file, "damaged").unwrap();
    }
    assert_eq!(machine.found(100), (Some(30), 2));
}

#[test]
fn three_are_kept_those_written_last() {
    let shared = tempfile::tempdir().unwrap();
    let (first, second) = (Machine::new(&shared), Machine::new(&shared));
    for offset in 1..=4 {
        first.save(offset * 10);
        second.save(offset * 10 + 5);
    }
    assert_eq!(offsets(shared.path()), [35, 40, 45]);
    assert_eq!(offsets(shared.path()).len(), KEPT);
    // A process that was frozen comes late with an old one: it is not the newest for that.
    first.save(7);
    assert_eq!(offsets(shared.path()), [40, 45, 7]);
    assert_eq!(Machine::new(&shared).found(100), (Some(45), 0));
}

#[test]
fn a_group_that_went_back_does_not_meet_its_old_future() {
    let shared = tempfile::tempdir().unwrap();
    let before = Machine::new(&shared);
    for offset in [10, 1_000, 2_000] {
        before.save(offset);
    }
    // Set back to 20: what lies past it stays until there is something of the new history.
    let after = Machine::new(&shared);
    assert_eq!(after.found(20), (Some(10), 0));
    assert_eq!(offsets(shared.path()), [10, 1_000, 2_000]);
    after.save(30);
    assert_eq!(offsets(shared.path()), [10, 30]);
    assert_eq!(Machine::new(&shared).found(5_000), (Some(30), 0));

    // One that looked with an offset of long ago, and was frozen since, removes nothing with a snapshot of then.
    let frozen = Machine::new(&shared);
    assert_eq!(frozen.found(20), (Some(10), 0));
    after.save(40);
    frozen.save(20);
    assert_eq!(offsets(shared.path()), [30, 40, 20]);
    assert_eq!(Machine::new(&shared).found(5_000), (Some(40), 0));
}

#[test]
fn every_flip_and_every_cut_of_a_shared_one_is_noticed_and_the_one_before_is_used() {
    let shared = tempfile::tempdir().unwrap();
    let first = Machine::new(&shared);
    first.save(10);
    first.save(20);
    let newest = files(shared.path()).pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    let second = Machine::new(&shared);
    let check = |damaged: &[u8], what: &str| {
        fs::write(&newest, damaged).unwrap();
        let found = second.store.newest(&flights(), 100).unwrap();
        assert_eq!(found.snapshot.map(|snapshot| snapshot.offset), Some(10), "{what}");
        let [line] = &found.passed_over[..] else { panic!("{what}: {:?}", found.passed_over) };
        assert!(line.contains("file:///") && line.contains("20.snapshot"), "{line}");
    };
    for cut in 0..whole.len() {
        check(&whole[..cut], &format!("cut at {cut}"));
    }
    let mut random = 7;
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (bits(&mut random) % 8);
        check(&flipped, &format!("byte {at} flipped"));
    }
    fs::write(&newest, &whole).unwrap();
    assert_eq!(second.found(100), (Some(20), 0));
    // In the name of another, or with another's offset.
    let renamed = newest.with_file_name("000000000009-0000000000000000099.snapshot");
    fs::rename(&newest, &renamed).unwrap();
    assert_eq!(second.found(100), (Some(10), 1));
}

#[test]
fn one_of_a_newer_version_stops() {
    let shared = tempfile::tempdir().unwrap();
    let first = Machine::new(&shared);
    first.save(10);
    // Written by a program whose files say version 2: the same bytes, and the checksum that goes with them.
    let file = files(shared.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] = 2;
    let end = bytes.len() - 4;
    let sum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&sum);
    fs::write(&file, bytes).unwrap();
    let error = Machine::new(&shared).store.newest(&flights(), 100).unwrap_err();
    assert!(
        error.contains("file version 2") && error.contains("file:///") && !error.contains('\n'),
        "{error}"
    );
    assert_eq!(first.found(100), (Some(10), 0), "its own is as good as before");
}

#[test]
fn a_large_state_goes_there_and_back_in_parts() {
    let shared = tempfile::tempdir().unwrap();
    // Nothing in it repeats, so that it is as large packed.
    let mut random = 7;
    let state: Vec<u8> = (0..1_500_000).flat_map(|_| bits(&mut random).to_le_bytes()).collect();
    let (first, second) = (Machine::new(&shared), Machine::new(&shared));
    first.store.save(&flights(), 10, &state).unwrap();
    assert!(fs::metadata(files(shared.path()).pop().unwrap()).unwrap().len() > 11 << 20);
    let found = second.store.newest(&flights(), 100).unwrap();
    assert!(found.passed_over.is_empty() && found.snapshot.is_some_and(|snapshot| snapshot.state == state));
}

#[test]
fn a_place_that_is_not_there_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(FolderStore::open(folder.path()).unwrap());
    let missing = place(&folder.path().join("not-mounted"));
    let error = SharedStore::open(local, &missing, "tidecast").unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, StoreError::Shared { .. }) && error.is_transient(), "{line}");
    for part in ["state.shared", "file:///", "not-mounted", "No such file", "reaches it"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains('\n') && !folder.path().join("not-mounted").exists(), "{line}");
}

#[test]
fn a_place_that_goes_away_fails_what_needs_it_and_the_folder_stays() {
    let shared = tempfile::tempdir().unwrap();
    let machine = Machine::new(&shared);
    machine.save(10);
    // A file where the group's folder was, as a share that was mounted anew and wrong.
    let group = shared.path().join("tidecast-eu");
    fs::remove_dir_all(&group).unwrap();
    fs::write(&group, "").unwrap();
    let error = machine.store.save(&flights(), 20, b"state 20").unwrap_err();
    assert!(error.to_string().contains("state.shared") && !error.to_string().contains('\n'), "{error}");
    let local = files(&machine.disk.path().join("snapshots"));
    assert!(local.last().unwrap().to_str().unwrap().ends_with("20.snapshot"), "{local:?}");
    fs::remove_file(&group).unwrap();
    assert_eq!(machine.found(100), (Some(20), 0));
    // It can be listed, and what is to be written has no place.
    let taken = group.join("%46lights%2Eeu%2F1-3/000000000001-0000000000000000025.snapshot/taken");
    fs::create_dir_all(&taken).unwrap();
    let error = machine.store.save(&flights(), 25, b"state 25").unwrap_err();
    assert!(error.to_string().contains("cannot be written"), "{error}");
    fs::remove_dir_all(&group).unwrap();
    machine.save(30);
    assert_eq!(Machine::new(&shared).found(100), (Some(30), 0));
}
