//! Warm standby: trees that follow partitions of other instances as far as those have committed, silently, so that one
//! that is taken over goes on from where it stands instead of from a snapshot.
//!
//! They are trees like any other, in a topology of their own whose outputs nobody sees; what follows from records and
//! decisions is the same there as with the owner. A partition that is taken over leaves the same way as one that is
//! revoked: its tree is drained with a snapshot, which stays in memory and is what the new life begins with.

use crate::decisions::Decisions;
use crate::messages::{PublisherMessage, SnapshotParts};
use crate::topology::Topology;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_mailbox::Envelope;
use tidecast_ports::source::{Assigned, BatchPool, Committed, Preparer};
use tidecast_ports::{PartitionSink, RecordBatch, SourceHandler};
use tokio::time::Instant;

/// How long a partition that is taken over waits for the state that followed it: what a snapshot costs otherwise.
const TAKE_WITHIN: Duration = Duration::from_secs(2);
/// Not told for so long what the owner commits, decisions may have been made and forgotten meanwhile: begun again.
const UNTOLD: Duration = Duration::from_secs(10);

/// Asks the following source to let a partition go.
pub type LetGo = Box<dyn Fn(&TopicPartition) + Send + Sync>;

/// What followed partitions are at.
#[derive(Default)]
struct Places {
    followed: BTreeMap<TopicPartition, Followed>,
    /// Left, and not yet taken: one that leaves for another reason is dropped when it is followed again.
    left: BTreeMap<TopicPartition, (i64, SnapshotParts)>,
}

struct Followed {
    /// What its owner had committed when it was begun.
    begun_at: i64,
    /// Records before it may be seen.
    until: Arc<AtomicI64>,
    /// Records before it were seen.
    seen: Arc<AtomicI64>,
    metadata: String,
    told: Instant,
}

/// The states of followed partitions. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shelf(Arc<(Mutex<Places>, Condvar)>);

impl Shelf {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, partition: TopicPartition, offset: i64, parts: SnapshotParts) {
        self.places().left.insert(partition, (offset, parts));
    }
}

/// Stands where trees have their publisher: publishes nothing, and keeps the state of a partition that leaves.
pub struct Keeper;

impl Actor for Keeper {
    type Msg = Envelope<PublisherMessage>;
    type State = Shelf;
    type Arguments = Shelf;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, shelf: Shelf) -> Result<Shelf, ActorProcessingErr> {
        Ok(shelf)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        shelf: &mut Shelf,
    ) -> Result<(), ActorProcessingErr> {
        let Envelope { message, permit } = envelope;
        let done = match message {
            PublisherMessage::Output(output) => {
                if let (Some(parts), Some(offset)) = (output.snapshot, output.next_offset) {
                    shelf.leave(output.partition, offset, parts);
                }
                output.drained
            }
            PublisherMessage::Fence { done, .. } => Some(done),
        };
        drop(permit);
        if let Some(done) = done {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
        Ok(())
    }
}

/// Followed partitions and the way to take one over. One for the process.
pub struct Standby {
    shelf: Shelf,
    let_go: LetGo,
}

impl Standby {
    /// Of the states that come to this shelf.
    pub fn new(shelf: Shelf, let_go: LetGo) -> Self {
        Standby { shelf, let_go }
    }

    /// The state of a partition that was followed, at or before `committed`; it is followed no more. Waits.
    pub fn take(&self, partition: &TopicPartition, committed: i64) -> Option<(i64, SnapshotParts)> {
        if self.shelf.places().followed.contains_key(partition) {
            (self.let_go)(partition);
        }
        let waits = |places: &mut Places| places.followed.contains_key(partition);
        let (places, gone) = (self.shelf.places(), &self.shelf.0.1);
        let waited = gone.wait_timeout_while(places, TAKE_WITHIN, waits);
        let (mut places, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // An offset that somebody set back is before what was followed.
        places.left.remove(partition).filter(|(offset, _)| *offset <= committed)
    }

    /// Each of these is followed, and no further behind than when that began.
    pub fn is_warm<'p>(&self, mut partitions: impl Iterator<Item = &'p TopicPartition>) -> bool {
        let places = self.shelf.places();
        partitions.all(|partition| {
            let followed = places.followed.get(partition);
            followed.is_some_and(|followed| followed.seen.load(Ordering::Acquire) >= followed.begun_at)
        })
    }

    /// Partitions that are followed now.
    pub fn followed(&self) -> usize {
        self.shelf.places().followed.len()
    }
}

/// What the following source calls.
pub struct Follower {
    /// Of the following trees.
    pub topology: Topology,
    /// Where their states go.
    pub shelf: Shelf,
    /// Batches of the following source.
    pub pool: BatchPool,
}

