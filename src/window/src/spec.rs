//! What a series of windows is: its name, its windows, how long it waits and what it keeps.

/// One family of series, as the engine wants it. Durations are microseconds.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub struct SeriesSpec {
    /// The family's name; unique in its group.
    pub name: String,
    /// Dotted paths of the numeric fields to aggregate; `None` takes every numeric leaf (at most
    /// [`MAX_FIELDS`](crate::MAX_FIELDS) of them at a time).
    pub values: Option<Vec<String>>,
    /// The windows.
    pub window: WindowKind,
    /// The watermark is the partition's newest event time less this.
    pub lateness_micros: i64,
    /// A closed window can be corrected while its end + this is after the watermark.
    pub grace_micros: i64,
    /// p50, p95 and p99.
    pub percentiles: bool,
    /// Emit windows without events (count 0) for known keys. Sessions have none.
    pub empty_windows: bool,
}

/// The kinds of window. All are aligned to the epoch but sessions. Durations are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum WindowKind {
    /// One after the other.
    Tumbling {
        /// Length.
        size_micros: i64,
    },
    /// Overlapping: one of `size` begins at each multiple of `advance`.
    Hopping {
        /// Length.
        size_micros: i64,
        /// Distance between starts; at most the size.
        advance_micros: i64,
    },
    /// Events at most `gap` apart belong together; the window ends `gap` after the last.
    Session {
        /// The gap.
        gap_micros: i64,
    },
}

/// A specification that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("series {series}: {problem}")]
pub struct SpecError {
    /// Its name.
    pub series: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

/// A hopping window holds at most so many panes (greatest common divisor of size and advance): more would make each
/// close cost as much.
pub const MAX_PANES: i64 = 10_000;

impl SeriesSpec {
    /// A series of tumbling windows with the contract's defaults: lateness 5 s, no grace, percentiles, empty windows
    /// skipped, every numeric leaf.
    pub fn tumbling(name: impl Into<String>, size_micros: i64) -> Self {
        SeriesSpec {
            name: name.into(),
            values: None,
            window: WindowKind::Tumbling { size_micros },
            lateness_micros: 5_000_000,
            grace_micros: 0,
            percentiles: true,
            empty_windows: false,
        }
    }

    /// Whether windows that began under an earlier definition go on under this one: those of the same kind and size, with
    /// the same to tell of them. What is late, what corrects them, and which fields they have from now on may differ.
    pub fn continues(&self, earlier: &SeriesSpec) -> bool {
        let SeriesSpec { lateness_micros, grace_micros, values, .. } = self.clone();
        *self == SeriesSpec { lateness_micros, grace_micros, values, ..earlier.clone() }
    }

    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), SpecError> {
        let problem = match self.window {
            _ if self.lateness_micros < 0 => "lateness must not be negative",
            _ if self.grace_micros < 0 => "grace must not be negative",
            WindowKind::Tumbling { size_micros } if size_micros <= 0 => "size must be above zero",
            WindowKind::Hopping { size_micros, advance_micros }
                if size_micros <= 0 || advance_micros <= 0 =>
            {
                "size and advance must be above zero"
            }
            WindowKind::Hopping { size_micros, advance_micros } if advance_micros > size_micros => {
                "advance must not be above size, or events between windows would be in none"
            }
            WindowKind::Hopping { size_micros, advance_micros }
                if size_micros / greatest_common_divisor(size_micros, advance_micros) > MAX_PANES =>
            {
                "size and advance share too small a divisor: choose an advance that divides the size, at most 10,000 times"
            }
            WindowKind::Session { gap_micros } if gap_micros <= 0 => "gap must be above zero",
            WindowKind::Session { .. } if self.empty_windows => {
                "empty_windows = \"emit\" has no meaning for sessions: a session has an event"
            }
            _ => return Ok(()),
        };
        Err(SpecError { series: self.name.clone(), problem: problem.to_owned() })
    }
}

/// Euclid's.
pub(crate) fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
