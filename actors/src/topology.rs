//! The only place that knows every actor: makes a tree for each assigned partition, ends it when the partition goes,
//! and starts it again when it or the publisher failed.
//!
//! The source's thread calls in (it may wait); the publisher's thread calls in when a commit was lost.

mod ticks;

use crate::decisions::Decisions;
use crate::house::House;
use crate::intake::Intake;
use crate::ledger::LedgerMetrics;
use crate::messages::PublisherMessage;
use crate::publisher::PublisherEvents;
use crate::restored::{Prepared, Restored};
use crate::standby::Standby;
use crate::tree::{Beginning, Tree, TreeFailed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_mailbox::restart::{Decision, Policy, decide};
use tidecast_ports::source::{Assigned, Preparer};
use tidecast_ports::{PartitionSink, SnapshotStore, SourceHandler};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Makes what stands at the top of a partition's tree, from its record or anew.
pub type IntakeMaker =
    Arc<dyn Fn(&TopicPartition, Option<&[u8]>) -> Result<Box<dyn Intake>, String> + Send + Sync>;

/// Asks the source to start a partition again from its committed offset.
pub type Restart = Arc<dyn Fn(&TopicPartition) + Send + Sync>;

/// What going partitions wait for the publisher, at most.
const FENCE_WITHIN: Duration = Duration::from_secs(1);

/// What the topology is made of.
pub struct TopologyParts {
    /// Shared by all trees.
    pub house: Arc<House>,
    /// Makes intakes.
    pub intakes: IntakeMaker,
    /// Keeps snapshots.
    pub store: Arc<dyn SnapshotStore>,
    /// Where the actors run.
    pub runtime: Handle,
    /// When trees are started again.
    pub policy: Policy,
    /// States of partitions that other instances had until now, where they are followed.
    pub standby: Option<Arc<Standby>>,
    /// Its partitions belong to other instances: their trees follow, and neither speak nor decide.
    pub follows: bool,
}

/// How the pipeline is, for health and stats.
#[derive(Debug, Clone, Default)]
pub struct PipelineState {
    /// Partitions with a running tree.
    pub running: Vec<TopicPartition>,
    /// Partitions that stay stopped, and why.
    pub quarantined: BTreeMap<TopicPartition, String>,
    /// An assignment came at least once.
    pub assigned_once: bool,
    /// What is wrong with the broker as the source sees it.
    pub source_trouble: Option<String>,
    /// What is wrong with the broker as the producer sees it.
    pub producer_trouble: Option<String>,
    /// Set once the end has begun.
    pub stopping: bool,
}

#[derive(Default)]
struct Known {
    trees: BTreeMap<TopicPartition, Tree>,
    failures: BTreeMap<TopicPartition, Vec<Duration>>,
    /// Partitions whose last life may still have outputs at the publisher.
    unfenced: BTreeSet<TopicPartition>,
    /// The first life that each partition can have after it left.
    gone: BTreeMap<TopicPartition, u64>,
    /// What partitions begin with that are about to be assigned.
    prepared: BTreeMap<TopicPartition, Prepared>,
    state: PipelineState,
}

/// The topology. Cheap to clone.
#[derive(Clone)]
pub struct Topology(Arc<Inner>);

struct Inner {
    parts: TopologyParts,
    known: Mutex<Known>,
    lives: AtomicU64,
    /// The least life whose outputs the publisher takes.
    life_min: AtomicU64,
    restart: OnceLock<Restart>,
    started: Instant,
}

/// The least life of all partitions, shared with the publisher before there is a topology.
#[derive(Default)]
pub struct Failover {
    topology: OnceLock<Weak<Inner>>,
}

impl Failover {
    /// The topology is here.
    pub fn connect(&self, topology: &Topology) {
        // Connected once, by the wiring.
        let _ = self.topology.set(Arc::downgrade(&topology.0));
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        self.topology.get().and_then(Weak::upgrade)
    }
}

impl PublisherEvents for Failover {
    fn start_over(&self, why: &str) -> u64 {
        let Some(inner) = self.inner() else { return 0 };
        let least = inner.lives.fetch_add(1, Ordering::AcqRel) + 1;
        let partitions: Vec<TopicPartition> = {
            let known = inner.known();
            inner.life_min.store(least, Ordering::Release);
            known.trees.keys().cloned().collect()
        };
        tracing::warn!(why, partitions = partitions.len(), "starting every partition again from its commit");
        for partition in partitions {
            inner.clone().rebuild(partition, Duration::ZERO);
        }
        least
    }

    fn least_life(&self, partition: &TopicPartition) -> u64 {
        self.inner().and_then(|inner| inner.known().gone.get(partition).copied()).unwrap_or(0)
    }

    fn connected(&self, trouble: Option<&str>) {
        if let Some(inner) = self.inner() {
            inner.known().state.producer_trouble = trouble.map(str::to_owned);
        }
    }
}

impl Topology {
    /// A topology without partitions. [`Topology::connect`] it to the source before it polls.
    pub fn new(parts: TopologyParts) -> Self {
        let topology = Topology(Arc::new(Inner {
            parts,
            known: Mutex::default(),
            lives: AtomicU64::new(0),
            life_min: AtomicU64::new(0),
            restart: OnceLock::new(),
            started: Instant::now(),
        }));
        if !topology.0.parts.follows {
            topology.0.parts.runtime.spawn(ticks::tick(Arc::downgrade(&topology.0)));
        }
        topology
    }

    /// How partitions are started again.
    pub fn connect(&self, restart: Restart) {
        // Connected once, by the wiring.
        let _ = self.0.restart.set(restart);
    }

    /// What the source calls.
    pub fn handler(&self) -> Box<dyn SourceHandler> {
        Box::new(Handler(self.0.clone()))
    }

    /// [`SourceHandler::assigned`], for a source that is itself on the runtime.
    pub async fn assigned(
        &self,
        partition: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        self.0.assigned(partition, broker).await
    }

    /// [`SourceHandler::revoking`], likewise.
    pub async fn revoking(&self, partitions: &[TopicPartition], grace: Duration) {
        self.0.revoking(partitions, grace).await;
    }

    /// [`SourceHandler::lost`], likewise.
    pub async fn lost(&self, partitions: &[TopicPartition]) {
        self.0.lost(partitions).await;
    }

    /// How the pipeline is.
    pub fn state(&self) -> PipelineState {
        let known = self.0.known();
        PipelineState { running: known.trees.keys().cloned().collect(), ..known.state.clone() }
    }

    /// Resolves once everything that these partitions were given before now is committed: true, or false where one of
    /// them has no running tree or lost it meanwhile.
    pub async fn drain(&self, partitions: &[TopicPartition]) -> bool {
        let drained: Option<Vec<_>> = {
            let known = self.0.known();
            partitions.iter().map(|partition| Some(known.trees.get(partition)?.drain(false))).collect()
        };
        match drained {
            Some(drained) => futures::future::join_all(drained).await.into_iter().all(|drained| drained),
            None => false,
        }
    }

    /// Tells the tree of a followed partition what its owner decided; false where that has to be said again later.
    pub fn follow(&self, partition: &TopicPartition, decisions: Decisions) -> bool {
        self.0.known().trees.get(partition).is_some_and(|tree| tree.follow(decisions))
    }

    /// Starts a partition's tree again from its commit.
    pub fn begin_again(&self, partition: &TopicPartition) {
        self.0.clone().rebuild(partition.clone(), Duration::ZERO);
    }

    /// What is wrong with the broker before the source has started, or `None`.
    pub fn source_trouble(&self, trouble: Option<&str>) {
        self.0.known().state.source_trouble = trouble.map(str::to_owned);
    }

    /// No partition is started again from here on.
    pub fn begin_stop(&self) {
        self.0.known().state.stopping = true;
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn assigned(
        self: &Arc<Self>,
        partition: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        let topic_id = broker.topic_id;
        let ready = self.known().prepared.remove(partition).filter(|ready| ready.broker == broker);
        let Prepared { state, .. } = match ready {
            Some(ready) => ready,
            None => self.parts.prepare(partition, broker),
        };
        let restored = state.inspect_err(|why| {
            let why = format!("it cannot be restored, and is tried again: {why}");
            self.known().state.quarantined.insert(partition.clone(), why);
        });
        let Restored { start, committed, decisions, intake, models, from } = restored?;
        let running = self.known().trees.remove(partition);
        if let Some(tree) = running {
            // A restart that was asked for before the partition went and came back: what runs may have outputs on the way
            // that are not in the offset just read.
            self.known().unfenced.insert(partition.clone());
            tree.stop().await;
            self.lives.fetch_add(1, Ordering::AcqRel);
        }
        let life = self.lives.load(Ordering::Acquire);
        let begin = Beginning {
            partition: partition.clone(),
            life,
            topic_id,
            intake,
            models,
            start,
            speak_from: if self.parts.follows { i64::MAX } else { committed },
            decisions,
        };
        let weak = Arc::downgrade(self);
        let failed: TreeFailed = Arc::new(move |partition, life, error| {
            if let Some(inner) = weak.upgrade() {
                inner.tree_failed(partition, life, error);
            }
        });
        if self.known().unfenced.contains(partition) {
            // What its last life said was still on the way when its offset was read.
            self.fence(partition, life).await;
            return Err("the outputs of its last life were not settled yet".to_owned());
        }
        let tree = Tree::start(&self.parts.house, begin, failed).await;
        let tree =
            tree.map_err(|error| format!("the actors of {partition} could not be started: {error}"))?;
        let sink = tree.sink();
        let what = if self.parts.follows { "partition followed" } else { "partition assigned" };
        tracing::info!(%partition, start, committed, ?from, "{what}");
        let mut known = self.known();
        known.state.assigned_once = true;
        known.state.quarantined.remove(partition);
        known.trees.insert(partition.clone(), tree);
        let outlived = life < self.life_min.load(Ordering::Acquire);
        drop(known);
        if outlived {
            // The publisher started over while this tree was made: what it says would not be taken.
            self.clone().rebuild(partition.clone(), Duration::ZERO);
        }
        Ok((start, sink))
    }

    /// From here on the publisher takes only what belongs to `life`; what came before is committed. It is so before
    /// anybody reads the offset that the next life begins from.
    async fn fence(&self, partition: &TopicPartition, life: u64) {
        let (done, fenced) = oneshot::channel();
        let message = PublisherMessage::Fence { partition: partition.clone(), life, done };
        if self.parts.house.publisher.send(message).await.is_ok() {
            // An error means that the publisher is gone, and nothing of anybody is committed any more.
            let _ = fenced.await;
        }
        self.known().unfenced.remove(partition);
    }

    fn tree_failed(self: Arc<Self>, partition: &TopicPartition, life: u64, error: &str) {
        let decision = {
            let mut known = self.known();
            if known.state.stopping || known.trees.get(partition).is_none_or(|tree| tree.life != life) {
                return;
            }
            let at = self.started.elapsed();
            let failures = known.failures.entry(partition.clone()).or_default();
            if self.parts.house.suspects.take_fresh(partition) {
                // The next life gets past what ended this one and those before.
                failures.clear();
            }
            failures.push(at);
            decide(&self.parts.policy, failures)
        };
        self.parts.house.metrics.restarts.inc();
        match decision {
            Decision::Restart(wait) | Decision::Rebuild(wait) => {
                tracing::error!(%partition, error, ?wait, "a partition's actors failed; starting again from the commit");
                self.rebuild(partition.clone(), wait);
            }
            Decision::Quarantine => {
                tracing::error!(%partition, error, "a partition failed too often and stays stopped; restart the process");
                let mut known = self.known();
                known.state.quarantined.insert(partition.clone(), error.to_owned());
                let tree = known.trees.remove(partition);
                drop(known);
                if let Some(tree) = tree {
                    self.parts.runtime.spawn(tree.stop());
                }
            }
        }
    }

    /// Stops a tree and has the source assign its partition again.
    fn rebuild(self: Arc<Self>, partition: TopicPartition, wait: Duration) {
        let tree = {
            let mut known = self.known();
            let Some(tree) = known.trees.remove(&partition) else { return };
            known.unfenced.insert(partition.clone());
            tree
        };
        let inner = self.clone();
        self.parts.runtime.spawn(async move {
            tree.stop().await;
            let life = inner.lives.fetch_add(1, Ordering::AcqRel) + 1;
            inner.fence(&partition, life).await;
            tokio::time::sleep(wait).await;
            if inner.known().trees.contains_key(&partition) {
                // It went and came back meanwhile.
                return;
            }
            if let Some(restart) = inner.restart.get() {
                restart(&partition);
            }
        });
    }

    async fn revoking(&self, partitions: &[TopicPartition], grace: Duration) {
        let trees: Vec<(TopicPartition, Tree)> = {
            let mut known = self.known();
            partitions.iter().filter_map(|partition| known.trees.remove_entry(partition)).collect()
        };
        let deadline = Instant::now() + grace;
        let drained = trees.iter().map(|(_, tree)| async {
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::timeout(left, tree.drain(true)).await == Ok(true)
        });
        let drained = futures::future::join_all(drained).await;
        for (drained, (partition, _)) in drained.into_iter().zip(&trees) {
            if !drained {
                tracing::warn!(%partition, "not everything could be committed before the partition went; its next owner \
                    repeats the rest");
            }
        }
        self.stop_trees(partitions, trees).await;
    }

    async fn lost(&self, partitions: &[TopicPartition]) {
        let trees: Vec<(TopicPartition, Tree)> = {
            let mut known = self.known();
            partitions.iter().filter_map(|partition| known.trees.remove_entry(partition)).collect()
        };
        self.stop_trees(partitions, trees).await;
    }

    /// Ends what there is of partitions that go, those without a tree just now among them.
    async fn stop_trees(&self, partitions: &[TopicPartition], trees: Vec<(TopicPartition, Tree)>) {
        let life = self.lives.fetch_add(1, Ordering::AcqRel) + 1;
        {
            let mut known = self.known();
            known.unfenced.extend(partitions.iter().cloned());
            known.gone.extend(partitions.iter().map(|partition| (partition.clone(), life)));
        }
        futures::future::join_all(trees.into_iter().map(|(_, tree)| tree.stop())).await;
        // A publisher that cannot settle it now is asked again before the partition comes back.
        let fences = partitions.iter().map(|partition| self.fence(partition, life));
        let _ = tokio::time::timeout(FENCE_WITHIN, futures::future::join_all(fences)).await;
        let mut known = self.known();
        for partition in partitions {
            known.state.quarantined.remove(partition);
            known.failures.remove(partition);
            known.prepared.remove(partition);
            LedgerMetrics::withdraw(&self.parts.house.metrics, partition);
        }
    }
}

struct Handler(Arc<Inner>);

impl SourceHandler for Handler {
    fn preparer(&self) -> Preparer {
        let inner = self.0.clone();
        Arc::new(move |partition, broker| {
            let ready = inner.parts.prepare(partition, broker.clone());
            inner.known().prepared.insert(partition.clone(), ready);
        })
    }

    fn assigned(
        &mut self,
        partition: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        self.0.parts.runtime.block_on(self.0.assigned(partition, broker))
    }

    fn revoking(&mut self, partitions: &[TopicPartition], grace: Duration) {
        self.0.parts.runtime.block_on(self.0.revoking(partitions, grace));
    }

    fn lost(&mut self, partitions: &[TopicPartition]) {
        self.0.parts.runtime.block_on(self.0.lost(partitions));
    }

    fn connection(&mut self, trouble: Option<&str>) {
        self.0.known().state.source_trouble = trouble.map(str::to_owned);
    }

    fn stopped(&mut self, partition: &TopicPartition, why: &str) {
        tracing::error!(%partition, why, "reading this partition stopped");
        let tree = {
            let mut known = self.0.known();
            known.state.quarantined.insert(partition.clone(), why.to_owned());
            known.unfenced.insert(partition.clone());
            known.trees.remove(partition)
        };
        if let Some(tree) = tree {
            self.0.parts.runtime.spawn(tree.stop());
        }
    }
}
