//! What every tree shares: made once by the wiring, cheap to pass on.

use crate::brain::BrainMaker;
use crate::catalog::Catalog;
use crate::fit_pool::FitPool;
use crate::messages::PublisherMessage;
use crate::metrics::PipelineMetrics;
use crate::rebuild::Rebuild;
use crate::registry::Registry;
use crate::regressors::Regressors;
use crate::rule_book::RuleBook;
use crate::suspects::Suspects;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tidecast_config::Settings;
use tidecast_mailbox::{Mailbox, Meters};
use tidecast_ports::Tracing;
use tidecast_ports::source::BatchPool;

/// The shared parts.
pub struct House {
    /// As configured.
    pub settings: Arc<Settings>,
    /// What is wanted.
    pub catalog: Arc<Catalog>,
    /// The rules, compiled.
    pub book: Arc<RuleBook>,
    /// What there is.
    pub registry: Arc<Registry>,
    /// What models have as exogenous series.
    pub regressors: Arc<Regressors>,
    /// Makes models.
    pub brains: Arc<dyn BrainMaker>,
    /// Fits models.
    pub fits: FitPool,
    /// Counters.
    pub metrics: PipelineMetrics,
    /// Mailboxes' counters.
    pub meters: Meters,
    /// Events by type and source.
    pub tally: Arc<Tally>,
    /// Where outputs go.
    pub publisher: Mailbox<PublisherMessage>,
    /// Batches that wait to be filled again.
    pub pool: BatchPool,
    /// Partitions of the topics, as the broker has them; told before the source starts.
    pub partitions: OnceLock<BTreeMap<String, i32>>,
    /// Carries out what rules ask for.
    pub actions: Arc<dyn crate::actions::ActionSink>,
    /// Records that made their partition's actors panic.
    pub suspects: Arc<Suspects>,
    /// Follows sampled events, where a collector is set.
    pub tracing: Tracing,
    /// Set in a rebuild of the past.
    pub rebuild: Option<Arc<Rebuild>>,
}

impl House {
    /// Partitions of a topic: as the broker has it, as configured where that is not known.
    pub fn partitions_of(&self, topic: &str) -> i32 {
        let known = self.partitions.get().and_then(|partitions| partitions.get(topic));
        known.copied().unwrap_or(self.settings.topics.partitions)
    }
}
