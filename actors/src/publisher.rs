//! The publisher of an instance: owns the producer, receives what the partitions' trees made, emits commits.
//!
//! Records go to Kafka as they come (readers ahead of the commit see them at once); outputs and offsets are committed
//! together every few milliseconds. It works on a thread of its own, for the client library blocks.
//!
//! A commit whose outcome is not known is never tried again: the producer is dropped, a new one is made, and every
//! partition starts again from its committed offset.

use crate::messages::{BatchOutput, PublisherMessage};
use crate::metrics::PipelineMetrics;
use crate::pacing::Pacing;
use crate::snapshots::{Snapshot, SnapshotQueue};
use crate::trace::Trace;
use crate::unwritten::Unwritten;
use crate::workplace::{Step, Workplace};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_mailbox::{Envelope, Permit};
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::{PublishError, Publisher as Producer, Recover};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

/// With nothing to commit: between two looks at whether a producer has to be made.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);
/// Outputs handed to the thread and not yet taken: the actor's own mailbox bounds what waits behind them.
const HAND_OVER: usize = 4;
/// Between two looks at whether somebody waits for the thread to end.
const LOOK: Duration = Duration::from_millis(100);
/// Wait before a producer is made again; doubled to the maximum.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Makes a producer, fencing any earlier one of this instance.
pub type ProducerMaker = Arc<dyn Fn() -> Result<Box<dyn Producer>, PublishError> + Send + Sync>;

/// What the publisher tells the topology.
pub trait PublisherEvents: Send + Sync {
    /// Uncommitted outputs are lost: every partition starts again from its committed offset, in a life of at least
    /// the one returned.
    fn start_over(&self, why: &str) -> u64;
    /// The least life of a partition that may still be committed: of earlier ones the partition has gone, and others may
    /// have it. Told before the group knows.
    fn least_life(&self, partition: &TopicPartition) -> u64;
    /// Kafka acknowledges, or does not.
    fn connected(&self, trouble: Option<&str>);
}

/// The actor.
pub struct Publisher;

/// What the publisher is started with.
pub struct PublisherArguments {
    /// Makes producers.
    pub make: ProducerMaker,
    /// Whom to tell.
    pub events: Arc<dyn PublisherEvents>,
    /// Where snapshots go after their commit.
    pub snapshots: SnapshotQueue,
    /// Counters.
    pub metrics: PipelineMetrics,
    /// Where the producer is used, for its calls block.
    pub workplace: Workplace,
    /// Changes when a producer can be made that could not before: it is tried at once.
    pub try_now: watch::Receiver<bool>,
}

/// The actor's state: the way to its thread.
pub struct PublisherState {
    commands: Option<mpsc::Sender<(PublisherMessage, Option<Permit>)>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Actor for Publisher {
    type Msg = Envelope<PublisherMessage>;
    type State = PublisherState;
    type Arguments = PublisherArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        with: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let (commands, inbox) = mpsc::channel(HAND_OVER);
        let (end, ended) = oneshot::channel();
        with.workplace.clone().run("publisher", async move {
            Worker::new(with, inbox).run().await;
            // Nobody waits when the actor was killed.
            let _ = end.send(());
        })?;
        Ok(PublisherState { commands: Some(commands), ended: Some(ended) })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(commands) = &state.commands else { return Ok(()) };
        let sent = commands.send((envelope.message, envelope.permit)).await;
        sent.map_err(|_| ActorProcessingErr::from("the publisher's thread has ended"))
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.commands = None;
        if let Some(ended) = state.ended.take() {
            // The thread commits what it has; an error here means it is gone already.
            let _ = ended.await;
        }
        Ok(())
    }
}

/// How far a partition is staged.
struct Staged {
    offset: i64,
    metadata: String,
    life: u64,
}

struct Worker {
    with: PublisherArguments,
    inbox: mpsc::Receiver<(PublisherMessage, Option<Permit>)>,
    producer: Option<Box<dyn Producer>>,
    /// Told by the producer.
    reports: Arc<Notify>,
    retry: Duration,
    retry_at: Instant,
    /// Failures since something was committed last, or since a producer was well for long.
    failures: u32,
    made_at: Instant,
    /// The least life of each partition whose outputs are taken.
    lives: BTreeMap<TopicPartition, u64>,
    /// The least life of any partition.
    life_min: u64,
    offsets: BTreeMap<TopicPartition, Staged>,
    /// Partitions that go with the next commit.
    leaving: BTreeSet<TopicPartition>,
    staged: u64,
    pacing: Pacing,
    snapshots: Vec<Snapshot>,
    waiting: Vec<oneshot::Sender<()>>,
    polled: Vec<Instant>,
    unwritten: Unwritten,
    /// Sampled events whose outputs wait for the commit; their spans end with it.
    traces: Vec<Trace>,
}

