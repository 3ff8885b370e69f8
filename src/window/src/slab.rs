//! Many small records in chunks: growing moves none of them, and a freed place is used again.

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// Records by number.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    live: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { chunks: Vec::new(), free: Vec::new(), live: 0 }
    }
}

impl<T> Slab<T> {
    pub fn len(&self) -> usize {
        self.live
    }

    /// A place for a record: one that was freed, else a new one.
    pub fn insert(&mut self, value: T) -> u32 {
        self.live += 1;
        if let Some(at) = self.free.pop() {
            self[at] = value;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(value);
        ((last << CHUNK_BITS) + self.chunks[last].len() - 1) as u32
    }

    /// Frees a place and leaves what is in it (its memory is used again). All is given back once none is in use.
    pub fn free(&mut self, at: u32) {
        self.live -= 1;
        if self.live == 0 && self.chunks.len() > 64 {
            *self = Slab::default();
        } else {
            self.free.push(at);
        }
    }

    /// Takes a freed place together with what was left in it.
    pub fn reuse(&mut self) -> Option<u32> {
        let at = self.free.pop()?;
        self.live += 1;
        Some(at)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, at: u32) -> &T {
        &self.chunks[(at >> CHUNK_BITS) as usize][at as usize & (CHUNK - 1)]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    #[inline(always)]
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[(at >> CHUNK_BITS) as usize][at as usize & (CHUNK - 1)]
    }
}
