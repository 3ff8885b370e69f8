//! Events by type and the busiest sources, for `/api/stats`; counted per batch, not per event.

use hashbrown::HashMap;
use std::sync::{Mutex, PoisonError};

/// Names kept for sure. Twice as many may be there at a time, so that looking for the least counted costs little for each.
const KEPT: usize = 1_000;
/// What of a name is kept: longer ones are told apart by their beginnings.
const NAME_BYTES: usize = 200;

/// Counts by name, bounded (after lossy counting, Manku and Motwani 2002): a name's count is at most its true one plus
/// `floor`, which no name that was let go had more than.
#[derive(Debug, Default)]
pub struct Counts {
    names: HashMap<Box<str>, u64, foldhash::fast::RandomState>,
    floor: u64,
}

impl Counts {
    /// Adds to a name.
    pub fn add(&mut self, name: &str, count: u64) {
        let name = &name[..name.floor_char_boundary(NAME_BYTES)];
        if let Some(known) = self.names.get_mut(name) {
            *known += count;
            return;
        }
        if self.names.len() >= 2 * KEPT {
            self.let_go();
        }
        self.names.insert(name.into(), self.floor + count);
    }

    /// Lets the least counted go until [`KEPT`] are left.
    fn let_go(&mut self) {
        let mut counts: Vec<u64> = self.names.values().copied().collect();
        let (_, least_kept, _) = counts.select_nth_unstable_by(KEPT - 1, |a, b| b.cmp(a));
        let least_kept = *least_kept;
        let mut equal = counts[..KEPT].iter().filter(|count| **count == least_kept).count();
        let floor = &mut self.floor;
        self.names.retain(|_, count| {
            let is_last = *count == least_kept && equal > 0;
            equal -= usize::from(is_last);
            let stays = *count > least_kept || is_last;
            if !stays {
                *floor = (*floor).max(*count);
            }
            stays
        });
    }

    /// The `most` greatest, greatest first, names in order where counts are equal.
    pub fn top(&self, most: usize) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> =
            self.names.iter().map(|(name, count)| (name.to_string(), *count)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }
}

/// What all partitions have counted since the process started.
#[derive(Debug, Default)]
pub struct Tally {
    types: Mutex<Counts>,
    sources: Mutex<Counts>,
}

impl Tally {
    /// Adds a batch's counts.
    pub fn add<'a>(
        &self,
        types: impl Iterator<Item = (&'a str, u64)>,
        sources: impl Iterator<Item = (&'a str, u64)>,
    ) {
        let mut known = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        types.for_each(|(name, count)| known.add(name, count));
        drop(known);
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.for_each(|(name, count)| known.add(name, count));
    }

    /// Events by type, the most frequent first.
    pub fn types(&self, most: usize) -> Vec<(String, u64)> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner).top(most)
    }

    /// Events by source, the busiest first.
    pub fn sources(&self, most: usize) -> Vec<(String, u64)> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).top(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_busiest_of_more_names_than_it_has_room_for() {
        let mut counts = Counts::default();
        for round in 0..5 {
            counts.add("busy", 1_000);
            (0..3 * KEPT).for_each(|n| counts.add(&format!("{round}-{n}"), 1));
        }
        assert_eq!(counts.top(1), [("busy".to_owned(), 5_000)]);
        let names = counts.top(usize::MAX);
        assert!((KEPT..=2 * KEPT).contains(&names.len()), "{}", names.len());
        assert!(names[1..].iter().all(|(_, count)| *count <= 1 + counts.floor), "{names:?}");
    }
}
