//! The source: a member of the consumer group on a thread of its own, which only polls, hands batches over, and
//! serves the life of the assignment.
//!
//! Each partition's records wait in the client library's own queue for it, bounded in bytes. While its sink has no room
//! they are left there, so the partition's fetcher stops by itself, no other partition notices, and the poll loop
//! never waits.

mod anew;
mod assignment;
mod context;
mod follow;
mod lookup;
mod ownerless;
mod partition;
mod thread;
mod trouble;

use crate::cluster::{Cluster, explain};
use crate::native::generation;
use crate::owner::Settler;
use crate::wakeup::Wakeup;
use context::SourceContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::{BatchPool, SourceHandler, Wake};

/// What the source may be told.
#[derive(Clone)]
pub struct SourceOptions {
    /// Topics to read.
    pub topics: Vec<String>,
    /// Most records of one batch.
    pub batch_records: usize,
    /// Bytes that may wait in the client library, per partition.
    pub queue_bytes: usize,
    /// Look for the `traceparent` header of each record.
    pub traceparent: bool,
    /// Read past open transactions. An input is read committed otherwise.
    pub read_uncommitted: bool,
    /// A member that is silent for so long is out. `None`: 45 s for an instance with a lasting name, which comes back
    /// to its partitions, 6 s otherwise, the least that brokers allow by default.
    pub session_timeout: Option<Duration>,
    /// The name under which this instance commits in transactions: what a former owner of a partition has left open under
    /// another is settled before the partition is read.
    pub transactional_id: Option<String>,
    /// Between two heartbeats to the group.
    pub heartbeat: Duration,
    /// What [`SourceHandler::revoking`] may take.
    pub revoke_grace: Duration,
    /// After a failed start of a partition, or while the broker is away, things are tried again after this.
    pub retry: Duration,
    /// Where batches come from and go back to.
    pub pool: BatchPool,
    /// Records older than this, by the log's own time, are not read: epoch milliseconds by topic.
    pub begin_ms: BTreeMap<String, i64>,
    /// A topic of the group's own that is there and is not read: subscribing to it for a moment makes the group share out anew,
    /// where it left partitions to nobody. Without it nobody looks for such partitions.
    pub spare_topic: Option<String>,
    /// Join the group, and read nothing before [`SourceControl::let_read`].
    pub hold: bool,
    /// Join no group: read what [`SourceControl::follow`] names, and tell what the group commits there.
    pub follows: bool,
    /// Monotonic nanoseconds, for [`tidecast_ports::RecordBatch::polled_at_nanos`].
    pub clock: fn() -> u64,
}

impl SourceOptions {
    /// Defaults, measured for 120-byte events on small machines.
    pub fn new(topics: impl IntoIterator<Item = impl Into<String>>, clock: fn() -> u64) -> Self {
        SourceOptions {
            topics: topics.into_iter().map(Into::into).collect(),
            batch_records: 4_096,
            queue_bytes: 2 << 20,
            traceparent: false,
            read_uncommitted: false,
            session_timeout: None,
            transactional_id: None,
            heartbeat: Duration::from_secs(1),
            revoke_grace: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            pool: BatchPool::new(16),
            begin_ms: BTreeMap::new(),
            spare_topic: None,
            hold: false,
            follows: false,
            clock,
        }
    }
}

/// Why the source ended by itself.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The client cannot be made of these settings.
    #[error("{0}")]
    Client(String),
    /// Another instance took this one's name.
    #[error(
        "another instance with group_instance_id {0:?} has joined the group; give each instance a name of its own"
    )]
    Fenced(String),
    /// The client library gave up.
    #[error("the Kafka consumer failed for good: {0}; start the process again")]
    Fatal(String),
    /// A handler panicked on the source's thread.
    #[error("the source's thread panicked; start the process again")]
    Panicked,
}

/// What the source's thread is asked to do; asking twice is asking once, so that this is bounded by itself.
#[derive(Default)]
pub(crate) struct Wanted {
    pub restart: BTreeSet<TopicPartition>,
    pub restart_all: bool,
    pub subscribe: BTreeSet<String>,
    /// All that are to be followed.
    pub follow: Option<BTreeSet<TopicPartition>>,
    /// Not to be followed any more.
    pub let_go: BTreeSet<TopicPartition>,
    pub close: bool,
}

/// What commits say of an owned partition.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    /// Leader epoch of the last record read, -1 before the first.
    pub leader_epoch: i32,
    /// The topic that is read: a later one of its name is another.
    pub topic_id: Option<u128>,
}

