//! The wiring: the only place that names concrete parts together. Starts them in an order that lets each find what it
//! needs, and ends them in the opposite one.
//!
//! Listeners come first, so that health can be asked while Kafka is still away. Then: topics, tables, the publisher
//! (which settles what an earlier life left open), and only then the source.

use crate::figures::keep_history;
use crate::outward::{Outward, Spans};
use crate::tables::{Tables, topic_names};
use anyhow::Context;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tidecast_actors::brain::StreamModels;
use tidecast_actors::catalog::Catalog;
use tidecast_actors::control::Control;
use tidecast_actors::events_intake::EventsIntake;
use tidecast_actors::fit_pool::FitPool;
use tidecast_actors::house::House;
use tidecast_actors::intake::Intake;
use tidecast_actors::messages::PublisherMessage;
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::nursery::Nursery;
use tidecast_actors::partials_intake::PartialsIntake;
use tidecast_actors::publisher::{ProducerMaker, Publisher, PublisherArguments};
use tidecast_actors::repartition;
use tidecast_actors::rule_book::RuleBook;
use tidecast_actors::snapshots::SnapshotQueue;
use tidecast_actors::stats::Stats;
use tidecast_actors::submissions::Submissions;
use tidecast_actors::topology::{Failover, IntakeMaker, Topology, TopologyParts};
use tidecast_actors::workplace::Workplace;
use tidecast_config::{Role, Settings};
use tidecast_gateway::{Hub, Listeners, Services};
use tidecast_kafka::{
    Cluster, Guarantee, KafkaAdmin, KafkaPublisher, OutputTopics, Publishing, PublishingHistory,
    SingleSender, Source, SourceControl, SourceOptions, SourceThread, TopicSpec,
};
use tidecast_mailbox::restart::Policy;
use tidecast_mailbox::{Capacity, Mailbox, Meters};
use tidecast_ports::source::BatchPool;
use tidecast_ports::{Tracer, Tracing};
use tidecast_store::FolderStore;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Outputs that may wait at the publisher, of all partitions together, and their bytes.
const PUBLISHER_MAILBOX: usize = 64;
const PUBLISHER_BYTES: u32 = 16 << 20;
/// Read batches that wait to be filled again.
const IDLE_BATCHES: usize = 16;
/// What a partition may take to commit what is in flight before it goes.
const REVOKE_GRACE: Duration = Duration::from_secs(3);
/// Between two tries to reach Kafka at the start.
const RETRY: Duration = Duration::from_secs(1);

/// The source's thread, once it runs.
type SourceSlot = Arc<Mutex<Option<SourceThread>>>;

/// A running service.
pub struct Service {
    stopping: CancellationToken,
    gateway: Option<tokio::task::JoinHandle<Result<(), tidecast_config::ConfigError>>>,
    watch: tokio::task::JoinHandle<()>,
    failure: oneshot::Receiver<anyhow::Error>,
    source: SourceSlot,
    control: SourceControl,
    topology: Option<Topology>,
    publisher: Mailbox<PublisherMessage>,
    snapshots_ended: std::sync::mpsc::Receiver<()>,
    _outward: Arc<tidecast_notify::Notifier>,
}

/// Topics that the service needs.
pub fn topics(settings: &Settings) -> Vec<TopicSpec> {
    let (partitions, replication) = (settings.topics.partitions, settings.topics.replication);
    let names = &settings.topics;
    let mut topics: Vec<TopicSpec> = Vec::new();
    let mut add = |spec: TopicSpec| {
        if !topics.iter().any(|known| known.name == spec.name) {
            topics.push(spec);
        }
    };
    let outputs = [&names.aggregates, &names.predictions, &names.alerts, &names.metrics, &names.dlq];
    for name in std::iter::once(names.events.as_str())
        .chain(settings.input_topics())
        .chain(outputs.map(String::as_str))
    {
        add(TopicSpec::stream(name, partitions, replication));
    }
    for name in repartition::topics(settings) {
        add(TopicSpec::stream(name, partitions, replication));
    }
    for name in topic_names(&settings.kafka.group_id) {
        add(TopicSpec::table(name, replication));
    }
    add(tidecast_kafka::DeadLetterTopic::marker_topic(settings));
    topics
}

