//! The bytes of a snapshot.
//!
//! ```text
//! magic "TIDESNAP"   8
//! file version       4   little endian, as every number
//! state version      4   of the state inside, the caller's
//! partition          4
//! offset             8
//! topic's length     4
//! topic
//! blocks:            raw length 4, stored length 4, lz4 block; a raw length of 0 ends them
//! crc32c             4   of everything before it
//! ```
//!
//! Magic and checksum stay where they are in every version to come: a file is known to be whole before its version is
//! believed, so that a flipped bit is never taken for a newer format.

use std::io::{self, Write};
use tidecast_event::TopicPartition;

const MAGIC: &[u8; 8] = b"TIDESNAP";
/// The version of the layout above.
pub(crate) const FILE_VERSION: u32 = 1;
/// Bytes compressed at once: bounds what writing needs beside the state itself.
const BLOCK: usize = 1 << 20;
const HEAD: usize = 32;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    pub state_version: u32,
    pub offset: i64,
    pub state: Vec<u8>,
}

/// Why a file's contents cannot be used.
#[derive(Debug, PartialEq)]
pub(crate) enum Unusable {
    /// Torn, flipped or not a snapshot at all.
    Damaged(&'static str),
    /// Whole, and of a version after ours.
    Newer(u32),
    /// Whole, and of another partition.
    Misplaced,
}

/// Writes a snapshot.
pub(crate) fn write(
    out: &mut dyn Write,
    partition: &TopicPartition,
    offset: i64,
    state_version: u32,
    state: &[u8],
) -> io::Result<()> {
    let mut out = Summing { out, sum: 0 };
    out.write_all(MAGIC)?;
    out.write_all(&FILE_VERSION.to_le_bytes())?;
    out.write_all(&state_version.to_le_bytes())?;
    out.write_all(&partition.partition.to_le_bytes())?;
    out.write_all(&offset.to_le_bytes())?;
    out.write_all(&length(partition.topic.len())?)?;
    out.write_all(partition.topic.as_bytes())?;
    for block in state.chunks(BLOCK) {
        let stored = lz4_flex::block::compress(block);
        out.write_all(&length(block.len())?)?;
        out.write_all(&length(stored.len())?)?;
        out.write_all(&stored)?;
    }
    out.write_all(&0u32.to_le_bytes())?;
    let sum = out.sum;
    out.write_all(&sum.to_le_bytes())
}

/// Reads a snapshot of this partition.
pub(crate) fn read(bytes: &[u8], partition: &TopicPartition) -> Result<Contents, Unusable> {
    let body = verify(bytes)?;
    let mut rest = Reader(&body[MAGIC.len()..]);
    let version = rest.number()?;
    if version > FILE_VERSION {
        return Err(Unusable::Newer(version));
    }
    let state_version = rest.number()?;
    let index = i32::from_le_bytes(rest.array()?);
    let offset = i64::from_le_bytes(rest.array()?);
    let topic_length = rest.number()? as usize;
    let topic = rest.take(topic_length)?;
    if index != partition.partition || topic != partition.topic.as_bytes() {
        return Err(Unusable::Misplaced);
    }
    let mut state = Vec::with_capacity(rest.unpacked());
    loop {
        let raw = rest.number()? as usize;
        if raw == 0 {
            break;
        }
        if raw > BLOCK {
            return Err(Unusable::Damaged("a block too long"));
        }
        let stored_length = rest.number()? as usize;
        let stored = rest.take(stored_length)?;
        let start = state.len();
        state.resize(start + raw, 0);
        match lz4_flex::block::decompress_into(stored, &mut state[start..]) {
            Ok(length) if length == raw => {}
            _ => return Err(Unusable::Damaged("a block that does not unpack")),
        }
    }
    match rest.0.is_empty() {
        true => Ok(Contents { state_version, offset, state }),
        false => Err(Unusable::Damaged("bytes after the end")),
    }
}

/// The bytes without their checksum, which is right.
fn verify(bytes: &[u8]) -> Result<&[u8], Unusable> {
    if bytes.len() < HEAD + 8 {
        return Err(Unusable::Damaged("too short"));
    }
    let (body, sum) = bytes.split_at(bytes.len() - 4);
    if !body.starts_with(MAGIC) {
        return Err(Unusable::Damaged("no snapshot"));
    }
    match crc32c::crc32c(body).to_le_bytes() == *sum {
        true => Ok(body),
        false => Err(Unusable::Damaged("a wrong checksum")),
    }
}

fn length(length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).map_err(|_| io::Error::other("longer than 4 GiB"))?;
    Ok(length.to_le_bytes())
}

