//! The forecasting stage of a partition: owns its forecasters, receives batches with closed windows, emits them on
//! with forecasts and anomalies, in order.
//!
//! A batch waits until every model it was shown to has answered. A model that dies is missing from the batch, told
//! as trouble, and started again by the restart policy; its siblings do not notice.

use crate::brain::BrainMaker;
use crate::catalog::{Catalog, ModelIndex, Wanted};
use crate::fit_pool::FitPool;
use crate::forecaster::{self, Forecaster, ForecasterArguments, Progress};
use crate::messages::{BatchOutput, ForecasterMessage, ForecastingMessage, ModelOutput, ModelRecord};
use crate::metrics::PipelineMetrics;
use crate::registry::{ModelEntry, ModelStatus, Registry};
use crate::{trouble, wire};
use hashbrown::HashMap;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tidecast_config::ModelSpec;
use tidecast_event::{OutputId, Priority, TopicPartition};
use tidecast_mailbox::restart::{Decision, Policy, decide};
use tidecast_mailbox::{Capacity, Envelope, Mailbox, Meters, Permit};
use tidecast_ports::control::ModelState;
use tokio::time::Instant;

/// Messages that may wait at one model: a slow fit then holds its partition back, not memory.
const FORECASTER_MAILBOX: usize = 16;

/// Sends a finished batch to the next stage, waiting for room.
pub type Downstream = Arc<
    dyn Fn(Box<BatchOutput>) -> Pin<Box<dyn Future<Output = Result<(), tidecast_mailbox::SendError>> + Send>>
        + Send
        + Sync,
>;

/// The actor.
pub struct Forecasting;

/// What the stage is started with.
pub struct ForecastingArguments {
    /// The input partition.
    pub partition: TopicPartition,
    /// Which life of its tree this is.
    pub life: u64,
    /// What is wanted.
    pub catalog: Arc<Catalog>,
    /// Where models are seen by others.
    pub registry: Arc<Registry>,
    /// Makes models.
    pub brains: Arc<dyn BrainMaker>,
    /// Where fits run.
    pub fits: FitPool,
    /// Counters.
    pub metrics: PipelineMetrics,
    /// Mailboxes' counters.
    pub meters: Meters,
    /// The next stage.
    pub downstream: Downstream,
    /// Models of the snapshot this life begins with.
    pub restored: Vec<ModelRecord>,
    /// When a model that failed is started again.
    pub policy: Policy,
    /// `realtime_ml.max_latency_ms`.
    pub max_latency: Duration,
}

struct Model {
    wanted: Wanted,
    entry: Arc<ModelEntry>,
    mailbox: Option<Mailbox<ForecasterMessage>>,
    actor: Option<ActorId>,
    failures: Vec<Duration>,
    /// When to forecast again by `update_frequency_seconds`.
    due: Option<Instant>,
}

struct Waiting {
    output: Box<BatchOutput>,
    /// Room of the batch in this stage's own mailbox, kept until the batch leaves it.
    permit: Option<Permit>,
    answers: Vec<Option<Box<ModelOutput>>>,
    asked: Vec<ActorId>,
    missing: usize,
}

/// The stage's state.
pub struct ForecastingState {
    with: ForecastingArguments,
    myself: ActorRef<Envelope<ForecastingMessage>>,
    started: Instant,
    generation: u64,
    index: ModelIndex,
    models: Vec<Model>,
    by_series: HashMap<(Arc<str>, Arc<str>), Vec<usize>, foldhash::fast::RandomState>,
    by_actor: HashMap<ActorId, usize>,
    restored: BTreeMap<String, ModelRecord>,
    waiting: VecDeque<Waiting>,
    first_batch: u64,
}

impl Actor for Forecasting {
    type Msg = Envelope<ForecastingMessage>;
    type State = ForecastingState;
    type Arguments = ForecastingArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        mut with: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let restored = with.restored.drain(..).map(|record| (record.model_id.clone(), record)).collect();
        let mut state = ForecastingState {
            with,
            myself,
            started: Instant::now(),
            generation: u64::MAX,
            index: ModelIndex::default(),
            models: Vec::new(),
            by_series: HashMap::default(),
            by_actor: HashMap::default(),
            restored,
            waiting: VecDeque::new(),
            first_batch: 0,
        };
        state.reconcile().await;
        state.start_restored().await;
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Envelope { message, permit } = envelope;
        match message {
            ForecastingMessage::Batch(output) => state.take(output, permit).await?,
            ForecastingMessage::Answer { batch, slot, output } => state.answered(batch, slot, output),
            ForecastingMessage::Tick => state.forecast_again(permit).await,
        }
        state.release().await
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, error) = event {
            state.model_failed(&who, &error.to_string()).await;
            state.release().await?;
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        for model in &state.models {
            model.entry.attach(None);
        }
        Ok(())
    }
}

