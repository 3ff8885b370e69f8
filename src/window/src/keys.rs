//! The keys and event types of one partition: each text stored once and named by a number.

use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Text lives in blocks that are filled once: growing copies none of it.
const BLOCK_BYTES: usize = 1 << BLOCK_BITS;
const BLOCK_BITS: u32 = 18;
/// Texts take 4 GiB at most, for their places are numbers of four bytes.
const BLOCKS: usize = 1 << (32 - BLOCK_BITS);

/// Interned texts, numbered from 0 in the order of their first coming.
#[derive(Debug)]
pub(crate) struct Keys {
    blocks: Vec<String>,
    /// Block and start of each, start in the lower [`BLOCK_BITS`]. A text ends where the next begins, or with its block.
    places: Vec<u32>,
    table: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    /// The last one found: event types, and keys in bursts, repeat.
    last: u32,
    tally: Tally,
}

/// How often each was counted since the last look.
#[derive(Debug, Default)]
struct Tally {
    counts: Vec<u16>,
    /// Those whose count is not 0.
    counted: Vec<u32>,
    /// Counts of texts that were forgotten meanwhile, and what `counts` had no room for.
    gone: Vec<(Box<str>, u64)>,
}

impl Default for Keys {
    fn default() -> Self {
        // A fixed seed: no result depends on it, and the room draws no randomness of its own.
        let hasher = foldhash::fast::FixedState::with_seed(0x7469_6465_6361_7374);
        Keys {
            blocks: Vec::new(),
            places: Vec::new(),
            table: HashTable::new(),
            hasher,
            last: 0,
            tally: Tally::default(),
        }
    }
}

impl Keys {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The text of a number that was given out.
    #[inline]
    pub fn get(&self, id: u32) -> &str {
        text(&self.blocks, &self.places, id)
    }

    /// The number of a text, a new one where there is none yet.
    #[inline]
    pub fn intern(&mut self, key: &str) -> u32 {
        if (self.last as usize) < self.places.len() && self.get(self.last) == key {
            return self.last;
        }
        let hash = self.hasher.hash_one(key);
        let (blocks, places) = (&self.blocks, &self.places);
        self.last = match self.table.find(hash, |&id| text(blocks, places, id) == key) {
            Some(&id) => id,
            None => self.insert(hash, key),
        };
        self.last
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: &str) -> u32 {
        let is_full =
            |block: &String| block.len() >= BLOCK_BYTES || block.len() + key.len() > block.capacity();
        if self.blocks.last().is_none_or(is_full) {
            assert!(self.blocks.len() < BLOCKS, "the keys of one partition take more than 4 GiB");
            // Small at first: most partitions have few keys.
            let room = if self.blocks.is_empty() { 4 * 1024 } else { BLOCK_BYTES };
            self.blocks.push(String::with_capacity(room.max(key.len())));
        }
        let at = self.blocks.len() - 1;
        let id = self.places.len() as u32;
        self.places.push((at as u32) << BLOCK_BITS | self.blocks[at].len() as u32);
        self.blocks[at].push_str(key);
        let (blocks, places, hasher) = (&self.blocks, &self.places, &self.hasher);
        self.table.insert_unique(hash, id, |&id| hasher.hash_one(text(blocks, places, id)));
        id
    }

    /// Counts one more of a number that was given out.
    #[inline]
    pub fn count(&mut self, id: u32) {
        let Tally { counts, counted, gone } = &mut self.tally;
        if counts.len() <= id as usize {
            counts.resize(id as usize + 1, 0);
        }
        let count = &mut counts[id as usize];
        if *count == 0 {
            counted.push(id);
        } else if *count == u16::MAX {
            gone.push((text(&self.blocks, &self.places, id).into(), u64::from(*count)));
            *count = 0;
        }
        *count += 1;
    }

    /// Tells what was counted since the last time, in no order.
    pub fn take_counts(&mut self, mut tell: impl FnMut(&str, u64)) {
        let mut tally = std::mem::take(&mut self.tally);
        for (text, count) in tally.gone.drain(..) {
            tell(&text, count);
        }
        for id in tally.counted.drain(..) {
            tell(self.get(id), std::mem::take(&mut tally.counts[id as usize]).into());
        }
        self.tally = tally;
    }

    /// Forgets those that are not `live`, and tells the new number of each (any number for the forgotten).
    pub fn retain(&mut self, live: &[bool]) -> Vec<u32> {
        let mut kept = Keys::default();
        // Told all the same; kept by their texts, for the numbers change.
        self.take_counts(|text, count| kept.tally.gone.push((text.into(), count)));
        let renumbered = (0..self.places.len() as u32)
            .map(|id| if live[id as usize] { kept.intern(self.get(id)) } else { 0 })
            .collect();
        *self = kept;
        renumbered
    }
}

#[inline(always)]
fn text<'a>(blocks: &'a [String], places: &[u32], id: u32) -> &'a str {
    let start = |place: u32| place as usize & (BLOCK_BYTES - 1);
    let place = places[id as usize];
    let block = &blocks[(place >> BLOCK_BITS) as usize];
    let end = match places.get(id as usize + 1) {
        Some(&next) if next >> BLOCK_BITS == place >> BLOCK_BITS => start(next),
        _ => block.len(),
    };
    &block[start(place)..end]
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn texts_of_every_length_are_found_again_and_the_dead_are_forgotten() {
        let mut keys = Keys::default();
        let texts: Vec<String> = (0..5_000).map(|at| format!("{at}{}", "x".repeat(at % 300))).collect();
        let long = "l".repeat(super::BLOCK_BYTES + 1);
        let ids: Vec<u32> = texts.iter().map(|text| keys.intern(text)).collect();
        let whole_block = "w".repeat(super::BLOCK_BYTES);
        let (long_id, block_id) = (keys.intern(&long), keys.intern(&whole_block));
        let empty = keys.intern("");
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(keys.get(*id), text);
            assert_eq!(keys.intern(text), *id);
        }
        assert_eq!((keys.get(long_id), keys.get(empty)), (long.as_str(), ""));
        assert_eq!(keys.get(block_id), whole_block);
        let after = keys.intern("after");
        assert_eq!((keys.get(after), keys.get(empty)), ("after", ""));
        let live: Vec<bool> = (0..keys.len()).map(|id| id % 3 == 0).collect();
        for id in [0, 1, 1, 5].into_iter().chain(std::iter::repeat_n(7, 150_000)) {
            keys.count(ids[id]);
        }
        let renumbered = keys.retain(&live);
        keys.count(renumbered[0]);
        let mut counts = std::collections::BTreeMap::new();
        keys.take_counts(|text, count| *counts.entry(text.to_owned()).or_insert(0) += count);
        let wanted = [(&texts[0], 2), (&texts[1], 2), (&texts[5], 1), (&texts[7], 150_000)];
        assert_eq!(counts, wanted.into_iter().map(|(text, count)| (text.clone(), count)).collect());
        keys.take_counts(|text, count| panic!("{text} counted {count} times again"));
        assert_eq!(keys.len(), live.iter().filter(|live| **live).count());
        for id in ids.iter().filter(|id| **id % 3 == 0) {
            assert_eq!(keys.get(renumbered[*id as usize]), texts[*id as usize]);
        }
    }
}
