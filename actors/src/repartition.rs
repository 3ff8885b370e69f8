//! The way through a repartition topic: what an events partition sends of a series that is grouped by something else
//! than the record key. Per key and window one partial aggregate, and this partition's watermark, in band, to every
//! partition of the topic. A hot key costs no more than a cold one: it is one partial per partition and window.

use crate::house::House;
use crate::messages::BatchOutput;
use bytes::Bytes;
use tidecast_config::{SeriesSpec, Settings};
use tidecast_event::{EventTime, OutputId, TopicPartition};
use tidecast_ports::{Destination, OutputRecord};
use tidecast_window::{Closed, Mark, UpstreamMessage, WindowKind};

/// Series with a repartition topic, and its name.
fn all(settings: &Settings) -> impl Iterator<Item = (&SeriesSpec, String)> {
    let group = &settings.kafka.group_id;
    let repartitioned = settings.series.iter().filter(|spec| spec.is_repartitioned());
    repartitioned.map(|spec| (spec, spec.repartition_topic(group)))
}

/// All repartition topics.
pub fn topics(settings: &Settings) -> Vec<String> {
    all(settings).map(|(_, topic)| topic).collect()
}

/// The series of a repartition topic.
pub fn series_of<'s>(settings: &'s Settings, name: &str) -> Option<&'s SeriesSpec> {
    all(settings).find(|(_, topic)| topic == name).map(|(spec, _)| spec)
}

/// One series' way from one events partition.
#[derive(Debug)]
pub struct Route {
    series: String,
    topic: std::sync::Arc<str>,
    /// Partitions of the repartition topic.
    partitions: i32,
    upstream: u32,
    input: TopicPartition,
    /// Marks are sent when the watermark passes a multiple of this: when a window may have closed.
    step_micros: i64,
    lateness_micros: i64,
    /// The step of the newest mark; `None` before the first.
    marked: Option<i64>,
    newest: EventTime,
    idle: bool,
}

impl Route {
    /// A way that has sent nothing yet.
    pub fn new(house: &House, spec: &SeriesSpec, partition: &TopicPartition) -> Self {
        let settings = &house.settings;
        let window = crate::events_intake::window_spec(spec);
        let step_micros = match window.window {
            WindowKind::Tumbling { size_micros } => size_micros,
            WindowKind::Hopping { advance_micros, .. } => advance_micros,
            // A session may end at any moment: a tenth of the gap is as exact as anybody can see.
            WindowKind::Session { gap_micros } => (gap_micros / 10).max(1),
        };
        let topic = spec.repartition_topic(&settings.kafka.group_id);
        Route {
            partitions: house.partitions_of(&topic),
            topic: topic.into(),
            series: spec.name.clone(),
            upstream: partition.partition as u32,
            input: partition.clone(),
            step_micros,
            lateness_micros: window.lateness_micros,
            marked: None,
            newest: EventTime::MIN,
            idle: false,
        }
    }

    /// Downstream knows that this partition is quiet.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Sends a partial.
    pub fn partial(&mut self, closed: &Closed<'_>, output: &mut BatchOutput) {
        if output.silent {
            return;
        }
        let mut value = Vec::with_capacity(256);
        UpstreamMessage::Partial(closed.to_partial(self.upstream)).encode(&mut value);
        output.records.push(OutputRecord {
            destination: Destination::Topic(self.topic.clone()),
            partition: None,
            key: Some(Bytes::copy_from_slice(closed.key.as_bytes())),
            value: Some(value.into()),
            id: Some(OutputId::of(&[
                crate::PIPELINE_VERSION,
                b"partial",
                self.topic.as_bytes(),
                &self.input.partition.to_le_bytes(),
                closed.key.as_bytes(),
                &closed.start.0.to_le_bytes(),
                &closed.end.0.to_le_bytes(),
                &closed.revision.to_le_bytes(),
            ])),
            headers: Vec::new(),
        });
    }

    /// Tells downstream of a partition that has read nothing yet, so that it is waited for until it has, or counts as idle.
    pub fn begin(&self, output: &mut BatchOutput) {
        self.mark(output);
    }

    /// The partition's newest event time is now this: tells downstream when windows may have closed. To be called after
    /// the partials that it closed.
    pub fn watermark(&mut self, newest: EventTime, output: &mut BatchOutput) {
        self.newest = newest;
        let step = newest.plus_micros(-self.lateness_micros).0.div_euclid(self.step_micros);
        if self.marked.is_some_and(|marked| marked >= step) && !self.idle {
            return;
        }
        self.marked = Some(step);
        self.idle = false;
        self.mark(output);
    }

    /// The partition is quiet at this newest event time: it holds no other back.
    pub fn idle(&mut self, newest: EventTime, output: &mut BatchOutput) {
        self.newest = newest;
        if !self.idle {
            self.idle = true;
            self.mark(output);
        }
    }

    fn mark(&self, output: &mut BatchOutput) {
        if output.silent {
            return;
        }
        let watermark = self.newest.plus_micros(-self.lateness_micros);
        let mark = Mark::new(self.series.as_str(), self.upstream, watermark, self.idle);
        let mut value = Vec::with_capacity(64);
        UpstreamMessage::Mark(mark).encode(&mut value);
        let value = Bytes::from(value);
        for partition in 0..self.partitions {
            output.records.push(OutputRecord {
                destination: Destination::Topic(self.topic.clone()),
                partition: Some(partition),
                key: None,
                value: Some(value.clone()),
                id: None,
                headers: Vec::new(),
            });
        }
    }
}
