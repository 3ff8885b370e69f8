//! What publishing has done since the start: counters and latencies that every producer of this process shares.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Latency classes: 8 per doubling, from 1 microsecond up; a class is at most 12.5 % wide.
const CLASSES: usize = 8 * 40;
/// Topics counted for themselves; what goes to others counts in the total alone.
const TOPICS_MAX: usize = 256;

/// Counters of all producers. Cheap to clone, cheap to count.
#[derive(Debug, Clone, Default)]
pub struct Publishing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    total: Counters,
    /// A process writes to a handful of topics: they are found by looking at each.
    topics: RwLock<Vec<(Box<str>, Arc<Counters>)>>,
}

#[derive(Debug)]
struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    latency_micros: AtomicU64,
    classes: [AtomicU64; CLASSES],
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            latency_micros: AtomicU64::new(0),
            classes: [const { AtomicU64::new(0) }; CLASSES],
        }
    }
}

impl Counters {
    fn sent(&self, bytes: usize, micros: u64) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.latency_micros.fetch_add(micros, Ordering::Relaxed);
        self.classes[class(micros)].fetch_add(1, Ordering::Relaxed);
    }

    fn counted(&self) -> Counted {
        Counted {
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            latency_micros: self.latency_micros.load(Ordering::Relaxed),
            classes: self.classes.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

/// Counters as they stood at a moment, or what came between two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    sent: u64,
    failed: u64,
    bytes: u64,
    latency_micros: u64,
    /// By latency class; those that are not there are 0.
    classes: Vec<u64>,
}

impl Counted {
    /// Acknowledged and failed.
    pub(crate) fn total(&self) -> u64 {
        self.sent + self.failed
    }

    /// What came after `earlier`.
    pub(crate) fn since(&self, earlier: &Counted) -> Counted {
        let before = |class: usize| earlier.classes.get(class).copied().unwrap_or(0);
        Counted {
            sent: self.sent.saturating_sub(earlier.sent),
            failed: self.failed.saturating_sub(earlier.failed),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            latency_micros: self.latency_micros.saturating_sub(earlier.latency_micros),
            classes: self
                .classes
                .iter()
                .enumerate()
                .map(|(class, count)| count.saturating_sub(before(class)))
                .collect(),
        }
    }

    /// Adds another's.
    pub(crate) fn add(&mut self, other: &Counted) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.latency_micros += other.latency_micros;
        self.classes.resize(self.classes.len().max(other.classes.len()), 0);
        self.classes.iter_mut().zip(&other.classes).for_each(|(count, more)| *count += more);
    }

    /// As a row keeps it: classes that are not 0, each with its number.
    pub(crate) fn to_json(&self) -> Value {
        let classes = self.classes.iter().enumerate().filter(|(_, count)| **count > 0);
        let classes: Vec<[u64; 2]> = classes.map(|(class, count)| [class as u64, *count]).collect();
        json!({"sent": self.sent, "failed": self.failed, "bytes": self.bytes,
            "latency_micros": self.latency_micros, "classes": classes})
    }

    /// Reads what [`Counted::to_json`] wrote; what is not there is 0.
    pub(crate) fn from_json(row: &Value) -> Counted {
        let number = |name: &str| row[name].as_u64().unwrap_or(0);
        let mut classes = vec![0; CLASSES];
        for pair in row["classes"].as_array().into_iter().flatten() {
            let class = pair[0].as_u64().and_then(|class| usize::try_from(class).ok());
            if let Some(count) = class.and_then(|class| classes.get_mut(class)) {
                *count = pair[1].as_u64().unwrap_or(0);
            }
        }
        Counted {
            sent: number("sent"),
            failed: number("failed"),
            bytes: number("bytes"),
            latency_micros: number("latency_micros"),
            classes,
        }
    }

    /// Figures of it.
    pub(crate) fn figures(&self) -> PublishingFigures {
        let (sent, total) = (self.sent, self.total());
        PublishingFigures {
            total_messages: total,
            messages_sent: sent,
            messages_failed: self.failed,
            success_rate: if total == 0 { 1.0 } else { sent as f64 / total as f64 },
            total_bytes: self.bytes,
            avg_latency_ms: if sent == 0 { 0.0 } else { self.latency_micros as f64 / sent as f64 / 1e3 },
            p90_latency_ms: percentile(&self.classes, 0.90),
            p99_latency_ms: percentile(&self.classes, 0.99),
        }
    }
}

