//! The service: an engine, and a gateway beside it. Started in an order that lets each part find what it needs, ended in
//! the opposite one.
//!
//! Listeners come first, so that health can be asked while Kafka is still away. Then: topics, tables, the publisher
//! (which settles what an earlier life left open), and only then the source.

use crate::engine::{BringUp, Engine, EngineParts, RETRY};
use crate::figures::keep_history;
use crate::outward::{Outward, Spans};
use crate::tables::Tables;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tidecast_actors::catalog::Catalog;
use tidecast_actors::control::Control;
use tidecast_actors::elsewhere::{Elsewhere, Overhear};
use tidecast_actors::further::Further;
use tidecast_actors::nursery::Nursery;
use tidecast_actors::regressors::FarRegressors;
use tidecast_actors::repartition;
use tidecast_actors::rule_book::RuleBook;
use tidecast_actors::stats::Stats;
use tidecast_actors::submissions::Submissions;
use tidecast_config::{ConfigError, GroupTable, ListenerName, Role, Settings};
use tidecast_gateway::{AdminServices, Authenticator, Hub, Listener, Listeners, Metrics, Services};
use tidecast_kafka::{Cluster, LiveOptions, Publishing, PublishingHistory, SingleSender, TopicSpec};
use tidecast_ports::LiveSink;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The listeners of a process and where they are bound.
pub type Addresses = Vec<(ListenerName, SocketAddr)>;

/// A running service.
pub struct Service {
    stopping: CancellationToken,
    listening: JoinHandle<()>,
    watch: JoinHandle<()>,
    failure: oneshot::Receiver<anyhow::Error>,
    engine: Engine,
    outward: Arc<tidecast_notify::Notifier>,
    addresses: Addresses,
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
    for name in GroupTable::topics(&settings.kafka.group_id) {
        add(TopicSpec::table(name, replication));
    }
    add(tidecast_kafka::DeadLetterTopic::marker_topic(settings));
    topics
}

/// The listeners of this process, bound.
enum Bound {
    All(Listeners),
    /// Of a process without clients: Kubernetes and Prometheus ask it just the same.
    Admin(Listener),
}

impl Bound {
    async fn new(settings: &Settings) -> Result<Bound, ConfigError> {
        Ok(if settings.has_role(Role::Gateway) {
            Bound::All(Listeners::bind(settings).await?)
        } else {
            Bound::Admin(Listeners::bind_admin(settings).await?)
        })
    }

    /// Where each is bound: the port where the setting said 0.
    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(match self {
            Bound::All(listeners) => ListenerName::ALL.into_iter().zip(listeners.addresses()?).collect(),
            Bound::Admin(listener) => vec![(ListenerName::Admin, listener.address()?)],
        })
    }
}

impl Service {
    /// Starts everything. Returns as soon as the listeners are bound: the rest goes on by itself and is told by health.
    pub async fn start(settings: Arc<Settings>, metrics: prometheus::Registry) -> anyhow::Result<Service> {
        // First of all: where a port is taken or a key cannot be read, nothing is started that would have something to
        // say of its own.
        let bound = Bound::new(&settings).await?;
        let authenticator = Arc::new(Authenticator::new(&settings, crate::published_keys::fetch()?)?);
        let (catalog, book) = (Arc::new(Catalog::default()), Arc::new(RuleBook::default()));
        let publishing = Publishing::default();
        let tables = Arc::new(Tables::new(catalog.clone(), book.clone()));
        let history = PublishingHistory::new(
            publishing.clone(),
            tables.notes.clone(),
            format!("{}-{}", std::process::id(), tidecast_actors::wall_clock_ms()),
        );
        let outward = tidecast_notify::Notifier::start(&settings, &metrics)?;
        let parts = EngineParts {
            settings: settings.clone(),
            metrics: &metrics,
            catalog: catalog.clone(),
            book: book.clone(),
            actions: Arc::new(Outward { notifier: outward.clone(), silences: tables.silences.clone() }),
            publishing: publishing.clone(),
            rebuild: None,
            begin_ms: BTreeMap::new(),
        };
        let (engine, bring_up) = Engine::new(parts).await?;
        let house = engine.house.clone();
        let elsewhere = Arc::new(Elsewhere::new(
            tidecast_actors::reporter::instance(&settings),
            house.registry.clone(),
            catalog.clone(),
            settings.monitoring.metrics_interval,
            settings.realtime_ml.model_cache_size,
        ));
        let instance = tidecast_actors::reporter::instance(&settings);
        let further = Further::start(instance, tables.notes.clone(), house.registry.clone());
        tables.tell(elsewhere.clone(), further.clone());
        let stats = Stats::start(house.clone(), engine.topology.clone(), elsewhere.clone());
        tidecast_actors::reporter::start(&house, stats.clone());

        let told = stats.clone();
        let reached: tidecast_kafka::Reached = Arc::new(move |trouble| told.reached(trouble));
        let stopping = CancellationToken::new();
        tokio::spawn(keep_history(
            history.clone(),
            settings.monitoring.publishing_history_days,
            stopping.clone(),
        ));
        let served = Metrics::register(&metrics)?;
        let render_metrics = tidecast_telemetry::renderer(metrics.clone());
        let shutdown = stopping.clone().cancelled_owned();
        let addresses = bound.addresses()?;
        let (listening, hub) = match bound {
            Bound::All(listeners) => {
                let hub = Hub::new(&settings, served);
                if house.tracing.is_some() {
                    hub.trace_with(Arc::new(Spans));
                }
                let cluster = &bring_up.cluster;
                let nursery = Nursery::default();
                let submissions = Submissions::start(&house, tables.models.clone(), nursery.clone()).await?;
                let services = Services {
                    settings: settings.clone(),
                    hub: hub.clone(),
                    history: Arc::new(tidecast_kafka::OutputHistory::start(cluster, &settings)?),
                    control: Arc::new(Control {
                        settings: settings.clone(),
                        catalog,
                        registry: house.registry.clone(),
                        nursery,
                        brains: house.brains.clone(),
                        models: tables.models.clone(),
                        rules: tables.rules.clone(),
                        book,
                        elsewhere: elsewhere.clone(),
                        further,
                        changes: Arc::default(),
                    }),
                    ingest: Arc::new(tidecast_kafka::Ingest::new(cluster, &settings, publishing.clone())?),
                    outputs: Arc::new(submissions),
                    dead_letters: Arc::new(tidecast_kafka::DeadLetterTopic::new(
                        cluster,
                        &settings,
                        publishing.clone(),
                    )?),
                    notes: tables.notes.clone(),
                    kafka: Arc::new(
                        tidecast_kafka::Operations::new(cluster, &settings, publishing.clone())?
                            .hiding(GroupTable::topics(&settings.kafka.group_id))
                            .with_history(history.clone()),
                    ),
                    stats: stats.clone(),
                    health: stats.clone(),
                    authenticator,
                    render_metrics,
                };
                (tokio::spawn(tidecast_gateway::serve(listeners, services, shutdown)), Some(hub))
            }
            Bound::Admin(listener) => {
                let services = AdminServices {
                    settings: settings.clone(),
                    metrics: served,
                    health: stats,
                    authenticator,
                    render_metrics,
                };
                (tokio::spawn(tidecast_gateway::serve_admin(listener, services, shutdown)), None)
            }
        };

        let (fail, failure) = oneshot::channel();
        let live = hub.map(|next| Arc::new(Overhear { elsewhere, next }) as Arc<dyn LiveSink>);
        let far = settings.has_role(Role::Worker).then(|| FarRegressors {
            regressors: house.regressors.clone(),
            catalog: house.catalog.clone(),
            next: live.clone(),
        });
        let start = Start { settings, publishing, tables, live, far, reached, bring_up };
        let watch = tokio::spawn(watch(start, stopping.clone(), fail));
        Ok(Service { stopping, listening, watch, failure, engine, outward, addresses })
    }

