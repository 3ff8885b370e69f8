//! The state of panes: what a snapshot holds of them, and what renumbering changes.

use super::{Panes, mix};
use crate::cells::Held;
use crate::slab::NONE;
use crate::state::{Reader, StateError, Writer};
use crate::types::TypeSeen;

impl Panes {
    fn live_records(&self) -> impl Iterator<Item = u32> + '_ {
        self.index.iter().copied()
    }

    /// Marks the keys and types that are in use.
    pub fn mark(&self, keys: &mut [bool], types: &mut [bool]) {
        for at in self.live_records() {
            let record = &self.records[at];
            keys[record.key as usize] = true;
            if let Some(number) = record.event_type.one() {
                types[number as usize] = true;
            }
        }
        for &key in self.known.keys() {
            keys[key as usize] = true;
        }
    }

    /// The fields that some cell is of.
    pub fn fields_in_use(&self) -> Vec<bool> {
        let mut fields = vec![false; crate::fields::MAX_FIELDS];
        for at in self.live_records() {
            for (field, _) in self.cells.fields(self.records[at].held) {
                fields[usize::from(field)] = true;
            }
        }
        fields
    }

    pub fn renumber_keys(&mut self, renumbered: &[u32]) {
        let live: Vec<u32> = self.live_records().collect();
        self.index.clear();
        for at in live {
            self.records[at].key = renumbered[self.records[at].key as usize];
            let hash = mix(self.records[at].key, self.records[at].slot);
            let records = &self.records;
            self.index.insert_unique(hash, at, |&at| mix(records[at].key, records[at].slot));
        }
        self.known = self.known.drain().map(|(key, windows)| (renumbered[key as usize], windows)).collect();
    }

    pub fn renumber_types(&mut self, renumbered: &[u32]) {
        let live: Vec<u32> = self.live_records().collect();
        for at in live {
            if let Some(number) = self.records[at].event_type.one() {
                self.records[at].event_type = TypeSeen::of(renumbered[number as usize]);
            }
        }
    }

    /// Writes the state; keys by their numbers in the snapshot.
    pub fn encode(&self, renumbered: &[u32], out: &mut Writer<'_>) {
        out.put(&(self.watermark, self.emitted_until));
        out.put(&(self.known.len() as u64));
        for (&key, windows) in &self.known {
            out.put(&(renumbered[key as usize], *windows));
        }
        out.put(&(self.by_number.len() as u64));
        for (&number, &slot) in &self.by_number {
            out.put(&number);
            let mut at = self.panes[slot].first;
            while at != NONE {
                let record = &self.records[at];
                let fields = self.cells.fields(record.held).count();
                out.put(&StoredRecord {
                    key: renumbered[record.key as usize],
                    count: record.count,
                    emissions: record.emissions,
                    event_type: record.event_type,
                    fields: fields as u16,
                });
                for (field, place) in self.cells.fields(record.held) {
                    out.put(&field);
                    out.put(&self.cells.export(place));
                }
                at = record.next;
            }
            out.put(&StoredRecord { key: NONE, ..StoredRecord::default() });
        }
    }

    /// Reads what [`Panes::encode`] wrote, into panes that are new. `fields` gives the numbers of the fields here.
    pub fn decode(&mut self, fields: &[u16], input: &mut Reader<'_>) -> Result<(), StateError> {
        (self.watermark, self.emitted_until) = input.get()?;
        for _ in 0..input.get::<u64>()? {
            let (key, windows): (u32, (i64, i64)) = input.get()?;
            self.known.insert(input.key(key)?, windows);
        }
        for _ in 0..input.get::<u64>()? {
            let number: i64 = input.get()?;
            if number.unsigned_abs() > i64::MAX as u64 / 4 / self.grid.pane_micros as u64 {
                return Err(input.broken("a pane beyond all time"));
            }
            let slot = self.slot(number);
            loop {
                let stored: StoredRecord = input.get()?;
                if stored.key == NONE {
                    break;
                }
                let known = self.records.len();
                let at = self.record(input.key(stored.key)?, slot);
                if self.records.len() == known {
                    return Err(input.broken("a key stands twice in a pane"));
                }
                let mut held = Held::default();
                for _ in 0..stored.fields {
                    let field: u16 = input.get()?;
                    let field = *fields
                        .get(usize::from(field))
                        .ok_or_else(|| input.broken("a field without a name"))?;
                    self.cells.import(&mut held, field, &input.get()?);
                }
                let record = &mut self.records[at];
                (record.count, record.emissions) = (stored.count, stored.emissions);
                (record.event_type, record.held) = (input.event_type(stored.event_type)?, held);
            }
        }
        self.purge();
        Ok(())
    }
}

/// A record in a snapshot; its fields follow it.
#[derive(Debug, Default, bincode::Encode, bincode::Decode)]
struct StoredRecord {
    key: u32,
    count: u64,
    emissions: u32,
    event_type: TypeSeen,
    fields: u16,
}
