//! The warm standby, wired: a source and trees of their own that follow the partitions of other instances.

use crate::engine::{SourceSlot, intakes, monotonic_nanos};
use crate::outward::Nobody;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tidecast_actors::house::House;
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::standby::{Follower, Keeper, Shelf, Standby};
use tidecast_actors::topology::{Topology, TopologyParts};
use tidecast_event::TopicPartition;
use tidecast_kafka::{Cluster, Source, SourceControl, SourceOptions};
use tidecast_mailbox::restart::Policy;
use tidecast_mailbox::{Capacity, Mailbox, Meters};
use tidecast_ports::SnapshotStore;
use tidecast_ports::source::BatchPool;

/// Between two looks at what is ours.
const LOOK: Duration = Duration::from_millis(100);
/// An instance that got no partition by then is one to spare.
const SPARE_AFTER: Duration = Duration::from_secs(5);
/// Outputs on their way to nowhere.
const MAILBOX: usize = 16;
/// Read batches that wait to be filled again.
const IDLE_BATCHES: usize = 4;

/// Follows what other instances own.
pub struct Following {
    /// Where taken partitions' states come from.
    pub standby: Arc<Standby>,
    house: Arc<House>,
    control: SourceControl,
    source: Mutex<Option<(Source, Follower)>>,
    slot: SourceSlot,
}

impl Following {
    /// Prepares it; nothing is read before [`Following::go`].
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
            regressors: Arc::default(),
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
        let source = Source::prepare(cluster, options)?;
        let control = source.control();
        let topology = Topology::new(TopologyParts {
            house: house.clone(),
            intakes: intakes(house.clone()),
            store,
            runtime: tokio::runtime::Handle::current(),
            policy: Policy::default(),
            standby: None,
            follows: true,
        });
        let restart = control.clone();
        topology.connect(Arc::new(move |partition| restart.restart(partition.clone())));
        let lets_go = control.clone();
        let let_go = Box::new(move |partition: &TopicPartition| lets_go.let_go(partition.clone()));
        Ok(Arc::new(Following {
            standby: Arc::new(Standby::new(shelf.clone(), let_go)),
            house,
            control,
            source: Mutex::new(Some((source, Follower { topology, shelf, pool }))),
            slot: SourceSlot::default(),
        }))
    }

    /// Follows whatever `ours` does not own, until the source ends.
    pub async fn go(&self, main: &House, ours: SourceControl, topology: Topology) -> anyhow::Result<()> {
        let begun = tokio::time::Instant::now();
        while !topology.state().assigned_once && begun.elapsed() < SPARE_AFTER {
            tokio::time::sleep(LOOK).await;
        }
        let partitions = main.partitions.get().cloned().unwrap_or_default();
        // Told once, by this one task.
        let _ = self.house.partitions.set(partitions);
        let Some((source, follower)) = self.source.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return Ok(());
        };
        let topics: Vec<String> = source.topics().to_vec();
        let thread = source.start(Box::new(follower))?;
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        let all: BTreeSet<TopicPartition> = topics
            .iter()
            .flat_map(|topic| {
                (0..main.partitions_of(topic)).map(|number| TopicPartition::new(topic.as_str(), number))
            })
            .collect();
        let mut following = BTreeSet::new();
        loop {
            let ours: BTreeSet<TopicPartition> = ours.owned().into_iter().collect();
            let wanted: BTreeSet<TopicPartition> = all.difference(&ours).cloned().collect();
            if wanted != following {
                self.control.follow(wanted.clone());
                following = wanted;
            }
            main.metrics.standby.set(self.standby.followed() as i64);
            let ended = {
                let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
                slot.take_if(|thread| thread.is_finished())
            };
            if let Some(thread) = ended {
                main.metrics.standby.set(0);
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                return joined.unwrap_or(Ok(())).map_err(anyhow::Error::from);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the source and its trees.
    pub async fn stop(&self) {
        let thread = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.control.close();
            // What it could not do in order has no consequence: nothing of it is kept.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