/// What the source's thread shares with others.
#[derive(Default)]
pub(crate) struct Shared {
    pub wanted: Mutex<Wanted>,
    /// Partitions owned now.
    pub owned: Mutex<HashMap<TopicPartition, Standing>>,
    /// Partitions that have left this member, in order: how many had before each.
    pub left: Mutex<HashMap<TopicPartition, u64>>,
    pub departures: AtomicU64,
    /// [`SourceControl::let_read`] was called, or nothing is held back.
    pub may_read: AtomicBool,
}

/// A handle on a running source. Cheap to clone.
#[derive(Clone)]
pub struct SourceControl {
    wakeup: Arc<Wakeup>,
    shared: Arc<Shared>,
    consumer: Weak<BaseConsumer<SourceContext>>,
}

impl SourceControl {
    /// Drops the partition's sink and starts it again from what is committed: `assigned` comes once more.
    pub fn restart(&self, partition: TopicPartition) {
        self.want(|wanted| {
            wanted.restart.insert(partition);
        });
    }

    /// [`SourceControl::restart`] for every partition owned: after a publisher asked for [`tidecast_ports::Recover::Restart`].
    pub fn restart_all(&self) {
        self.want(|wanted| wanted.restart_all = true);
    }

    /// Reads these topics as well.
    pub fn subscribe(&self, topics: Vec<String>) {
        self.want(|wanted| wanted.subscribe.extend(topics));
    }

    /// Follows these partitions and no others, in a source that [follows](SourceOptions::follows).
    pub fn follow(&self, partitions: BTreeSet<TopicPartition>) {
        self.want(|wanted| {
            wanted.let_go.clear();
            wanted.follow = Some(partitions);
        });
    }

    /// Follows this partition no more.
    pub fn let_go(&self, partition: TopicPartition) {
        self.want(|wanted| {
            if let Some(follow) = &mut wanted.follow {
                follow.remove(&partition);
            }
            wanted.let_go.insert(partition);
        });
    }

    /// Partitions may be begun: their committed offsets are asked for from now on.
    pub fn let_read(&self) {
        self.shared.may_read.store(true, Ordering::Release);
        self.wakeup.wake();
    }

    /// Orderly end: `revoking` for all, then the group is left (an instance with a lasting name keeps its place until
    /// its session ends), then [`SourceThread::join`] returns.
    pub fn close(&self) {
        self.want(|wanted| wanted.close = true);
    }

    /// Wakes the source: a sink may have room again.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    /// The same as a function, for [`tidecast_ports::PartitionSink::wake_with`].
    pub fn waker(&self) -> Wake {
        let wakeup = Arc::clone(&self.wakeup);
        Arc::new(move || wakeup.wake())
    }

    /// Partitions owned now.
    pub fn owned(&self) -> Vec<TopicPartition> {
        self.shared.owned.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// What a publisher needs to commit for this member of the group.
    pub fn group(&self) -> GroupHandle {
        GroupHandle { consumer: self.consumer.clone(), shared: Arc::clone(&self.shared) }
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.wakeup.wake();
    }
}

/// The group's membership, for commits: the generation that fences zombies, and leader epochs.
#[derive(Clone)]
pub struct GroupHandle {
    consumer: Weak<BaseConsumer<SourceContext>>,
    shared: Arc<Shared>,
}

impl GroupHandle {
    /// The member's identity now; `None` once the source is closed.
    pub(crate) fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.upgrade()?.group_metadata()
    }

    /// The consumer, for commits outside transactions.
    pub(crate) fn consumer(&self) -> Option<Arc<BaseConsumer<SourceContext>>> {
        self.consumer.upgrade()
    }

    /// The group's generation as the member knows it; `None` once the source is closed.
    pub(crate) fn generation(&self) -> Option<i32> {
        generation(&*self.consumer.upgrade()?)
    }

    /// Names this moment for [`GroupHandle::left_since`].
    pub(crate) fn mark(&self) -> u64 {
        self.shared.departures.load(Ordering::Acquire)
    }

    /// One of these partitions has left this member since `mark`. Told before the group knows that it has: so what has not
    /// left after a generation was read is this member's in it.
    pub(crate) fn left_since(&self, mark: u64, offsets: &[CommitOffset]) -> bool {
        if self.mark() == mark {
            return false;
        }
        let left = self.shared.left.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.iter().any(|offset| left.get(&offset.partition).is_some_and(|at| *at >= mark))
    }

    /// Leader epoch of the last record read, `None` where none was.
    pub(crate) fn leader_epoch(&self, partition: &TopicPartition) -> Option<i32> {
        self.standing(partition).map(|standing| standing.leader_epoch).filter(|epoch| *epoch >= 0)
    }