impl ForecastingState {
    async fn take(
        &mut self,
        output: Box<BatchOutput>,
        permit: Option<Permit>,
    ) -> Result<(), ActorProcessingErr> {
        self.reconcile().await;
        let batch = self.first_batch + self.waiting.len() as u64;
        let mut asked = Vec::new();
        if !self.index.is_empty() {
            for window in &output.closed {
                let aggregate = &window.aggregate;
                for at in self.models_of(aggregate.series.clone(), aggregate.key.clone()).await {
                    let message = ForecasterMessage::Observe {
                        batch,
                        slot: asked.len(),
                        window: aggregate.clone(),
                        advance_micros: window.advance_micros,
                        silent: output.silent,
                    };
                    self.ask(at, message, &mut asked).await;
                }
            }
        }
        if output.snapshot.is_some() {
            for at in 0..self.models.len() {
                let message = ForecasterMessage::Snapshot { batch, slot: asked.len() };
                self.ask(at, message, &mut asked).await;
            }
        }
        self.wait_for(output, permit, asked);
        Ok(())
    }

    async fn ask(&mut self, at: usize, message: ForecasterMessage, asked: &mut Vec<ActorId>) {
        let model = &self.models[at];
        let (Some(mailbox), Some(actor)) = (&model.mailbox, model.actor) else { return };
        if mailbox.send(message).await.is_ok() {
            asked.push(actor);
        }
    }

    fn wait_for(&mut self, output: Box<BatchOutput>, permit: Option<Permit>, asked: Vec<ActorId>) {
        let answers = asked.iter().map(|_| None).collect();
        self.waiting.push_back(Waiting { output, permit, answers, missing: asked.len(), asked });
    }

    fn answered(&mut self, batch: u64, slot: usize, output: Box<ModelOutput>) {
        let Some(waiting) =
            batch.checked_sub(self.first_batch).and_then(|at| self.waiting.get_mut(at as usize))
        else {
            return;
        };
        if let Some(answer) = waiting.answers.get_mut(slot)
            && answer.is_none()
        {
            *answer = Some(output);
            waiting.missing -= 1;
        }
    }

    /// Sends on every batch at the front that has all its answers.
    async fn release(&mut self) -> Result<(), ActorProcessingErr> {
        while self.waiting.front().is_some_and(|waiting| waiting.missing == 0) {
            let Some(Waiting { mut output, permit, answers, asked, .. }) = self.waiting.pop_front() else {
                break;
            };
            self.first_batch += 1;
            let mut states = Vec::new();
            for (answer, actor) in answers.into_iter().flatten().zip(asked) {
                let ModelOutput { records, anomaly, forecast, state } = *answer;
                if !output.silent {
                    output.records.extend(records);
                    self.with.metrics.models.anomalies.inc_by(anomaly.is_some().into());
                    output.anomalies.extend(anomaly);
                    output.forecasts.extend(forecast);
                }
                if let Some(state) = state {
                    states.extend(self.record_of(actor, state));
                }
            }
            if let Some(parts) = &mut output.snapshot {
                parts.models = states;
                // Models of the last snapshot whose series has not been seen in this life.
                parts.models.extend(self.restored.values().cloned());
            }
            (self.with.downstream)(output).await?;
            drop(permit);
        }
        Ok(())
    }

    fn record_of(&self, actor: ActorId, state: Vec<u8>) -> Option<ModelRecord> {
        let spec = &self.models[*self.by_actor.get(&actor)?].wanted.spec;
        let series = spec.series.as_ref()?;
        Some(ModelRecord {
            model_id: spec.model_id.clone(),
            family: series.family.clone(),
            key: series.key.clone(),
            fingerprint: fingerprint(spec),
            state,
        })
    }