impl Worker {
    fn new(with: PublisherArguments, inbox: mpsc::Receiver<(PublisherMessage, Option<Permit>)>) -> Self {
        Worker {
            with,
            inbox,
            producer: None,
            reports: Arc::default(),
            retry: RETRY_FIRST,
            retry_at: Instant::now(),
            failures: 0,
            made_at: Instant::now(),
            lives: BTreeMap::new(),
            life_min: 0,
            offsets: BTreeMap::new(),
            leaving: BTreeSet::new(),
            staged: 0,
            pacing: Pacing::new(Instant::now()),
            snapshots: Vec::new(),
            waiting: Vec::new(),
            polled: Vec::new(),
            unwritten: Unwritten::default(),
            traces: Vec::new(),
        }
    }

    async fn run(mut self) {
        let mut again = None;
        loop {
            // Also with nothing to say: a new producer settles what the one before left open, and until then the
            // group's offsets cannot be read by whoever starts again from them.
            if self.producer.is_none() && Instant::now() >= self.retry_at {
                self.connect().await;
            }
            let wait = self
                .pacing
                .due()
                .map_or(IDLE_INTERVAL, |due| due.saturating_duration_since(Instant::now()))
                .min(again.take().unwrap_or(IDLE_INTERVAL));
            let received = tokio::select! {
                biased;
                received = self.inbox.recv() => Some(received),
                // Something was acknowledged: what was held back may go.
                () = self.reports.notified() => None,
                Ok(()) = self.with.try_now.changed() => {
                    self.retry_at = Instant::now();
                    None
                }
                () = tokio::time::sleep(wait) => None,
            };
            match received {
                Some(Some((message, permit))) => {
                    self.take(message).await;
                    drop(permit);
                }
                Some(None) => break,
                None => {}
            }
            if let Some(producer) = &mut self.producer {
                again = producer.poll();
                if self.failures > 0 && self.made_at.elapsed() >= RETRY_MAX {
                    self.is_well();
                }
            }
            let due = self.pacing.due().is_some_and(|due| Instant::now() >= due);
            if due || !self.waiting.is_empty() {
                self.commit(false).await;
            }
        }
        self.commit(true).await;
    }

    /// Something came to be staged: the first of a commit, or after others.
    fn staged(&mut self, outputs: bool, backlog: bool) {
        let before = self.pacing.is_backlog();
        self.pacing.staged(Instant::now(), outputs, backlog);
        if self.pacing.is_backlog() != before
            && let Some(producer) = &mut self.producer
        {
            producer.backlog(!before);
        }
    }

    async fn take(&mut self, message: PublisherMessage) {
        match message {
            PublisherMessage::Output(output) => {
                if self.is_wanted(&output) {
                    self.stage(*output).await;
                }
            }
            PublisherMessage::Fence { partition, life, done } => {
                self.commit(true).await;
                self.lives.insert(partition, life);
                // The one who asked may have given up waiting.
                let _ = done.send(());
            }
        }
    }

    /// It belongs to the life that its partition has now.
    fn is_wanted(&self, output: &BatchOutput) -> bool {
        let fenced = self.lives.get(&output.partition).copied().unwrap_or(0);
        let gone = self.with.events.least_life(&output.partition);
        output.life >= fenced.max(gone).max(self.life_min)
    }

    async fn stage(&mut self, mut output: BatchOutput) {
        if let (Some(metadata), Some(offset)) = (output.decision.take(), output.next_offset) {
            // Once anybody has seen what a decision led to, whoever takes over has to decide the same: it is
            // committed first, as one whose outputs are still to be told.
            let staged = Staged { offset, metadata, life: output.life };
            self.offsets.insert(output.partition.clone(), staged);
            self.staged(true, false);
            self.commit(true).await;
            if !self.is_wanted(&output) {
                return;
            }
        }
        self.staged(!output.records.is_empty() && !output.silent, output.backlog);
        if let Some(mut trace) = output.trace.take() {
            trace.enter("publish");
            trace.mark(&mut output.records);
            self.traces.push(trace);
        }
        if !output.silent {
            for record in &output.records {
                if !self.ready().await {
                    return;
                }
                let Some(producer) = &mut self.producer else { return };
                let refusal = producer.refuses(record);
                let letter =
                    refusal.map(|refusal| self.unwritten.letter(record, refusal, &self.with.metrics));
                if let Err(error) = producer.produce(letter.as_ref().unwrap_or(record)) {
                    self.failed(&error);
                    return;
                }
                self.staged += 1;
            }
            if let Some(next_offset) = output.next_offset {
                let staged = Staged { offset: next_offset, metadata: output.metadata, life: output.life };
                self.offsets.insert(output.partition.clone(), staged);
            }
            self.polled.push(output.polled_at);
        }
        if output.snapshot.is_some() && output.drained.is_some() {
            self.leaving.insert(output.partition.clone());
        }
        if let (Some(parts), Some(offset)) = (output.snapshot, output.next_offset) {
            self.snapshots.push(Snapshot { partition: output.partition, offset, parts });
        }
        self.waiting.extend(output.drained);
    }