    /// The listeners of this process and where they are bound: all three with clients to serve, health and metrics always.
    pub fn listeners(&self) -> &Addresses {
        &self.addresses
    }

    /// Ends in order: no more input, what is in flight committed, the group left, clients told; then what rules have asked
    /// for is carried out, until `deadline` at most.
    pub async fn stop(mut self, deadline: Instant) -> anyhow::Result<()> {
        self.engine.begin_stop();
        self.stopping.cancel();
        // It ends by the token.
        let _ = (&mut self.watch).await;
        self.engine.stop_reading().await;
        // It ends by the token.
        let _ = self.listening.await;
        self.engine.stop().await;
        self.outward.finish(deadline).await;
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

/// What has to be done once Kafka is there, and with what.
struct Start {
    settings: Arc<Settings>,
    publishing: Publishing,
    tables: Arc<Tables>,
    /// Who reads all output topics; nobody in a process without clients.
    live: Option<Arc<dyn LiveSink>>,
    /// Who hears windows for models; nobody in a process without models.
    far: Option<FarRegressors>,
    /// Who is told whether Kafka answers the reader of the output topics.
    reached: tidecast_kafka::Reached,
    bring_up: BringUp,
}

/// Brings the service up, then watches the source's thread.
async fn watch(mut start: Start, stopping: CancellationToken, fail: oneshot::Sender<anyhow::Error>) {
    let ended = async {
        match start.go().await {
            Ok(()) => start.bring_up.source_ended().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        () = stopping.cancelled() => {}
        // Nobody waits when the service is ending anyway.
        error = ended => drop(fail.send(error)),
    }
}

impl Start {
    async fn go(&mut self) -> anyhow::Result<()> {
        self.bring_up.reach_kafka(&topics(&self.settings)).await?;
        let cluster: &Cluster = &self.bring_up.cluster;
        let sender = SingleSender::new(cluster, self.publishing.clone()).map_err(anyhow::Error::msg)?;
        while let Err(error) = self.tables.open(cluster, &sender).await {
            tracing::warn!(%error, "a table cannot be read yet; trying again");
            tokio::time::sleep(RETRY).await;
        }
        while let Err(error) = self.tables.sow(&self.settings).await {
            tracing::warn!(
                error,
                "models and rules of the configuration are not registered yet; trying again"
            );
            tokio::time::sleep(RETRY).await;
        }
        self.tables.are_read();
        match (self.live.take(), self.far.take()) {
            (Some(live), far) => {
                let hears = far.map_or(live, |far| Arc::new(far) as Arc<dyn LiveSink>);
                tidecast_kafka::LiveReader::start(cluster, &self.settings, hears, self.reached.clone())?;
            }
            (None, Some(far)) => {
                drop(tokio::spawn(hear_windows(cluster.clone(), self.settings.clone(), far)))
            }
            (None, None) => {}
        }
        self.bring_up.start_reading().await
    }
}

/// Reads the closed windows of other processes from the day on which a model has one as an exogenous series.
async fn hear_windows(cluster: Cluster, settings: Arc<Settings>, far: FarRegressors) {
    far.regressors.follow(&far.catalog);
    while !far.regressors.are_wanted() {
        tokio::time::sleep(RETRY).await;
        far.regressors.follow(&far.catalog);
    }
    let options = LiveOptions::windows_of(&settings);
    let started = tidecast_kafka::LiveReader::start_with(&cluster, options, Arc::new(far), Arc::new(|_| ()));
    if let Err(error) = started {
        tracing::error!(%error, "windows of other processes are not read: exogenous series may be missing");
    }
}
