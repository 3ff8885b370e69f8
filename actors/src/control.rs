//! Models and rules by REST: reads the catalog and the registry, writes the compacted topics.

use crate::brain::BrainMaker;
use crate::catalog::{Catalog, Registered, Registrar, Wanted};
use crate::changes::Changes;
use crate::elsewhere::{self, Elsewhere, FarModel};
use crate::further::Further;
use crate::messages::ForecasterMessage;
use crate::nursery::Nursery;
use crate::paging::page;
use crate::registry::{ModelEntry, ModelStatus, Registry, Waiting};
use crate::rule_book::RuleBook;
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;
use tidecast_config::{Fault, ModelSpec, ModelType, RuleSpec, Settings, WindowSpec};
use tidecast_event::{EventTime, ForecastMessage};
use tidecast_ports::control::{
    HistoryPoint, ModelState, ModelView, PastEvent, RuleTest, RuleTestResult, RuleTrial, RuleView,
};
use tidecast_ports::paths::segment;
use tidecast_ports::{ControlError, ControlPlane, Page, PageRequest, Table};
use tokio::sync::oneshot;

/// Models of one template that a new fit was asked for by name: they stand in one record.
const REFITS_MAX: usize = 1_000;

/// What the control plane works with. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    /// As configured.
    pub settings: Arc<Settings>,
    /// What is wanted.
    pub catalog: Arc<Catalog>,
    /// What there is.
    pub registry: Arc<Registry>,
    /// Models whose series has not been seen.
    pub nursery: Nursery,
    /// Makes models.
    pub brains: Arc<dyn BrainMaker>,
    /// The models' compacted topic.
    pub models: Arc<dyn Table>,
    /// The rules' compacted topic.
    pub rules: Arc<dyn Table>,
    /// How rules fare.
    pub book: Arc<RuleBook>,
    /// Models of other processes.
    pub elsewhere: Arc<Elsewhere>,
    /// Asks other processes for longer forecasts than they publish.
    pub further: Arc<Further>,
    /// Changes that are under way.
    pub changes: Arc<Changes>,
}

/// From one window's start to the next's in a family of series, microseconds; 0 for sessions and unknown families.
pub fn advance_micros(settings: &Settings, family: &str) -> i64 {
    let window = settings.series.iter().find(|series| series.name == family).map(|series| series.window);
    match window {
        Some(WindowSpec::Tumbling { size }) => size.as_micros() as i64,
        Some(WindowSpec::Hopping { advance, .. }) => advance.as_micros() as i64,
        Some(WindowSpec::Session { .. }) | None => 0,
    }
}

fn unknown_model(id: &str) -> ControlError {
    ControlError::NotFound(format!("there is no model {id:?}; GET /api/models lists them"))
}

fn unknown_rule(name: &str) -> ControlError {
    ControlError::NotFound(format!("there is no rule {name:?}; GET /api/rules lists them"))
}

fn invalid(fault: Fault) -> ControlError {
    ControlError::Invalid { message: fault.to_string(), field: fault.field }
}

fn record<T: Serialize + Clone>(spec: Option<T>, by: Registrar, version: u64) -> Bytes {
    crate::wire::json(&Registered::new(spec, by, version))
}

/// No window of its series has come to the model's actor yet. The fit to its history is in use from the first on, at whatever
/// time that was ready: until then it is answered for as a model without an actor is.
fn is_untouched(status: &ModelStatus, spec: &ModelSpec) -> bool {
    status.state == ModelState::Fitting && status.observations == spec.history.len() as u64
}

impl Control {
    /// The registered model of that name and its version; an instance has its template's version.
    fn known(&self, id: &str) -> Option<(Arc<ModelSpec>, Option<String>, u64)> {
        let Wanted { spec, template, version, .. } = self.catalog.model(id)?;
        // An instance is there once its key was seen, by this process or by another.
        let is_there = || self.seen(id).is_some() || self.is_elsewhere(id);
        (template.is_none() || is_there()).then_some((spec, template, version))
    }

    /// A model that runs here, or did when anything was known of it last.
    fn seen(&self, id: &str) -> Option<Arc<ModelEntry>> {
        self.registry.get(id).or_else(|| self.registry.left(id))
    }