impl SourceHandler for Follower {
    fn preparer(&self) -> Preparer {
        self.topology.handler().preparer()
    }

    fn assigned(
        &mut self,
        partition: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        // Where nothing is committed its owner begins where the log does.
        let committed = broker.committed.clone();
        let committed = committed.unwrap_or(Committed { offset: broker.log_start, metadata: String::new() });
        let (start, sink) = self.topology.handler().assigned(partition, broker)?;
        let (until, seen) = (Arc::new(AtomicI64::new(committed.offset)), Arc::new(AtomicI64::new(start)));
        let limited = Limited { sink, until: until.clone(), seen: seen.clone(), pool: self.pool.clone() };
        let mut places = self.shelf.places();
        places.left.remove(partition);
        let followed = Followed {
            begun_at: committed.offset,
            until,
            seen,
            metadata: committed.metadata,
            told: Instant::now(),
        };
        places.followed.insert(partition.clone(), followed);
        Ok((start, Box::new(limited)))
    }

    fn committed(&mut self, partition: &TopicPartition, committed: Committed) {
        let mut places = self.shelf.places();
        let Some(followed) = places.followed.get_mut(partition) else { return };
        let silence = std::mem::replace(&mut followed.told, Instant::now()).elapsed();
        if silence > UNTOLD {
            tracing::info!(%partition, ?silence, "what its owner does was not known for a while: followed from a snapshot anew");
            drop(places);
            return self.topology.begin_again(partition);
        }
        if followed.metadata != committed.metadata {
            if !self.topology.follow(partition, Decisions::parse(&committed.metadata).told_already()) {
                // No room now: the records wait for the decisions, until the next time.
                return;
            }
            followed.metadata = committed.metadata;
        }
        followed.until.store(committed.offset, Ordering::Release);
    }

    fn revoking(&mut self, partitions: &[TopicPartition], grace: Duration) {
        self.topology.handler().revoking(partitions, grace);
        self.gone(partitions);
    }

    fn lost(&mut self, partitions: &[TopicPartition]) {
        self.topology.handler().lost(partitions);
        self.gone(partitions);
    }

    fn stopped(&mut self, partition: &TopicPartition, why: &str) {
        self.topology.handler().stopped(partition, why);
        self.gone(std::slice::from_ref(partition));
    }

    fn connection(&mut self, _: Option<&str>) {
        // The source that does the work says the same.
    }
}

impl Follower {
    fn gone(&self, partitions: &[TopicPartition]) {
        let mut places = self.shelf.places();
        partitions.iter().for_each(|partition| drop(places.followed.remove(partition)));
        drop(places);
        self.shelf.0.1.notify_all();
    }
}

/// Lets records pass that the owner has committed.
struct Limited {
    sink: Box<dyn PartitionSink>,
    until: Arc<AtomicI64>,
    /// First offset that has not passed.
    seen: Arc<AtomicI64>,
    pool: BatchPool,
}

impl PartitionSink for Limited {
    fn has_room(&self) -> bool {
        self.seen.load(Ordering::Acquire) < self.until.load(Ordering::Acquire) && self.sink.has_room()
    }

    fn deliver(&mut self, mut batch: RecordBatch) -> Result<(), RecordBatch> {
        let until = self.until.load(Ordering::Acquire);
        if batch.next_offset <= until {
            let next = batch.next_offset;
            self.sink.deliver(batch)?;
            self.seen.store(next, Ordering::Release);
            return Ok(());
        }
        let passing = batch.records.partition_point(|record| record.offset < until);
        if passing > 0 {
            let mut first = self.pool.take();
            let bytes = batch.records[passing - 1].value_end as usize;
            first.arena.extend_from_slice(&batch.arena[..bytes]);
            // Headers lie behind the values: what is followed is not traced.
            first.records.extend(
                batch.records[..passing]
                    .iter()
                    .map(|record| tidecast_ports::RecordMeta { traceparent_start: 0, ..*record }),
            );
            first.polled_at_nanos = batch.polled_at_nanos;
            first.high_watermark = batch.high_watermark;
            first.next_offset = until;
            if let Err(first) = self.sink.deliver(first) {
                self.pool.give(first);
                return Err(batch);
            }
            batch.records.drain(..passing);
        }
        self.seen.store(until, Ordering::Release);
        Err(batch)
    }

    fn caught_up(&mut self, next_offset: i64) {
        let until = self.until.load(Ordering::Acquire);
        // What lies before the end and never came were markers.
        self.seen.store(next_offset.min(until), Ordering::Release);
        if next_offset <= until {
            self.sink.caught_up(next_offset);
        }
    }

    fn wake_with(&mut self, wake: tidecast_ports::Wake) {
        self.sink.wake_with(wake);
    }
}
