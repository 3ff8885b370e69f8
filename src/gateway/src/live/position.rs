//! Where a client stands in the output topics: for every partition the offset that it wants next.
//!
//! Each update carries the position at which its gateway stood when it was offered, as a text that means nothing to
//! clients. It means the same to every gateway, for offsets are Kafka's: a client goes on from it anywhere.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidecast_ports::OutputKind;

/// The form of the text, so that another can follow.
const VERSION: u8 = 1;
/// Longest text that is looked at, and partitions of one topic in it.
const TEXT_MAX: usize = 64 << 10;
const PARTITIONS_MAX: u64 = 16 << 10;

/// Kinds in the order in which they are written.
const KINDS: [OutputKind; 4] =
    [OutputKind::Forecast, OutputKind::Alert, OutputKind::Aggregate, OutputKind::Metrics];

fn index(kind: OutputKind) -> usize {
    match kind {
        OutputKind::Forecast => 0,
        OutputKind::Alert => 1,
        OutputKind::Aggregate => 2,
        OutputKind::Metrics => 3,
    }
}

/// The next offset wanted of each partition of each output topic; 0 where nothing was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    next: [Vec<i64>; 4],
}

impl Position {
    /// The next offset wanted of a partition.
    pub fn next(&self, kind: OutputKind, partition: i32) -> i64 {
        let place = usize::try_from(partition).unwrap_or(usize::MAX);
        self.next[index(kind)].get(place).copied().unwrap_or(0)
    }

    /// A record was seen.
    pub fn advance(&mut self, kind: OutputKind, partition: i32, offset: i64) {
        let Ok(place) = usize::try_from(partition) else { return };
        let partitions = &mut self.next[index(kind)];
        if partitions.len() <= place {
            partitions.resize(place + 1, 0);
        }
        partitions[place] = partitions[place].max(offset.saturating_add(1));
    }

    /// Whether a record was seen.
    pub fn covers(&self, kind: OutputKind, partition: i32, offset: i64) -> bool {
        offset < self.next(kind, partition)
    }

    /// Whether `other` has seen everything that this one has.
    pub fn is_within(&self, other: &Position) -> bool {
        self.partitions().all(|(kind, partition, next)| next <= other.next(kind, partition))
    }

    /// Takes over what `other` has seen beyond this.
    pub fn merge(&mut self, other: &Position) {
        for (kind, partition, next) in other.partitions() {
            if next > 0 {
                self.advance(kind, partition, next - 1);
            }
        }
    }

    /// Every partition with its next offset.
    pub fn partitions(&self) -> impl Iterator<Item = (OutputKind, i32, i64)> + '_ {
        KINDS.into_iter().flat_map(|kind| {
            let of_kind = self.next[index(kind)].iter().enumerate();
            of_kind.map(move |(partition, next)| (kind, i32::try_from(partition).unwrap_or(i32::MAX), *next))
        })
    }

    /// As text: a version, then for each topic the number of partitions and their offsets, 7 bits a byte, in base64.
    pub fn encode(&self) -> Box<str> {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(VERSION);
        for partitions in &self.next {
            put(&mut bytes, partitions.len() as u64);
            partitions.iter().for_each(|next| put(&mut bytes, next.unsigned_abs()));
        }
        URL_SAFE_NO_PAD.encode(bytes).into()
    }

    /// Reads the text; `None` when it is no position.
    pub fn decode(text: &str) -> Option<Position> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let mut position = Position::default();
        for partitions in &mut position.next {
            let count = take(&mut rest)?;
            // Each takes a byte at least: a count alone makes us reserve nothing.
            if count > PARTITIONS_MAX || count > rest.len() as u64 {
                return None;
            }
            for _ in 0..count {
                partitions.push(i64::try_from(take(&mut rest)?).ok()?);
            }
        }
        rest.is_empty().then_some(position)
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let (first, others) = rest.split_first()?;
        *rest = others;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(seen: &[(OutputKind, i32, i64)]) -> Position {
        let mut position = Position::default();
        seen.iter().for_each(|(kind, partition, offset)| position.advance(*kind, *partition, *offset));
        position
    }

    #[test]
    fn it_grows_and_never_shrinks() {
        let mut at = position(&[(OutputKind::Forecast, 2, 7), (OutputKind::Forecast, 2, 3)]);
        assert_eq!(at.next(OutputKind::Forecast, 2), 8);
        assert!(at.covers(OutputKind::Forecast, 2, 7) && !at.covers(OutputKind::Forecast, 2, 8));
        assert!(!at.covers(OutputKind::Alert, 2, 0) && !at.covers(OutputKind::Forecast, 9, 0));
        let before = at.clone();
        at.merge(&position(&[(OutputKind::Alert, 0, 0), (OutputKind::Forecast, 2, 1)]));
        assert_eq!(at.next(OutputKind::Forecast, 2), 8);
        assert!(before.is_within(&at) && !at.is_within(&before));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "f2-7", "AAAA", "!!", &"A".repeat(100_000)] {
            assert_eq!(Position::decode(text), None, "{text:.10}");
        }
        let huge = [VERSION, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Position::decode(&URL_SAFE_NO_PAD.encode(huge)), None);
    }

    proptest! {
        #[test]
        fn it_survives_its_text(seen in prop::collection::vec((0usize..4, 0i32..40, 0i64..i64::MAX - 1), 0..30)) {
            let seen: Vec<_> = seen.into_iter().map(|(kind, p, offset)| (KINDS[kind], p, offset)).collect();
            let position = position(&seen);
            prop_assert_eq!(Position::decode(&position.encode()), Some(position));
        }

        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Position::decode(&URL_SAFE_NO_PAD.encode(bytes));
        }
    }
}
