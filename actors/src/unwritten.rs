//! Outputs that cannot be written whatever is tried: dead letters instead, told in the log and counted.

use crate::letters;
use crate::metrics::PipelineMetrics;
use std::collections::BTreeMap;
use tidecast_ports::OutputRecord;
use tidecast_ports::publish::Refusal;

/// Topics whose outputs were refused are remembered up to so many.
const TOPICS_MAX: usize = 1_000;

/// How many there were, so that the log does not fill with one after the other.
#[derive(Debug, Default)]
pub struct Unwritten(BTreeMap<(String, &'static str), u64>);

impl Unwritten {
    /// What is written in a record's place.
    pub fn letter(
        &mut self,
        record: &OutputRecord,
        refusal: Refusal,
        metrics: &PipelineMetrics,
    ) -> OutputRecord {
        metrics.unwritten.with_label_values(&[refusal.reason]).inc();
        if self.0.len() >= TOPICS_MAX {
            self.0.clear();
        }
        let count = self.0.entry((refusal.topic.clone(), refusal.reason)).or_default();
        *count += 1;
        if count.is_power_of_two() {
            let Refusal { topic, reason, detail, .. } = &refusal;
            tracing::error!(
                topic,
                reason,
                detail,
                count,
                "an output cannot be written and is a dead letter instead"
            );
        }
        letters::of_output(record, refusal)
    }
}
