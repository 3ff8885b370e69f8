//! A closed window, as written to `streaming-aggregates`, SSE and `aggregation_update`.

use crate::time::{EventTime, epoch_seconds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    pub aggregates: BTreeMap<Arc<str>, FieldStats>,
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
