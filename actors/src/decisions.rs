//! Decisions: what changed results without being in the records, with the offset at which it did.
//!
//! They travel in the metadata of the committed offset and are replayed at their offset by whoever recovers. One is
//! committed twice: before what it leads to is said, marked as still to be told, and again with it. Whoever recovers
//! between the two says it. Text: `1` (the format), then ` <offset>=<what>` each, with `?` behind one still to be told.
//!
//! Beside them stands how far the outputs of what comes next at the committed offset have been told, a record or a
//! decision that closes more windows than are said at one go: ` +<windows>`, before the decisions.
//!
//! They are kept for as long as there is room, for another machine may have to begin from the log's start; when room
//! runs out, those that every snapshot on disk has inside are forgotten.

/// Most bytes of decisions: brokers take 4,096 bytes of metadata by default, and who committed it is written there too.
pub const METADATA_MAX: usize = 4_096 - 320;
/// Longest decision with its offset.
const LONGEST: usize = 128;

/// Begins the decision that a record is set apart for what it does to those who process it: its offset follows.
pub const SET_APART: char = 'p';

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// It was made before the record at this offset was processed.
    pub offset: i64,
    /// What was decided.
    pub what: String,
    /// What it led to may not have been said.
    pub untold: bool,
}

/// Decisions in order of offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    made: Vec<Decision>,
    said: u64,
}

impl Decisions {
    /// Reads a committed offset's metadata. What is not ours (an offset reset by a tool has none) is no decision.
    pub fn parse(metadata: &str) -> Self {
        let mut words = metadata.split(' ');
        if words.next() != Some("1") {
            return Decisions::default();
        }
        let read = |word: &str| {
            let (offset, what) = word.split_once('=')?;
            let told = what.strip_suffix('?');
            let (offset, untold) = (offset.parse().ok()?, told.is_some());
            Some(Decision { offset, what: told.unwrap_or(what).to_owned(), untold })
        };
        let mut decisions = Decisions::default();
        for word in words {
            match word.strip_prefix('+') {
                Some(said) => decisions.said = said.parse().unwrap_or(0),
                None => decisions.made.extend(read(word)),
            }
        }
        decisions
    }

    /// The metadata to commit; empty without decisions.
    pub fn to_metadata(&self) -> String {
        if self.made.is_empty() && self.said == 0 {
            return String::new();
        }
        let mut text = "1".to_owned();
        if self.said > 0 {
            text.push_str(&format!(" +{}", self.said));
        }
        for Decision { offset, what, untold } in &self.made {
            let mark = if *untold { "?" } else { "" };
            text.push_str(&format!(" {offset}={what}{mark}"));
        }
        text
    }

    /// Adds one made before the record at `offset` is processed, still to be told.
    pub fn push(&mut self, offset: i64, what: String) {
        self.made.push(Decision { offset, what, untold: true });
    }

    /// What they led to goes out with the metadata from here on.
    pub fn told(&mut self) {
        self.made.iter_mut().for_each(|decision| decision.untold = false);
    }

    /// Forgets those before `offset`: snapshots at or past it have them inside.
    pub fn forget_before(&mut self, offset: i64) {
        self.made.retain(|decision| decision.offset >= offset);
    }

    /// Windows told of what comes next, which has more.
    pub fn said(&self) -> u64 {
        self.said
    }

    /// So many windows are told of what comes next; 0 once it is done.
    pub fn say(&mut self, windows: u64) {
        self.said = windows;
    }

    /// Those whose outputs are committed, all of them.
    pub fn told_already(mut self) -> Self {
        self.made.retain(|decision| !decision.untold);
        self.said = 0;
        self
    }

    /// Those at `from` and later, for a replay that begins there.
    pub fn from(&self, from: i64) -> impl Iterator<Item = &Decision> {
        self.made.iter().filter(move |decision| decision.offset >= from)
    }

    /// They would hardly fit the metadata any more: snapshots are due, which let them be forgotten.
    pub fn nearly_full(&self) -> bool {
        self.to_metadata().len() > METADATA_MAX / 2
    }

    /// There is no room for one more.
    pub fn is_full(&self) -> bool {
        self.to_metadata().len() > METADATA_MAX - LONGEST
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
        decisions.told();
        decisions.push(97, "i0,2".into());
        assert_eq!(decisions.to_metadata(), "1 41=i0 97=i0,2?");
        let untold = Decisions::parse(&decisions.to_metadata());
        assert_eq!(untold.from(0).map(|decision| decision.untold).collect::<Vec<_>>(), [false, true]);
        decisions.told();
        assert_eq!(decisions.to_metadata(), "1 41=i0 97=i0,2");
        assert_eq!(Decisions::parse(&decisions.to_metadata()), decisions);
        assert_eq!(Decisions::parse("set by hand 5=3"), Decisions::default());
        decisions.forget_before(97);
        assert_eq!(decisions.from(0).count(), 1);
        decisions.say(2_048);
        assert_eq!(decisions.to_metadata(), "1 +2048 97=i0,2");
        assert_eq!(Decisions::parse("1 +2048 97=i0,2"), decisions);
        assert_eq!(decisions.told_already().said(), 0);
        assert_eq!(Decisions::parse("1 +7").said(), 7);
    }
}
