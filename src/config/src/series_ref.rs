//! How a model names series: `family:key`, `family:*`, and with a field `family:key/field`.

use crate::model::is_field;
use serde::{Serialize, Serializer};
use std::fmt;

/// `family:key`; the key `*` stands for every key of the family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeriesRef {
    /// The family, as in `[[series]]`.
    pub family: String,
    /// The key, or `*`.
    pub key: String,
}

impl SeriesRef {
    /// Splits at the first colon: a family's name has none.
    pub fn parse(text: &str) -> Option<SeriesRef> {
        let (family, key) = text.split_once(':')?;
        (!family.is_empty() && !key.is_empty()).then(|| SeriesRef { family: family.into(), key: key.into() })
    }

    /// It stands for every key.
    pub fn is_template(&self) -> bool {
        self.key == "*"
    }

    /// The same with `*` replaced by a key.
    pub fn bind(&self, key: &str) -> SeriesRef {
        let key = if self.is_template() { key } else { &self.key };
        SeriesRef { family: self.family.clone(), key: key.to_owned() }
    }
}

impl fmt::Display for SeriesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.key)
    }
}

impl Serialize for SeriesRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One field of one series, joined to a model by window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Regressor {
    /// The series.
    pub series: SeriesRef,
    /// `event_count` or `<value>.<statistic>`.
    pub field: String,
}

impl Regressor {
    /// Splits at the last slash: a key may have some (`JFK/B6`), a field has none.
    pub fn parse(text: &str) -> Option<Regressor> {
        let (series, field) = text.rsplit_once('/')?;
        is_field(field).then_some(())?;
        Some(Regressor { series: SeriesRef::parse(series)?, field: field.to_owned() })
    }

    /// The same with `*` replaced by a key.
    pub fn bind(&self, key: &str) -> Regressor {
        Regressor { series: self.series.bind(key), field: self.field.clone() }
    }
}

impl Serialize for Regressor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}", self.series, self.field))
    }
}