    /// The models of a series, made on the first sight of it.
    async fn models_of(&mut self, series: Arc<str>, key: Arc<str>) -> Vec<usize> {
        if let Some(models) = self.by_series.get(&(series.clone(), key.clone())) {
            return models.clone();
        }
        let mut models = Vec::new();
        for wanted in self.index.wanted(&series, &key) {
            models.push(self.start(wanted).await);
        }
        self.by_series.insert((series, key), models.clone());
        models
    }

    async fn start(&mut self, wanted: Wanted) -> usize {
        let status = ModelStatus::new(ModelState::WarmingUp);
        let entry = Arc::new(ModelEntry::new(wanted.spec.clone(), wanted.template.clone(), status));
        self.with.registry.put(entry.clone());
        let due =
            wanted.spec.update_frequency_seconds.map(|every| Instant::now() + Duration::from_secs_f64(every));
        let record = self.restored.remove(&wanted.spec.model_id);
        // Registered anew with other settings while nobody ran it: it begins anew.
        let record = record.filter(|record| record.fingerprint == fingerprint(&wanted.spec));
        self.models.push(Model { wanted, entry, mailbox: None, actor: None, failures: Vec::new(), due });
        let at = self.models.len() - 1;
        self.spawn(at, record.map(|record| record.state)).await;
        at
    }

    async fn spawn(&mut self, at: usize, record: Option<Vec<u8>>) {
        let model = &mut self.models[at];
        let spec = &model.wanted.spec;
        let restored =
            record.and_then(|record| forecaster::decode(&record)).and_then(|(progress, record)| {
                self.with.brains.restore(&record).ok().map(|brain| (progress, brain))
            });
        let made = match restored {
            Some(restored) => Ok(restored),
            None => self.with.brains.make(spec).map(|brain| (Progress::default(), brain)),
        };
        let (progress, brain) = match made {
            Ok(made) => made,
            Err(error) => {
                model.entry.set_status(|status| {
                    status.state = ModelState::Failed;
                    status.error = Some(error.to_string());
                });
                return;
            }
        };
        let arguments = ForecasterArguments {
            entry: model.entry.clone(),
            brain,
            progress,
            answers: Mailbox::reply_address(&self.myself),
            fits: self.with.fits.clone(),
            metrics: self.with.metrics.models.clone(),
            registry: self.with.registry.clone(),
            max_latency: self.with.max_latency,
        };
        match Actor::spawn_linked(None, Forecaster, arguments, self.myself.get_cell()).await {
            Ok((actor, _)) => {
                model.actor = Some(actor.get_id());
                self.by_actor.insert(actor.get_id(), at);
                let meter = self.with.meters.of("forecaster");
                let mailbox = Mailbox::new(actor, Capacity { messages: FORECASTER_MAILBOX, meter });
                model.entry.attach(Some(mailbox.clone()));
                model.mailbox = Some(mailbox);
            }
            Err(error) => {
                tracing::error!(model = %spec.model_id, %error, "a model could not be started");
                model.entry.set_status(|status| {
                    status.state = ModelState::Failed;
                    status.error = Some(error.to_string());
                });
            }
        }
    }

    /// Models of the snapshot are started at once: readers ask for them before their series is seen again.
    async fn start_restored(&mut self) {
        let records: Vec<ModelRecord> = self.restored.values().cloned().collect();
        for record in records {
            let wanted = self.index.wanted(&record.family, &record.key);
            if wanted.iter().any(|wanted| wanted.spec.model_id == record.model_id) {
                self.models_of(record.family.as_str().into(), record.key.as_str().into()).await;
            }
        }
        // What nobody wants any more is not carried into the next snapshot.
        self.restored.clear();
    }