impl Service {
    /// Starts everything. Returns as soon as the listeners are bound: the rest goes on by itself and is told by health.
    pub async fn start(settings: Arc<Settings>, metrics: prometheus::Registry) -> anyhow::Result<Service> {
        let cluster = Cluster::from_settings(&settings);
        let worker = settings.has_role(Role::Worker);
        let store = Arc::new(
            FolderStore::open(&settings.state.dir).map_err(|error| anyhow::anyhow!("state.dir: {error}"))?,
        );
        let pipeline = PipelineMetrics::new(&metrics)?;
        let meters = Meters::default();
        metrics.register(Box::new(meters.clone()))?;
        let (catalog, book) = (Arc::new(Catalog::default()), Arc::new(RuleBook::default()));
        let publishing = Publishing::default();

        let mut inputs: Vec<String> = settings.input_topics().into_iter().map(str::to_owned).collect();
        inputs.extend(repartition::topics(&settings));
        let pool = BatchPool::new(IDLE_BATCHES);
        let mut options = SourceOptions::new(inputs, monotonic_nanos);
        options.pool = pool.clone();
        options.revoke_grace = REVOKE_GRACE;
        options.traceparent = settings.telemetry.otlp_endpoint.is_some();
        let source = Source::prepare(&cluster, options)?;
        let control = source.control();

        let failover = Arc::new(Failover::default());
        let (snapshots, snapshots_ended) =
            SnapshotQueue::start(store.clone(), pipeline.clone(), Workplace::Threads)?;
        let topics_ready = CancellationToken::new();
        let make = producer_maker(&settings, &cluster, &control, &publishing, topics_ready.clone());
        let (connected, is_connected) = watch::channel(false);
        let arguments = PublisherArguments {
            make,
            events: Arc::new(Connection { failover: failover.clone(), connected }),
            snapshots,
            metrics: pipeline.clone(),
            workplace: Workplace::Threads,
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
        let tables = Arc::new(Tables::new(catalog.clone(), book.clone()));
        let history = PublishingHistory::new(
            publishing.clone(),
            tables.notes.clone(),
            format!("{}-{}", std::process::id(), tidecast_actors::wall_clock_ms()),
        );
        let outward = tidecast_notify::Notifier::start(&settings, &metrics)?;
        let house = Arc::new(House {
            settings: settings.clone(),
            catalog: catalog.clone(),
            book: book.clone(),
            registry: Arc::default(),
            brains: Arc::new(StreamModels),
            fits: FitPool::new(std::thread::available_parallelism().map_or(1, usize::from)),
            metrics: pipeline,
            meters,
            tally: Arc::default(),
            publisher: publisher.clone(),
            pool,
            partitions: OnceLock::new(),
            suspects: Arc::default(),
            actions: Arc::new(Outward { notifier: outward.clone(), silences: tables.silences.clone() }),
            tracing: tracing.clone(),
        });

        let topology = worker.then(|| {
            let topology = Topology::new(TopologyParts {
                house: house.clone(),
                intakes: intakes(house.clone()),
                store: store.clone(),
                runtime: tokio::runtime::Handle::current(),
                policy: Policy::default(),
            });
            failover.connect(&topology);
            let restart = control.clone();
            topology.connect(Arc::new(move |partition| restart.restart(partition.clone())));
            topology
        });
        let stats = Stats::start(house.clone(), topology.clone());
        tidecast_actors::reporter::start(&house, stats.clone());

        let stopping = CancellationToken::new();
        tokio::spawn(keep_history(
            history.clone(),
            settings.monitoring.publishing_history_days,
            stopping.clone(),
        ));
        let nursery = Nursery::default();
        let gateway = if settings.has_role(Role::Gateway) {
            let hub = Hub::new(&settings, tidecast_gateway::Metrics::register(&metrics)?);
            if let Some(tracer) = &tracing {
                hub.trace_with(tracer.clone());
            }
            let submissions = Submissions::start(&house, tables.models.clone(), nursery.clone()).await?;
            let services = Services {
                settings: settings.clone(),
                hub: hub.clone(),
                history: Arc::new(tidecast_kafka::OutputHistory::start(&cluster, &settings)?),
                control: Arc::new(Control {
                    settings: settings.clone(),
                    catalog: catalog.clone(),
                    registry: house.registry.clone(),
                    nursery,
                    brains: house.brains.clone(),
                    models: tables.models.clone(),
                    rules: tables.rules.clone(),
                    book: book.clone(),
                }),
                ingest: Arc::new(tidecast_kafka::Ingest::new(&cluster, &settings, publishing.clone())?),
                outputs: Arc::new(submissions),
                dead_letters: Arc::new(tidecast_kafka::DeadLetterTopic::new(
                    &cluster,
                    &settings,
                    publishing.clone(),
                )?),
                notes: tables.notes.clone(),
                kafka: Arc::new(
                    tidecast_kafka::Operations::new(&cluster, &settings, publishing.clone())?
                        .hiding(topic_names(&settings.kafka.group_id))
                        .with_history(history.clone()),
                ),
                stats: stats.clone(),
                health: stats.clone(),
                fetch_keys: crate::published_keys::fetch()?,
                render_metrics: tidecast_telemetry::renderer(metrics.clone()),
            };
            let listeners = Listeners::bind(&settings).await?;
            let shutdown = stopping.clone().cancelled_owned();
            Some((tokio::spawn(tidecast_gateway::serve(listeners, services, shutdown)), hub))
        } else {
            None
        };
        let (gateway, hub) = gateway.unzip();

        let source_slot = SourceSlot::default();
        let (fail, failure) = oneshot::channel();
        let with = BringUp {
            house,
            settings: settings.clone(),
            cluster,
            publishing,
            tables,
            hub,
            topics_ready,
            is_connected,
            source: worker.then_some(source),
            topology: topology.clone(),
            stopping: stopping.clone(),
        };
        let watch = tokio::spawn(watch(with, source_slot.clone(), fail));
        Ok(Service {
            stopping,
            gateway,
            watch,
            failure,
            source: source_slot,
            control,
            topology,
            publisher,
            snapshots_ended,
            _outward: outward,
        })
    }

    /// Ends in order: no more input, what is in flight committed, the group left, clients told. Under five seconds.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(topology) = &self.topology {
            topology.begin_stop();
        }
        self.stopping.cancel();
        // It ends by the token.
        let _ = (&mut self.watch).await;
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(source) = source {
            self.control.close();
            let joined = tokio::task::spawn_blocking(move || source.join()).await;
            if let Ok(Err(error)) = joined {
                tracing::warn!(%error, "the source did not end in order");
            }
        }
        if let Some(gateway) = self.gateway.take() {
            // What it could not honour was an error of the start.
            let _ = gateway.await;
        }
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
        Ok(())
    }

    /// Resolves when the service cannot go on by itself: the source gave up, or the start was refused for good.
    pub async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.failure).await {
            Ok(error) => error,
            // A gateway alone has nothing that could fail for good.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Brings the service up, then watches the source's thread.
async fn watch(mut with: BringUp, slot: SourceSlot, fail: oneshot::Sender<anyhow::Error>) {
    let lock = || slot.lock().unwrap_or_else(PoisonError::into_inner);
    let stopping = with.stopping.clone();
    let started = tokio::select! {
        () = stopping.cancelled() => return,
        started = bring_up(&mut with) => started,
    };
    match started {
        Ok(source) => *lock() = source,
        Err(error) => {
            // Nobody waits when the service is ending anyway.
            let _ = fail.send(error);
            return;
        }
    }
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        let ended = { lock().take_if(|source| source.is_finished()) };
        if let Some(source) = ended {
            let joined = tokio::task::spawn_blocking(move || source.join()).await;
            let error = match joined {
                Ok(Err(error)) => anyhow::Error::from(error),
                _ => anyhow::anyhow!("the Kafka source ended"),
            };
            let _ = fail.send(error);
            return;
        }
    }
}

