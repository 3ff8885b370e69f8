//! Tumbling and hopping windows of one series: one record for each key and pane.
//!
//! What a key's window has emitted is told by the record of its last pane, which is made for that alone when a window
//! without an event in its last pane can still be corrected.

mod stored;

use crate::cells::{Cells, Held};
use crate::closed::{Outcome, Sink};
use crate::emit::{Emitter, Part, Window};
use crate::fields::{Fields, SKIP};
use crate::grid::Grid;
use crate::group::Interned;
use crate::members::{Keyed, Members};
use crate::slab::{NONE, Slab};
use crate::types::TypeSeen;
use hashbrown::{HashMap, HashTable};
use std::collections::BTreeMap;

/// With `empty_windows`, a key is forgotten after so many windows without an event.
pub const EMPTY_WINDOWS_UNTIL_FORGOTTEN: i64 = 1_000;

/// One key in one pane. There may be millions: packed, it takes 36 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(4))]
pub(crate) struct Record {
    pub count: u64,
    pub key: u32,
    /// Slot of the pane.
    slot: u32,
    /// The next record of the pane.
    next: u32,
    pub held: Held,
    /// Emissions of the window that ends with this pane.
    pub emissions: u32,
    pub event_type: TypeSeen,
}

impl Record {
    fn part(&self) -> Part {
        Part { count: self.count, event_type: self.event_type, held: self.held }
    }
}

/// A pane that has records.
#[derive(Debug, Clone, Copy)]
struct Pane {
    number: i64,
    first: u32,
    last: u32,
}

/// All panes of a series.
#[derive(Debug)]
pub(crate) struct Panes {
    pub grid: Grid,
    pub grace: i64,
    empty_windows: bool,
    pub cells: Cells,
    records: Slab<Record>,
    index: HashTable<u32>,
    panes: Slab<Pane>,
    by_number: BTreeMap<i64, u32>,
    /// The pane met last: its first instant, its slot.
    last: (i64, u32),
    pub watermark: i64,
    /// The least watermark at which a window closes or a pane is purged.
    next_work: i64,
    /// Windows that end here or before may have been emitted ahead of the watermark, by idleness.
    emitted_until: i64,
    /// With `empty_windows`: the first and the last window with an event of each key.
    known: HashMap<u32, (i64, i64), foldhash::fast::FixedState>,
    members: Members,
    closing: Option<Closing>,
}

/// A window that is being closed, for which there was no more room.
#[derive(Debug, Clone, Copy)]
struct Closing {
    window: i64,
    /// Of one pane: its record that is next. Otherwise the place in the members.
    next: u32,
    alone: bool,
}

fn mix(key: u32, slot: u32) -> u64 {
    let product = u128::from(u64::from(key) << 32 | u64::from(slot)) * 0x9e37_79b9_7f4a_7c15_u128;
    (product >> 64) as u64 ^ product as u64
}

