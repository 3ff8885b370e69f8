//! What processes events, wired: the source, the partitions' trees, the publisher and the snapshots. The service puts a
//! gateway beside it; a rebuild of the past runs it alone.

use crate::outward::Spans;
use crate::running_source::RunningSource;
use crate::standby::Following;
use crate::trees::trees;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidecast_actors::actions::ActionSink;
use tidecast_actors::brain::StreamModels;
use tidecast_actors::catalog::Catalog;
use tidecast_actors::fit_pool::FitPool;
use tidecast_actors::house::House;
use tidecast_actors::messages::PublisherMessage;
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::publisher::{ProducerMaker, Publisher, PublisherArguments};
use tidecast_actors::rebuild::Rebuild;
use tidecast_actors::repartition;
use tidecast_actors::rule_book::RuleBook;
use tidecast_actors::snapshots::SnapshotQueue;
use tidecast_actors::topology::{Failover, Topology};
use tidecast_actors::workplace::Workplace;
use tidecast_config::{GroupTable, Role, Settings};
use tidecast_kafka::{
    Cluster, Guarantee, KafkaAdmin, KafkaPublisher, OutputTopics, Publishing, Source, SourceControl,
    SourceOptions, TopicSpec,
};
use tidecast_mailbox::{Capacity, Mailbox, Meters};
use tidecast_ports::source::BatchPool;
use tidecast_ports::{SnapshotStore, Tracer, Tracing};
use tidecast_store::{FolderStore, SharedStore};
use tokio::sync::watch;

/// Outputs that may wait at the publisher, of all partitions together, and their bytes.
const PUBLISHER_MAILBOX: usize = 64;
const PUBLISHER_BYTES: u32 = 16 << 20;
/// Read batches that wait to be filled again.
const IDLE_BATCHES: usize = 16;
/// What a partition may take to commit what is in flight before it goes.
const REVOKE_GRACE: Duration = Duration::from_secs(3);
/// Between two heartbeats where partitions are to move at once.
const EAGER_HEARTBEAT: Duration = Duration::from_millis(100);
/// Between two tries to reach Kafka at the start.
pub const RETRY: Duration = Duration::from_secs(1);

/// What an engine is made of beside its settings.
pub struct EngineParts<'m> {
    /// As configured.
    pub settings: Arc<Settings>,
    /// Where its metrics are registered.
    pub metrics: &'m prometheus::Registry,
    /// Models that are wanted.
    pub catalog: Arc<Catalog>,
    /// Rules.
    pub book: Arc<RuleBook>,
    /// Carries out what rules ask for.
    pub actions: Arc<dyn ActionSink>,
    /// Counts what is published.
    pub publishing: Publishing,
    /// For a rebuild of the past.
    pub rebuild: Option<Arc<Rebuild>>,
    /// Records older than this are not read, epoch milliseconds by topic.
    pub begin_ms: BTreeMap<String, i64>,
}

/// A running engine; it reads nothing before [`BringUp::reach_kafka`] and [`BringUp::start_reading`].
pub struct Engine {
    /// Shared by its parts.
    pub house: Arc<House>,
    /// The trees, in a process that works on events.
    pub topology: Option<Topology>,
    source: RunningSource,
    following: Option<Arc<Following>>,
    publisher: Mailbox<PublisherMessage>,
    snapshots_ended: std::sync::mpsc::Receiver<()>,
}

/// What is left to be done once Kafka is there.
pub struct BringUp {
    /// The broker.
    pub cluster: Cluster,
    house: Arc<House>,
    topology: Option<Topology>,
    topics_ready: watch::Sender<bool>,
    is_connected: watch::Receiver<bool>,
    prepared: Option<Source>,
    source: RunningSource,
    following: Option<Arc<Following>>,
}

