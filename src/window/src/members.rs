//! What a closing window is made of: its keys in order, and the records of each.

use crate::keys::Keys;
use crate::slab::NONE;

/// One key of the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyed {
    pub key: u32,
    /// Its first link, or [`NONE`].
    first: u32,
    /// Its record in the window's last pane, or [`NONE`].
    pub ending: u32,
    /// Emitted also without an event.
    pub expected: bool,
}

/// Scratch of a close; reused.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub keys: Vec<Keyed>,
    /// A record, and the key's next link.
    links: Vec<(u32, u32)>,
    /// For each key number: the close in which it was met last, and its place in `keys` then.
    met: Vec<(u32, u32)>,
    close: u32,
    order: Vec<(u128, u32)>,
    sorted: Vec<Keyed>,
}

/// Above so many keys they are sorted by their text alone, which is slower and takes no memory.
const PREFIXED: usize = 1 << 18;

impl Members {
    pub fn clear(&mut self) {
        if self.keys.capacity() > 4 * PREFIXED {
            // What an unusually large close took is given back.
            *self = Members::default();
        }
        self.keys.clear();
        self.links.clear();
        self.close = self.close.wrapping_add(1);
        if self.close == 0 {
            self.met.clear();
            self.close = 1;
        }
    }

    /// The place of a key in `keys`.
    fn place(&mut self, key: u32) -> usize {
        if self.met.len() <= key as usize {
            self.met.resize(key as usize + 1, (0, 0));
        }
        let met = &mut self.met[key as usize];
        if met.0 != self.close {
            *met = (self.close, self.keys.len() as u32);
            self.keys.push(Keyed { key, first: NONE, ending: NONE, expected: false });
        }
        met.1 as usize
    }

    /// Adds a record before those of its key so far.
    #[inline]
    pub fn add(&mut self, key: u32, record: u32, ending: bool) {
        let link = self.links.len() as u32;
        let at = self.place(key);
        let keyed = &mut self.keys[at];
        self.links.push((record, keyed.first));
        keyed.first = link;
        if ending {
            keyed.ending = record;
        }
    }

    /// Notes that a key is emitted also without an event.
    pub fn expect(&mut self, key: u32) {
        let at = self.place(key);
        self.keys[at].expected = true;
    }

    /// The records of a key, in the order of their panes.
    pub fn records(&self, of: &Keyed) -> impl Iterator<Item = u32> + Clone + '_ {
        let mut link = of.first;
        std::iter::from_fn(move || {
            let (record, next) = *self.links.get(link as usize)?;
            link = next;
            Some(record)
        })
    }

    /// Orders the keys by their text.
    pub fn sort(&mut self, keys: &Keys) {
        if self.keys.len() > PREFIXED {
            self.keys.sort_unstable_by(|a, b| keys.get(a.key).cmp(keys.get(b.key)));
            return;
        }
        self.order.clear();
        let places = self.keys.iter().enumerate();
        self.order.extend(places.map(|(at, keyed)| (prefix(keys.get(keyed.key)), at as u32)));
        let text = |at: u32| keys.get(self.keys[at as usize].key);
        self.order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| text(a.1).cmp(text(b.1))));
        self.sorted.clear();
        self.sorted.extend(self.order.iter().map(|(_, at)| self.keys[*at as usize]));
        std::mem::swap(&mut self.keys, &mut self.sorted);
    }
}

/// The first sixteen bytes of a text as a number that compares as they do.
fn prefix(text: &str) -> u128 {
    let mut bytes = [0; 16];
    let len = text.len().min(16);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    u128::from_be_bytes(bytes)
}
