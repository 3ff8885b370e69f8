//! A ledger that does not add up is found at the next snapshot, turns readiness false and names the stage.

mod stage;

use prometheus::Registry as Prometheus;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use stage::start;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidecast_actors::actions::{ActionOrder, ActionSink};
use tidecast_actors::aggregator::{Aggregator, AggregatorArguments};
use tidecast_actors::brain::StreamModels;
use tidecast_actors::decisions::Decisions;
use tidecast_actors::elsewhere::Elsewhere;
use tidecast_actors::fit_pool::FitPool;
use tidecast_actors::house::House;
use tidecast_actors::intake::Intake;
use tidecast_actors::messages::{AggregatorMessage, BatchOutput, PublisherMessage};
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::stats::Stats;
use tidecast_config::{Settings, Sources};
use tidecast_event::TopicPartition;
use tidecast_mailbox::{Capacity, Envelope, Mailbox, Meters};
use tidecast_ports::source::BatchPool;
use tidecast_ports::{Health, RecordBatch, RecordMeta};

/// An intake whose ledger is wrong while it is told to be.
struct Miscounting(Arc<AtomicBool>);

impl Intake for Miscounting {
    fn take_one(&mut self, _: &RecordBatch, _: &RecordMeta, _: &mut BatchOutput) {}
    fn idle_after(&self) -> Option<Duration> {
        None
    }
    fn close_idle(&mut self, _: Duration, _: &mut BatchOutput) -> Option<String> {
        None
    }
    fn replay(&mut self, _: &str, _: &mut BatchOutput) {}
    fn encode(&self, _: &mut Vec<u8>) {}
    fn imbalance(&self) -> Option<String> {
        self.0.load(SeqCst).then(|| "one record too many".to_owned())
    }
    fn tell_metrics(&mut self) {}
}

struct Nobody;

impl Actor for Nobody {
    type Msg = Envelope<PublisherMessage>;
    type State = ();
    type Arguments = ();
    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl ActionSink for Nobody {
    fn act(&self, _: ActionOrder) {}
}

#[tokio::test]
async fn readiness_names_the_stage_until_it_adds_up_again() {
    let metrics = PipelineMetrics::new(&Prometheus::new()).expect("metrics are well formed");
    let meters = Meters::default();
    let (publisher, _) = Actor::spawn(None, Nobody, ()).await.expect("an actor");
    let publisher = Mailbox::new(publisher, Capacity { messages: 4, meter: meters.of("publisher") });
    let house = Arc::new(House {
        settings: Arc::new(Settings::load(&Sources::default()).expect("the defaults are valid")),
        catalog: Arc::default(),
        book: Arc::default(),
        registry: Arc::default(),
        regressors: Arc::default(),
        brains: Arc::new(StreamModels),
        fits: FitPool::new(1),
        metrics: metrics.clone(),
        meters: meters.clone(),
        tally: Arc::default(),
        publisher,
        pool: BatchPool::new(1),
        partitions: OnceLock::from(BTreeMap::new()),
        actions: Arc::new(Nobody),
        suspects: Arc::default(),
        tracing: None,
        rebuild: None,
    });
    let (registry, catalog) = (house.registry.clone(), house.catalog.clone());
    let elsewhere = Elsewhere::new("here".to_owned(), registry, catalog, Duration::from_secs(1), 10);
    let stats = Stats::start(house.clone(), None, Arc::new(elsewhere));
    let mut stage = start(&[], Arc::new(StreamModels), Vec::new()).await;
    let wrong = Arc::new(AtomicBool::new(false));
    let arguments = AggregatorArguments {
        partition: TopicPartition::new("events", 3),
        life: 0,
        topic_id: None,
        intake: Box::new(Miscounting(wrong.clone())),
        start: 0,
        speak_from: 0,
        decisions: Decisions::default(),
        forecasting: stage.mailbox.clone(),
        pool: house.pool.clone(),
        wake: Arc::default(),
        metrics,
        suspects: Arc::default(),
        tracing: None,
        rebuild: None,
    };
    let (aggregator, _) = Actor::spawn(None, Aggregator, arguments).await.expect("the aggregator starts");
    let aggregator = Mailbox::new(aggregator, Capacity { messages: 4, meter: meters.of("aggregator") });
    house.catalog.set_read();
    for (is_wrong, ready) in [(false, true), (true, false), (false, true)] {
        wrong.store(is_wrong, SeqCst);
        aggregator.send(AggregatorMessage::Snapshot).await.expect("the aggregator lives");
        stage.out.recv().await.expect("the snapshot goes on");
        let health = stats.ready();
        assert_eq!(health.ok, ready, "{}", health.detail);
        assert!(ready || health.detail.contains("events[3]") && health.detail.contains("aggregator"));
    }
}