    /// Where another process stands with a model that cannot forecast there. One that has nothing but its history has that here.
    fn waits_elsewhere(&self, spec: &ModelSpec) -> Option<Waiting> {
        let has_history = |waiting: &Waiting| {
            waiting.state == ModelState::Fitting && waiting.observations == spec.history.len() as u64
        };
        self.elsewhere.waiting(&spec.model_id).filter(|waiting| !has_history(waiting))
    }

    fn is_elsewhere(&self, id: &str) -> bool {
        self.elsewhere.model(id).is_some() || self.elsewhere.waiting(id).is_some()
    }

    fn view_of(&self, id: &str) -> Option<ModelView> {
        let (spec, template, version) = self.known(id)?;
        let seen = self.seen(id).map(|entry| entry.status());
        let touched = seen.filter(|status| !is_untouched(status, &spec));
        let status = touched.unwrap_or_else(|| self.status_of_unhosted(&spec));
        Some(ModelView {
            spec: (*spec).clone(),
            state: if spec.enabled { status.state } else { ModelState::Disabled },
            observations: status.observations,
            needed: status.needed,
            accuracy: status.accuracy,
            last_forecast_time: status.last_forecast_time.map(EventTime::to_rfc3339),
            anomalies: status.anomalies,
            template,
            summary: status.summary.map(|fit| (*fit).to_owned()),
            error: status.error,
            version,
        })
    }

    fn status_of_unhosted(&self, spec: &Arc<ModelSpec>) -> ModelStatus {
        if spec.is_template() {
            ModelStatus::new(ModelState::Template)
        } else if spec.model_type == ModelType::External {
            let mut status = ModelStatus::new(ModelState::External);
            let far = || self.elsewhere.model(&spec.model_id).map(|far| far.newest);
            let newest = self.nursery.external(&spec.model_id).or_else(far);
            status.last_forecast_time = newest.as_ref().and_then(elsewhere::made_at);
            status
        } else if let Some(waiting) = self.waits_elsewhere(spec) {
            let Waiting { state, observations, needed, error } = waiting;
            ModelStatus { observations, needed, error, ..ModelStatus::new(state) }
        } else if let Some(far) = self.elsewhere.model(&spec.model_id) {
            let mut status = ModelStatus::new(ModelState::Live);
            status.observations = far.observations;
            status.anomalies = far.anomalies;
            status.accuracy = far.newest.metadata.get("accuracy").and_then(serde_json::Value::as_f64);
            status.last_forecast_time = elsewhere::made_at(&far.newest);
            status
        } else {
            self.nursery.status(&*self.brains, spec)
        }
    }

    fn hosted(&self, id: &str) -> Option<Arc<ModelEntry>> {
        self.registry.get(id).filter(|entry| entry.mailbox().is_some())
    }

    /// Refuses a change that its maker has not seen the newest version for.
    fn expect_version(found: u64, wanted: Option<&[u64]>) -> Result<(), ControlError> {
        match wanted {
            Some(wanted) if !wanted.contains(&found) => Err(ControlError::Changed(format!(
                "it is not what the change is for (it is version {found}): read it again, then change it"
            ))),
            _ => Ok(()),
        }
    }

    async fn put_model(&self, spec: ModelSpec, version: u64) -> Result<ModelView, ControlError> {
        let id = spec.model_id.clone();
        let value = record(Some(spec), Registrar::Api, version);
        self.models.put(&id, value).await.map_err(ControlError::Unavailable)?;
        let (control, name) = (self.clone(), id.clone());
        // The view of a model with a history fits it: not on an async thread.
        let view = tokio::task::spawn_blocking(move || control.view_of(&name)).await;
        view.ok().flatten().ok_or_else(|| unknown_model(&id))
    }

    /// As it is registered, secrets included.
    fn stored_rule(&self, name: &str) -> Option<Arc<RuleSpec>> {
        self.catalog.rules().get(name).and_then(|rule| rule.spec.clone())
    }

    fn rule_view(&self, name: &str) -> Option<RuleView> {
        let rules = self.catalog.rules();
        let registered = rules.get(name)?;
        let spec = registered.spec.as_ref()?;
        let mut fared = self.book.fared(name);
        self.elsewhere.add_fared(name, &mut fared);
        Some(RuleView {
            spec: spec.redacted(),
            built_in: registered.by == Registrar::BuiltIn,
            fired: fared.fired,
            errors: fared.errors,
            last_fired: fared.last_fired,
            version: registered.version,
        })
    }

