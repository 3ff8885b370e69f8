//! The statistics of one field in one pane: values as they come while they are few, a summary after.
//!
//! One value of one field lies with whom it belongs to, one of several fields in its cell; then blocks of 4, 16 and 64
//! take over; when the last is full its values are summed up (moments, and a sketch for percentiles) and it is filled
//! again. So a key with a handful of events costs some ten bytes for each, and a busy one about a kilobyte, however many
//! events come.

use crate::fields::SKIP;
use crate::gather::Gather;
use crate::moments::Moments;
use crate::sketch::{ChunkPool, Sketch};
use crate::slab::{NONE, Slab};

/// Room of the blocks of each class; class 0 is the cell itself.
const ROOM: [usize; 4] = [1, 4, 16, 64];
/// Blocks are made so many at a time.
const BLOCKS_AT_ONCE: usize = 256;

/// One field of one pane; a list, in the order in which the fields came. Sixteen bytes, for there may be millions.
#[derive(Debug, Clone, Copy)]
struct Cell {
    next: u32,
    /// Block of the class. Class 0: the value's upper half.
    block: u32,
    /// The summary's number, or [`NONE`]. Class 0: the value's lower half.
    summary: u32,
    field: u16,
    /// Values that are in the block.
    len: u8,
    class: u8,
}

impl Cell {
    fn of(field: u16, value: f64) -> Self {
        let bits = value.to_bits();
        Cell { next: NONE, block: (bits >> 32) as u32, summary: bits as u32, field, len: 1, class: 0 }
    }

    /// The value of a cell of class 0.
    fn value(&self) -> f64 {
        f64::from_bits(u64::from(self.block) << 32 | u64::from(self.summary))
    }
}

#[derive(Debug, Default)]
struct Summary {
    moments: Moments,
    sketch: Sketch,
}

/// The values of a pane's key, or of a session: none, one as it is, or a list of cells. For most of many keys it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// The first cell, or [`NONE`]. Of one value, the upper half.
    first: u32,
    /// Of one value, the lower half.
    lower: u32,
    /// Of one value, its field; else [`SKIP`].
    field: u16,
}

impl Default for Held {
    fn default() -> Self {
        Held { first: NONE, lower: 0, field: SKIP }
    }
}

impl Held {
    fn one(field: u16, value: f64) -> Self {
        let bits = value.to_bits();
        Held { first: (bits >> 32) as u32, lower: bits as u32, field }
    }

    fn list(first: u32) -> Self {
        Held { first, ..Held::default() }
    }

    fn value(self) -> f64 {
        f64::from_bits(u64::from(self.first) << 32 | u64::from(self.lower))
    }

    /// The first cell, or [`NONE`]: where an event's first value is looked for.
    #[inline(always)]
    pub fn first(self) -> u32 {
        if self.field == SKIP { self.first } else { NONE }
    }
}

/// What one field has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// One value.
    Value(f64),
    /// A cell.
    Cell(u32),
}

/// Blocks of one size.
#[derive(Debug, Default)]
struct Blocks {
    room: usize,
    chunks: Vec<Vec<f64>>,
    free: Vec<u32>,
    made: u32,
}

impl Blocks {
    fn take(&mut self) -> u32 {
        if let Some(block) = self.free.pop() {
            return block;
        }
        if self.made as usize == self.chunks.len() * BLOCKS_AT_ONCE {
            self.chunks.push(vec![0.0; self.room * BLOCKS_AT_ONCE]);
        }
        self.made += 1;
        self.made - 1
    }

    #[inline(always)]
    fn get(&self, block: u32) -> &[f64] {
        let at = block as usize % BLOCKS_AT_ONCE * self.room;
        &self.chunks[block as usize / BLOCKS_AT_ONCE][at..at + self.room]
    }

    #[inline(always)]
    fn get_mut(&mut self, block: u32) -> &mut [f64] {
        let at = block as usize % BLOCKS_AT_ONCE * self.room;
        &mut self.chunks[block as usize / BLOCKS_AT_ONCE][at..at + self.room]
    }
}

/// All cells of a series.
#[derive(Debug)]
pub(crate) struct Cells {
    percentiles: bool,
    cells: Slab<Cell>,
    blocks: [Blocks; 4],
    summaries: Slab<Summary>,
    chunks: ChunkPool,
}

