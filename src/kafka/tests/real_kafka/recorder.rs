//! A handler that writes down all it is told, and lets a test wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_kafka::{Cluster, Source, SourceControl, SourceOptions, SourceThread};
use tidecast_ports::source::Assigned;
use tidecast_ports::{PartitionSink, RecordBatch, SourceHandler, Wake};

pub const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub traceparent: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Written {
    pub assigned: Vec<(TopicPartition, Assigned)>,
    pub revoking: Vec<TopicPartition>,
    pub lost: Vec<TopicPartition>,
    pub stopped: Vec<(TopicPartition, String)>,
    pub connection: Vec<Option<String>>,
    pub read: BTreeMap<i32, Vec<Read>>,
    pub high_watermarks: BTreeMap<i32, i64>,
    pub caught_up: BTreeMap<i32, i64>,
    /// Partitions whose sinks have no room.
    pub full: Vec<i32>,
    pub wakes: BTreeMap<i32, Wake2>,
    /// `assigned` fails so often.
    pub refuse: u32,
}

#[derive(Clone)]
pub struct Wake2(pub Wake);

impl std::fmt::Debug for Wake2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

#[derive(Clone, Default)]
pub struct Recorder(Arc<(Mutex<Written>, Condvar)>);

impl Recorder {
    pub fn with<T>(&self, look: impl FnOnce(&mut Written) -> T) -> T {
        let result = look(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        result
    }

    /// Waits until the condition holds.
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&Written) -> bool) {
        let deadline = Instant::now() + LONG;
        let mut written = self.0.0.lock().unwrap();
        while !condition(&written) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come; written: {}", brief(&written));
            written = self.0.1.wait_timeout(written, left).unwrap().0;
        }
    }

    pub fn wait_for_records(&self, count: usize) {
        self.wait(&format!("{count} records"), |written| total(written) >= count);
    }

    pub fn start(&self, cluster: &Cluster, options: SourceOptions) -> Running {
        let source = Source::prepare(cluster, options).unwrap();
        let control = source.control();
        let thread = source.start(Box::new(self.clone())).unwrap();
        Running { control, thread }
    }
}

pub fn total(written: &Written) -> usize {
    written.read.values().map(Vec::len).sum()
}

fn brief(written: &Written) -> String {
    let counts: Vec<_> = written.read.iter().map(|(partition, read)| (partition, read.len())).collect();
    format!(
        "assigned {:?} revoking {:?} lost {:?} stopped {:?} connection {:?} read {counts:?} caught up {:?}",
        written.assigned,
        written.revoking,
        written.lost,
        written.stopped,
        written.connection,
        written.caught_up
    )
}

pub struct Running {
    pub control: SourceControl,
    pub thread: SourceThread,
}

impl Running {
    pub fn close(self) {
        self.control.close();
        self.thread.join().unwrap();
    }
}

pub fn options(topic: &str) -> SourceOptions {
    let mut options = SourceOptions::new([topic], || 1);
    options.retry = Duration::from_millis(100);
    options
}

struct Sink {
    partition: i32,
    /// The fixtures' records have no gaps among them: each life of a partition must give one after the other.
    next: i64,
    recorder: Recorder,
}

impl SourceHandler for Recorder {
    fn assigned(
        &mut self,
        partition: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        self.with(|written| {
            written.assigned.push((partition.clone(), broker.clone()));
            if written.refuse > 0 {
                written.refuse -= 1;
                return Err("not yet".to_owned());
            }
            let from = broker.committed.map_or(broker.log_start, |committed| committed.offset);
            let sink = Sink { partition: partition.partition, next: from, recorder: self.clone() };
            Ok((from, Box::new(sink) as Box<dyn PartitionSink>))
        })
    }

    fn revoking(&mut self, partitions: &[TopicPartition], _grace: Duration) {
        self.with(|written| written.revoking.extend_from_slice(partitions));
    }

    fn lost(&mut self, partitions: &[TopicPartition]) {
        self.with(|written| written.lost.extend_from_slice(partitions));
    }

    fn stopped(&mut self, partition: &TopicPartition, why: &str) {
        self.with(|written| written.stopped.push((partition.clone(), why.to_owned())));
    }

    fn connection(&mut self, trouble: Option<&str>) {
        self.with(|written| written.connection.push(trouble.map(str::to_owned)));
    }
}

impl PartitionSink for Sink {
    fn has_room(&self) -> bool {
        self.recorder.with(|written| !written.full.contains(&self.partition))
    }

    fn deliver(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        let records: Vec<Read> = batch
            .records
            .iter()
            .map(|meta| Read {
                offset: meta.offset,
                timestamp_ms: meta.timestamp_ms,
                key: batch.key(meta).map(<[u8]>::to_vec),
                value: batch.value(meta).map(<[u8]>::to_vec),
                traceparent: batch.traceparent(meta).map(<[u8]>::to_vec),
            })
            .collect();
        for record in &records {
            assert_eq!(
                record.offset, self.next,
                "a record of partition {} was skipped or came twice",
                self.partition
            );
            self.next += 1;
        }
        assert_eq!(batch.offsets().end, records.last().unwrap().offset + 1);
        assert!(batch.next_offset >= batch.offsets().end);
        self.recorder.with(|written| {
            written.high_watermarks.insert(self.partition, batch.high_watermark);
            written.read.entry(self.partition).or_default().extend(records);
        });
        Ok(())
    }

    fn caught_up(&mut self, next_offset: i64) {
        self.recorder.with(|written| written.caught_up.insert(self.partition, next_offset));
    }

    fn wake_with(&mut self, wake: Wake) {
        self.recorder.with(|written| written.wakes.insert(self.partition, Wake2(wake)));
    }
}
