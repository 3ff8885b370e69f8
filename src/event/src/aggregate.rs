//! A closed window, as written to `streaming-aggregates`, SSE and `aggregation_update`.

use crate::time::{EventTime, epoch_seconds};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::Index;
use std::sync::Arc;

/// One closed (or corrected) window of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The family, as named in `[[series]]`.
    pub series: Arc<str>,
    /// The value of the grouping field.
    pub key: Arc<str>,
    /// The events' type; `None` when they differ (or there is none).
    pub event_type: Option<Arc<str>>,
    /// First instant of the window.
    #[serde(with = "epoch_seconds")]
    pub window_start: EventTime,
    /// First instant after the window.
    #[serde(with = "epoch_seconds")]
    pub window_end: EventTime,
    /// Events counted.
    pub event_count: u64,
    /// Statistics by dotted path of the numeric field; empty without numbers.
    pub aggregates: Fields,
    /// 0 for the first emission; one more for each correction by late data.
    pub revision: u32,
    /// Events of this key refused as late by this series since the aggregate before this one.
    pub late_count: u64,
}

impl Aggregate {
    /// Looks up `event_count` or `<value>.<statistic>`, a model's `field`.
    pub fn field(&self, field: &str) -> Option<f64> {
        if field == "event_count" {
            return Some(self.event_count as f64);
        }
        let (path, statistic) = field.rsplit_once('.')?;
        self.aggregates.get(path)?.statistic(statistic)
    }
}

/// Statistics by the field's name, in the order of the names. Most windows have a field or two, and every closed
/// window has one of these: no more room than they need.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(Box<[(Arc<str>, FieldStats)]>);

impl Fields {
    /// A field's.
    pub fn get(&self, name: &str) -> Option<&FieldStats> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &FieldStats)> {
        self.0.iter().map(|(name, stats)| (name, stats))
    }
}

impl Index<&str> for Fields {
    type Output = FieldStats;

    /// Panics when there is no such field, as a map does.
    fn index(&self, name: &str) -> &FieldStats {
        self.get(name).expect("a field of this window")
    }
}

impl FromIterator<(Arc<str>, FieldStats)> for Fields {
    /// Of two with one name the later stays.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, FieldStats)>>(fields: I) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        if !fields.is_sorted_by(|(a, _), (b, _)| a < b) {
            fields.reverse();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            fields.dedup_by(|(a, _), (b, _)| a == b);
        }
        Fields(fields.into())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Statistics of one numeric field over one window, in the field's own units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FieldStats {
    /// Values seen.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean.
    pub avg: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Nearest-rank median, within 1 % of the value; absent when the series has `percentiles = false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 95th percentile, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// 99th percentile, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

impl FieldStats {
    /// The names that [`FieldStats::statistic`] knows.
    pub const STATISTICS: [&str; 9] = ["count", "sum", "avg", "min", "max", "std", "p50", "p95", "p99"];

    /// One statistic by its name.
    pub fn statistic(&self, name: &str) -> Option<f64> {
        match name {
            "count" => Some(self.count as f64),
            "sum" => Some(self.sum),
            "avg" => Some(self.avg),
            "min" => Some(self.min),
            "max" => Some(self.max),
            "std" => Some(self.std),
            "p50" => self.p50,
            "p95" => self.p95,
            "p99" => self.p99,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(count: u64) -> FieldStats {
        FieldStats {
            count,
            sum: 0.0,
            avg: 0.0,
            min: 0.0,
            max: 0.0,
            std: 0.0,
            p50: None,
            p95: None,
            p99: None,
        }
    }

    #[test]
    fn fields_are_in_order_and_the_later_of_two_stays() {
        let given = [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)];
        let fields: Fields = given.into_iter().map(|(name, count)| (name.into(), stats(count))).collect();
        let got: Vec<(&str, u64)> = fields.iter().map(|(name, stats)| (&**name, stats.count)).collect();
        assert_eq!(got, [("a", 5), ("b", 3), ("c", 4)]);
        assert_eq!((fields["b"].count, fields.get("d")), (3, None));
        let json = serde_json::to_string(&fields).expect("plain data");
        assert!(json.starts_with(r#"{"a":{"count":5"#), "{json}");
        assert_eq!(serde_json::from_str::<Fields>(&json).expect("what was written"), fields);
    }
}
