//! The ledger of a partition: every input record counted once, wherever it went.

use crate::metrics::PipelineMetrics;
use prometheus::{Gauge, IntCounter};
use serde::{Deserialize, Serialize};
use tidecast_event::{EventTime, TopicPartition};

/// The stage that keeps the ledger, in words of `/metrics` and readiness.
pub const AGGREGATOR: &str = "aggregator";

/// in = windowed + late + dead-lettered + filtered, for one topic and partition, since the group began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Records read.
    pub input: u64,
    /// Some series took it.
    pub windowed: u64,
    /// None took it and one refused it as late.
    pub late: u64,
    /// It could not be used.
    pub dead_lettered: u64,
    /// No series wanted it.
    pub filtered: u64,
}

impl Ledger {
    /// The sums agree.
    pub fn balances(&self) -> bool {
        self.input == self.windowed + self.late + self.dead_lettered + self.filtered
    }

    /// What the contract calls `total_events`.
    pub fn total_events(&self) -> u64 {
        self.windowed + self.late + self.filtered
    }

    fn entries(&self) -> [u64; 5] {
        [self.input, self.windowed, self.late, self.dead_lettered, self.filtered]
    }
}

/// The ledger's counters on `/metrics`, held by the partition so that nothing is looked up per batch.
#[derive(Debug)]
pub struct LedgerMetrics {
    counters: [IntCounter; 5],
    newest: Gauge,
    told: [u64; 5],
}

impl LedgerMetrics {
    /// Counters that begin at `ledger`: what an earlier life of the partition counted is counted still.
    pub fn new(metrics: &PipelineMetrics, partition: &TopicPartition, ledger: &Ledger) -> Self {
        let number = partition.partition.to_string();
        let labels = [&*partition.topic, number.as_str()];
        let counters = std::array::from_fn(|at| {
            let counter = metrics.ledger[at].with_label_values(&labels);
            counter.reset();
            counter
        });
        let newest = metrics.newest.with_label_values(&labels);
        let mut ledger_metrics = LedgerMetrics { counters, newest, told: [0; 5] };
        ledger_metrics.tell(ledger, EventTime::MIN);
        ledger_metrics
    }

    /// Moves the counters to where the ledger and the newest event stand.
    pub fn tell(&mut self, ledger: &Ledger, newest: EventTime) {
        if newest > EventTime::MIN {
            self.newest.set(newest.as_seconds());
        }
        for ((counter, told), now) in self.counters.iter().zip(&mut self.told).zip(ledger.entries()) {
            counter.inc_by(now.saturating_sub(*told));
            *told = now;
        }
    }

    /// The partition has gone to another instance, which tells its ledger from here on.
    pub fn withdraw(metrics: &PipelineMetrics, partition: &TopicPartition) {
        let number = partition.partition.to_string();
        for counters in &metrics.ledger {
            // Not there when the partition never told anything.
            let _ = counters.remove_label_values(&[&*partition.topic, number.as_str()]);
        }
        let labels = [&*partition.topic, number.as_str()];
        let _ = metrics.lag.remove_label_values(&labels);
        let _ = metrics.newest.remove_label_values(&labels);
        let _ = metrics.lag_seconds.remove_label_values(&labels);
        let _ = metrics.unbalanced.remove_label_values(&[labels[0], labels[1], AGGREGATOR]);
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn a_record_counted_nowhere_is_found() {
        let ledger = Ledger { input: 10, windowed: 5, late: 2, dead_lettered: 1, filtered: 2 };
        assert!(ledger.balances());
        assert_eq!(ledger.total_events(), 9);
        assert!(!Ledger { input: 11, ..ledger }.balances());
    }
}