/// Figures as of now.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PublishingFigures {
    /// Records that were acknowledged or failed.
    pub total_messages: u64,
    /// Records acknowledged.
    pub messages_sent: u64,
    /// Records that failed for good.
    pub messages_failed: u64,
    /// `messages_sent` over `total_messages`, 1 when there are none.
    pub success_rate: f64,
    /// Key and value bytes acknowledged.
    pub total_bytes: u64,
    /// From produce to acknowledgement, milliseconds.
    pub avg_latency_ms: f64,
    /// 90th percentile of the same.
    pub p90_latency_ms: f64,
    /// 99th percentile.
    pub p99_latency_ms: f64,
}

impl Publishing {
    fn of_topic<R>(&self, topic: &str, count: impl FnOnce(&Counters) -> R) -> Option<R> {
        {
            let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counters)) = topics.iter().find(|(name, _)| **name == *topic) {
                return Some(count(counters));
            }
        }
        let mut topics = self.0.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= TOPICS_MAX {
            return None;
        }
        // Another thread may have been here in between.
        if !topics.iter().any(|(name, _)| **name == *topic) {
            topics.push((topic.into(), Arc::default()));
        }
        topics.iter().find(|(name, _)| **name == *topic).map(|(_, counters)| count(counters))
    }

    /// Counts an acknowledged record.
    pub fn sent(&self, topic: &str, bytes: usize, latency_micros: Option<u64>) {
        let micros = latency_micros.unwrap_or(0);
        self.0.total.sent(bytes, micros);
        self.of_topic(topic, |counters| counters.sent(bytes, micros));
    }

    /// Counts a record that failed for good.
    pub fn failed(&self, topic: &str) {
        self.0.total.failed.fetch_add(1, Ordering::Relaxed);
        self.of_topic(topic, |counters| counters.failed.fetch_add(1, Ordering::Relaxed));
    }

    /// Records acknowledged so far.
    pub fn messages_sent(&self) -> u64 {
        self.0.total.sent.load(Ordering::Relaxed)
    }

    /// Records that failed so far.
    pub fn messages_failed(&self) -> u64 {
        self.0.total.failed.load(Ordering::Relaxed)
    }

    /// Figures since the start.
    pub fn figures(&self) -> PublishingFigures {
        self.0.total.counted().figures()
    }

    /// Each topic's counters.
    pub(crate) fn topics(&self) -> Vec<(String, Counted)> {
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.iter().map(|(name, counters)| (name.to_string(), counters.counted())).collect()
    }
}

/// The class of a latency: the exponent and the three bits below it.
fn class(micros: u64) -> usize {
    let micros = micros.max(8);
    let exponent = micros.ilog2() as usize;
    let fraction = (micros >> (exponent - 3)) as usize & 7;
    ((exponent - 3) * 8 + fraction).min(CLASSES - 1)
}

/// The middle of a class, microseconds.
fn middle(class: usize) -> f64 {
    let (exponent, fraction) = (class / 8, class % 8);
    (8.0 + fraction as f64 + 0.5) * (exponent as f64).exp2()
}

/// Nearest-rank percentile, milliseconds, within half a class.
fn percentile(classes: &[u64], share: f64) -> f64 {
    let total: u64 = classes.iter().sum();
    let rank = ((total as f64 * share).ceil() as u64).max(1);
    let mut seen = 0;
    for (class, count) in classes.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return middle(class) / 1e3;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_class() {
        let publishing = Publishing::default();
        for micros in 1..=100_000u64 {
            publishing.sent("t", 10, Some(micros));
        }
        publishing.failed("t");
        let figures = publishing.figures();
        assert_eq!(
            (figures.messages_sent, figures.messages_failed, figures.total_bytes),
            (100_000, 1, 1_000_000)
        );
        assert!((figures.p90_latency_ms / 90.0 - 1.0).abs() < 0.07, "{figures:?}");
        assert!((figures.p99_latency_ms / 99.0 - 1.0).abs() < 0.07, "{figures:?}");
        assert!((figures.avg_latency_ms - 50.0005).abs() < 0.001, "{figures:?}");
        assert_eq!(class(u64::MAX), CLASSES - 1);
    }
}
