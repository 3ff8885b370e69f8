//! The compacted topics that hold what is configured while running, and the seeds that the configuration file sows.

use crate::outward::Silences;
use bytes::Bytes;
use futures::future::{try_join, try_join_all, try_join3};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, OnceLock};
use tidecast_actors::catalog::{Catalog, Registered, Registrar};
use tidecast_actors::elsewhere::Elsewhere;
use tidecast_actors::further::Further;
use tidecast_actors::rule_book::RuleBook;
use tidecast_config::{GroupTable, ModelSpec, RuleSpec, Settings};
use tidecast_kafka::{Change, Cluster, ConfigTopic, Publishing, SingleSender, TableError};
use tidecast_ports::{Notes, Table};

/// A table that is there once Kafka is: until then changes are refused.
#[derive(Default)]
pub struct LateTable(OnceLock<ConfigTopic>);

impl LateTable {
    fn get(&self) -> Result<&ConfigTopic, String> {
        self.0
            .get()
            .ok_or_else(|| "Kafka has not been reached yet; try again once /health/ready says so".to_owned())
    }
}

#[async_trait::async_trait]
impl Notes for LateTable {
    async fn put(&self, key: &str, value: Bytes) -> Result<(), String> {
        Table::put(self, key, value).await
    }

    async fn delete(&self, key: &str) -> Result<(), String> {
        Table::delete(self, key).await
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        Some(self.0.get()?.get(key)?.value)
    }

    fn below(&self, prefix: &str) -> Vec<(String, Bytes)> {
        self.0.get().map(|table| table.below(prefix)).unwrap_or_default()
    }
}

#[async_trait::async_trait]
impl Table for LateTable {
    async fn put(&self, key: &str, value: Bytes) -> Result<(), String> {
        self.get()?.put(key, &value).await.map(drop).map_err(|error| error.to_string())
    }