    /// The topic that a partition is read of, where the broker tells.
    pub(crate) fn topic_id(&self, partition: &TopicPartition) -> Option<u128> {
        self.standing(partition)?.topic_id
    }

    fn standing(&self, partition: &TopicPartition) -> Option<Standing> {
        self.shared.owned.lock().unwrap_or_else(PoisonError::into_inner).get(partition).copied()
    }
}

/// A source that is ready to be started. Two steps, so that a publisher can fence its earlier self (and so settle its
/// last transaction) before the first committed offset is asked for.
pub struct Source {
    consumer: Arc<BaseConsumer<SourceContext>>,
    options: SourceOptions,
    wakeup: Arc<Wakeup>,
    shared: Arc<Shared>,
    control: SourceControl,
    instance: Option<String>,
    settler: Option<Settler>,
    group_id: String,
}

/// A running source's thread.
pub struct SourceThread {
    thread: JoinHandle<Result<(), SourceError>>,
}

impl SourceThread {
    /// Waits for the end: after [`SourceControl::close`], or when the source gave up.
    pub fn join(self) -> Result<(), SourceError> {
        self.thread.join().unwrap_or(Err(SourceError::Panicked))
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Source {
    /// Makes the consumer, without joining the group.
    pub fn prepare(cluster: &Cluster, options: SourceOptions) -> Result<Self, SourceError> {
        let isolation = if options.read_uncommitted { "read_uncommitted" } else { "read_committed" };
        let instance = cluster.options().group_instance_id.clone();
        let mut config = cluster.reader_config(&cluster.options().group_id, isolation);
        let session =
            options.session_timeout.unwrap_or(Duration::from_secs(if instance.is_some() { 45 } else { 6 }));
        if let Some(instance) = instance.as_ref().filter(|_| !options.follows) {
            config.set("group.instance.id", instance);
        }
        let queue_kbytes = options.queue_bytes.div_ceil(1024).max(64);
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.as_millis().to_string())
            // A member learns by its heartbeat that another came or went: partitions that move wait for the slowest.
            .set("heartbeat.interval.ms", options.heartbeat.min(session / 5).as_millis().to_string())
            .set("max.poll.interval.ms", session.max(Duration::from_secs(120)).as_millis().to_string())
            // New partitions, and topics made after the start, are found within seconds.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Bytes bound the queues, not records.
            .set("queued.min.messages", "1000000")
            .set("queued.max.messages.kbytes", queue_kbytes.to_string())
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.message.max.bytes", (queue_kbytes * 1024 / 4).clamp(64 << 10, 4 << 20).to_string())
            .set("fetch.max.bytes", (queue_kbytes * 1024 * 2).clamp(1 << 20, 32 << 20).to_string())
            // An end mark taken in a batch moves the library's position one past the end, and a rebalance resumes from
            // that position: one record would be skipped in silence. The end is known from the high watermark.
            .set("enable.partition.eof", "false")
            // A partition whose queue had been full waits for the running fetch of the others, which have nothing where theirs
            // is read: a fifth of the rate of a backlog at 100 ms. Where all is quiet this is 50 small requests a second.
            .set("fetch.wait.max.ms", "20");
        let wakeup = Arc::new(Wakeup::default());
        let shared = Arc::new(Shared { may_read: AtomicBool::new(!options.hold), ..Shared::default() });
        let context = SourceContext::new();
        let mut consumer = BaseConsumer::from_config_and_context(&config, context)
            .map_err(|error| SourceError::Client(explain(&error)))?;
        let main = Arc::clone(&wakeup);
        consumer.set_nonempty_callback(move || main.wake_for_events());
        let consumer = Arc::new(consumer);
        let control = SourceControl {
            wakeup: Arc::clone(&wakeup),
            shared: Arc::clone(&shared),
            consumer: Arc::downgrade(&consumer),
        };
        let settler = options.transactional_id.as_ref().map(|own| Settler::new(cluster, own));
        let group_id = cluster.options().group_id.clone();
        Ok(Source { consumer, options, wakeup, shared, control, instance, settler, group_id })
    }

    /// A handle on it, good before and after the start.
    pub fn control(&self) -> SourceControl {
        self.control.clone()
    }

    /// Joins the group and reads, on a thread of its own.
    pub fn start(self, handler: Box<dyn SourceHandler>) -> Result<SourceThread, SourceError> {
        let thread = std::thread::Builder::new()
            .name("kafka-source".into())
            .spawn(move || thread::SourceLoop::new(self, handler).run())
            .map_err(|error| SourceError::Client(format!("no thread for the Kafka source: {error}")))?;
        Ok(SourceThread { thread })
    }
}