/// What a cell holds, for a snapshot or a partial aggregate.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Portable {
    /// The newest values as they came.
    pub values: Vec<f64>,
    /// What became of those before.
    pub summary: Option<(Moments, Vec<(i32, u32)>)>,
}

impl Cells {
    pub fn new(percentiles: bool) -> Self {
        let blocks = ROOM.map(|room| Blocks { room, ..Blocks::default() });
        Cells {
            percentiles,
            cells: Slab::default(),
            blocks,
            summaries: Slab::default(),
            chunks: Slab::default(),
        }
    }

    /// Adds a value of a field. `cursor` is the cell at which to look first: the one after that of the event's last value,
    /// as events mostly repeat their fields in order.
    #[inline]
    pub fn add(&mut self, held: &mut Held, cursor: &mut u32, field: u16, value: f64) {
        if *cursor != NONE && self.cells[*cursor].field == field {
            self.push(*cursor, value);
            *cursor = self.cells[*cursor].next;
            return;
        }
        self.add_elsewhere(held, cursor, field, value);
    }

    fn add_elsewhere(&mut self, held: &mut Held, cursor: &mut u32, field: u16, value: f64) {
        *cursor = NONE;
        if held.field == SKIP && held.first == NONE {
            *held = Held::one(field, value);
            return;
        }
        self.spread(held);
        let mut at = held.first;
        let mut last = NONE;
        while at != NONE {
            if self.cells[at].field == field {
                self.push(at, value);
                *cursor = self.cells[at].next;
                return;
            }
            last = at;
            at = self.cells[at].next;
        }
        let new = self.cells.insert(Cell::of(field, value));
        // There is one: what holds nothing took the value itself.
        self.cells[last].next = new;
    }

    /// Puts a single value into a cell of its own.
    fn spread(&mut self, held: &mut Held) {
        if held.field != SKIP {
            *held = Held::list(self.cells.insert(Cell::of(held.field, held.value())));
        }
    }

    #[inline(always)]
    fn push(&mut self, at: u32, value: f64) {
        let cell = &mut self.cells[at];
        let (class, len) = (usize::from(cell.class), usize::from(cell.len));
        if class > 0 && len < ROOM[class] {
            cell.len += 1;
            self.blocks[class].get_mut(cell.block)[len] = value;
        } else {
            self.push_to_full(at, value);
        }
    }

    /// Adds a value to a cell whose block is full: in a larger block, or in the same after summing it up.
    #[inline(never)]
    fn push_to_full(&mut self, at: u32, value: f64) {
        if usize::from(self.cells[at].class) + 1 < ROOM.len() {
            self.enlarge(at);
        } else {
            let number = self.summary(at);
            let cell = &mut self.cells[at];
            let values = self.blocks[ROOM.len() - 1].get(cell.block);
            let summary = &mut self.summaries[number];
            summary.moments.merge(&Moments::of(values));
            if self.percentiles {
                for &value in values {
                    summary.sketch.add(value, &mut self.chunks);
                }
            }
            cell.len = 0;
        }
        let cell = &mut self.cells[at];
        self.blocks[usize::from(cell.class)].get_mut(cell.block)[usize::from(cell.len)] = value;
        cell.len += 1;
    }

    /// Frees what is held.
    pub fn free(&mut self, held: Held) {
        let mut at = held.first();
        while at != NONE {
            let cell = self.cells[at];
            if cell.class > 0 {
                self.blocks[usize::from(cell.class)].free.push(cell.block);
                if cell.summary != NONE {
                    self.summaries[cell.summary].sketch.clear(&mut self.chunks);
                    self.summaries.free(cell.summary);
                }
            }
            self.cells.free(at);
            at = cell.next;
        }
    }

