//! One partition's tree: the aggregator, the forecasting stage with its forecasters, the rules, and the supervisor
//! that watches them. A tree lives and dies as one; what dies inside it alone is a forecaster.

use crate::aggregator::{Aggregator, AggregatorArguments};
use crate::decisions::Decisions;
use crate::forecasting::{Forecasting, ForecastingArguments};
use crate::house::House;
use crate::intake::Intake;
use crate::messages::{AggregatorMessage, BatchOutput, ForecastingMessage, ModelRecord};
use crate::rule_evaluator::{RuleEvaluator, RuleEvaluatorArguments};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_mailbox::restart::Policy;
use tidecast_mailbox::{Capacity, Envelope, Mailbox, TrySendError};
use tidecast_ports::source::Wake;
use tidecast_ports::{PartitionSink, RecordBatch};
use tokio::sync::oneshot;

/// Batches that may wait at an aggregator: one being read, and enough to begin with when it is done.
const AGGREGATOR_MAILBOX: usize = 4;
/// Batches on their way through the forecasters of a partition.
const FORECASTING_MAILBOX: usize = 16;
/// Batches waiting for the rules.
const RULES_MAILBOX: usize = 8;

/// Bytes waiting at a stage of a partition, as [`BatchOutput::weight`] has them; forecasts come to them there.
const STAGE_BYTES: u32 = 2 << 20;

/// Told when a stage of a tree died.
pub type TreeFailed = Arc<dyn Fn(&TopicPartition, u64, &str) + Send + Sync>;

struct Supervisor;

struct SupervisorArguments {
    partition: TopicPartition,
    life: u64,
    failed: TreeFailed,
}

impl Actor for Supervisor {
    type Msg = Envelope<()>;
    type State = SupervisorArguments;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        with: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(with)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            (state.failed)(&state.partition, state.life, &error.to_string());
            // What is left of the tree has nothing to work on.
            myself.stop(None);
        }
        Ok(())
    }
}

/// A running tree.
pub struct Tree {
    /// Which life of the partition this is.
    pub life: u64,
    supervisor: ActorRef<Envelope<()>>,
    aggregator: Mailbox<AggregatorMessage>,
    forecasting: Mailbox<ForecastingMessage>,
    wake: Arc<OnceLock<Wake>>,
}

/// What a tree begins with.
pub struct Beginning {
    /// The input partition.
    pub partition: TopicPartition,
    /// Which life of it.
    pub life: u64,
    /// The topic's id, where the broker tells.
    pub topic_id: Option<u128>,
    /// Windows, as restored.
    pub intake: Box<dyn Intake>,
    /// Models, as restored.
    pub models: Vec<ModelRecord>,
    /// First offset to be read.
    pub start: i64,
    /// Committed offset.
    pub speak_from: i64,
    /// Decisions committed with it.
    pub decisions: Decisions,
}

impl Tree {
    /// Starts a tree.
    pub async fn start(house: &Arc<House>, begin: Beginning, failed: TreeFailed) -> Result<Tree, SpawnErr> {
        let Beginning { partition, life, topic_id, intake, models, start, speak_from, decisions } = begin;
        let arguments = SupervisorArguments { partition: partition.clone(), life, failed };
        let (supervisor, _) = Actor::spawn(None, Supervisor, arguments).await?;
        let capacity = |name, messages| Capacity { messages, meter: house.meters.of(name) };

        let publisher = house.publisher.clone();
        let rules = RuleEvaluatorArguments::new(house, publisher);
        let (rules, _) = Actor::spawn_linked(None, RuleEvaluator, rules, supervisor.get_cell()).await?;
        let rules =
            Mailbox::weighing(rules, capacity("rules", RULES_MAILBOX), STAGE_BYTES, |output| output.weight());

        let rebuild = house.rebuild.clone();
        let downstream =
            Arc::new(move |mut output: Box<BatchOutput>| -> futures::future::BoxFuture<'static, _> {
                let rules = rules.clone();
                if let Some(rebuild) = &rebuild {
                    rebuild.keep(&mut output);
                }
                Box::pin(async move { rules.send(output).await })
            });
        let arguments = ForecastingArguments {
            partition: partition.clone(),
            life,
            catalog: house.catalog.clone(),
            registry: house.registry.clone(),
            regressors: house.regressors.clone(),
            brains: house.brains.clone(),
            fits: house.fits.clone(),
            metrics: house.metrics.clone(),
            meters: house.meters.clone(),
            downstream,
            restored: models,
            policy: Policy::default(),
            max_latency: house.settings.realtime_ml.max_latency,
        };
        let (forecasting, _) =
            Actor::spawn_linked(None, Forecasting, arguments, supervisor.get_cell()).await?;
        let forecasting = Mailbox::weighing(
            forecasting,
            capacity("forecasting", FORECASTING_MAILBOX),
            STAGE_BYTES,
            ForecastingMessage::weight,
        );

