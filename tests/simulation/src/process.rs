//! One process of the group: everything that a service wires together, on ports of the simulated world.

use crate::broker::Broker;
use crate::disk::SimDisk;
use crate::group::{Group, Inbox};
use crate::producer::SimProducer;
use crate::random::Seeded;
use crate::touchy::Touchy;
use crate::workload::Plan;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tidecast_actors::actions::{ActionOrder, ActionSink};
use tidecast_actors::brain::StreamModels;
use tidecast_actors::catalog::{Catalog, Registered, Registrar};
use tidecast_actors::events_intake::EventsIntake;
use tidecast_actors::fit_pool::FitPool;
use tidecast_actors::house::House;
use tidecast_actors::intake::Intake;
use tidecast_actors::messages::PublisherMessage;
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::partials_intake::PartialsIntake;
use tidecast_actors::publisher::{Publisher, PublisherArguments};
use tidecast_actors::repartition;
use tidecast_actors::rule_book::RuleBook;
use tidecast_actors::snapshots::SnapshotQueue;
use tidecast_actors::topology::{Failover, Topology, TopologyParts};
use tidecast_actors::workplace::{Pace, Step, Workplace};
use tidecast_mailbox::restart::Policy;
use tidecast_mailbox::{Capacity, Mailbox, Meters};
use tidecast_ports::SnapshotStore;
use tidecast_ports::source::BatchPool;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Notes kept of a history.
const NOTES: usize = 4_000;

/// What all processes of a history share.
pub struct World {
    /// What was decided beforehand.
    pub plan: Plan,
    broker: Mutex<Broker>,
    group: Mutex<Group>,
    random: Mutex<Seeded>,
    /// Nothing goes wrong any more.
    pub calm: AtomicBool,
    notes: Mutex<Vec<String>>,
    begun: Instant,
    /// Slots whose process has ended by itself since they were looked at.
    pub deaths: Mutex<Vec<usize>>,
    /// One has.
    pub died: Notify,
    /// Folders of the processes' disks.
    pub dir: PathBuf,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world before anything happens.
    pub fn new(plan: Plan, broker: Broker, group: Group, dir: PathBuf) -> Arc<World> {
        let random = Mutex::new(Seeded::new(plan.seed, 2));
        Arc::new(World {
            plan,
            broker: Mutex::new(broker),
            group: Mutex::new(group),
            random,
            calm: AtomicBool::new(false),
            notes: Mutex::default(),
            begun: Instant::now(),
            deaths: Mutex::default(),
            died: Notify::new(),
            dir,
        })
    }

    /// The cluster. One thread: never held across an await.
    pub fn broker(&self) -> MutexGuard<'_, Broker> {
        locked(&self.broker)
    }

    /// The group. Locked before the broker where both are.
    pub fn group(&self) -> MutexGuard<'_, Group> {
        locked(&self.group)
    }

    /// Whether something happens that does so `per_mille` times in a thousand.
    pub fn draw(&self, per_mille: u64) -> bool {
        per_mille > 0 && !self.calm.load(SeqCst) && locked(&self.random).chance(per_mille)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        locked(&self.random).below(bound)
    }

    /// Something worth telling when the history fails.
    pub fn note(&self, what: String) {
        let mut notes = locked(&self.notes);
        if notes.len() < NOTES {
            notes.push(format!("{:6} ms {what}", self.begun.elapsed().as_millis()));
        }
    }

    /// What was noted.
    pub fn notes(&self) -> Vec<String> {
        locked(&self.notes).clone()
    }
}

/// Whether and how a process lives; every port asks it first.
pub struct Life {
    /// Where it lives.
    pub world: Arc<World>,
    /// Its place, and with it its transactional name.
    pub slot: usize,
    number: u64,
    alive: AtomicBool,
    cut_off: AtomicBool,
    leaving: AtomicBool,
    member: Mutex<String>,
    joined: AtomicU64,
}

impl Life {
    /// It is.
    pub fn is_alive(&self) -> bool {
        self.alive.load(SeqCst)
    }

    /// It hears nothing of the group.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(SeqCst)
    }

    /// It hears of the group, or not.
    pub fn cut_off(&self, off: bool) {
        self.cut_off.store(off, SeqCst);
    }

    /// It is to end in order.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(SeqCst)
    }

    /// Has it end in order.
    pub fn leave(&self) {
        self.leaving.store(true, SeqCst);
    }

    /// The process is gone from here on: nothing that it still does reaches anybody.
    pub fn crash(&self) {
        if self.alive.swap(false, SeqCst) {
            self.world.note(format!("process {} ends", self.slot));
            locked(&self.world.deaths).push(self.slot);
            self.world.died.notify_one();
        }
    }

    /// Its name in the group.
    pub fn member(&self) -> String {
        locked(&self.member).clone()
    }

    /// Joins the group under a new name.
    pub fn join(&self, inbox: &Arc<Inbox>) {
        let member = format!("{}-{}", self.number, self.joined.fetch_add(1, SeqCst));
        *locked(&self.member) = member.clone();
        self.world.note(format!("process {} joins as {member}", self.slot));
        self.world.group().join(&mut self.world.broker(), &member, inbox.clone());
    }
}

impl Pace for Life {
    fn before(&self, step: Step) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let world = &self.world;
        if !self.is_alive() {
            return Box::pin(std::future::pending());
        }
        let slow = world.draw(world.plan.faults.slow_step);
        let (usual, long) = match step {
            Step::Connect => (5, 500),
            Step::Commit => (12, 400),
            Step::Snapshot => (20, 4_000),
            Step::Fit => (10, 600),
        };
        let millis = world.below(if slow { long } else { usual });
        Box::pin(tokio::time::sleep(Duration::from_millis(millis)))
    }
}

