//! A forecasting stage on its own: real models or a test's, and what comes out at its end.

// Each scenario uses what it needs of it.
#![allow(dead_code)]

use prometheus::Registry as Prometheus;
use ractor::Actor;
use std::sync::Arc;
use tidecast_actors::brain::BrainMaker;
use tidecast_actors::catalog::{Catalog, Registered, Registrar};
use tidecast_actors::fit_pool::FitPool;
use tidecast_actors::forecasting::{Forecasting, ForecastingArguments};
use tidecast_actors::messages::{BatchOutput, ClosedWindow, ForecastingMessage, ModelRecord};
use tidecast_actors::metrics::PipelineMetrics;
use tidecast_actors::registry::Registry;
use tidecast_actors::regressors::Regressors;
use tidecast_config::ModelSpec;
use tidecast_event::{Aggregate, EventTime, TopicPartition};
use tidecast_mailbox::restart::Policy;
use tidecast_mailbox::{Capacity, Mailbox, Meters};
use tokio::sync::mpsc;

/// An hour, in microseconds: every window here is that long.
pub const HOUR: i64 = 3_600_000_000;

/// The stage, its registry, and the batches that leave it.
pub struct Stage {
    pub mailbox: Mailbox<ForecastingMessage>,
    pub registry: Arc<Registry>,
    pub catalog: Arc<Catalog>,
    pub regressors: Arc<Regressors>,
    pub out: mpsc::Receiver<Box<BatchOutput>>,
}

/// Starts a stage with these models registered.
pub async fn start(
    models: &[serde_json::Value],
    brains: Arc<dyn BrainMaker>,
    restored: Vec<ModelRecord>,
) -> Stage {
    let catalog = Catalog::default();
    for model in models {
        register(&catalog, model, 1);
    }
    start_with(catalog, brains, restored).await
}

/// Starts a stage with this catalog.
pub async fn start_with(catalog: Catalog, brains: Arc<dyn BrainMaker>, restored: Vec<ModelRecord>) -> Stage {
    let catalog = Arc::new(catalog);
    let registry = Arc::new(Registry::default());
    let regressors = Arc::new(Regressors::default());
    let meters = Meters::default();
    let (sender, out) = mpsc::channel(64);
    let arguments = ForecastingArguments {
        partition: TopicPartition::new("events", 0),
        life: 0,
        catalog: catalog.clone(),
        registry: registry.clone(),
        regressors: regressors.clone(),
        brains,
        fits: FitPool::new(2),
        metrics: PipelineMetrics::new(&Prometheus::new()).expect("metrics are well formed"),
        meters: meters.clone(),
        downstream: Arc::new(move |output| {
            let sender = sender.clone();
            Box::pin(async move { sender.send(output).await.map_err(|_| tidecast_mailbox::SendError) })
        }),
        restored,
        policy: Policy::default(),
        max_latency: std::time::Duration::from_secs(1),
    };
    let (actor, _) = Actor::spawn(None, Forecasting, arguments).await.expect("the stage starts");
    let mailbox = Mailbox::new(actor, Capacity { messages: 16, meter: meters.of("forecasting") });
    Stage { mailbox, registry, catalog, regressors, out }
}

/// Registers a model, or changes it.
pub fn register(catalog: &Catalog, model: &serde_json::Value, version: u64) {
    let spec = ModelSpec::from_json(model).expect("a valid model");
    let id = spec.model_id.clone();
    catalog.set_model(&id, Some(Registered::new(Some(spec), Registrar::Api, version)));
}

/// A batch that closes the `hour`-th window of each key with the given count.
pub fn batch(hour: i64, counts: &[(&str, u64)]) -> Box<BatchOutput> {
    let mut output = BatchOutput::new(TopicPartition::new("events", 0), 0, Some(hour + 1));
    for (key, count) in counts {
        let aggregate = Aggregate {
            series: "departures".into(),
            key: (*key).into(),
            event_type: None,
            window_start: EventTime(hour * HOUR),
            window_end: EventTime((hour + 1) * HOUR),
            event_count: *count,
            aggregates: Default::default(),
            revision: 0,
            late_count: 0,
        };
        let newest = EventTime((hour + 1) * HOUR);
        output.closed.push(ClosedWindow { aggregate: Arc::new(aggregate), advance_micros: HOUR, newest });
    }
    Box::new(output)
}

impl Stage {
    /// Sends a batch in and waits for it to come out.
    pub async fn pass(&mut self, output: Box<BatchOutput>) -> Box<BatchOutput> {
        self.mailbox.send(ForecastingMessage::Batch(output)).await.expect("the stage lives");
        self.out.recv().await.expect("the batch comes out")
    }
}