        let wake = Arc::new(OnceLock::new());
        let arguments = AggregatorArguments {
            partition,
            life,
            topic_id,
            intake,
            start,
            speak_from,
            decisions,
            forecasting: forecasting.clone(),
            pool: house.pool.clone(),
            wake: wake.clone(),
            metrics: house.metrics.clone(),
            suspects: house.suspects.clone(),
            tracing: house.tracing.clone(),
            rebuild: house.rebuild.clone(),
        };
        let (aggregator, _) = Actor::spawn_linked(None, Aggregator, arguments, supervisor.get_cell()).await?;
        let aggregator = Mailbox::new(aggregator, capacity("aggregator", AGGREGATOR_MAILBOX));
        Ok(Tree { life, supervisor, aggregator, forecasting, wake })
    }

    /// Where the source delivers.
    pub fn sink(&self) -> Box<dyn PartitionSink> {
        Box::new(Sink { aggregator: self.aggregator.clone(), wake: self.wake.clone() })
    }

    /// Looks for quiet partitions; skipped by a tree that is busy, which is not quiet.
    pub fn tick(&self) {
        let _ = self.aggregator.try_send(AggregatorMessage::Tick);
    }

    /// Looks for forecasts that are due; skipped by a stage that is busy.
    pub fn tick_forecasts(&self) {
        let _ = self.forecasting.try_send(ForecastingMessage::Tick);
    }

    /// Takes a snapshot; skipped by a tree that is busy until the next time.
    pub fn snapshot(&self) {
        let _ = self.aggregator.try_send(AggregatorMessage::Snapshot);
    }

    /// Tells a followed partition what its owner decided; false where there is no room now.
    pub fn follow(&self, decisions: Decisions) -> bool {
        self.aggregator.try_send(AggregatorMessage::Follow(decisions)).is_ok()
    }

    /// Resolves once everything before now is committed: true, or false when it cannot be.
    pub fn drain(&self, snapshot: bool) -> impl Future<Output = bool> + Send + use<> {
        let (done, drained) = oneshot::channel();
        let aggregator = self.aggregator.clone();
        async move {
            let asked = aggregator.send(AggregatorMessage::Drain { snapshot, done }).await;
            asked.is_ok() && drained.await.is_ok()
        }
    }

    /// Stops every actor of the tree, whatever they are at, and waits until they are gone.
    pub async fn stop(self) {
        let of = |cell: &ActorCell| {
            let mut children = cell.get_children();
            // In the order in which they were made: what they still do depends on nothing else.
            children.sort_unstable_by_key(ActorCell::get_id);
            children
        };
        let children = of(&self.supervisor.get_cell());
        for child in &children {
            for grandchild in of(child) {
                grandchild.stop(None);
            }
            child.stop(None);
        }
        for child in children {
            // One that does not end in time is held by its work; its outputs are fenced off.
            let _ = child.stop_and_wait(None, Some(Duration::from_secs(2))).await;
        }
        self.supervisor.stop(None);
    }
}

struct Sink {
    aggregator: Mailbox<AggregatorMessage>,
    wake: Arc<OnceLock<Wake>>,
}

impl PartitionSink for Sink {
    fn has_room(&self) -> bool {
        self.aggregator.has_room()
    }

    fn deliver(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        match self.aggregator.try_send(AggregatorMessage::Batch(batch)) {
            Ok(()) => Ok(()),
            Err(
                TrySendError::Full(AggregatorMessage::Batch(batch))
                | TrySendError::Stopped(AggregatorMessage::Batch(batch)),
            ) => Err(batch),
            Err(_) => Ok(()),
        }
    }

    fn caught_up(&mut self, next_offset: i64) {
        // Said again a moment later when there is no room now.
        let _ = self.aggregator.try_send(AggregatorMessage::CaughtUp(next_offset));
    }

    fn wake_with(&mut self, wake: Wake) {
        // Given once; a second time changes nothing.
        let _ = self.wake.set(wake);
    }
}
