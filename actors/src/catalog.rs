//! What is wanted: models and rules as registered, from the configuration file and by REST, kept in compacted topics.
//!
//! A pure table with a generation number; stages compare the number per batch and reconcile when it has moved.

use crate::by_series::BySeries;
use crate::wire;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tidecast_config::{ModelSpec, ModelType, Regressor, RuleSpec};
use tidecast_event::OutputId;

/// Who registered a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registrar {
    /// The configuration file; a changed file changes it.
    File,
    /// A REST call; the file no longer matters.
    Api,
    /// There from the start.
    BuiltIn,
}

/// A registered thing as it stands in the compacted topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registered<T> {
    /// The thing; `None` when a seed of the file was removed by REST and must not come back.
    pub spec: Option<T>,
    /// Who registered it.
    pub by: Registrar,
    /// One more with each change.
    pub version: u64,
    /// Of a model: how often a new fit was asked for, by name. Under a template's own name it is all of its models.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refits: BTreeMap<String, u64>,
}

impl<T> Registered<T> {
    /// As it is after a change that is not about fits.
    pub fn new(spec: Option<T>, by: Registrar, version: u64) -> Self {
        Registered { spec, by, version, refits: BTreeMap::new() }
    }

    /// How often a new fit of the model `id` was asked for, which is this one, `name`, or made by it.
    fn refits(&self, name: &str, id: &str) -> u64 {
        let of = |id| self.refits.get(id).copied().unwrap_or(0);
        if name == id { of(id) } else { of(name) + of(id) }
    }
}

/// One table of the catalog.
pub type Table<T> = BTreeMap<String, Registered<Arc<T>>>;

/// Models and rules. Shared by all stages.
#[derive(Debug, Default)]
pub struct Catalog {
    generation: AtomicU64,
    models: RwLock<Arc<Table<ModelSpec>>>,
    rules: RwLock<Arc<Table<RuleSpec>>>,
    is_read: AtomicBool,
}

impl Catalog {
    /// Moves with every change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The models as they are now.
    pub fn models(&self) -> Arc<Table<ModelSpec>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Arc<Table<RuleSpec>> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that was registered has been read, and what the configuration names is among it: who asks now is told no
    /// half-truth.
    pub fn set_read(&self) {
        self.is_read.store(true, Ordering::Release);
    }

    /// Whether everything that was registered has been read.
    pub fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Acquire)
    }

    /// Sets or removes a model, as the topic says.
    pub fn set_model(&self, id: &str, model: Option<Registered<ModelSpec>>) {
        change(&self.models, id, model);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Sets or removes a rule, as the topic says.
    pub fn set_rule(&self, name: &str, rule: Option<Registered<RuleSpec>>) {
        change(&self.rules, name, rule);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The model of that name: as registered, or of a template the instance that is named `<model_id>/<key>`.
    pub fn model(&self, id: &str) -> Option<Wanted> {
        let models = self.models();
        if let Some(wanted) = models.get(id).and_then(Wanted::single) {
            return Some(wanted);
        }
        // Either of the two names may have a slash.
        id.match_indices('/').find_map(|(at, _)| {
            let registered = models.get(&id[..at])?;
            let is_template = registered.spec.as_ref()?.is_template();
            is_template.then(|| Wanted::made(registered, &id[at + 1..])).flatten()
        })
    }

    /// The models whose series is this family: single ones by key, and templates. Not those that are forecast elsewhere,
    /// whose series only says what they are about.
    pub fn models_by_series(&self) -> ModelIndex {
        let mut index = ModelIndex::default();
        for registered in self.models().values() {
            let is_ours = |spec: &&Arc<ModelSpec>| spec.enabled && spec.model_type != ModelType::External;
            let Some(spec) = registered.spec.as_ref().filter(is_ours) else { continue };
            if let Some(series) = &spec.series {
                index.0.add(series, registered.clone());
            }
        }
        index
    }

    /// The fields that models have as exogenous series, by their series; each once.
    pub fn regressors_by_series(&self) -> BySeries<String> {
        let models = self.models();
        let enabled =
            models.values().filter_map(|registered| registered.spec.as_ref().filter(|spec| spec.enabled));
        let regressors: HashSet<&Regressor> = enabled.flat_map(|spec| &spec.exogenous).collect();
        let mut index = BySeries::default();
        for Regressor { series, field } in regressors {
            index.add(series, field.clone());
        }
        index
    }
}

fn change<T>(table: &RwLock<Arc<Table<T>>>, name: &str, to: Option<Registered<T>>) {
    let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
    let table = Arc::make_mut(&mut table);
    match to {
        Some(Registered { spec, by, version, refits }) => {
            table.insert(name.to_owned(), Registered { spec: spec.map(Arc::new), by, version, refits });
        }
        None => {
            table.remove(name);
        }
    }
}

/// Models by what they forecast.
#[derive(Debug, Default)]
pub struct ModelIndex(BySeries<Registered<Arc<ModelSpec>>>);

/// A model that a series wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The model; of a template, its instance for the key.
    pub spec: Arc<ModelSpec>,
    /// The template it was made from.
    pub template: Option<String>,
    /// Version of what was registered.
    pub version: u64,
    /// How often a new fit of it was asked for.
    pub refits: u64,
}

impl Wanted {
    /// The model itself. `None` of one that was removed.
    fn single(registered: &Registered<Arc<ModelSpec>>) -> Option<Wanted> {
        let spec = registered.spec.clone()?;
        let refits = registered.refits(&spec.model_id, &spec.model_id);
        Some(Wanted { spec, template: None, version: registered.version, refits })
    }

    /// A template's model for a key.
    fn made(registered: &Registered<Arc<ModelSpec>>, key: &str) -> Option<Wanted> {
        let template = registered.spec.as_ref()?;
        let spec = Arc::new(template.instance(key));
        let refits = registered.refits(&template.model_id, &spec.model_id);
        Some(Wanted { spec, template: Some(template.model_id.clone()), version: registered.version, refits })
    }

    /// Of the model as registered: another one begins anew.
    pub fn fingerprint(&self) -> u128 {
        OutputId::of(&[&wire::json(&*self.spec)]).0
    }
}

impl ModelIndex {
    /// No model has a series: nothing has to be looked up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The models of one series.
    pub fn wanted(&self, family: &str, key: &str) -> Vec<Wanted> {
        let single = self.0.of_key(family, key).iter().filter_map(Wanted::single);
        let made = self.0.of_all(family).iter().filter_map(|registered| Wanted::made(registered, key));
        // A single model registered under an instance's name stands in for it.
        let named = |wanted: &Wanted, id: &str| wanted.spec.model_id == id;
        let mut all: Vec<Wanted> = single.collect();
        for wanted in made {
            if !all.iter().any(|known| named(known, &wanted.spec.model_id)) {
                all.push(wanted);
            }
        }
        all
    }
}