    /// The fields that are held, and what each has.
    pub fn fields(&self, held: Held) -> impl Iterator<Item = (u16, Place)> + '_ {
        let one = (held.field != SKIP).then(|| (held.field, Place::Value(held.value())));
        let mut at = held.first();
        let cells = std::iter::from_fn(move || {
            let found = (at != NONE).then(|| (self.cells[at].field, Place::Cell(at)))?;
            at = self.cells[at].next;
            Some(found)
        });
        one.into_iter().chain(cells)
    }

    /// Adds what a field has to a gathering.
    pub fn gather(&self, place: Place, into: &mut Gather) {
        let at = match place {
            Place::Value(value) => return into.values(&[value]),
            Place::Cell(at) => at,
        };
        let cell = &self.cells[at];
        match usize::from(cell.class) {
            0 => into.values(&[cell.value()]),
            class => {
                into.values(&self.blocks[class].get(cell.block)[..usize::from(cell.len)]);
                if cell.summary != NONE {
                    let summary = &self.summaries[cell.summary];
                    into.moments(&summary.moments);
                    for &(octave, chunk) in &summary.sketch.octaves {
                        into.counters(octave, &self.chunks[chunk]);
                    }
                }
            }
        }
    }

    /// A copy of what a field has.
    pub fn export(&self, place: Place) -> Portable {
        let at = match place {
            Place::Value(value) => return Portable { values: vec![value], summary: None },
            Place::Cell(at) => at,
        };
        let cell = &self.cells[at];
        let class = usize::from(cell.class);
        if class == 0 {
            return Portable { values: vec![cell.value()], summary: None };
        }
        let values = self.blocks[class].get(cell.block)[..usize::from(cell.len)].to_vec();
        let summary = (cell.summary != NONE).then(|| {
            let summary = &self.summaries[cell.summary];
            let mut counts = Vec::new();
            for &(octave, chunk) in &summary.sketch.octaves {
                let counters = self.chunks[chunk].iter().enumerate().filter(|(_, count)| **count > 0);
                counts.extend(counters.map(|(place, count)| (i32::from(octave) * 64 + place as i32, *count)));
            }
            (summary.moments, counts)
        });
        Portable { values, summary }
    }

    /// Adds a copy, of a field that is followed. Where that is not held yet, it behaves from there on as what the copy was
    /// taken from.
    pub fn import(&mut self, held: &mut Held, field: u16, portable: &Portable) {
        if field == SKIP {
            return;
        }
        for &value in &portable.values {
            self.add_elsewhere(held, &mut { NONE }, field, value);
        }
        let Some((moments, counts)) = &portable.summary else { return };
        self.spread(held);
        let found = self.fields(*held).find(|(of, _)| *of == field);
        let Some((_, Place::Cell(at))) = found else { return };
        // A cell with a summary has the largest block, however few values are in it now.
        while usize::from(self.cells[at].class) + 1 < ROOM.len() {
            self.enlarge(at);
        }
        let number = self.summary(at);
        self.summaries[number].moments.merge(moments);
        for &(bucket, count) in counts {
            let (octave, place) = crate::sketch::split(bucket);
            let chunk = self.summaries[number].sketch.chunk(octave, &mut self.chunks);
            let counter = &mut self.chunks[chunk][place];
            *counter = counter.saturating_add(count);
        }
    }

    /// The summary of a cell of the largest class, a new one where there is none yet.
    fn summary(&mut self, at: u32) -> u32 {
        if self.cells[at].summary == NONE {
            let number = match self.summaries.reuse() {
                Some(number) => number,
                None => self.summaries.insert(Summary::default()),
            };
            // What was left in a used place: its vector stays, its counters were given back.
            self.summaries[number].moments = Moments::default();
            self.cells[at].summary = number;
        }
        self.cells[at].summary
    }

    /// Moves a cell's values to a block of the next class.
    fn enlarge(&mut self, at: u32) {
        let cell = &mut self.cells[at];
        let (class, len) = (usize::from(cell.class), usize::from(cell.len));
        let larger = self.blocks[class + 1].take();
        let (smaller_blocks, larger_blocks) = self.blocks.split_at_mut(class + 1);
        let target = larger_blocks[0].get_mut(larger);
        if class == 0 {
            target[0] = cell.value();
            cell.summary = NONE;
        } else {
            target[..len].copy_from_slice(&smaller_blocks[class].get(cell.block)[..len]);
            smaller_blocks[class].free.push(cell.block);
        }
        cell.block = larger;
        cell.class += 1;
    }
}
