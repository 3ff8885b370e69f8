//! The forecasting stage of a partition: owns its forecasters, receives batches with closed windows, emits them on
//! with forecasts and anomalies, in order.
//!
//! A batch waits until every model it was shown to has answered. A model that dies is missing from the batch, told
//! as trouble, and started again by the restart policy; its siblings do not notice. Which models there are is followed in
//! [`models`].

mod models;

use crate::brain::BrainMaker;
use crate::catalog::{Catalog, ModelIndex, Wanted};
use crate::fit_pool::FitPool;
use crate::messages::{
    Answers, BatchOutput, ClosedWindow, ForecasterMessage, ForecastingMessage, ModelOutput, ModelRecord,
    Place,
};
use crate::metrics::PipelineMetrics;
use crate::registry::{ModelEntry, Registry};
use crate::regressors::Regressors;
use hashbrown::HashMap;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_mailbox::restart::Policy;
use tidecast_mailbox::{Envelope, Mailbox, Meters, Permit};
use tidecast_ports::{Destination, OutputRecord};
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
    /// What models have as exogenous series.
    pub regressors: Arc<Regressors>,
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
    answers: Arc<Answers>,
    /// Who gives them, in their order; `None` for one that was not there to be asked.
    asked: Vec<Option<ActorId>>,
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
            // What is finished is released below.
            ForecastingMessage::Answered => {}
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
}

impl Drop for ForecastingState {
    /// However the actor ends: who kills it does not let it stop.
    fn drop(&mut self) {
        for model in &self.models {
            model.entry.attach(None);
            self.with.registry.leave(&model.entry);
        }
    }
}

impl ForecastingState {
    async fn take(
        &mut self,
        mut output: Box<BatchOutput>,
        permit: Option<Permit>,
    ) -> Result<(), ActorProcessingErr> {
        self.reconcile().await;
        if self.with.regressors.are_wanted() {
            self.send_ahead(&mut output).await?;
        }
        // Whom to ask, and the closed window that it is about; without one its state is wanted.
        let mut questions = Vec::new();
        if !self.index.is_empty() {
            // All before a model is shown one: windows that begin together close in any order.
            self.with.regressors.put(output.closed.iter().map(|window| &*window.aggregate));
            for window in &output.closed {
                let aggregate = &window.aggregate;
                let models = self.models_of(aggregate.series.clone(), aggregate.key.clone()).await;
                questions.extend(models.into_iter().map(|at| (at, Some(window))));
            }
        }
        if output.snapshot.is_some() {
            questions.extend((0..self.models.len()).map(|at| (at, None)));
        }
        let silent = output.silent;
        let question = |window: Option<&ClosedWindow>, place| match window {
            Some(ClosedWindow { aggregate, advance_micros, .. }) => {
                let (window, advance_micros) = (aggregate.clone(), *advance_micros);
                ForecasterMessage::Observe { place, window, advance_micros, silent }
            }
            None => ForecasterMessage::Snapshot { place },
        };
        let answers = Answers::none_of(questions.len());
        let mut asked = Vec::with_capacity(questions.len());
        for (at, window) in questions {
            asked.push(self.ask(at, &answers, asked.len(), |place| question(window, place)).await);
        }
        self.waiting.push_back(Waiting { output, permit, answers, asked });
        Ok(())
    }

    /// Asks a model for its answer in that place, and says whom; where nobody is there to be asked, the place is given up.
    async fn ask(
        &self,
        model: usize,
        answers: &Arc<Answers>,
        at: usize,
        question: impl FnOnce(Place) -> ForecasterMessage,
    ) -> Option<ActorId> {
        let Model { mailbox, actor, .. } = &self.models[model];
        if let Some(mailbox) = mailbox
            && mailbox.send(question(answers.place(at))).await.is_ok()
        {
            return *actor;
        }
        answers.give_up(at);
        None
    }

    /// Sends partial aggregates ahead of the batch that they are in: a model of the batch may wait for the window that they
    /// make elsewhere. What comes twice after a crash is known there by its window and revision.
    async fn send_ahead(&mut self, output: &mut BatchOutput) -> Result<(), ActorProcessingErr> {
        let is_partial = |record: &mut OutputRecord| matches!(record.destination, Destination::Topic(_));
        let partials: Vec<OutputRecord> = output.records.extract_if(.., is_partial).collect();
        if partials.is_empty() {
            return Ok(());
        }
        let mut ahead = BatchOutput::new(self.with.partition.clone(), self.with.life, None);
        ahead.records = partials;
        let (output, answers) = (Box::new(ahead), Answers::none_of(0));
        self.waiting.push_back(Waiting { output, permit: None, answers, asked: Vec::new() });
        self.release().await
    }

    /// Sends on every batch at the front that has all its answers.
    async fn release(&mut self) -> Result<(), ActorProcessingErr> {
        while self.waiting.front().is_some_and(|waiting| waiting.answers.are_all_there()) {
            let Some(Waiting { mut output, permit, answers, asked }) = self.waiting.pop_front() else {
                break;
            };
            let mut states = Vec::new();
            for (answer, actor) in answers.take().zip(asked) {
                let ModelOutput { records, anomaly, forecast, state } = answer;
                if !output.silent {
                    output.records.extend(records);
                    self.with.metrics.models.anomalies.inc_by(anomaly.is_some().into());
                    output.anomalies.extend(anomaly);
                    output.forecasts.extend(forecast);
                }
                if let Some(state) = state {
                    states.extend(actor.and_then(|actor| self.record_of(actor, state)));
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
        let wanted = &self.models[*self.by_actor.get(&actor)?].wanted;
        let spec = &wanted.spec;
        let series = spec.series.as_ref()?;
        Some(ModelRecord {
            model_id: spec.model_id.clone(),
            family: series.family.clone(),
            key: series.key.clone(),
            fingerprint: wanted.fingerprint(),
            state,
        })
    }

    /// Forecasts that `update_frequency_seconds` asks for: read from the state as it is, tied to no input.
    async fn forecast_again(&mut self, permit: Option<Permit>) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (at, model) in self.models.iter_mut().enumerate() {
            let Some(was_due) = model.due.filter(|due| *due <= now) else { continue };
            let every = Duration::from_secs_f64(model.wanted.spec.update_frequency_seconds.unwrap_or(1.0));
            // From when it was due, so that the rhythm holds; from now, when more than one was missed.
            model.due = Some(if was_due + every > now { was_due + every } else { now + every });
            due.push(at);
        }
        if due.is_empty() {
            return;
        }
        let answers = Answers::none_of(due.len());
        let mut asked = Vec::with_capacity(due.len());
        for at in due {
            asked.push(self.ask(at, &answers, asked.len(), |place| ForecasterMessage::Again { place }).await);
        }
        let output = Box::new(BatchOutput::new(self.with.partition.clone(), self.with.life, None));
        self.waiting.push_back(Waiting { output, permit, answers, asked });
    }
}