    async fn put_rule(&self, spec: RuleSpec, version: u64) -> Result<RuleView, ControlError> {
        let name = spec.name.clone();
        let value = record(Some(spec), Registrar::Api, version);
        self.rules.put(&name, value).await.map_err(ControlError::Unavailable)?;
        self.rule_view(&name).ok_or_else(|| unknown_rule(&name))
    }

    /// Why a new fit would change nothing.
    fn why_not_refit(&self, spec: &ModelSpec) -> Option<&'static str> {
        let id = &spec.model_id;
        let waits = |state| matches!(state, ModelState::WarmingUp | ModelState::Fitting);
        if spec.model_type == ModelType::External {
            Some("it is forecast elsewhere")
        } else if !spec.enabled {
            Some("it is not enabled")
        } else if spec.is_template() {
            None
        } else if let Some(entry) = self.hosted(id) {
            waits(entry.status().state).then_some("its first fit is still to come")
        } else if let Some(waiting) = self.elsewhere.waiting(id) {
            waits(waiting.state).then_some("its first fit is still to come")
        } else if self.elsewhere.model(id).is_none() && self.registry.left(id).is_none() {
            Some("no window of its series has come since it was made")
        } else {
            None
        }
    }

    fn check_model(&self, spec: &ModelSpec) -> Result<(), ControlError> {
        spec.check_series(&self.settings.series).map_err(invalid)
    }
}

