//! Decisions: what changed results without being in the records, with the offset at which it did.
//!
//! They travel in the metadata of the committed offset, are committed before or with what they cause, and are replayed
//! at their offset by whoever recovers. Text: `1` (the format), then ` <offset>=<what>` each.

/// Most bytes that a broker takes as offset metadata by default.
pub const METADATA_MAX: usize = 4_096;

/// Decisions in order of offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions(Vec<(i64, String)>);

impl Decisions {
    /// Reads a committed offset's metadata. What is not ours (an offset reset by a tool has none) is no decision.
    pub fn parse(metadata: &str) -> Self {
        let mut words = metadata.split(' ');
        if words.next() != Some("1") {
            return Decisions::default();
        }
        let read = |word: &str| {
            let (offset, what) = word.split_once('=')?;
            Some((offset.parse().ok()?, what.to_owned()))
        };
        Decisions(words.filter_map(read).collect())
    }

    /// The metadata to commit; empty without decisions.
    pub fn to_metadata(&self) -> String {
        let mut text = String::new();
        for (offset, what) in &self.0 {
            if text.is_empty() {
                text.push('1');
            }
            text.push_str(&format!(" {offset}={what}"));
        }
        text
    }

    /// Adds one made before the record at `offset` is processed.
    pub fn push(&mut self, offset: i64, what: String) {
        self.0.push((offset, what));
    }

    /// Forgets those before `offset`: snapshots at or past it have them inside.
    pub fn forget_before(&mut self, offset: i64) {
        self.0.retain(|(at, _)| *at >= offset);
    }

    /// Those at `from` and later, for a replay that begins there.
    pub fn from(&self, from: i64) -> impl Iterator<Item = &(i64, String)> {
        self.0.iter().filter(move |(at, _)| *at >= from)
    }

    /// They would hardly fit the metadata any more: a snapshot is due, which lets them be forgotten.
    pub fn nearly_full(&self) -> bool {
        self.to_metadata().len() > METADATA_MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_nothing_else() {
        let mut decisions = Decisions::default();
        assert_eq!(decisions.to_metadata(), "");
        decisions.push(41, "i0".into());
        decisions.push(97, "i0,2".into());
        assert_eq!(decisions.to_metadata(), "1 41=i0 97=i0,2");
        assert_eq!(Decisions::parse(&decisions.to_metadata()), decisions);
        assert_eq!(Decisions::parse("set by hand 5=3"), Decisions::default());
        decisions.forget_before(97);
        assert_eq!(decisions.from(0).count(), 1);
    }
}