    /// Commits what is staged. `certain`: when it returns, it is done.
    async fn commit(&mut self, certain: bool) {
        if !self.pacing.is_staged() && self.waiting.is_empty() {
            return;
        }
        self.pacing.commit(Instant::now());
        if self.staged > 0 || !self.offsets.is_empty() {
            if !self.ready().await {
                return;
            }
            self.with.workplace.before(Step::Commit).await;
            let Some(producer) = &mut self.producer else { return };
            // In this order: what leaves after the mark the producer notices.
            producer.mark();
            let events = &self.with.events;
            let gone =
                self.offsets.iter().find(|(partition, staged)| staged.life < events.least_life(partition));
            if let Some((partition, _)) = gone {
                let why = format!("{partition} has gone before its outputs were committed");
                return self.start_over(&why);
            }
            let offsets: Vec<CommitOffset> = std::mem::take(&mut self.offsets)
                .into_iter()
                .map(|(partition, Staged { offset, metadata, .. })| {
                    let last = self.leaving.remove(&partition);
                    CommitOffset { partition, offset, metadata, last }
                })
                .collect();
            let started = Instant::now();
            // Somebody goes by these being committed; the others may be under way for a while.
            let certain = certain || !self.waiting.is_empty() || !self.snapshots.is_empty();
            let committed = if certain { producer.commit(&offsets) } else { producer.commit_async(&offsets) };
            if let Err(error) = committed {
                self.failed(&error);
                return;
            }
            self.is_well();
            let metrics = &self.with.metrics;
            metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
            metrics.commits.inc();
            metrics.published.inc_by(std::mem::take(&mut self.staged));
        }
        for polled in self.polled.drain(..) {
            self.with.metrics.processing_ms.observe(polled.elapsed().as_secs_f64() * 1e3);
        }
        self.traces.clear();
        for snapshot in self.snapshots.drain(..) {
            self.with.snapshots.write(snapshot);
        }
        for waiting in self.waiting.drain(..) {
            // Whoever waited may have given up.
            let _ = waiting.send(());
        }
    }

    /// There is a producer, made now if need be. Gives up after a try while somebody waits for a partition to go, or for
    /// the thread to end.
    async fn ready(&mut self) -> bool {
        while self.producer.is_none() {
            if Instant::now() >= self.retry_at && self.connect().await {
                break;
            }
            if !self.waiting.is_empty() || self.inbox.is_closed() {
                self.start_over("Kafka is away and the partition has to go");
                return false;
            }
            tokio::time::sleep_until(self.retry_at.min(Instant::now() + LOOK)).await;
        }
        true
    }

    /// One try to make a producer.
    async fn connect(&mut self) -> bool {
        self.with.workplace.before(Step::Connect).await;
        match (self.with.make)() {
            Ok(mut producer) => {
                let reports = self.reports.clone();
                producer.wake_with(Arc::new(move || reports.notify_one()));
                producer.backlog(self.pacing.is_backlog());
                self.producer = Some(producer);
                self.retry = RETRY_FIRST;
                self.made_at = Instant::now();
                // One that follows several that failed may as well fail as they did.
                if self.failures < 2 {
                    self.tell_connected();
                }
            }
            Err(error) => {
                self.with.metrics.connected.set(0.0);
                self.with.events.connected(Some(&error.message));
                self.retry_at = Instant::now() + self.retry;
                self.retry = (self.retry * 2).min(RETRY_MAX);
            }
        }
        self.producer.is_some()
    }

    fn tell_connected(&self) {
        self.with.metrics.connected.set(1.0);
        self.with.events.connected(None);
    }

    /// Something was committed, or nothing has failed for long.
    fn is_well(&mut self) {
        if std::mem::take(&mut self.failures) > 1 {
            self.tell_connected();
        }
    }

    fn failed(&mut self, error: &PublishError) {
        if self.failures > 0 {
            // Another producer did not help: the cause may last.
            let wait = RETRY_FIRST.saturating_mul(1 << (self.failures - 1).min(10));
            self.retry_at = Instant::now() + wait.min(RETRY_MAX);
        }
        self.failures += 1;
        self.with.metrics.publish_failures.inc();
        self.with.metrics.connected.set(0.0);
        match error.recover {
            Recover::Stop => tracing::error!(error = %error, "publishing stopped until the cause is mended"),
            _ => {
                tracing::warn!(error = %error, "outputs were not committed: starting again from the last commit")
            }
        }
        self.with.events.connected(Some(&error.message));
        self.start_over(&error.message);
    }

    /// What is not committed is given up; every partition starts again from its commit.
    fn start_over(&mut self, why: &str) {
        self.producer = None;
        self.offsets.clear();
        self.leaving.clear();
        self.staged = 0;
        self.pacing.forget();
        self.snapshots.clear();
        self.waiting.clear();
        self.polled.clear();
        self.traces.clear();
        self.life_min = self.with.events.start_over(why);
    }
}