struct NoActions;

impl ActionSink for NoActions {
    fn act(&self, _: ActionOrder) {}
}

/// A running process.
pub struct Process {
    /// How it lives.
    pub life: Arc<Life>,
    /// Its trees.
    pub topology: Topology,
    /// Its counters.
    pub registry: prometheus::Registry,
    disk: Arc<SimDisk>,
    publisher: Mailbox<PublisherMessage>,
    source: JoinHandle<()>,
}

impl Process {
    /// Starts one in a slot, on the disk that is there.
    pub async fn start(world: &Arc<World>, slot: usize, number: u64) -> Result<Process, String> {
        let life = Arc::new(Life {
            world: world.clone(),
            slot,
            number,
            alive: AtomicBool::new(true),
            cut_off: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            member: Mutex::default(),
            joined: AtomicU64::new(0),
        });
        let folder: &Path = &world.dir.join(slot.to_string());
        let disk = Arc::new(SimDisk::open(&life, folder)?);
        let workplace = Workplace::InTurn(life.clone());
        let registry = prometheus::Registry::new();
        let metrics = PipelineMetrics::new(&registry).map_err(|error| error.to_string())?;
        let meters = Meters::default();
        let store: Arc<dyn SnapshotStore> = disk.clone();
        let queue = SnapshotQueue::start(store.clone(), metrics.clone(), workplace.clone());
        let (snapshots, _) = queue.map_err(|error| error.to_string())?;
        let failover = Arc::new(Failover::default());
        let of = life.clone();
        let arguments = PublisherArguments {
            try_now: tokio::sync::watch::channel(true).1,
            make: Arc::new(move || Ok(Box::new(SimProducer::connect(&of)?))),
            events: failover.clone(),
            snapshots,
            metrics: metrics.clone(),
            workplace: workplace.clone(),
        };
        let spawned = ractor::Actor::spawn(None, Publisher, arguments).await;
        let (publisher, _) = spawned.map_err(|error| error.to_string())?;
        let room = Capacity { messages: 64, meter: meters.of("publisher") };
        let publisher = Mailbox::weighing(publisher, room, 16 << 20, PublisherMessage::weight);
        let house = Arc::new(House {
            settings: world.plan.settings.clone(),
            catalog: Arc::new(catalog(&world.plan)),
            book: Arc::new(book(&world.plan)),
            registry: Arc::default(),
            regressors: Arc::default(),
            brains: Arc::new(StreamModels),
            fits: FitPool::at(workplace, 2),
            metrics,
            meters,
            tally: Arc::default(),
            publisher: publisher.clone(),
            pool: BatchPool::new(8),
            partitions: OnceLock::new(),
            suspects: Arc::default(),
            actions: Arc::new(NoActions),
            tracing: None,
            rebuild: None,
        });
        let counts =
            world.broker().logs.keys().fold(std::collections::BTreeMap::new(), |mut counts, place| {
                *counts.entry(place.topic.to_string()).or_insert(0) += 1;
                counts
            });
        // Set once, just above.
        let _ = house.partitions.set(counts);
        let intakes = house.clone();
        let topology = Topology::new(TopologyParts {
            house,
            intakes: Arc::new(move |partition, record| -> Result<Box<dyn Intake>, String> {
                Ok(Box::new(match repartition::series_of(&intakes.settings, &partition.topic) {
                    Some(series) => Touchy::new(PartialsIntake::new(&intakes, partition, series, record)?),
                    None => Touchy::new(EventsIntake::new(&intakes, partition, record)?),
                }))
            }),
            store,
            runtime: tokio::runtime::Handle::current(),
            policy: Policy::default(),
            standby: None,
            follows: false,
        });
        failover.connect(&topology);
        let inbox = Arc::new(Inbox::default());
        let restarts = inbox.clone();
        topology.connect(Arc::new(move |partition| restarts.restart(partition)));
        life.join(&inbox);
        let source = tokio::spawn(crate::source::run(life.clone(), inbox, topology.clone()));
        Ok(Process { life, topology, registry, disk, publisher, source })
    }

    /// Ends it without a word: what it holds is gone.
    pub fn kill(self) {
        self.life.crash();
        self.source.abort();
        self.disk.close();
        self.publisher.cell().kill();
        let topology = self.topology;
        tokio::spawn(async move {
            topology.begin_stop();
            let running = topology.state().running;
            topology.lost(&running).await;
        });
    }

    /// Its counter of that name, of one input partition.
    pub fn counter(&self, name: &str, partition: i32) -> Option<u64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let number = partition.to_string();
        let metric = family.get_metric().iter().find(|metric| {
            let label = |name: &str, value: &str| {
                metric.get_label().iter().any(|label| label.name() == name && label.value() == value)
            };
            label("topic", "analytics-events") && label("partition", &number)
        })?;
        Some(metric.get_counter().get_value() as u64)
    }
}

fn catalog(plan: &Plan) -> Catalog {
    let catalog = Catalog::default();
    for model in &plan.models {
        let registered = Registered::new(Some(model.clone()), Registrar::File, 1);
        catalog.set_model(&model.model_id, Some(registered));
    }
    catalog
}

fn book(plan: &Plan) -> RuleBook {
    let book = RuleBook::default();
    if let Some((rule, _)) = &plan.rule {
        book.set(&rule.name, Some((rule, Registrar::File)));
    }
    book
}