    /// Follows the catalog: models that were removed or changed stop; those that remain keep their state.
    async fn reconcile(&mut self) {
        let generation = self.with.catalog.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        self.index = self.with.catalog.models_by_series();
        let mut kept = Vec::with_capacity(self.models.len());
        for model in self.models.drain(..) {
            let series = model.wanted.spec.series.as_ref();
            let still = series.is_some_and(|series| {
                let wanted = self.index.wanted(&series.family, &series.key);
                wanted.iter().any(|wanted| wanted.spec == model.wanted.spec)
            });
            if still {
                kept.push(model);
            } else {
                if let Some(mailbox) = &model.mailbox {
                    // What was asked of it before is answered still: a drain, not a kill.
                    let _ = mailbox.cell().drain();
                }
                model.entry.attach(None);
                self.with.registry.remove(&model.entry);
            }
        }
        self.models = kept;
        self.by_series.clear();
        self.by_actor = (self.models.iter().enumerate())
            .filter_map(|(at, model)| model.actor.map(|actor| (actor, at)))
            .collect();
        let known: Vec<(Arc<str>, Arc<str>)> = self
            .models
            .iter()
            .filter_map(|model| model.wanted.spec.series.as_ref())
            .map(|series| (series.family.as_str().into(), series.key.as_str().into()))
            .collect();
        for (series, key) in known {
            self.index_series(series, key).await;
        }
    }

    /// The models of a series that has some running: those that run, and new ones the catalog wants.
    async fn index_series(&mut self, series: Arc<str>, key: Arc<str>) {
        if self.by_series.contains_key(&(series.clone(), key.clone())) {
            return;
        }
        let mut models = Vec::new();
        for wanted in self.index.wanted(&series, &key) {
            let running =
                self.models.iter().position(|model| model.wanted.spec.model_id == wanted.spec.model_id);
            models.push(match running {
                Some(at) => at,
                None => self.start(wanted).await,
            });
        }
        self.by_series.insert((series, key), models);
    }

    async fn model_failed(&mut self, who: &ActorCell, error: &str) {
        let actor = who.get_id();
        // What it was asked and has not answered is answered by nothing.
        for waiting in &mut self.waiting {
            for (slot, asked) in waiting.asked.iter().enumerate() {
                if *asked == actor && waiting.answers[slot].is_none() {
                    waiting.answers[slot] = Some(Box::default());
                    waiting.missing -= 1;
                }
            }
        }
        let Some(at) = self.by_actor.remove(&actor) else { return };
        self.with.metrics.models.inference_failures.inc();
        let model = &mut self.models[at];
        let id = model.wanted.spec.model_id.clone();
        model.actor = None;
        model.mailbox = None;
        model.entry.attach(None);
        model.failures.push(self.started.elapsed());
        let decision = decide(&self.with.policy, &model.failures);
        tracing::error!(model = %id, error, ?decision, "a model failed; its siblings go on");
        model.entry.set_status(|status| {
            status.state = ModelState::Failed;
            status.error = Some(format!("it failed and was stopped: {error}"));
        });
        if let Some(waiting) = self.waiting.back_mut() {
            let message = format!("model {id} failed and was {}: {error}", verb(decision));
            waiting.output.troubles.push(trouble::alert("forecaster", Some(&id), Priority::High, message));
        }
        match decision {
            // A model is small: starting it again is the same for both, and at once, for its windows do not wait.
            Decision::Restart(_) | Decision::Rebuild(_) => self.spawn(at, None).await,
            Decision::Quarantine => {}
        }
    }

    /// Forecasts that `update_frequency_seconds` asks for: read from the state as it is, tied to no input.
    async fn forecast_again(&mut self, permit: Option<Permit>) {
        let now = Instant::now();
        let batch = self.first_batch + self.waiting.len() as u64;
        let mut asked = Vec::new();
        for at in 0..self.models.len() {
            let model = &mut self.models[at];
            let Some(due) = model.due.filter(|due| *due <= now) else { continue };
            let every = Duration::from_secs_f64(model.wanted.spec.update_frequency_seconds.unwrap_or(1.0));
            // From when it was due, so that the rhythm holds; from now, when more than one was missed.
            model.due = Some(if due + every > now { due + every } else { now + every });
            let message = ForecasterMessage::Again { batch, slot: asked.len() };
            self.ask(at, message, &mut asked).await;
        }
        if !asked.is_empty() {
            let output = BatchOutput::new(self.with.partition.clone(), self.with.life, None);
            self.wait_for(Box::new(output), permit, asked);
        }
    }
}

/// Of a model as registered.
fn fingerprint(spec: &ModelSpec) -> u128 {
    OutputId::of(&[&wire::json(spec)]).0
}

fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Quarantine => "put in quarantine",
        Decision::Restart(_) | Decision::Rebuild(_) => "started again",
    }
}