impl Engine {
    /// Starts the parts that need no broker.
    pub async fn new(parts: EngineParts<'_>) -> anyhow::Result<(Engine, BringUp)> {
        let EngineParts { settings, metrics, catalog, book, actions, publishing, rebuild, begin_ms } = parts;
        let cluster = Cluster::from_settings(&settings);
        let worker = settings.has_role(Role::Worker);
        let folder = Arc::new(
            FolderStore::open(&settings.state.dir).map_err(|error| anyhow::anyhow!("state.dir: {error}"))?,
        );
        let store: Arc<dyn SnapshotStore> = match &settings.state.shared {
            // Nobody else has partitions to take over.
            Some(place) if worker => Arc::new(SharedStore::open(folder, place, &settings.kafka.group_id)?),
            _ => folder,
        };
        let pipeline = PipelineMetrics::new(metrics)?;
        let meters = Meters::default();
        metrics.register(Box::new(meters.clone()))?;

        let mut inputs: Vec<String> = settings.input_topics().into_iter().map(str::to_owned).collect();
        inputs.extend(repartition::topics(&settings));
        let pool = BatchPool::new(IDLE_BATCHES);
        let mut options = SourceOptions::new(&inputs, monotonic_nanos);
        options.pool = pool.clone();
        options.revoke_grace = REVOKE_GRACE;
        options.traceparent = settings.telemetry.otlp_endpoint.is_some();
        options.begin_ms = begin_ms;
        options.hold = true;
        let [_, _, notes] = GroupTable::topics(&settings.kafka.group_id);
        options.spare_topic = Some(notes);
        if settings.state.standby {
            options.heartbeat = EAGER_HEARTBEAT;
        }
        let guarantee = guarantee(&settings);
        if let Guarantee::ExactlyOnce { transactional_id } = &guarantee {
            options.transactional_id = Some(transactional_id.clone());
        }
        let prepared = Source::prepare(&cluster, options)?;
        let source = RunningSource::new(&prepared);
        let control = &source.control;

        let failover = Arc::new(Failover::default());
        let (snapshots, snapshots_ended) =
            SnapshotQueue::start(store.clone(), pipeline.clone(), Workplace::Threads)?;
        let (topics_ready, topics_are_ready) = watch::channel(false);
        let make =
            producer_maker(&settings, guarantee, &cluster, control, &publishing, topics_are_ready.clone());
        let (connected, is_connected) = watch::channel(false);
        let arguments = PublisherArguments {
            make,
            events: Arc::new(Connection { failover: failover.clone(), connected }),
            snapshots,
            metrics: pipeline.clone(),
            workplace: Workplace::Threads,
            try_now: topics_are_ready,
        };
        let (publisher, _) = ractor::Actor::spawn(None, Publisher, arguments).await?;
        let publisher = Mailbox::weighing(
            publisher,
            Capacity { messages: PUBLISHER_MAILBOX, meter: meters.of("publisher") },
            PUBLISHER_BYTES,
            PublisherMessage::weight,
        );

        let tracing: Tracing =
            settings.telemetry.otlp_endpoint.is_some().then(|| Arc::new(Spans) as Arc<dyn Tracer>);
        let house = Arc::new(House {
            settings: settings.clone(),
            catalog,
            book,
            registry: Arc::default(),
            regressors: Arc::default(),
            brains: Arc::new(StreamModels),
            fits: FitPool::new(std::thread::available_parallelism().map_or(1, usize::from)),
            metrics: pipeline,
            meters,
            tally: Arc::default(),
            publisher: publisher.clone(),
            pool,
            partitions: OnceLock::new(),
            suspects: Arc::default(),
            actions,
            tracing,
            rebuild,
        });
        let following = if worker && settings.state.standby && house.rebuild.is_none() {
            Some(Following::new(&house, &cluster, &inputs, store.clone()).await?)
        } else {
            None
        };
        let topology = worker.then(|| {
            let standby = following.as_ref().map(|following| following.standby.clone());
            let topology = trees(&house, control, store, standby, false);
            failover.connect(&topology);
            topology
        });
        let bring_up = BringUp {
            cluster,
            house: house.clone(),
            topology: topology.clone(),
            topics_ready,
            is_connected,
            prepared: worker.then_some(prepared),
            source: source.clone(),
            following: following.clone(),
        };
        let engine = Engine { house, topology, source, following, publisher, snapshots_ended };
        Ok((engine, bring_up))
    }

    /// No partition is started again from here on.
    pub fn begin_stop(&self) {
        if let Some(topology) = &self.topology {
            topology.begin_stop();
        }
    }

    /// No more input: what is in flight is committed, the group is left.
    pub async fn stop_reading(&self) {
        tokio::join!(self.leave_group(), async {
            if let Some(following) = &self.following {
                following.stop().await;
            }
        });
    }

    async fn leave_group(&self) {
        if let Err(error) = self.source.close().await {
            tracing::warn!(%error, "the source did not end in order");
        }
    }

    /// Ends the publisher, then the snapshots' thread.
    pub async fn stop(self) {
        let ended = self.publisher.cell().stop_and_wait(None, Some(Duration::from_secs(2))).await;
        if ended.is_err() {
            tracing::warn!(
                "the publisher did not end in time; its last outputs are repeated by the next start"
            );
        }
        // The queue's last clone went with the publisher: its thread writes what waits and ends.
        let written = tokio::task::spawn_blocking(move || {
            self.snapshots_ended.recv_timeout(Duration::from_secs(1)).is_ok()
        });
        if !written.await.unwrap_or(false) {
            tracing::warn!(
                "the last snapshots may not have been written; the next start replays a little more"
            );
        }
    }
}