/// Sums what goes through.
struct Summing<'a> {
    out: &'a mut dyn Write,
    sum: u32,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sum = crc32c::crc32c_append(self.sum, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// What the blocks that follow say they unpack to, as far as that is possible.
    fn unpacked(&self) -> usize {
        /// An lz4 block is at most so many times smaller than what is in it.
        const RATIO: usize = 255;
        let mut rest = Reader(self.0);
        let mut bytes: usize = 0;
        while let (Ok(raw), Ok(stored)) = (rest.number(), rest.number())
            && rest.take(stored as usize).is_ok()
        {
            bytes = bytes.saturating_add(raw as usize);
        }
        bytes.min(self.0.len().saturating_mul(RATIO))
    }
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unusable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unusable::Damaged("cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn number(&mut self) -> Result<u32, Unusable> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, FILE_VERSION, Unusable, read, write};
    use tidecast_event::TopicPartition;

    fn bytes(partition: &TopicPartition, offset: i64, state: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, partition, offset, 3, state).unwrap();
        out
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let partition = TopicPartition::new("flights", 2);
        let good = bytes(&partition, 1_234, b"state of a partition, state of a partition");
        assert!(read(&good, &partition).is_ok());
        for position in 0..good.len() {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped[position] ^= 1 << bit;
                let unusable = read(&flipped, &partition).expect_err("a flipped bit");
                assert!(matches!(unusable, Unusable::Damaged(_)), "byte {position} bit {bit}: {unusable:?}");
            }
            assert!(
                matches!(read(&good[..position], &partition), Err(Unusable::Damaged(_))),
                "cut at {position}"
            );
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(read(&longer, &partition), Err(Unusable::Damaged(_))));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let partition = TopicPartition::new("flights", 2);
        let mut newer = bytes(&partition, 1, b"x");
        newer[8..12].copy_from_slice(&(FILE_VERSION + 1).to_le_bytes());
        let end = newer.len() - 4;
        let sum = crc32c::crc32c(&newer[..end]);
        newer[end..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read(&newer, &partition), Err(Unusable::Newer(FILE_VERSION + 1)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_written_reads_back(topic in ".{0,40}", index in 0i32..100, offset in 0i64.., state in proptest::collection::vec(0u8..4, 0..5_000), repeat in 1usize..400) {
            let partition = TopicPartition::new(topic, index);
            let state = state.repeat(repeat);
            let written = bytes(&partition, offset, &state);
            proptest::prop_assert_eq!(read(&written, &partition), Ok(Contents { state_version: 3, offset, state }));
            let other = TopicPartition::new("elsewhere entirely, by name", index);
            proptest::prop_assert_eq!(read(&written, &other), Err(Unusable::Misplaced));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8.., 0..300)) {
            let mut bytes = bytes;
            let partition = TopicPartition::new("t", 0);
            let _ = read(&bytes, &partition);
            // The same with a right magic and checksum, so that what lies between is looked at.
            if bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"TIDESNAP");
            }
            let sum = crc32c::crc32c(&bytes);
            bytes.extend(sum.to_le_bytes());
            let _ = read(&bytes, &partition);
        }
    }
}
