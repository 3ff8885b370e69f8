//! The identity of an output: a function of its input alone, so that a repeat carries the same one.

use std::fmt;

/// 128 bits made from (pipeline version, partition, key, window, revision, kind), written as 32 hexadecimal digits in
/// the record header `id`. Readers ahead of a commit, and readers at least once, drop what they have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub u128);

impl OutputId {
    /// Hashes the parts in order (FNV-1a over 128 bits; parts are length-prefixed, so no two lists run together).
    pub fn of(parts: &[&[u8]]) -> Self {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let mut take = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
            }
        };
        for part in parts {
            take(&(part.len() as u64).to_le_bytes());
            take(part);
        }
        OutputId(hash)
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(OutputId)
    }
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::OutputId;

    #[test]
    fn parts_do_not_run_together_and_text_reads_back() {
        let id = OutputId::of(&[b"ab", b"c"]);
        assert_ne!(id, OutputId::of(&[b"a", b"bc"]));
        assert_eq!(OutputId::parse(id.to_string().as_bytes()), Some(id));
    }
}
