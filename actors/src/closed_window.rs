//! A closed window on its way out: its record as the contract's JSON, written straight from the engine's scratch into a
//! buffer that is used again; and the window for the stages below.

use crate::messages::{BatchOutput, ClosedWindow};
use crate::metrics::PipelineMetrics;
use crate::wire;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use std::sync::Arc;
use tidecast_event::{Aggregate, EventTime, FieldStats, OutputId, TopicPartition};
use tidecast_ports::{Destination, OutputRecord};
use tidecast_window::Closed;

/// Bytes taken from the allocator at once; records are cut from them and freed together.
const CHUNK: usize = 1 << 16;
/// Room below which a new chunk is taken, so that a record is rarely moved while it is written.
const ROOM: usize = 1 << 10;

/// Writes windows; one for each partition.
#[derive(Debug, Default)]
pub struct WindowWriter {
    buffer: BytesMut,
    /// Windows written since that was last told, by series.
    written: Vec<(Arc<str>, u64)>,
}

impl WindowWriter {
    /// Adds a closed window, and its record, to the output.
    pub fn push(
        &mut self,
        output: &mut BatchOutput,
        closed: &Closed<'_>,
        advance_micros: i64,
        newest: EventTime,
        partition: &TopicPartition,
    ) {
        if !output.silent {
            // A partition has few series, and their names are shared.
            match self.written.iter_mut().find(|(series, _)| Arc::ptr_eq(series, closed.series)) {
                Some((_, count)) => *count += 1,
                None => self.written.push((closed.series.clone(), 1)),
            }
            output.records.push(OutputRecord {
                destination: Destination::Aggregates,
                partition: None,
                key: Some(self.key(closed)),
                value: Some(self.json(closed)),
                id: Some(OutputId::of(&[
                    crate::PIPELINE_VERSION,
                    b"window",
                    partition.topic.as_bytes(),
                    &partition.partition.to_le_bytes(),
                    closed.series.as_bytes(),
                    closed.key.as_bytes(),
                    &closed.start.0.to_le_bytes(),
                    &closed.end.0.to_le_bytes(),
                    &closed.revision.to_le_bytes(),
                ])),
                headers: Vec::new(),
            });
        }
        let aggregate: Arc<Aggregate> = Arc::new(closed.to_aggregate());
        output.closed.push(ClosedWindow { aggregate, advance_micros, newest });
    }

    /// Tells counters on `/metrics` how many windows were written.
    pub fn tell(&mut self, metrics: &PipelineMetrics) {
        for (series, count) in self.written.drain(..) {
            metrics.windows.with_label_values(&[&*series]).inc_by(count);
        }
    }

    /// The record's key.
    pub fn key(&mut self, closed: &Closed<'_>) -> Bytes {
        self.make_room();
        self.buffer.put_slice(closed.series.as_bytes());
        self.buffer.put_u8(b':');
        self.buffer.put_slice(closed.key.as_bytes());
        self.buffer.split().freeze()
    }

    /// The record's value, byte for byte what serde makes of [`Closed::to_aggregate`].
    pub fn json(&mut self, closed: &Closed<'_>) -> Bytes {
        self.make_room();
        self.put("{\"series\":", &**closed.series);
        self.put(",\"key\":", closed.key);
        self.put(",\"event_type\":", &closed.event_type);
        self.time(",\"window_start\":", closed.start);
        self.time(",\"window_end\":", closed.end);
        self.put(",\"event_count\":", &closed.count);
        self.buffer.put_slice(b",\"aggregates\":");
        let mut before = b'{';
        for (name, stats) in closed.fields {
            self.buffer.put_u8(before);
            before = b',';
            self.put("", &**name);
            self.stats(stats);
        }
        self.buffer.put_slice(if before == b'{' { b"{}" } else { b"}" });
        self.put(",\"revision\":", &closed.revision);
        self.put(",\"late_count\":", &closed.late_count);
        self.buffer.put_u8(b'}');
        self.buffer.split().freeze()
    }

    fn stats(&mut self, stats: &FieldStats) {
        self.put(":{\"count\":", &stats.count);
        self.put(",\"sum\":", &stats.sum);
        self.put(",\"avg\":", &stats.avg);
        self.put(",\"min\":", &stats.min);
        self.put(",\"max\":", &stats.max);
        self.put(",\"std\":", &stats.std);
        for (name, value) in [(",\"p50\":", stats.p50), (",\"p95\":", stats.p95), (",\"p99\":", stats.p99)] {
            if let Some(value) = value {
                self.put(name, &value);
            }
        }
        self.buffer.put_u8(b'}');
    }

    fn time(&mut self, name: &str, time: EventTime) {
        if time.0 % 1_000_000 == 0 {
            self.put(name, &(time.0 / 1_000_000));
        } else {
            self.put(name, &time.as_seconds());
        }
    }

    /// A name with what stands around it, then a plain value.
    fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        wire::put(&mut (&mut self.buffer).writer(), name, value);
    }

    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < ROOM {
            self.buffer.reserve(CHUNK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WindowWriter;
    use proptest::prelude::*;
    use tidecast_event::EventTime;
    use tidecast_window::{Closed, Group, SeriesSpec, WindowKind};

    fn group(percentiles: bool, size_micros: i64) -> Group {
        let window = WindowKind::Tumbling { size_micros };
        let spec = SeriesSpec {
            name: "a \"series\"\n".to_owned(),
            values: None,
            window,
            lateness_micros: 0,
            grace_micros: 0,
            percentiles,
            empty_windows: true,
        };
        Group::new(vec![spec]).expect("a valid series")
    }

    proptest! {
        #[test]
        fn is_what_serde_makes_of_the_aggregate(
            events in prop::collection::vec(
                (".{0,12}", 0..5_000_000_i64, prop::collection::vec((any::<f64>(), 0..6_usize), 0..4)), 0..60),
            percentiles in any::<bool>(),
            size in prop_oneof![Just(1_000_000_i64), Just(250_000), Just(333_333)],
        ) {
            let (mut group, mut writer) = (group(percentiles, size), WindowWriter::default());
            let names = ["value", "b.c", "ü", "\u{1}", "quote\"", "x"];
            let mut windows = 0;
            let mut sink = |closed: Closed<'_>| {
                windows += 1;
                let aggregate = closed.to_aggregate();
                let wanted = serde_json::to_vec(&aggregate).expect("plain data");
                assert_eq!(String::from_utf8_lossy(&writer.json(&closed)), String::from_utf8_lossy(&wanted));
                let key = format!("{}:{}", aggregate.series, aggregate.key);
                assert_eq!(&writer.key(&closed)[..], key.as_bytes());
            };
            let mut newest = EventTime::MIN;
            for (key, at, values) in &events {
                newest = newest.max(EventTime(*at));
                let who = group.intern(key, if at % 2 == 0 { "reading" } else { "click" });
                let numbers = values.iter().filter(|(value, _)| value.is_finite());
                let numbers = numbers.map(|(value, name)| (names[*name], *value));
                group.observe(0, who, EventTime(*at), numbers, newest, &mut sink);
                group.advance(newest, &mut sink);
            }
            group.close_idle(&mut { u64::MAX }, &mut sink);
            prop_assert!(events.is_empty() || windows > 0);
        }
    }
}
