//! Windows and the ledger computed a second way: plain maps over the input, in the words of the interface. No code is
//! shared with the engine.

use crate::workload::{Content, Input, SeriesPlan};
use std::collections::BTreeMap;

/// What one window must say in the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// Events.
    pub count: u64,
    /// Their values.
    pub values: Vec<i64>,
    /// Types seen.
    pub kinds: Vec<&'static str>,
}

/// (series, key, start in milliseconds) → window.
pub type Windows = BTreeMap<(&'static str, String, i64), Window>;

/// Input records of one partition, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub input: u64,
    /// Taken by some series.
    pub windowed: u64,
    /// Refused as late by one, taken by none.
    pub late: u64,
    /// Unusable.
    pub dead_lettered: u64,
    /// Wanted by none.
    pub filtered: u64,
}

/// A record that must be in the dead-letter topic: (partition, place among the partition's inputs) → reason.
pub type Letters = BTreeMap<(i32, usize), &'static str>;

/// Everything that follows from an input.
#[derive(Debug, Default)]
pub struct Expected {
    /// By series, key and start.
    pub windows: Windows,
    /// By partition.
    pub counts: BTreeMap<i32, Counts>,
    /// By place.
    pub letters: Letters,
}

/// Computes it; the records of a partition are in its order.
pub fn expect(input: &[Input], series: &[SeriesPlan]) -> Expected {
    let mut expected = Expected::default();
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut places: BTreeMap<i32, usize> = BTreeMap::new();
    for record in input {
        let place = places.entry(record.partition).or_default();
        let here = (record.partition, *place);
        *place += 1;
        let counts = expected.counts.entry(record.partition).or_default();
        let (source, kind, at_ms, value) = match &record.content {
            Content::Aborted => continue,
            Content::Poison { reason, .. } => {
                counts.input += 1;
                counts.dead_lettered += 1;
                expected.letters.insert(here, reason);
                continue;
            }
            Content::Event { source, kind, at_ms, value } => (source, *kind, *at_ms, *value),
        };
        counts.input += 1;
        let newest = newest.entry(record.partition).or_insert(i64::MIN);
        *newest = (*newest).max(at_ms);
        let (mut taken, mut refused) = (false, false);
        for one in series.iter().filter(|one| !(one.picky && kind == "noise")) {
            let watermark = *newest - one.lateness_ms;
            let key = if one.by_type { kind } else { source.as_str() };
            let mut counted = false;
            let mut start = at_ms.div_euclid(one.advance_ms) * one.advance_ms;
            while start + one.size_ms > at_ms {
                if start + one.size_ms + one.grace_ms > watermark {
                    let window = expected.windows.entry((one.name, key.to_owned(), start)).or_default();
                    window.count += 1;
                    window.values.push(value);
                    if !window.kinds.contains(&kind) {
                        window.kinds.push(kind);
                    }
                    counted = true;
                }
                start -= one.advance_ms;
            }
            taken |= counted;
            refused |= !counted;
        }
        match (taken, refused) {
            (true, _) => counts.windowed += 1,
            (false, true) => {
                counts.late += 1;
                expected.letters.insert(here, "late");
            }
            (false, false) => counts.filtered += 1,
        }
    }
    expected
}

impl Window {
    /// Compares an aggregate message; an answer says what is wrong.
    pub fn differs(&self, message: &serde_json::Value) -> Option<String> {
        if message["event_count"] != self.count {
            return Some(format!("event_count {} instead of {}", message["event_count"], self.count));
        }
        let kind = if self.kinds.len() == 1 { Some(self.kinds[0]) } else { None };
        if message["event_type"].as_str() != kind {
            return Some(format!("event_type {} instead of {kind:?}", message["event_type"]));
        }
        let field = &message["aggregates"]["value"];
        let n = self.values.len() as f64;
        // Whole numbers: sums are exact in any order.
        let sum = self.values.iter().sum::<i64>() as f64;
        let mean = sum / n;
        let spread = self.values.iter().map(|value| (*value as f64 - mean).powi(2)).sum::<f64>();
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        let rank = |p: f64| sorted[((p * n).ceil() as usize).max(1) - 1] as f64;
        let near = |value: f64, within: f64| (value, value.abs() * within + 1e-9);
        let wanted = [
            ("count", near(n, 0.0)),
            ("sum", near(sum, 0.0)),
            ("avg", near(mean, 1e-12)),
            ("min", near(sorted[0] as f64, 0.0)),
            ("max", near(sorted[sorted.len() - 1] as f64, 0.0)),
            ("std", ((spread / n).sqrt(), 1e-6)),
            ("p50", near(rank(0.50), 0.01)),
            ("p95", near(rank(0.95), 0.01)),
            ("p99", near(rank(0.99), 0.01)),
        ];
        wanted.into_iter().find_map(|(name, (wanted, within))| {
            let found = field[name].as_f64();
            let good = found.is_some_and(|found| (found - wanted).abs() <= within);
            (!good).then(|| format!("{name} {} instead of {wanted}", field[name]))
        })
    }
}
