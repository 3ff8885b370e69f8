//! The name of one series: a family and a key.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// `<series>:<key>`, e.g. `departures:JFK/B6`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The family, as named in `[[series]]`.
    pub series: Arc<str>,
    /// The value of the grouping field.
    pub key: Arc<str>,
}

impl SeriesKey {
    /// Names one series of a family.
    pub fn new(series: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        SeriesKey { series: series.into(), key: key.into() }
    }

    /// Splits `<series>:<key>` at the first colon: a family's name has none, a key may.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_once(':').map(|(series, key)| SeriesKey::new(series, key))
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.series, self.key)
    }
}
