//! Events that came in lately, by source and id: the same event sent again is acknowledged and not stored again.
//!
//! Two generations of ids, each for half of the window: when one is over the older half is forgotten at once.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Ids of one generation; past it the generation is over before its time.
const GENERATION_MAX: usize = 500_000;

/// What is remembered of ids, with a value for each.
pub(crate) struct SeenEvents<V> {
    half: Duration,
    /// Two hashes of one key each: together they do not meet by chance.
    hashers: [RandomState; 2],
    state: Mutex<Generations<V>>,
}

struct Generations<V> {
    newer: HashMap<u128, V, foldhash::fast::RandomState>,
    older: HashMap<u128, V, foldhash::fast::RandomState>,
    began: Instant,
}

impl<V: Clone> SeenEvents<V> {
    /// Ids are remembered for at least half of `window`, and at most for all of it.
    pub(crate) fn new(window: Duration, now: Instant) -> Self {
        let generations = Generations { newer: HashMap::default(), older: HashMap::default(), began: now };
        SeenEvents {
            half: window / 2,
            hashers: [RandomState::default(), RandomState::default()],
            state: Mutex::new(generations),
        }
    }

    fn key(&self, source: &str, id: &str) -> u128 {
        let [high, low] = [&self.hashers[0], &self.hashers[1]].map(|hasher| hasher.hash_one((source, id)));
        u128::from(high) << 64 | u128::from(low)
    }

    /// What is remembered of an event, when `still` says that it counts; else remembers `new` for it.
    pub(crate) fn before(
        &self,
        source: &str,
        id: &str,
        now: Instant,
        new: &V,
        still: impl Fn(&V) -> bool,
    ) -> Option<V> {
        let key = self.key(source, id);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = now.saturating_duration_since(state.began);
        if gone >= self.half || state.newer.len() >= GENERATION_MAX {
            let newer = std::mem::take(&mut state.newer);
            state.older = if gone >= 2 * self.half { HashMap::default() } else { newer };
            state.began = now;
        }
        let known = state.newer.get(&key).or_else(|| state.older.get(&key));
        if let Some(known) = known.filter(|known| still(known)) {
            return Some(known.clone());
        }
        state.newer.insert(key, new.clone());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_by_source_for_the_window() {
        let start = Instant::now();
        let seen = SeenEvents::new(Duration::from_secs(20), start);
        let at = |second, source, id| {
            seen.before(source, id, start + Duration::from_secs(second), &second, |_| true)
        };
        assert_eq!(at(0, "a", "1"), None);
        assert_eq!((at(1, "a", "1"), at(1, "b", "1"), at(1, "a", "2")), (Some(0), None, None));
        assert_eq!(at(11, "a", "1"), Some(0), "the older half");
        assert_eq!(at(22, "a", "1"), None, "over");
        assert_eq!(at(100, "a", "1"), None, "long over");
        assert_eq!(at(100, "a", "1"), Some(100));
    }

    #[test]
    fn what_does_not_count_any_more_is_as_new() {
        let now = Instant::now();
        let seen = SeenEvents::new(Duration::from_secs(20), now);
        assert_eq!(seen.before("a", "1", now, &"failed", |_| true), None);
        assert_eq!(seen.before("a", "1", now, &"sent", |known| *known != "failed"), None);
        assert_eq!(seen.before("a", "1", now, &"again", |_| true), Some("sent"));
    }

    #[test]
    fn a_flood_of_ids_has_a_bound() {
        let now = Instant::now();
        let seen = SeenEvents::new(Duration::from_secs(3_600), now);
        for id in 0..GENERATION_MAX * 2 + 10 {
            assert_eq!(seen.before("a", &id.to_string(), now, &(), |()| true), None);
        }
        let state = seen.state.lock().unwrap();
        assert!(state.newer.len() + state.older.len() <= 2 * GENERATION_MAX);
    }
}