impl BringUp {
    /// Waits for Kafka; makes the topics that are missing; joins the group, where this process works on events.
    pub async fn reach_kafka(&mut self, wanted: &[TopicSpec]) -> anyhow::Result<()> {
        let admin = KafkaAdmin::new(&self.cluster)?;
        let mut told = false;
        loop {
            match admin.ensure_topics(wanted).await {
                Ok(made) => {
                    if !made.is_empty() {
                        tracing::info!(topics = made.join(", "), "topics created");
                    }
                    break;
                }
                Err(error) if error.is_temporary() => {
                    if !told {
                        tracing::warn!(%error, "Kafka is not reached; trying until it is");
                        told = true;
                    }
                    if let Some(topology) = &self.topology {
                        topology.source_trouble(Some(&error.to_string()));
                    }
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error).context("the topics that the service needs are not there"),
            }
        }
        let view = loop {
            match admin.look(Duration::from_secs(10)).await {
                Ok(view) => break view,
                Err(error) => {
                    tracing::warn!(%error, "the topics' partitions are not known yet; asking again")
                }
            }
            tokio::time::sleep(RETRY).await;
        };
        let partitions =
            view.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions.len() as i32));
        // Told once, by this one task.
        let _ = self.house.partitions.set(partitions.collect());
        if let Some(topology) = &self.topology {
            topology.source_trouble(None);
        }
        self.topics_ready.send_replace(true);
        // The group is joined while tables are read and the producer is made: all of these are waits.
        if self.following.is_none() {
            self.join_group()?;
        }
        Ok(())
    }

    fn join_group(&mut self) -> anyhow::Result<()> {
        if let (Some(source), Some(topology)) = (self.prepared.take(), &self.topology) {
            self.source.start(source, topology.handler())?;
        }
        Ok(())
    }

    /// Begins to read, where this process works on events. The publisher's own start settles what an earlier life left
    /// open; offsets are asked for after that.
    pub async fn start_reading(&mut self) -> anyhow::Result<()> {
        self.is_connected.wait_for(|connected| *connected).await.context("the publisher ended")?;
        if let Some(following) = &self.following {
            following.warm_up(&self.house).await?;
            self.join_group()?;
        }
        self.source.control.let_read();
        if let Some(following) = self.following.take() {
            let (house, control) = (self.house.clone(), self.source.control.clone());
            tokio::spawn(async move {
                if let Err(error) = following.keep(&house, control).await {
                    tracing::error!(%error, "nothing is followed any more: partitions are taken over from snapshots");
                }
            });
        }
        Ok(())
    }

    /// Resolves when the source has ended by itself.
    pub async fn source_ended(&self) -> anyhow::Error {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            match self.source.ended().await {
                None => {}
                Some(Ok(())) => return anyhow::anyhow!("the Kafka source ended"),
                Some(Err(error)) => return anyhow::Error::from(error),
            }
        }
    }
}

/// The clock of figures.
pub fn monotonic_nanos() -> u64 {
    static STARTED: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    u64::try_from(STARTED.get_or_init(std::time::Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// How this process commits, and under which name.
fn guarantee(settings: &Settings) -> Guarantee {
    if settings.kafka.exactly_once {
        // With a lasting name, a restarted instance fences its own earlier self at once; without, each process has a name
        // of its own and the group's generation fences the earlier one.
        let instance = settings.kafka.group_instance_id.clone();
        let instance = instance
            .unwrap_or_else(|| format!("{}-{}", std::process::id(), tidecast_actors::wall_clock_ms()));
        Guarantee::ExactlyOnce { transactional_id: format!("{}-{instance}", settings.kafka.group_id) }
    } else {
        Guarantee::AtLeastOnce
    }
}

/// A producer for each life of the publisher. Waits for the topics: a producer that writes to a topic which is not
/// there yet would have it made by the broker's own defaults.
fn producer_maker(
    settings: &Settings,
    guarantee: Guarantee,
    cluster: &Cluster,
    control: &SourceControl,
    publishing: &Publishing,
    topics_are_ready: watch::Receiver<bool>,
) -> ProducerMaker {
    let topics = OutputTopics::from_settings(&settings.topics);
    let (cluster, control, publishing) = (cluster.clone(), control.clone(), publishing.clone());
    Arc::new(move || {
        if !*topics_are_ready.borrow() {
            return Err(tidecast_ports::PublishError {
                recover: tidecast_ports::Recover::Retry,
                message: "waiting for Kafka and the topics".to_owned(),
            });
        }
        let publisher = KafkaPublisher::connect(
            &cluster,
            &guarantee,
            topics.clone(),
            control.group(),
            publishing.clone(),
        )?;
        Ok(Box::new(publisher) as Box<dyn tidecast_ports::Publisher>)
    })
}

/// Tells the bring-up that the publisher is there, and the topology what the publisher tells.
struct Connection {
    failover: Arc<Failover>,
    connected: watch::Sender<bool>,
}

impl tidecast_actors::publisher::PublisherEvents for Connection {
    fn start_over(&self, why: &str) -> u64 {
        self.failover.start_over(why)
    }

    fn least_life(&self, partition: &tidecast_event::TopicPartition) -> u64 {
        self.failover.least_life(partition)
    }

    fn connected(&self, trouble: Option<&str>) {
        if trouble.is_none() {
            self.connected.send_replace(true);
        }
        self.failover.connected(trouble);
    }
}
