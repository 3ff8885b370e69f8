//! Five thousand damaged snapshots: each is noticed, told, and the one before it is used.

mod seeded;

use seeded::bits;
use std::fs;
use tidecast_event::TopicPartition;
use tidecast_ports::SnapshotStore;
use tidecast_store::FolderStore;

/// A state that compresses in part, as real ones do.
fn state(random: &mut u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| if at % 3 == 0 { bits(random) as u8 } else { (at / 64) as u8 }).collect()
}

#[test]
fn every_flip_and_every_cut_is_noticed_and_the_one_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    let partition = TopicPartition::new("flights", 3);
    let mut random = 7;
    let (before, newest) = (state(&mut random, 5_000), state(&mut random, 9_000));
    SnapshotStore::save(&store, &partition, 10, &before).unwrap();
    let file = FolderStore::save(&store, &partition, 20, 1, &newest).unwrap().file;
    let whole = fs::read(&file).unwrap();
    for round in 0..5_000_u64 {
        let mut damaged = whole.clone();
        match round % 5 {
            // Cut anywhere, the first and the last byte among it.
            0 | 1 => damaged.truncate(bits(&mut random) as usize % whole.len()),
            // A bit anywhere; the head and the checksum as often as the rest.
            2 => damaged[bits(&mut random) as usize % 64] ^= 1 << (round / 5 % 8),
            3 => damaged[whole.len() - 1 - bits(&mut random) as usize % 16] ^= 1 << (round / 5 % 8),
            _ => damaged[bits(&mut random) as usize % whole.len()] ^= 1 << (round / 5 % 8),
        }
        fs::write(&file, &damaged).unwrap();
        let found = store.newest(&partition, 100).unwrap();
        let snapshot = found.snapshot.unwrap_or_else(|| panic!("round {round}: nothing was found"));
        assert_eq!(
            (snapshot.offset, found.passed_over.len()),
            (10, 1),
            "round {round}: {:?}",
            found.passed_over
        );
        assert!(snapshot.state == before, "round {round}: another state");
    }
    fs::write(&file, &whole).unwrap();
    let found = store.newest(&partition, 100).unwrap();
    assert!(found.passed_over.is_empty() && found.snapshot.is_some_and(|snapshot| snapshot.state == newest));
}

#[test]
fn what_was_passed_over_is_told_also_when_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    let partition = TopicPartition::new("flights", 3);
    for offset in [10, 20] {
        let file = FolderStore::save(&store, &partition, offset, 1, b"state").unwrap().file;
        fs::write(file, b"TIDESNAP and no more").unwrap();
    }
    let found = store.newest(&partition, 100).unwrap();
    assert!(found.snapshot.is_none());
    assert_eq!(found.passed_over.len(), 2, "{:?}", found.passed_over);
}
