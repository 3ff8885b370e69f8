//! One assigned partition: where it stands between the lookup of its offset and its sink.

use super::SourceOptions;
use super::context::SourceContext;
use crate::native::{PartitionQueue, Scratch};
use crate::wakeup::Wakeup;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidecast_ports::{PartitionSink, RecordBatch};

/// Between two calls of [`PartitionSink::caught_up`].
const CAUGHT_UP_EVERY: Duration = Duration::from_millis(250);
/// Between two looks whether the end is reached.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Several fetches long: what has not come in that time is not there to be read.
const QUIET: Duration = Duration::from_secs(1);

/// Where an owned partition stands.
pub(crate) enum State {
    /// Its offsets are being asked for.
    Asked,
    /// Its start failed; to be asked for again at this time.
    Retry(Instant),
    /// It is read.
    Reading(Reader),
    /// It cannot be read without an operator: waits for a restart.
    Stopped,
}

/// An owned partition.
pub(crate) struct Partition {
    /// Told with every question, so that an answer to an earlier life of the partition is known as such.
    pub number: u64,
    pub state: State,
    /// The topic that it was begun of, where the broker tells.
    pub topic_id: Option<u128>,
}

impl Partition {
    /// It is read, or was until it stopped.
    pub fn is_begun(&self) -> bool {
        matches!(self.state, State::Reading(_) | State::Stopped)
    }

    /// It is not read, and nothing is asked for it.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }
}

/// What one look at a partition did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Records moved: look again at once.
    Moved,
    /// Nothing waits.
    Idle,
    /// Something waits, and its sink has no room.
    Blocked,
    /// The client library reports that this partition cannot be read.
    Failed(RDKafkaErrorCode, String),
}

/// A partition being read.
pub(crate) struct Reader {
    queue: PartitionQueue<SourceContext>,
    sink: Box<dyn PartitionSink>,
    /// The sink is to wake the source when it has room.
    waits_for_room: Arc<AtomicBool>,
    /// The next offset to be handed over.
    pub next: i64,
    pub leader_epoch: i32,
    /// Given back by the sink.
    refused: Option<RecordBatch>,
    /// The library's position is of this life of the partition, and not of the one before a restart.
    position_is_ours: bool,
    /// Since when nothing waits.
    quiet_since: Option<Instant>,
    told_end: Option<Instant>,
}

impl Reader {
    pub fn new(
        queue: PartitionQueue<SourceContext>,
        mut sink: Box<dyn PartitionSink>,
        from: i64,
        wakeup: Arc<Wakeup>,
    ) -> Self {
        let waits_for_room = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&waits_for_room);
        // A sink tells of room after each batch: only where that is waited for is it worth a wake.
        sink.wake_with(Arc::new(move || {
            if waits.swap(false, Ordering::AcqRel) {
                wakeup.wake();
            }
        }));
        Reader {
            queue,
            sink,
            waits_for_room,
            next: from,
            leader_epoch: -1,
            refused: None,
            position_is_ours: false,
            quiet_since: None,
            told_end: None,
        }
    }

    /// Hands over what waits, one batch at most.
    pub fn step(&mut self, scratch: &mut Scratch, options: &SourceOptions, now: Instant) -> Step {
        if self.refused.is_none() && !self.queue.ready() {
            self.tell_end(now);
            return Step::Idle;
        }
        if !self.sink.has_room() {
            self.waits_for_room.store(true, Ordering::Release);
            // It may have got some in between.
            if !self.sink.has_room() {
                return Step::Blocked;
            }
        }
        if let Some(batch) = self.refused.take() {
            return self.deliver(batch);
        }
        let mut batch = options.pool.take();
        batch.next_offset = self.next;
        let drained = self.queue.drain(scratch, &mut batch, self.next, options.traceparent);
        self.next = batch.next_offset;
        if drained.leader_epoch >= 0 {
            self.leader_epoch = drained.leader_epoch;
        }
        let step = if batch.records.is_empty() {
            options.pool.give(batch);
            if drained.messages > 0 { Step::Moved } else { Step::Idle }
        } else {
            self.position_is_ours = true;
            batch.polled_at_nanos = (options.clock)();
            self.deliver(batch)
        };
        if step == Step::Idle {
            self.pass_markers();
            self.quiet_since.get_or_insert(now);
            self.tell_end(now);
        } else {
            self.quiet_since = None;
        }
        match drained.error {
            Some((code, words)) => Step::Failed(code, words),
            None => step,
        }
    }

    /// Takes over the library's position, which markers move without a record. It is reset a moment after a restart:
    /// until it was seen reset, or records came, it may be that of an earlier life, ahead of ours.
    fn pass_markers(&mut self) {
        match self.queue.position() {
            None => self.position_is_ours = true,
            Some(position) if self.position_is_ours => self.next = self.next.max(position),
            Some(_) => {}
        }
    }

    /// The partition was put back to [`Reader::next`].
    pub fn put_back(&mut self) {
        self.position_is_ours = false;
    }

    fn deliver(&mut self, batch: RecordBatch) -> Step {
        match self.sink.deliver(batch) {
            Ok(()) => Step::Moved,
            Err(batch) => {
                self.refused = Some(batch);
                self.waits_for_room.store(true, Ordering::Release);
                Step::Blocked
            }
        }
    }

    /// The end is the high watermark, or where an open transaction begins: there nothing comes for a while.
    fn tell_end(&mut self, now: Instant) {
        let Some(quiet_since) = self.quiet_since else { return };
        if self.told_end.is_some_and(|told| now - told < CAUGHT_UP_EVERY) {
            return;
        }
        let high = self.queue.high_watermark();
        if high >= 0 && (self.next >= high || now - quiet_since >= QUIET) {
            self.told_end = Some(now);
            self.sink.caught_up(self.next);
        }
    }

    /// When [`Reader::step`] should look again although nothing came.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.quiet_since?;
        let next = self.told_end.map_or(now, |told| told + CAUGHT_UP_EVERY);
        // What is due and was not told waits for the end to be known, which nothing hurries.
        Some(next.max(now + LOOK_AGAIN))
    }
}
