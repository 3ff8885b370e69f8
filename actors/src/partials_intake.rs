//! The top of a repartition partition's tree: merges the partial aggregates of all upstream partitions into windows,
//! which close when the least of their watermarks has passed.

use crate::closed_window::WindowWriter;
use crate::decisions::SET_APART;
use crate::events_intake::{advance_of, window_spec};
use crate::house::House;
use crate::intake::{Intake, went};
use crate::letters::{Letters, panicked};
use crate::messages::BatchOutput;
use crate::metrics::PipelineMetrics;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tidecast_config::SeriesSpec;
use tidecast_event::TopicPartition;
use tidecast_ports::{RecordBatch, RecordMeta};
use tidecast_window::{Closed, Merged, Merger, UpstreamMessage};

/// The state of one partition of a repartition topic.
pub struct PartialsIntake {
    partition: TopicPartition,
    merger: Merger,
    advance_micros: i64,
    writer: WindowWriter,
    metrics: PipelineMetrics,
    /// What outputs are named after: the same whichever group the topic is of.
    origin: TopicPartition,
    letters: Letters,
    /// Offset of the record that is taken.
    taking: i64,
    /// It has more windows to close, after so many.
    midway: Option<u64>,
    /// Parts whose windows were forgotten.
    expired: u64,
    /// Offsets of records that are not looked at: they made this code panic.
    set_apart: BTreeSet<i64>,
}

impl PartialsIntake {
    /// The state of a partition, from its record or anew.
    pub fn new(
        house: &Arc<House>,
        partition: &TopicPartition,
        series: &SeriesSpec,
        record: Option<&[u8]>,
    ) -> Result<Self, String> {
        let input = series.topic.as_deref().unwrap_or(&house.settings.topics.events);
        let upstreams = u32::try_from(house.partitions_of(input)).unwrap_or(1).max(1);
        let spec = window_spec(series);
        let advance_micros = advance_of(spec.window);
        let merger = match record {
            Some(bytes) => Merger::decode(spec, upstreams, bytes).map_err(|error| error.to_string())?,
            None => Merger::new(spec, upstreams).map_err(|error| error.to_string())?,
        };
        if merger.gave_up() {
            tracing::warn!(%partition, series = series.name, "this series has other windows than before: what was open in it is given up");
        }
        Ok(PartialsIntake {
            partition: partition.clone(),
            merger,
            advance_micros,
            writer: WindowWriter::default(),
            metrics: house.metrics.clone(),
            origin: TopicPartition::new(format!("{}-repartition", series.name), partition.partition),
            letters: Letters::new(&house.settings, partition),
            taking: 0,
            midway: None,
            expired: 0,
            set_apart: BTreeSet::new(),
        })
    }
}

impl Intake for PartialsIntake {
    fn take_one(&mut self, batch: &RecordBatch, record: &RecordMeta, output: &mut BatchOutput) {
        self.taking = record.offset;
        if !self.set_apart.is_empty() && self.set_apart.remove(&record.offset) {
            output.records.push(self.letters.of(batch, record, &panicked()));
            return;
        }
        let Some(bytes) = batch.value(record) else { return };
        let newest = self.merger.watermark();
        let mut room = output.room;
        let mut sink =
            |closed: Closed<'_>| self.writer.push(output, &closed, self.advance_micros, newest, &self.origin);
        if self.merger.is_midway() {
            self.merger.go_on(&mut room, &mut sink);
        } else {
            match UpstreamMessage::decode(bytes) {
                Ok(message) => {
                    let merged = self.merger.observe(message, &mut room, &mut sink);
                    if let Merged::Expired { events } = merged
                        && !output.silent
                    {
                        let expired = self.metrics.expired.with_label_values(&[&self.merger.spec().name]);
                        expired.inc_by(events);
                        self.expired += 1;
                        // There may be one for each window of days.
                        if self.expired.is_power_of_two() {
                            tracing::warn!(partition = %self.partition, offset = record.offset, parts = self.expired,
                                "what a partition has to say of windows that are forgotten came too late: its events are in no \
                                 window (events_expired_total); it was away for long, or is new");
                        }
                    }
                }
                // The topic is ours alone: what cannot be read was written by another version or another program.
                Err(error) => {
                    tracing::error!(partition = %self.partition, offset = record.offset, %error, "a partial cannot be read");
                }
            }
        }
        self.midway = went(self.midway, room, !self.merger.is_midway(), output);
    }

    fn is_of_events(&self) -> bool {
        false
    }

    fn midway(&self) -> Option<u64> {
        self.midway
    }

    fn idle_after(&self) -> Option<Duration> {
        // Upstream says when it is quiet.
        None
    }

    fn close_idle(&mut self, _: Duration, _: &mut BatchOutput) -> Option<String> {
        None
    }

    fn taking(&self) -> Option<i64> {
        Some(self.taking)
    }

    fn replay(&mut self, decision: &str, _: &mut BatchOutput) {
        if let Some(offset) = decision.strip_prefix(SET_APART) {
            self.set_apart.extend(offset.parse::<i64>());
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.merger.encode(out);
    }

    fn tell_metrics(&mut self) {
        self.writer.tell(&self.metrics);
    }
}
