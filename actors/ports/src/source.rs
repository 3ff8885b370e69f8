//! What the Kafka source gives: batches of one partition in one arena, and the life of an assignment.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_event::TopicPartition;

/// One record of a batch; its bytes lie in the batch's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMeta {
    /// Its offset.
    pub offset: i64,
    /// The record's Kafka timestamp, epoch milliseconds (0 when the broker gave none).
    pub timestamp_ms: i64,
    /// Where the key starts in the arena.
    pub key_start: u32,
    /// Where the key ends and the value starts.
    pub value_start: u32,
    /// Where the value ends and the headers start.
    pub value_end: u32,
    /// The record has no key at all (not an empty one).
    pub key_is_null: bool,
    /// The record has no value at all (a tombstone).
    pub value_is_null: bool,
    /// W3C `traceparent` of the record, where traces are sampled: the range's start in the arena, 0 for none. It is
    /// 55 bytes long.
    pub traceparent_start: u32,
}

/// What one poll gave for one partition: copied once from the client library, parsed by who owns the partition.
#[derive(Debug, Default)]
pub struct RecordBatch {
    /// Keys and values, one after the other.
    pub arena: Vec<u8>,
    /// The records in offset order.
    pub records: Vec<RecordMeta>,
    /// When the poll returned, monotonic nanoseconds since the process started (for latency figures only).
    pub polled_at_nanos: u64,
    /// High watermark of the partition when the poll returned (its next offset to be written), -1 when not known.
    pub high_watermark: i64,
    /// The offset after the last record that the consumer has passed, control records included. Where it is greater
    /// than the last record's offset + 1, what lies between were markers.
    pub next_offset: i64,
}

impl RecordBatch {
    /// The key's bytes, `None` when null.
    pub fn key(&self, record: &RecordMeta) -> Option<&[u8]> {
        (!record.key_is_null).then(|| &self.arena[record.key_start as usize..record.value_start as usize])
    }

    /// The value's bytes, `None` when null.
    pub fn value(&self, record: &RecordMeta) -> Option<&[u8]> {
        (!record.value_is_null).then(|| &self.arena[record.value_start as usize..record.value_end as usize])
    }

    /// The `traceparent` header, where the record had one and the source looks for it.
    pub fn traceparent(&self, record: &RecordMeta) -> Option<&[u8]> {
        let start = record.traceparent_start as usize;
        (start > 0).then(|| &self.arena[start..start + 55])
    }

    /// Forgets the records and keeps the buffers.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
        self.polled_at_nanos = 0;
        self.high_watermark = -1;
        self.next_offset = 0;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.records.len() * size_of::<RecordMeta>()
    }

    /// Offsets from the first record's to one past the last's; empty for an empty batch.
    pub fn offsets(&self) -> Range<i64> {
        match (self.records.first(), self.records.last()) {
            (Some(first), Some(last)) => first.offset..last.offset + 1,
            _ => self.next_offset..self.next_offset,
        }
    }
}

/// Batches that were read and wait to be filled again, so that a poll neither allocates nor touches fresh pages.
/// Bounded; what does not fit is freed. Cheap to clone: both ends hold one.
#[derive(Debug, Clone)]
pub struct BatchPool {
    idle: Arc<Mutex<Vec<RecordBatch>>>,
    capacity: usize,
}

impl BatchPool {
    /// Keeps up to `capacity` idle batches.
    pub fn new(capacity: usize) -> Self {
        BatchPool { idle: Arc::new(Mutex::new(Vec::with_capacity(capacity))), capacity }
    }

    /// An empty batch, with buffers when one is idle.
    pub fn take(&self) -> RecordBatch {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives back a batch that nobody reads any more.
    pub fn give(&self, mut batch: RecordBatch) {
        batch.clear();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.capacity {
            idle.push(batch);
        }
    }
}

/// Tells the source that a sink may have room again; cheap, from any thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to be processed.
    pub offset: i64,
    /// The decisions committed with it (up to 4,096 bytes of text).
    pub metadata: String,
}

/// What the broker knows of a newly assigned partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The group's committed offset, `None` for a group that has none here.
    pub committed: Option<Committed>,
    /// First offset the log still has.
    pub log_start: i64,
    /// Next offset to be written.
    pub log_end: i64,
    /// The id of the topic, where the broker tells: of another of its name no offset and no state means anything here.
    pub topic_id: Option<u128>,
}

/// Where batches of one partition go. Owned by the source's thread.
pub trait PartitionSink: Send {
    /// Whether a batch would be taken now. The source leaves the partition's queue alone while it would not, so
    /// that its fetcher stops by itself: backpressure from the socket to the broker, the poll loop never waiting.
    fn has_room(&self) -> bool;

    /// Hands over a batch; gives it back when there was no room after all.
    fn deliver(&mut self, batch: RecordBatch) -> Result<(), RecordBatch>;

    /// The partition's end was reached and nothing waits (called at most a few times a second).
    fn caught_up(&mut self, _next_offset: i64) {}

    /// Given once, before the first batch: to be called when room appears after [`PartitionSink::has_room`] was false.
    /// A sink that ignores it is asked again every few milliseconds.
    fn wake_with(&mut self, _wake: Wake) {}
}

/// See [`SourceHandler::preparer`].
pub type Preparer = Arc<dyn Fn(&TopicPartition, &Assigned) + Send + Sync>;

/// Who receives partitions. Called on the source's own thread.
pub trait SourceHandler: Send {
    /// Does beforehand what takes long in [`SourceHandler::assigned`], which comes next with the same arguments, or never:
    /// called on threads that may wait, of several partitions at once, so that the others are read on meanwhile.
    fn preparer(&self) -> Preparer {
        Arc::new(|_, _| {})
    }

    /// A partition was assigned (or is to start again): where to read from, and where its batches go. An error is
    /// told, and the partition is tried again after a while.
    fn assigned(
        &mut self,
        partition: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String>;

    /// Of a source that follows: what the partition's owner has committed, a few times a second.
    fn committed(&mut self, _partition: &TopicPartition, _committed: Committed) {}

    /// Partitions are about to go: finish what is in flight, commit it, and return within `grace`.
    fn revoking(&mut self, partitions: &[TopicPartition], grace: std::time::Duration);

    /// Partitions are gone already (session lost): drop their state, commit nothing.
    fn lost(&mut self, partitions: &[TopicPartition]);

    /// Reading this partition stopped for a reason that only an operator can settle (its offset is no longer in the
    /// log, its topic is gone): `why` says what to do. Its sink is dropped; [`SourceHandler::assigned`] comes again when
    /// it is restarted.
    fn stopped(&mut self, _partition: &TopicPartition, _why: &str) {}

    /// The broker connection changed: `None` when it is well, else what is wrong, for readiness and the log.
    fn connection(&mut self, trouble: Option<&str>);
}
