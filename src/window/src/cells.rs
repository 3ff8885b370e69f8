//! The statistics of one field in one pane: values as they come while they are few, a summary after.
//!
//! One value lies in the cell itself; then blocks of 4, 16 and 64 take over; when the last is full its values are
//! summed up (moments, and a sketch for percentiles) and it is filled again. So a key with a handful of events costs
//! some ten bytes for each, and a busy one about a kilobyte, however many events come.

use crate::gather::Gather;
use crate::moments::Moments;
use crate::sketch::{ChunkPool, Sketch};
use crate::slab::{NONE, Slab};

/// Room of the blocks of each class; class 0 is the cell itself.
const ROOM: [usize; 4] = [1, 4, 16, 64];
/// Blocks are made so many at a time.
const BLOCKS_AT_ONCE: usize = 256;

/// One field of one pane; a list, in the order in which the fields came.
#[derive(Debug, Clone, Copy)]
struct Cell {
    next: u32,
    /// Block of the class.
    block: u32,
    /// Class 0: the value's bits. Else the summary's number, or [`NONE`].
    content: u64,
    field: u16,
    /// Values that are in the block.
    len: u8,
    class: u8,
}

#[derive(Debug, Default)]
struct Summary {
    moments: Moments,
    sketch: Sketch,
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

    /// Adds a value of a field to the list that begins at `head`. `cursor` is the cell at which to look first: the
    /// one after that of the event's last value, as events mostly repeat their fields in order.
    #[inline]
    pub fn add(&mut self, head: &mut u32, cursor: &mut u32, field: u16, value: f64) {
        if *cursor != NONE && self.cells[*cursor].field == field {
            self.push(*cursor, value);
            *cursor = self.cells[*cursor].next;
            return;
        }
        self.add_elsewhere(head, cursor, field, value);
    }

    fn add_elsewhere(&mut self, head: &mut u32, cursor: &mut u32, field: u16, value: f64) {
        let mut at = *head;
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
        let cell = Cell { next: NONE, block: 0, content: value.to_bits(), field, len: 1, class: 0 };
        let new = self.cells.insert(cell);
        match last {
            NONE => *head = new,
            last => self.cells[last].next = new,
        }
        *cursor = NONE;
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

    /// Frees a list.
    pub fn free(&mut self, head: u32) {
        let mut at = head;
        while at != NONE {
            let cell = self.cells[at];
            if cell.class > 0 {
                self.blocks[usize::from(cell.class)].free.push(cell.block);
                if cell.content as u32 != NONE {
                    self.summaries[cell.content as u32].sketch.clear(&mut self.chunks);
                    self.summaries.free(cell.content as u32);
                }
            }
            self.cells.free(at);
            at = cell.next;
        }
    }

    /// The fields of a list with their cells.
    pub fn fields(&self, head: u32) -> impl Iterator<Item = (u16, u32)> + '_ {
        let mut at = head;
        std::iter::from_fn(move || {
            let found = (at != NONE).then(|| (self.cells[at].field, at))?;
            at = self.cells[at].next;
            Some(found)
        })
    }

    /// Adds what a cell holds to a gathering.
    pub fn gather(&self, at: u32, into: &mut Gather) {
        let cell = &self.cells[at];
        match usize::from(cell.class) {
            0 => into.values(&[f64::from_bits(cell.content)]),
            class => {
                into.values(&self.blocks[class].get(cell.block)[..usize::from(cell.len)]);
                if cell.content as u32 != NONE {
                    let summary = &self.summaries[cell.content as u32];
                    into.moments(&summary.moments);
                    for &(octave, chunk) in &summary.sketch.octaves {
                        into.counters(octave, &self.chunks[chunk]);
                    }
                }
            }
        }
    }

    /// A copy of what a cell holds.
    pub fn export(&self, at: u32) -> Portable {
        let cell = &self.cells[at];
        let class = usize::from(cell.class);
        if class == 0 {
            return Portable { values: vec![f64::from_bits(cell.content)], summary: None };
        }
        let values = self.blocks[class].get(cell.block)[..usize::from(cell.len)].to_vec();
        let summary = (cell.content as u32 != NONE).then(|| {
            let summary = &self.summaries[cell.content as u32];
            let mut counts = Vec::new();
            for &(octave, chunk) in &summary.sketch.octaves {
                let counters = self.chunks[chunk].iter().enumerate().filter(|(_, count)| **count > 0);
                counts.extend(counters.map(|(place, count)| (i32::from(octave) * 64 + place as i32, *count)));
            }
            (summary.moments, counts)
        });
        Portable { values, summary }
    }

    /// Adds a copy to a list. Where its field is not in the list yet, the new cell behaves from there on as the one
    /// that the copy was taken from.
    pub fn import(&mut self, head: &mut u32, field: u16, portable: &Portable) {
        let mut values = portable.values.iter();
        let Some(&first) = values.next() else { return };
        let mut cursor = NONE;
        self.add_elsewhere(head, &mut cursor, field, first);
        let Some((_, at)) = self.fields(*head).find(|(of, _)| *of == field) else { return };
        for &value in values {
            self.push(at, value);
        }
        let Some((moments, counts)) = &portable.summary else { return };
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
        if self.cells[at].content as u32 == NONE {
            let number = match self.summaries.reuse() {
                Some(number) => number,
                None => self.summaries.insert(Summary::default()),
            };
            // What was left in a used place: its vector stays, its counters were given back.
            self.summaries[number].moments = Moments::default();
            self.cells[at].content = u64::from(number);
        }
        self.cells[at].content as u32
    }

    /// Moves a cell's values to a block of the next class.
    fn enlarge(&mut self, at: u32) {
        let cell = &mut self.cells[at];
        let (class, len) = (usize::from(cell.class), usize::from(cell.len));
        let larger = self.blocks[class + 1].take();
        let (smaller_blocks, larger_blocks) = self.blocks.split_at_mut(class + 1);
        let target = larger_blocks[0].get_mut(larger);
        if class == 0 {
            target[0] = f64::from_bits(cell.content);
            cell.content = u64::from(NONE);
        } else {
            target[..len].copy_from_slice(&smaller_blocks[class].get(cell.block)[..len]);
            smaller_blocks[class].free.push(cell.block);
        }
        cell.block = larger;
        cell.class += 1;
    }
}