#[async_trait::async_trait]
impl ControlPlane for Control {
    async fn models(&self, request: PageRequest) -> Result<Page<ModelView>, ControlError> {
        let control = self.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let mut names = control.registry.names();
            names.extend(control.elsewhere.names());
            let models = control.catalog.models();
            names.extend(
                models.iter().filter(|(_, model)| model.spec.is_some()).map(|(name, _)| name.clone()),
            );
            names.sort_unstable();
            names.dedup();
            page(names, &request, |name| control.view_of(name))
        });
        listed.await.map_err(|error| ControlError::Unavailable(error.to_string()))
    }

    fn registered(&self) -> Vec<Arc<ModelSpec>> {
        self.catalog.models().values().filter_map(|model| model.spec.clone()).collect()
    }

    async fn model(&self, id: &str) -> Result<ModelView, ControlError> {
        let (control, name) = (self.clone(), id.to_owned());
        let view = tokio::task::spawn_blocking(move || control.view_of(&name)).await;
        view.ok().flatten().ok_or_else(|| unknown_model(id))
    }

    async fn create_model(&self, spec: ModelSpec) -> Result<ModelView, ControlError> {
        self.check_model(&spec)?;
        let _alone = self.changes.begin(&spec.model_id).await;
        if self.known(&spec.model_id).is_some() {
            let id = &spec.model_id;
            return Err(ControlError::Conflict(format!(
                "there is a model {id:?} already: PUT /api/models/{} changes it",
                segment(id)
            )));
        }
        let removed = self.catalog.models().get(&spec.model_id).map_or(0, |gone| gone.version);
        self.put_model(spec, self.changes.first_version(removed)).await
    }

    async fn replace_model(
        &self,
        id: &str,
        spec: ModelSpec,
        if_version: Option<&[u64]>,
    ) -> Result<ModelView, ControlError> {
        let _alone = self.changes.begin(id).await;
        let (_, template, version) = self.known(id).ok_or_else(|| unknown_model(id))?;
        Self::expect_version(version, if_version)?;
        if spec.model_id != id {
            let message = format!("is {:?} and the path says {id:?}: a model keeps its name", spec.model_id);
            return Err(ControlError::Invalid { field: "model_id".into(), message });
        }
        self.check_model(&spec)?;
        self.nursery.forget(id);
        // A model that leaves its template is a new thing: the template's versions go their own way.
        let next = if template.is_some() { self.changes.first_version(version) } else { version + 1 };
        self.put_model(spec, next).await
    }

    async fn delete_model(&self, id: &str, if_version: Option<&[u64]>) -> Result<(), ControlError> {
        let _alone = self.changes.begin(id).await;
        let (_, template, version) = self.known(id).ok_or_else(|| unknown_model(id))?;
        Self::expect_version(version, if_version)?;
        if let Some(template) = template {
            return Err(ControlError::Conflict(format!(
                "{id:?} is made by the template {template:?}: remove the template, or PUT a model of this name that is \
                 not enabled"
            )));
        }
        let seeded = self.settings.models.iter().any(|model| model.model_id == id);
        let done = if seeded {
            // Remembered as removed, or the file would bring it back at the next start.
            self.models.put(id, record(None::<ModelSpec>, Registrar::Api, version + 1)).await
        } else {
            self.models.delete(id).await
        };
        self.nursery.forget(id);
        done.map_err(ControlError::Unavailable)
    }

    async fn refit_model(&self, id: &str) -> Result<ModelView, ControlError> {
        let (spec, template, _) = self.known(id).ok_or_else(|| unknown_model(id))?;
        if let Some(why) = self.why_not_refit(&spec) {
            return Err(ControlError::Conflict(format!("{id} cannot be fitted again: {why}")));
        }
        let name = template.unwrap_or_else(|| id.to_owned());
        let alone = self.changes.begin(&name).await;
        let models = self.catalog.models();
        let mut registered = models.get(&name).cloned().ok_or_else(|| unknown_model(id))?;
        *registered.refits.entry(id.to_owned()).or_default() += 1;
        if registered.refits.len() > REFITS_MAX {
            return Err(ControlError::Conflict(format!(
                "more than {REFITS_MAX} models of {name} were fitted again one by one: ask for {name} itself, which is all of \
                 them"
            )));
        }
        let value = crate::wire::json(&registered);
        self.models.put(&name, value).await.map_err(ControlError::Unavailable)?;
        drop(alone);
        self.model(id).await
    }

    async fn forecast(&self, id: &str, horizon: Option<usize>) -> Result<ForecastMessage, ControlError> {
        let (spec, _, _) = self.known(id).ok_or_else(|| unknown_model(id))?;
        if horizon.is_some_and(|horizon| horizon == 0 || horizon > 1_000) {
            return Err(ControlError::Invalid {
                field: "horizon".into(),
                message: "must be from 1 to 1000".into(),
            });
        }
        if spec.is_template() {
            return Err(ControlError::Conflict(format!(
                "{id:?} is a template: ask one of its models, {id}/<key>"
            )));
        }
        if spec.model_type == ModelType::External {
            let newest = || self.elsewhere.model(id).map(|far| far.newest);
            return self.nursery.external(id).or_else(newest).ok_or_else(|| {
                ControlError::Conflict(format!("nothing has been posted for {id} yet: POST /api/forecasts"))
            });
        }
        let touched = self.hosted(id).filter(|entry| !is_untouched(&entry.status(), &spec));
        if let Some(mailbox) = touched.and_then(|entry| entry.mailbox()) {
            let (reply, answer) = oneshot::channel();
            let sent = mailbox.send(ForecasterMessage::Forecast { horizon, reply }).await;
            if sent.is_ok()
                && let Ok(answer) = answer.await
            {
                return answer;
            }
            return Err(ControlError::Unavailable(format!("{id} is being started again: ask once more")));
        }
        if let Some(FarModel { newest, .. }) = self.elsewhere.model(id) {
            let horizon = horizon.unwrap_or(newest.forecast_horizon);
            return match elsewhere::cut(newest, horizon) {
                Some(forecast) => Ok(forecast),
                None => self.further.ask(id, horizon).await,
            };
        }
        if self.registry.left(id).is_some_and(|left| left.status().state == ModelState::Live) {
            return Err(ControlError::Unavailable(format!(
                "{id} has left this process with its partition, and no other has forecast it yet: ask again in a moment, and                  if that lasts look at /health/kafka"
            )));
        }
        if let Some(waiting) = self.waits_elsewhere(&spec) {
            let Waiting { observations, needed, error, .. } = waiting;
            let why = error
                .unwrap_or_else(|| format!("it has {observations} observations and needs {needed} more"));
            return Err(ControlError::Conflict(format!("{id} cannot forecast yet: {why}")));
        }
        let control = self.clone();
        let advance = spec.series.as_ref().map_or(0, |series| advance_micros(&self.settings, &series.family));
        let made = tokio::task::spawn_blocking(move || {
            control.nursery.forecast(&*control.brains, &spec, horizon, advance)
        });
        let made = made.await;
        made.map_err(|error| ControlError::Unavailable(error.to_string()))?
    }

    async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryPoint>, ControlError> {
        self.known(id).ok_or_else(|| unknown_model(id))?;
        Ok(match self.seen(id) {
            Some(entry) => entry.history(limit),
            None => self.elsewhere.history(id, limit),
        })
    }

    async fn rules(&self, request: PageRequest) -> Result<Page<RuleView>, ControlError> {
        let rules = self.catalog.rules();
        let names =
            rules.iter().filter(|(_, rule)| rule.spec.is_some()).map(|(name, _)| name.clone()).collect();
        Ok(page(names, &request, |name| self.rule_view(name)))
    }

    async fn rule(&self, name: &str) -> Result<RuleView, ControlError> {
        self.rule_view(name).ok_or_else(|| unknown_rule(name))
    }

    async fn create_rule(&self, spec: RuleSpec) -> Result<RuleView, ControlError> {
        crate::rule_book::check(&spec)?;
        let _alone = self.changes.begin(&spec.name).await;
        if self.rule_view(&spec.name).is_some() {
            let name = &spec.name;
            return Err(ControlError::Conflict(format!(
                "there is a rule {name:?} already: PUT /api/rules/{} changes it",
                segment(name)
            )));
        }
        let removed = self.catalog.rules().get(&spec.name).map_or(0, |gone| gone.version);
        self.put_rule(spec, self.changes.first_version(removed)).await
    }

    async fn replace_rule(
        &self,
        name: &str,
        spec: RuleSpec,
        if_version: Option<&[u64]>,
    ) -> Result<RuleView, ControlError> {
        let _alone = self.changes.begin(name).await;
        let view = self.rule_view(name).ok_or_else(|| unknown_rule(name))?;
        Self::expect_version(view.version, if_version)?;
        if spec.name != name {
            let message = format!("is {:?} and the path says {name:?}: a rule keeps its name", spec.name);
            return Err(ControlError::Invalid { field: "name".into(), message });
        }
        // Readers are shown no secrets: what they write back has none. Only here is what is stored at hand.
        let stored = self.stored_rule(name).ok_or_else(|| unknown_rule(name))?;
        let spec = spec.with_secrets_of(&stored).map_err(invalid)?;
        crate::rule_book::check(&spec)?;
        self.put_rule(spec, view.version + 1).await
    }

    async fn delete_rule(&self, name: &str, if_version: Option<&[u64]>) -> Result<(), ControlError> {
        let _alone = self.changes.begin(name).await;
        let view = self.rule_view(name).ok_or_else(|| unknown_rule(name))?;
        Self::expect_version(view.version, if_version)?;
        // Remembered as removed: built-in rules and those of the file would come back at the next start.
        let seeded = view.built_in || self.settings.rules.iter().any(|rule| rule.name == name);
        let done = if seeded {
            self.rules.put(name, record(None::<RuleSpec>, Registrar::Api, view.version + 1)).await
        } else {
            self.rules.delete(name).await
        };
        done.map_err(ControlError::Unavailable)
    }

    async fn test_rule(&self, mut test: RuleTest) -> Result<RuleTestResult, ControlError> {
        // One that was read has no secrets, and without them its actions are none.
        if let Some(stored) = self.stored_rule(&test.rule.name) {
            test.rule = test.rule.with_secrets_of(&stored).map_err(invalid)?;
        }
        crate::rule_book::test(&test)
    }

    async fn try_rule(&self, rule: RuleSpec, past: Vec<PastEvent>) -> Result<RuleTrial, ControlError> {
        let rule = match self.stored_rule(&rule.name) {
            Some(stored) => rule.with_secrets_of(&stored).map_err(invalid)?,
            None => rule,
        };
        let tried = tokio::task::spawn_blocking(move || crate::rule_book::try_on(&rule, &past)).await;
        tried.map_err(|error| ControlError::Unavailable(format!("the trial ended early: {error}")))?
    }
}