impl Panes {
    pub fn new(grid: Grid, grace: i64, empty_windows: bool, percentiles: bool) -> Self {
        Panes {
            grid,
            grace,
            empty_windows,
            cells: Cells::new(percentiles),
            records: Slab::default(),
            index: HashTable::new(),
            panes: Slab::default(),
            by_number: BTreeMap::new(),
            last: (i64::MAX, NONE),
            watermark: i64::MIN,
            next_work: i64::MAX,
            emitted_until: i64::MIN,
            known: HashMap::default(),
            members: Members::default(),
            closing: None,
        }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// One event. The watermark has been advanced to what the event's partition makes it.
    #[inline]
    pub fn observe<'n>(
        &mut self,
        who: Interned,
        time: i64,
        numbers: impl Iterator<Item = (&'n str, f64)>,
        fields: &mut Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> Outcome {
        let slot = if self.last.1 != NONE && time >= self.last.0 && time - self.last.0 < self.grid.pane_micros
        {
            self.last.1
        } else {
            let pane = self.grid.pane(time);
            let final_end = self.grid.end(self.grid.last_window(pane));
            if final_end <= self.watermark && final_end.saturating_add(self.grace) <= self.watermark {
                return Outcome::Late;
            }
            self.slot(pane)
        };
        let at = self.record(who.key, slot);
        let record = &mut self.records[at];
        record.count += 1;
        record.event_type.add(who.event_type);
        let mut held = record.held;
        let mut cursor = held.first();
        for (place, (path, value)) in numbers.enumerate() {
            let field = fields.at(place, path);
            if field != SKIP {
                self.cells.add(&mut held, &mut cursor, field, value);
            }
        }
        self.records[at].held = held;
        if self.empty_windows {
            self.know(who.key, self.panes[slot].number);
        }
        // No window with this pane can have been emitted before the pane's own end was passed.
        if self.last.0.saturating_add(self.grid.pane_micros) <= self.watermark.max(self.emitted_until) {
            self.correct(who.key, self.panes[slot].number, fields, emitter, sink);
        }
        Outcome::Taken
    }

    /// The slot of a pane, which becomes the pane met last.
    fn slot(&mut self, number: i64) -> u32 {
        let slot = match self.by_number.get(&number) {
            Some(&slot) => slot,
            None => {
                let slot = self.panes.insert(Pane { number, first: NONE, last: NONE });
                self.by_number.insert(number, slot);
                self.next_work = self.next_work.min(self.work_of(number));
                slot
            }
        };
        self.last = (number * self.grid.pane_micros, slot);
        slot
    }

    /// The watermark at which a pane next wants something: a window of it to close, or to be purged.
    fn work_of(&self, pane: i64) -> i64 {
        let last = self.grid.last_window(pane);
        let open = self.grid.first_window(pane).max(self.grid.first_open(self.watermark));
        if open <= last { self.grid.end(open) } else { self.grid.end(last).saturating_add(self.grace) }
    }

    /// The record of a key in a pane, a new one where there is none yet.
    #[inline]
    fn record(&mut self, key: u32, slot: u32) -> u32 {
        let hash = mix(key, slot);
        match self.find(hash, key, slot) {
            Some(at) => at,
            None => self.insert(hash, key, slot),
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: u32, slot: u32) -> Option<u32> {
        let same = |&at: &u32| self.records[at].key == key && self.records[at].slot == slot;
        self.index.find(hash, same).copied()
    }

    fn insert(&mut self, hash: u64, key: u32, slot: u32) -> u32 {
        let event_type = TypeSeen::default();
        let held = Held::default();
        let record = Record { count: 0, key, slot, next: NONE, held, emissions: 0, event_type };
        let at = self.records.insert(record);
        match std::mem::replace(&mut self.panes[slot].last, at) {
            NONE => self.panes[slot].first = at,
            last => self.records[last].next = at,
        }
        let records = &self.records;
        self.index.insert_unique(hash, at, |&at| mix(records[at].key, records[at].slot));
        at
    }

    /// Notes that a key has an event in a pane.
    fn know(&mut self, key: u32, pane: i64) {
        let (first, last) = (self.grid.first_window(pane), self.grid.last_window(pane));
        let known = self.known.entry(key).or_insert((i64::MAX, last));
        if first < known.0 {
            // The key is expected from an earlier window on, which may be the next to close.
            self.next_work =
                self.next_work.min(self.grid.end(first.max(self.grid.first_open(self.watermark))));
        }
        *known = (first.min(known.0), last.max(known.1));
    }

    /// Emits anew the closed windows that an event of a pane has changed, in the order of their ends.
    fn correct(
        &mut self,
        key: u32,
        pane: i64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) {
        for window in self.grid.first_window(pane)..=self.grid.last_window(pane) {
            let end = self.grid.end(window);
            let closed = end <= self.watermark;
            if closed && end.saturating_add(self.grace) <= self.watermark {
                continue;
            }
            let emitted = self.emissions(key, window);
            if closed || emitted > 0 {
                let slot = self.slot(self.grid.panes(window).1);
                let at = self.record(key, slot);
                self.records[at].emissions = emitted + 1;
                self.emit_key(key, window, emitted, fields, emitter, sink);
            }
        }
    }

    /// How often a key's window has been emitted.
    fn emissions(&self, key: u32, window: i64) -> u32 {
        let Some(&slot) = self.by_number.get(&self.grid.panes(window).1) else { return 0 };
        self.find(mix(key, slot), key, slot).map_or(0, |at| self.records[at].emissions)
    }

    /// Emits one key's window.
    fn emit_key(
        &self,
        key: u32,
        window: i64,
        revision: u32,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) {
        let (first, last) = self.grid.panes(window);
        let parts = self.by_number.range(first..=last).filter_map(|(_, &slot)| {
            let at = self.find(mix(key, slot), key, slot)?;
            Some(self.records[at].part())
        });
        let bounds = Window { key, start: self.grid.start(window), end: self.grid.end(window), revision };
        emitter.emit(bounds, parts, &self.cells, fields, sink);
    }

    /// Closes every window that has ended by `watermark`, in the order of their ends, and forgets what is past grace.
    /// What `room` is not enough for waits for the next call, which must be the same one.
    #[inline]
    pub fn advance(
        &mut self,
        watermark: i64,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let watermark = watermark.max(self.watermark);
        if watermark < self.next_work {
            self.watermark = watermark;
            return false;
        }
        let mut window = self.first_to_close();
        loop {
            if self.closing.is_none() && !self.known.values().any(|(first, _)| *first <= window) {
                // Over the gap to the next window that has a pane.
                let from = window.saturating_mul(self.grid.advance);
                let Some((&pane, _)) = self.by_number.range(from..).next() else { break };
                window = window.max(self.grid.first_window(pane));
            }
            if self.grid.end(window) > watermark {
                break;
            }
            if !self.close(window, watermark, room, fields, emitter, sink) {
                return true;
            }
            window += 1;
        }
        self.watermark = watermark;
        self.purge();
        true
    }

    /// A close has begun and waits for room.
    pub fn is_midway(&self) -> bool {
        self.closing.is_some()
    }

    fn first_to_close(&self) -> i64 {
        self.closing.map_or_else(|| self.grid.first_open(self.watermark), |closing| closing.window)
    }

    /// Emits every key's part of one window that has not been emitted yet; false when there is no room for the next.
    fn close(
        &mut self,
        window: i64,
        watermark: i64,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let (first, last) = self.grid.panes(window);
        let forgotten = window - EMPTY_WINDOWS_UNTIL_FORGOTTEN;
        let begun = self.closing.take();
        if begun.is_none() {
            self.known.retain(|_, (_, last)| *last > forgotten);
        }
        // Otherwise a key may come several times: from several panes, or because it is expected.
        let alone = begun.map_or(first == last && self.known.is_empty(), |begun| begun.alone);
        if alone {
            return self.close_pane(window, begun, room, fields, emitter, sink);
        }
        let retained = self.grid.end(window).saturating_add(self.grace) > watermark;
        let mut members = std::mem::take(&mut self.members);
        if begun.is_none() {
            members.clear();
            // From the last pane back, so that each key's records come out in the order of their panes.
            for (&pane, &slot) in self.by_number.range(first..=last).rev() {
                let mut at = self.panes[slot].first;
                while at != NONE {
                    let record = &self.records[at];
                    members.add(record.key, at, pane == last);
                    at = record.next;
                }
            }
            for (&key, _) in self.known.iter().filter(|(_, (first, _))| *first <= window) {
                members.expect(key);
            }
            members.sort(emitter.keys);
        }
        let mut left = None;
        for at in begun.map_or(0, |begun| begun.next as usize)..members.keys.len() {
            let keyed @ Keyed { key, ending, expected, .. } = members.keys[at];
            if ending != NONE && self.records[ending].emissions > 0 {
                continue;
            }
            let parts = members.records(&keyed).map(|at| self.records[at].part());
            if !expected && parts.clone().all(|part| part.count == 0) {
                continue;
            }
            if *room == 0 {
                left = Some(Closing { window, next: at as u32, alone });
                break;
            }
            *room -= 1;
            emitter.emit(self.bounds(key, window), parts, &self.cells, fields, sink);
            if ending != NONE {
                self.records[ending].emissions = 1;
            } else if retained {
                let slot = self.slot(last);
                let at = self.record(key, slot);
                self.records[at].emissions = 1;
            }
        }
        self.members = members;
        self.closing = left;
        left.is_none()
    }

    /// The same for a window of one pane. Its keys come in the order of their records, in which they came:
    /// millions of them are neither gathered nor sorted.
    fn close_pane(
        &mut self,
        window: i64,
        begun: Option<Closing>,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(&slot) = self.by_number.get(&self.grid.panes(window).1) else { return true };
        let mut at = begun.map_or(self.panes[slot].first, |begun| begun.next);
        while at != NONE {
            let Record { key, count, emissions, next, .. } = self.records[at];
            if emissions == 0 && count > 0 {
                if *room == 0 {
                    self.closing = Some(Closing { window, next: at, alone: true });
                    return false;
                }
                *room -= 1;
                let part = std::iter::once(self.records[at].part());
                emitter.emit(self.bounds(key, window), part, &self.cells, fields, sink);
                self.records[at].emissions = 1;
            }
            at = next;
        }
        true
    }

    /// A key's window when it is emitted for the first time.
    fn bounds(&self, key: u32, window: i64) -> Window {
        Window { key, start: self.grid.start(window), end: self.grid.end(window), revision: 0 }
    }

    /// Closes every open window without moving the watermark: its partition is quiet. What `room` is not enough for waits
    /// for the next call.
    pub fn close_idle(
        &mut self,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) {
        let known = std::mem::take(&mut self.known);
        let Some((&newest, _)) = self.by_number.last_key_value() else {
            self.known = known;
            return;
        };
        let mut window = self.first_to_close();
        loop {
            let from = window.saturating_mul(self.grid.advance);
            if from > newest {
                break;
            }
            let Some((&pane, _)) = self.by_number.range(from..=newest).next() else { break };
            window = window.max(self.grid.first_window(pane));
            self.emitted_until = self.emitted_until.max(self.grid.end(window));
            if !self.close(window, self.watermark, room, fields, emitter, sink) {
                break;
            }
            window += 1;
        }
        self.known = known;
    }

    /// Forgets the panes whose windows are all past their grace, and finds when there is work again.
    fn purge(&mut self) {
        while let Some((&number, &slot)) = self.by_number.first_key_value() {
            if self.grid.end(self.grid.last_window(number)).saturating_add(self.grace) > self.watermark {
                break;
            }
            let mut at = self.panes[slot].first;
            while at != NONE {
                let Record { key, next, held, .. } = self.records[at];
                if let Ok(entry) = self.index.find_entry(mix(key, slot), |&other| other == at) {
                    entry.remove();
                }
                self.cells.free(held);
                self.records.free(at);
                at = next;
            }
            self.panes.free(slot);
            self.by_number.remove(&number);
            if self.last.1 == slot {
                self.last.1 = NONE;
            }
        }
        self.next_work = i64::MAX;
        for &number in self.by_number.keys() {
            let work = self.work_of(number);
            self.next_work = self.next_work.min(work);
            // Later panes only want something later, once one has a window that is open.
            if self.grid.first_window(number) >= self.grid.first_open(self.watermark) {
                break;
            }
        }
        if !self.known.is_empty() {
            self.next_work = self.next_work.min(self.grid.end(self.grid.first_open(self.watermark)));
        }
    }
}
