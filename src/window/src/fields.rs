//! The numeric fields of a series: paths as numbers.

use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Fields that a series without `values` follows at one time. Further ones are not aggregated, and counted.
pub const MAX_FIELDS: usize = 4_096;

/// Not wanted, or one too many.
pub(crate) const SKIP: u16 = u16::MAX;

/// Paths by number, and the other way round.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Only these, when the series names its values.
    fixed: bool,
    names: Vec<Arc<str>>,
    /// Numbers in the order of their names; emissions go by it.
    sorted: Vec<u16>,
    /// The place of each number in that order.
    ranks: Vec<u16>,
    table: HashTable<u16>,
    hasher: foldhash::fast::FixedState,
    /// Numbers without a name, to use again.
    free: Vec<u16>,
    /// What stood at each place of the last event: most events look like the one before.
    hints: Vec<u16>,
    /// Values left out because there were too many fields.
    pub dropped: u64,
}

impl Fields {
    pub fn new(values: Option<&[String]>) -> Self {
        let mut fields = Fields {
            fixed: values.is_some(),
            names: Vec::new(),
            sorted: Vec::new(),
            ranks: Vec::new(),
            table: HashTable::new(),
            hasher: foldhash::fast::FixedState::with_seed(0x6669_656c_6473),
            free: Vec::new(),
            hints: Vec::new(),
            dropped: 0,
        };
        for name in values.unwrap_or_default() {
            fields.find_or_insert(name);
        }
        fields
    }

    pub fn name(&self, field: u16) -> &Arc<str> {
        &self.names[usize::from(field)]
    }

    /// The place of a field in the order of names.
    pub fn rank(&self, field: u16) -> u16 {
        self.ranks[usize::from(field)]
    }

    /// The number of the path at a place of an event; [`SKIP`] when it is not followed.
    #[inline]
    pub fn at(&mut self, place: usize, path: &str) -> u16 {
        if let Some(&hint) = self.hints.get(place)
            && hint != SKIP
            && &*self.names[usize::from(hint)] == path
        {
            return hint;
        }
        let field = self.lookup(path);
        if place < MAX_FIELDS {
            if self.hints.len() <= place {
                self.hints.resize(place + 1, SKIP);
            }
            self.hints[place] = field;
        }
        field
    }

    fn lookup(&mut self, path: &str) -> u16 {
        if !self.fixed {
            return self.find_or_insert(path);
        }
        // Few are named, and most leaves of an event are none of them.
        const FEW: usize = 8;
        if self.names.len() <= FEW {
            let found = self.names.iter().position(|name| &**name == path);
            return found.map_or(SKIP, |found| found as u16);
        }
        self.find(path).unwrap_or(SKIP)
    }

    fn find(&self, path: &str) -> Option<u16> {
        let hash = self.hasher.hash_one(path);
        self.table.find(hash, |&field| &*self.names[usize::from(field)] == path).copied()
    }

    /// The number of a field of an earlier definition; [`SKIP`] when it is not followed any more.
    pub fn of_earlier(&mut self, path: &str) -> u16 {
        if self.fixed { self.find(path).unwrap_or(SKIP) } else { self.find_or_insert(path) }
    }

    /// The number of a path, a new one where there is room.
    pub fn find_or_insert(&mut self, path: &str) -> u16 {
        if let Some(found) = self.find(path) {
            return found;
        }
        let field = match self.free.pop() {
            Some(field) => {
                self.names[usize::from(field)] = path.into();
                field
            }
            None if self.names.len() < MAX_FIELDS => {
                self.names.push(path.into());
                self.names.len() as u16 - 1
            }
            None => {
                self.dropped += 1;
                return SKIP;
            }
        };
        let (names, hasher) = (&self.names, &self.hasher);
        self.table.insert_unique(hasher.hash_one(path), field, |&field| {
            hasher.hash_one(&*names[usize::from(field)])
        });
        let at = self.sorted.partition_point(|&other| *names[usize::from(other)] < *path);
        self.sorted.insert(at, field);
        self.rank_again();
        field
    }

    /// The names in use, with their numbers.
    pub fn names(&self) -> impl Iterator<Item = (u16, &Arc<str>)> {
        let names = self.names.iter().enumerate().map(|(field, name)| (field as u16, name));
        names.filter(|(field, _)| !self.free.contains(field))
    }

    fn rank_again(&mut self) {
        self.ranks.resize(self.names.len(), 0);
        for (rank, &field) in self.sorted.iter().enumerate() {
            self.ranks[usize::from(field)] = rank as u16;
        }
    }

    /// Whether a new path would find no room.
    pub fn is_full(&self) -> bool {
        !self.fixed && self.names.len() == MAX_FIELDS && self.free.is_empty()
    }

    /// Forgets the fields that no window holds any more.
    pub fn retain(&mut self, live: &[bool]) {
        if self.fixed {
            return;
        }
        let dead = |field: &u16| !live[usize::from(*field)];
        self.free = (0..self.names.len() as u16).filter(dead).collect();
        self.table.retain(|field| !dead(field));
        self.sorted.retain(|field| !dead(field));
        self.hints.clear();
        self.rank_again();
        for &field in &self.free {
            self.names[usize::from(field)] = "".into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, MAX_FIELDS, SKIP};

    #[test]
    fn named_values_only_or_all_up_to_the_bound() {
        let mut named = Fields::new(Some(&["b".to_owned(), "a".to_owned()]));
        assert_eq!((named.at(0, "a"), named.at(1, "x"), named.at(2, "b")), (1, SKIP, 0));
        assert_eq!((named.rank(1), named.rank(0)), (0, 1));
        assert_eq!(named.dropped, 0);

        let mut all = Fields::new(None);
        for at in 0..MAX_FIELDS {
            assert_eq!(all.at(at, &format!("f{at}")), at as u16);
        }
        assert_eq!((all.at(0, "more"), all.dropped), (SKIP, 1));
        let live: Vec<bool> = (0..MAX_FIELDS).map(|at| at != 7).collect();
        all.retain(&live);
        assert_eq!((all.at(0, "more"), all.at(1, "f6"), all.at(1, "f7")), (7, 6, SKIP));
        assert_eq!((&**all.name(7), usize::from(all.rank(7))), ("more", MAX_FIELDS - 1));
    }
}
