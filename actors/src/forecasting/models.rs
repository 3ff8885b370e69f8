//! The models of a partition: made when their series are first seen, followed through the catalog, started again when they
//! die.

use super::{FORECASTER_MAILBOX, ForecastingState, Model};
use crate::catalog::Wanted;
use crate::forecaster::{self, Forecaster, ForecasterArguments, Progress};
use crate::messages::{ForecasterMessage, ModelRecord};
use crate::registry::{ModelEntry, ModelStatus};
use crate::trouble;
use ractor::{Actor, ActorCell};
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::Priority;
use tidecast_mailbox::restart::{Decision, decide};
use tidecast_mailbox::{Capacity, Mailbox};
use tidecast_ports::control::ModelState;
use tokio::time::Instant;

impl ForecastingState {
    /// The models of a series, made on the first sight of it.
    pub(super) async fn models_of(&mut self, series: Arc<str>, key: Arc<str>) -> Vec<usize> {
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
        let record = record.filter(|record| record.fingerprint == wanted.fingerprint());
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
            None => {
                let progress = Progress { refits: model.wanted.refits, ..Progress::default() };
                self.with.brains.make(spec).map(|brain| (progress, brain))
            }
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
            refits: model.wanted.refits,
            answers: Mailbox::reply_address(&self.myself),
            fits: self.with.fits.clone(),
            metrics: self.with.metrics.models.clone(),
            registry: self.with.registry.clone(),
            regressors: self.with.regressors.clone(),
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
    pub(super) async fn start_restored(&mut self) {
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
    pub(super) async fn reconcile(&mut self) {
        let generation = self.with.catalog.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        self.with.regressors.follow(&self.with.catalog);
        self.index = self.with.catalog.models_by_series();
        let mut kept = Vec::with_capacity(self.models.len());
        for mut model in self.models.drain(..) {
            let series = model.wanted.spec.series.as_ref();
            let still = series.and_then(|series| {
                let wanted = self.index.wanted(&series.family, &series.key);
                wanted.into_iter().find(|wanted| wanted.spec == model.wanted.spec)
            });
            if let Some(wanted) = still {
                let asked = wanted.refits;
                if let Some(mailbox) = model.mailbox.as_ref().filter(|_| asked != model.wanted.refits) {
                    // One that has died is started again with the number.
                    let _ = mailbox.send(ForecasterMessage::Refit { asked }).await;
                }
                model.wanted = wanted;
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

    pub(super) async fn model_failed(&mut self, who: &ActorCell, error: &str) {
        let actor = who.get_id();
        // What it was asked and has not answered is answered by nothing.
        for waiting in &mut self.waiting {
            for (at, asked) in waiting.asked.iter().enumerate() {
                if *asked == Some(actor) {
                    waiting.answers.give_up(at);
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
}

fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Quarantine => "put in quarantine",
        Decision::Restart(_) | Decision::Rebuild(_) => "started again",
    }
}