fn monotonic_nanos() -> u64 {
    static STARTED: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    u64::try_from(STARTED.get_or_init(std::time::Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn intakes(house: Arc<House>) -> IntakeMaker {
    Arc::new(move |partition, record| -> Result<Box<dyn Intake>, String> {
        match repartition::series_of(&house.settings, &partition.topic) {
            Some(series) => Ok(Box::new(PartialsIntake::new(&house, partition, series, record)?)),
            None => Ok(Box::new(EventsIntake::new(&house, partition, record)?)),
        }
    })
}

/// A producer for each life of the publisher. Waits for the topics: a producer that writes to a topic which is not
/// there yet would have it made by the broker's own defaults.
fn producer_maker(
    settings: &Settings,
    cluster: &Cluster,
    control: &SourceControl,
    publishing: &Publishing,
    topics_ready: CancellationToken,
) -> ProducerMaker {
    let guarantee = if settings.kafka.exactly_once {
        // With a lasting name, a restarted instance fences its own earlier self at once; without, each process has a name
        // of its own and the group's generation fences the earlier one.
        let instance = settings.kafka.group_instance_id.clone();
        let instance = instance
            .unwrap_or_else(|| format!("{}-{}", std::process::id(), tidecast_actors::wall_clock_ms()));
        Guarantee::ExactlyOnce { transactional_id: format!("{}-{instance}", settings.kafka.group_id) }
    } else {
        Guarantee::AtLeastOnce
    };
    let topics = OutputTopics::from_settings(&settings.topics);
    let (cluster, control, publishing) = (cluster.clone(), control.clone(), publishing.clone());
    Arc::new(move || {
        if !topics_ready.is_cancelled() {
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

    fn connected(&self, trouble: Option<&str>) {
        if trouble.is_none() {
            self.connected.send_replace(true);
        }
        self.failover.connected(trouble);
    }
}

struct BringUp {
    house: Arc<House>,
    settings: Arc<Settings>,
    cluster: Cluster,
    publishing: Publishing,
    tables: Arc<Tables>,
    hub: Option<Arc<Hub>>,
    topics_ready: CancellationToken,
    is_connected: watch::Receiver<bool>,
    source: Option<Source>,
    topology: Option<Topology>,
    stopping: CancellationToken,
}

/// Everything that needs Kafka, once it is there.
async fn bring_up(with: &mut BringUp) -> anyhow::Result<Option<SourceThread>> {
    reach_kafka(with).await?;
    let (Some(source), Some(topology)) = (with.source.take(), &with.topology) else { return Ok(None) };
    Ok(Some(source.start(topology.handler())?))
}

async fn reach_kafka(with: &mut BringUp) -> anyhow::Result<()> {
    let admin = KafkaAdmin::new(&with.cluster)?;
    let wanted = topics(&with.settings);
    let mut told = false;
    loop {
        match admin.ensure_topics(&wanted).await {
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
                if let Some(topology) = &with.topology {
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
            Err(error) => tracing::warn!(%error, "the topics' partitions are not known yet; asking again"),
        }
        tokio::time::sleep(RETRY).await;
    };
    let partitions = view.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions.len() as i32));
    // Told once, by this one task.
    let _ = with.house.partitions.set(partitions.collect());
    if let Some(topology) = &with.topology {
        topology.source_trouble(None);
    }
    with.topics_ready.cancel();
    let sender = SingleSender::new(&with.cluster, with.publishing.clone()).map_err(anyhow::Error::msg)?;
    while let Err(error) = with.tables.open(&with.cluster, &sender).await {
        tracing::warn!(%error, "a table cannot be read yet; trying again");
        tokio::time::sleep(RETRY).await;
    }
    while let Err(error) = with.tables.sow(&with.settings).await {
        tracing::warn!(error, "models and rules of the configuration are not registered yet; trying again");
        tokio::time::sleep(RETRY).await;
    }
    if let Some(hub) = with.hub.take() {
        tidecast_kafka::LiveReader::start(&with.cluster, &with.settings, hub)?;
    }
    // The publisher's own start settles what an earlier life left open; offsets are asked for after that.
    with.is_connected.wait_for(|connected| *connected).await.context("the publisher ended")?;
    Ok(())
}
