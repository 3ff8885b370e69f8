//! What publishing has done since the start: counters and latencies that every producer of this process shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Latency classes: 8 per doubling, from 1 microsecond up; a class is at most 12.5 % wide.
const CLASSES: usize = 8 * 40;

/// Counters of all producers. Cheap to clone, cheap to count.
#[derive(Debug, Clone, Default)]
pub struct Publishing(Arc<Counters>);

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
    /// Counts an acknowledged record.
    pub fn sent(&self, bytes: usize, latency_micros: Option<u64>) {
        let counters = &*self.0;
        counters.sent.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let micros = latency_micros.unwrap_or(0);
        counters.latency_micros.fetch_add(micros, Ordering::Relaxed);
        counters.classes[class(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a record that failed for good.
    pub fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Records acknowledged so far.
    pub fn messages_sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Records that failed so far.
    pub fn messages_failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// All figures.
    pub fn figures(&self) -> PublishingFigures {
        let (sent, failed) = (self.messages_sent(), self.messages_failed());
        let classes: Vec<u64> = self.0.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
        let total = sent + failed;
        PublishingFigures {
            total_messages: total,
            messages_sent: sent,
            messages_failed: failed,
            success_rate: if total == 0 { 1.0 } else { sent as f64 / total as f64 },
            total_bytes: self.0.bytes.load(Ordering::Relaxed),
            avg_latency_ms: if sent == 0 {
                0.0
            } else {
                self.0.latency_micros.load(Ordering::Relaxed) as f64 / sent as f64 / 1e3
            },
            p90_latency_ms: percentile(&classes, 0.90),
            p99_latency_ms: percentile(&classes, 0.99),
        }
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
            publishing.sent(10, Some(micros));
        }
        publishing.failed();
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
