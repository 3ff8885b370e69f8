//! The warm standby, wired: a source and trees of their own that follow the partitions of other instances.

use crate::engine::monotonic_nanos;
use crate::outward::Nobody;
use crate::running_source::RunningSource;
use crate::trees::{partitions, trees};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tidecast_actors::house::House;
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::standby::{Follower, Keeper, Shelf, Standby};
use tidecast_event::TopicPartition;
use tidecast_kafka::{Cluster, Source, SourceControl, SourceOptions};
use tidecast_mailbox::{Capacity, Mailbox, Meters};
use tidecast_ports::SnapshotStore;
use tidecast_ports::source::BatchPool;

/// Between two looks at what is ours.
const LOOK: Duration = Duration::from_millis(100);
/// And at whether everything is followed that is to be.
const LOOK_WARM: Duration = Duration::from_millis(10);
/// The group is joined after this all the same.
const WARM_WITHIN: Duration = Duration::from_secs(60);
/// Outputs on their way to nowhere.
const MAILBOX: usize = 16;
/// Read batches that wait to be filled again.
const IDLE_BATCHES: usize = 4;

/// Follows what other instances own.
pub struct Following {
    /// Where taken partitions' states come from.
    pub standby: Arc<Standby>,
    house: Arc<House>,
    inputs: Vec<String>,
    prepared: Mutex<Option<(Source, Follower)>>,
    source: RunningSource,
}

impl Following {
    /// Prepares it; nothing is read before [`Following::warm_up`].
    pub async fn new(
        house: &House,
        cluster: &Cluster,
        inputs: &[String],
        store: Arc<dyn SnapshotStore>,
    ) -> anyhow::Result<Arc<Following>> {
        let shelf = Shelf::default();
        let (keeper, _) = ractor::Actor::spawn(None, Keeper, shelf.clone()).await?;
        let meters = Meters::default();
        let publisher = Mailbox::new(keeper, Capacity { messages: MAILBOX, meter: meters.of("publisher") });
        let pool = BatchPool::new(IDLE_BATCHES);
        // What the trees count is not this instance's work: nobody reads it.
        let metrics = PipelineMetrics::new(&prometheus::Registry::new())?;
        let house = Arc::new(House {
            settings: house.settings.clone(),
            catalog: house.catalog.clone(),
            book: house.book.clone(),
            registry: Arc::default(),
            // What is heard of other instances' windows is heard once.
            regressors: house.regressors.clone(),
            brains: house.brains.clone(),
            fits: house.fits.clone(),
            metrics,
            meters,
            tally: Arc::default(),
            publisher,
            pool: pool.clone(),
            partitions: OnceLock::new(),
            suspects: Arc::default(),
            actions: Arc::new(Nobody),
            tracing: None,
            rebuild: None,
        });
        let mut options = SourceOptions::new(inputs, monotonic_nanos);
        options.pool = pool.clone();
        options.follows = true;
        let prepared = Source::prepare(cluster, options)?;
        let source = RunningSource::new(&prepared);
        let topology = trees(&house, &source.control, store, None, true);
        let lets_go = source.control.clone();
        let let_go = Box::new(move |partition: &TopicPartition| lets_go.let_go(partition.clone()));
        Ok(Arc::new(Following {
            standby: Arc::new(Standby::new(shelf.clone(), let_go)),
            house,
            inputs: inputs.to_vec(),
            prepared: Mutex::new(Some((prepared, Follower { topology, shelf, pool }))),
            source,
        }))
    }

    /// Follows every partition, and returns when that is done as far as they were committed. So an instance has the state of
    /// what it is given before it joins the group.
    pub async fn warm_up(&self, main: &House) -> anyhow::Result<()> {
        // Told once, by this one task.
        let _ = self.house.partitions.set(main.partitions.get().cloned().unwrap_or_default());
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((source, follower)) = prepared else { return Ok(()) };
        self.source.start(source, Box::new(follower))?;
        let all: BTreeSet<TopicPartition> = partitions(&self.house, &self.inputs).collect();
        self.source.control.follow(all.clone());
        let deadline = tokio::time::Instant::now() + WARM_WITHIN;
        while !self.standby.is_warm(all.iter()) {
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!(
                    "not every partition could be followed in time: what is assigned is restored from snapshots"
                );
                break;
            }
            tokio::time::sleep(LOOK_WARM).await;
        }
        Ok(())
    }

    /// Follows whatever `ours` does not own, until the source ends.
    pub async fn keep(&self, main: &House, ours: SourceControl) -> anyhow::Result<()> {
        let all: BTreeSet<TopicPartition> = partitions(&self.house, &self.inputs).collect();
        let mut following = all.clone();
        loop {
            let owned: BTreeSet<TopicPartition> = ours.owned().into_iter().collect();
            let wanted: BTreeSet<TopicPartition> = all.difference(&owned).cloned().collect();
            if wanted != following {
                self.source.control.follow(wanted.clone());
                following = wanted;
            }
            main.metrics.standby.set(self.standby.followed() as i64);
            if let Some(ended) = self.source.ended().await {
                main.metrics.standby.set(0);
                return ended.map_err(anyhow::Error::from);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the source and its trees.
    pub async fn stop(&self) {
        // What it could not do in order has no consequence: nothing of it is kept.
        let _ = self.source.close().await;
    }
}
