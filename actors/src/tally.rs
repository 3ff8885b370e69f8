//! Events by type and the busiest sources, for `/api/stats`; counted per batch, not per event.

use hashbrown::HashMap;
use std::sync::{Mutex, PoisonError};

/// Names kept; past them the least counted make room (space-saving, Metwally et al. 2005).
const KEPT: usize = 1_000;

/// Counts by name, bounded: a name's count is at most its true one plus that of the name it replaced.
#[derive(Debug, Default)]
pub struct Counts(HashMap<Box<str>, u64, foldhash::fast::RandomState>);

impl Counts {
    /// Adds to a name.
    pub fn add(&mut self, name: &str, count: u64) {
        if let Some(known) = self.0.get_mut(name) {
            *known += count;
            return;
        }
        let mut begin = 0;
        if self.0.len() >= KEPT
            && let Some((least, of)) =
                self.0.iter().min_by_key(|(_, count)| **count).map(|(name, count)| (name.clone(), *count))
        {
            self.0.remove(&least);
            begin = of;
        }
        self.0.insert(name.into(), begin + count);
    }

    /// The `most` greatest, greatest first, names in order where counts are equal.
    pub fn top(&self, most: usize) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> =
            self.0.iter().map(|(name, count)| (name.to_string(), *count)).collect();
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
            (0..KEPT).for_each(|n| counts.add(&format!("{round}-{n}"), 1));
        }
        assert_eq!(counts.top(1), [("busy".to_owned(), 5_000)]);
        assert!(counts.top(usize::MAX).len() <= KEPT);
    }
}