    async fn delete(&self, key: &str) -> Result<(), String> {
        self.get()?.delete(key).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Models, rules and notes.
pub struct Tables {
    /// The models.
    pub models: Arc<LateTable>,
    /// The rules.
    pub rules: Arc<LateTable>,
    /// What gateways write down for each other.
    pub notes: Arc<LateTable>,
    /// Silences among the notes.
    pub silences: Arc<Silences>,
    catalog: Arc<Catalog>,
    book: Arc<RuleBook>,
    elsewhere: OnceLock<Arc<Elsewhere>>,
    /// Who is told of questions among the notes.
    further: OnceLock<Arc<Further>>,
}

impl Tables {
    /// Tables that are not open yet.
    pub fn new(catalog: Arc<Catalog>, book: Arc<RuleBook>) -> Self {
        Tables {
            models: Arc::default(),
            rules: Arc::default(),
            notes: Arc::default(),
            silences: Arc::default(),
            catalog,
            book,
            elsewhere: OnceLock::new(),
            further: OnceLock::new(),
        }
    }

    /// Who else is told of changed models. To be given before the tables are opened; once.
    pub fn tell(&self, elsewhere: Arc<Elsewhere>, further: Arc<Further>) {
        let _ = self.elsewhere.set(elsewhere);
        let _ = self.further.set(further);
    }

    /// Reads the tables to their ends and goes on following them.
    pub async fn open(&self, cluster: &Cluster, sender: &SingleSender) -> Result<(), TableError> {
        let [models, rules, notes] = GroupTable::topics(&cluster.options().group_id);
        let models = async {
            if self.models.0.get().is_none() {
                let (catalog, elsewhere) = (self.catalog.clone(), self.elsewhere.get().cloned());
                let told = move |change: Change| match read::<ModelSpec>("model", &change) {
                    Ok(model) => {
                        let spec = |catalog: &Catalog| {
                            catalog.models().get(&change.key).and_then(|m| m.spec.clone())
                        };
                        let before = spec(&catalog);
                        catalog.set_model(&change.key, model);
                        // What a model said as it was before is not what it says now. One that is only fitted anew is the same.
                        if let Some(elsewhere) = &elsewhere
                            && before != spec(&catalog)
                        {
                            elsewhere.forget(&change.key);
                        }
                    }
                    Err(error) => tracing::error!(
                        model = change.key,
                        error,
                        "a registered model cannot be read; it is left out"
                    ),
                };
                let table = ConfigTopic::open(cluster, &models, sender.clone(), Box::new(told)).await?;
                // Opened by this one task.
                let _ = self.models.0.set(table);
            }
            Ok(())
        };
        let rules = async {
            if self.rules.0.get().is_none() {
                let (catalog, book) = (self.catalog.clone(), self.book.clone());
                let told = move |change: Change| match read::<RuleSpec>("rule", &change) {
                    Ok(rule) => {
                        let spec = rule.as_ref().and_then(|rule| Some((rule.spec.as_ref()?, rule.by)));
                        book.set(&change.key, spec);
                        catalog.set_rule(&change.key, rule);
                    }
                    Err(error) => tracing::error!(
                        rule = change.key,
                        error,
                        "a registered rule cannot be read; it is left out"
                    ),
                };
                let table = ConfigTopic::open(cluster, &rules, sender.clone(), Box::new(told)).await?;
                let _ = self.rules.0.set(table);
            }
            Ok(())
        };
        let notes = async {
            if self.notes.0.get().is_none() {
                let (silences, further) = (self.silences.clone(), self.further.get().cloned());
                let told = move |change: Change| {
                    silences.changed(&change.key, change.value.as_deref());
                    if let Some(further) = &further {
                        further.changed(&change.key, change.value.as_deref());
                    }
                };
                // What is noted about publishing is no publishing.
                let sender = SingleSender::new(cluster, Publishing::default())
                    .map_err(|why| TableError { topic: notes.clone(), why })?;
                let table = ConfigTopic::open(cluster, &notes, sender, Box::new(told)).await?;
                let _ = self.notes.0.set(table);
            }
            Ok(())
        };
        try_join3(models, rules, notes).await.map(|_| ())
    }

    /// What the configuration file and the program bring, laid over what was read, in this process alone: REST still has
    /// the last word on what it touched.
    pub fn lay_over(&self, settings: &Settings) {
        let (models, rules) = (self.catalog.models(), self.catalog.rules());
        for spec in &settings.models {
            if models.get(&spec.model_id).is_none_or(|known| known.by != Registrar::Api) {
                let registered = Registered::new(Some(spec.clone()), Registrar::File, 1);
                self.catalog.set_model(&spec.model_id, Some(registered));
            }
        }
        for spec in &settings.rules {
            if rules.get(&spec.name).is_none_or(|known| known.by != Registrar::Api) {
                self.book.set(&spec.name, Some((spec, Registrar::File)));
            }
        }
    }

    /// They are open, and sown.
    pub fn are_read(&self) {
        self.catalog.set_read();
    }

    /// Sows what the configuration file names and what is built in. What REST changed since stays as it is.
    pub async fn sow(&self, settings: &Settings) -> Result<(), String> {
        let (models, rules) = (self.catalog.models(), self.catalog.rules());
        let seeds = settings.models.iter().map(|spec| {
            let known = models.get(&spec.model_id);
            sow(&self.models, &spec.model_id, spec, Registrar::File, known)
        });
        // Each is read back before it counts, which takes a while: all of them together.
        let sown = try_join_all(seeds);
        let mail = settings.smtp.as_ref().is_some_and(|smtp| !smtp.to.is_empty());
        let built_in: Vec<RuleSpec> = tidecast_rules::built_in(mail)
            .iter()
            .map(RuleSpec::from_json)
            .collect::<Result<_, _>>()
            .map_err(|fault: tidecast_config::Fault| fault.to_string())?;
        let built_in = built_in.iter().map(|spec| (spec, Registrar::BuiltIn));
        let seeds = built_in.chain(settings.rules.iter().map(|spec| (spec, Registrar::File)));
        let seeds = seeds.map(|(spec, by)| sow(&self.rules, &spec.name, spec, by, rules.get(&spec.name)));
        try_join(sown, try_join_all(seeds)).await?;
        // A seed that the file no longer has goes, unless REST has made it its own.
        for (id, model) in models.iter().filter(|(_, model)| model.by == Registrar::File) {
            if model.spec.is_some() && !settings.models.iter().any(|spec| spec.model_id == *id) {
                Table::delete(&*self.models, id).await?;
            }
        }
        for (name, rule) in rules.iter().filter(|(_, rule)| rule.by == Registrar::File) {
            if rule.spec.is_some() && !settings.rules.iter().any(|spec| spec.name == *name) {
                Table::delete(&*self.rules, name).await?;
            }
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(kind: &str, change: &Change) -> Result<Option<Registered<T>>, String> {
    let read = |value: &Bytes| serde_json::from_slice(value).map_err(|error| format!("{kind}: {error}"));
    change.value.as_ref().map(read).transpose()
}

async fn sow<T: Serialize + Clone + PartialEq>(
    table: &LateTable,
    name: &str,
    spec: &T,
    by: Registrar,
    known: Option<&Registered<Arc<T>>>,
) -> Result<(), String> {
    let version = match known {
        None => 1,
        // REST has the last word on what it touched.
        Some(Registered { by: Registrar::Api, .. }) => return Ok(()),
        Some(Registered { spec: Some(same), .. }) if **same == *spec => return Ok(()),
        Some(known) => known.version + 1,
    };
    let value = serde_json::to_vec(&Registered::new(Some(spec.clone()), by, version));
    Table::put(table, name, value.map_err(|error| error.to_string())?.into()).await
}
