//! `tidecast run --from TIME --to TIME`: windows and forecasts of the past, made anew into other topics.
//!
//! It is a group of its own with a state of its own, so the service may run beside it and nothing of it is touched: its
//! models and rules are read, its topics are not written to.

use crate::cli::RunOptions;
use crate::engine::{BringUp, Engine, EngineParts, RETRY};
use crate::outward::Nobody;
use crate::tables::Tables;
use crate::trees::partitions;
use crate::{load_settings, print, run};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tidecast_actors::catalog::Catalog;
use tidecast_actors::house::House;
use tidecast_actors::rebuild::Rebuild;
use tidecast_actors::repartition;
use tidecast_actors::rule_book::RuleBook;
use tidecast_actors::topology::Topology;
use tidecast_config::{GroupTable, Role, Settings};
use tidecast_event::{EventTime, TopicPartition};
use tidecast_kafka::{Cluster, KafkaAdmin, Publishing, SingleSender, TopicSpec};

/// Between two words about how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// The span that the command line names, if it names one.
pub fn span(options: &RunOptions) -> anyhow::Result<Option<(EventTime, EventTime)>> {
    if options.from.is_none() && options.to.is_none() {
        return Ok(None);
    }
    let time = |name: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(|text| parse(text).ok_or_else(|| unusable(name, text)));
        parsed.transpose()
    };
    let from = time("--from", &options.from)?.unwrap_or(EventTime::MIN);
    let to = time("--to", &options.to)?
        .unwrap_or_else(|| EventTime::from_millis(tidecast_actors::wall_clock_ms() as i64));
    if from >= to {
        return Err(print::Usage("--from must be before --to".to_owned()).into());
    }
    Ok(Some((from, to)))
}

fn unusable(name: &str, text: &str) -> anyhow::Error {
    let allowed = "a date (2026-01-16), a date-time (2026-01-16T11:50:00Z) or epoch seconds";
    print::Usage(format!("{name} {text:?}: {allowed}")).into()
}

fn parse(text: &str) -> Option<EventTime> {
    let number = || text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    EventTime::parse_rfc3339(text)
        .or_else(|| EventTime::parse_rfc3339(&format!("{text}T00:00:00Z")))
        .or_else(|| number().map(|seconds| EventTime((seconds * 1e6) as i64)))
}

/// Rebuilds, says what came of it, ends.
pub fn run(options: &RunOptions, (from, to): (EventTime, EventTime)) -> anyhow::Result<ExitCode> {
    let service = load_settings::load(&options.config, None)?;
    let state =
        tempfile::Builder::new().prefix("tidecast-rebuild-").tempdir().context("no temporary folder")?;
    let settings = Arc::new(beside(&service, &options.into, state.path())?);
    let begin_ms = settings
        .input_topics()
        .into_iter()
        .filter(|_| from > EventTime::MIN)
        .map(|topic| {
            // An event of the span may have been ahead of its record by as much as is allowed.
            let before = options.warm_up.saturating_add(settings.max_future(topic));
            let before = i64::try_from(before.as_millis()).unwrap_or(i64::MAX);
            (topic.to_owned(), from.as_millis().saturating_sub(before).max(0))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidecast").build()?;
    let telemetry = runtime.block_on(async { tidecast_telemetry::start(&settings) })?;
    let done = runtime.block_on(async {
        let work = Work { service, settings, rebuild: Arc::new(Rebuild::new(from, to)) };
        tokio::select! {
            done = work.run(begin_ms, telemetry.registry()) => done,
            signal = run::signalled() => bail!("ended by {signal} before it was complete; run it again"),
        }
    });
    telemetry.flush();
    runtime.shutdown_timeout(Duration::from_millis(300));
    done.map(|()| ExitCode::SUCCESS)
}

/// The service's settings, turned to other topics, a group and a state of their own.
fn beside(service: &Settings, into: &str, state: &std::path::Path) -> anyhow::Result<Settings> {
    let mut settings = service.clone();
    let named = format!(
        "{}-rebuild-{}-{}",
        service.kafka.group_id,
        std::process::id(),
        tidecast_actors::wall_clock_ms()
    );
    settings.kafka.group_id = named;
    settings.kafka.group_instance_id = None;
    settings.roles = vec![Role::Worker];
    settings.state.dir = state.to_path_buf();
    // Nobody takes a rebuild over.
    settings.state.shared = None;
    let topics = &mut settings.topics;
    for topic in [
        &mut topics.aggregates,
        &mut topics.predictions,
        &mut topics.alerts,
        &mut topics.metrics,
        &mut topics.dlq,
    ] {
        *topic = format!("{into}{topic}");
    }
    if into.is_empty() {
        bail!(print::Usage("--into must not be empty: the past is rebuilt into other topics".to_owned()));
    }
    for series in &mut settings.series {
        // At the end of its log a partition closes what is open at once.
        series.idle_after = Duration::ZERO;
    }
    Ok(settings)
}

struct Work {
    /// As the service runs.
    service: Arc<Settings>,
    settings: Arc<Settings>,
    rebuild: Arc<Rebuild>,
}

impl Work {
    async fn run(
        &self,
        begin_ms: BTreeMap<String, i64>,
        metrics: prometheus::Registry,
    ) -> anyhow::Result<()> {
        let (catalog, book) = (Arc::new(Catalog::default()), Arc::new(RuleBook::default()));
        let parts = EngineParts {
            settings: self.settings.clone(),
            metrics: &metrics,
            catalog: catalog.clone(),
            book: book.clone(),
            actions: Arc::new(Nobody),
            publishing: Publishing::default(),
            rebuild: Some(self.rebuild.clone()),
            begin_ms,
        };
        let (engine, mut bring_up) = Engine::new(parts).await?;
        bring_up.reach_kafka(&self.topics()).await?;
        let tables = self.read_tables(catalog, book).await?;
        bring_up.start_reading().await?;
        let topology = engine.topology.clone().context("a rebuild works on events")?;
        let done = tokio::select! {
            done = self.rebuilt(&engine.house, &topology, &bring_up) => done,
            error = bring_up.source_ended() => Err(error),
            error = in_quarantine(&topology) => Err(error),
            never = self.tell(&engine.house) => match never {},
        };
        engine.begin_stop();
        engine.stop_reading().await;
        engine.stop().await;
        drop(tables);
        let admin = KafkaAdmin::new(&bring_up.cluster)?;
        let ours = repartition::topics(&self.settings);
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        if !ours.is_empty()
            && let Err(error) = admin.delete_topics(&ours).await
        {
            tracing::warn!(%error, topics = ours.join(", "), "topics that were needed on the way are left behind");
        }
        done?;
        let names = &self.settings.topics;
        for topic in [&names.aggregates, &names.predictions, &names.alerts] {
            let held = admin.watermarks(topic).await.with_context(|| topic.clone())?;
            // With transactions, their markers are among them.
            let records: i64 = held.iter().map(|(_, low, high)| high - low).sum();
            println!("{topic:<40} {records} records");
        }
        Ok(())
    }

    /// What is read, what is written, and the service's own tables.
    fn topics(&self) -> Vec<TopicSpec> {
        let of_tables = GroupTable::topics(&self.settings.kafka.group_id);
        let unused = [&self.settings.topics.metrics, &self.settings.topics.dlq];
        let mut topics = crate::service::topics(&self.settings);
        topics.retain(|topic| !of_tables.contains(&topic.name) && !unused.contains(&&topic.name));
        topics
            .retain(|topic| topic.name != tidecast_kafka::DeadLetterTopic::marker_topic(&self.settings).name);
        let replication = self.settings.topics.replication;
        let of_service = GroupTable::topics(&self.service.kafka.group_id);
        topics.extend(of_service.map(|name| TopicSpec::table(name, replication)));
        topics
    }

    /// Models and rules as the service has them.
    async fn read_tables(&self, catalog: Arc<Catalog>, book: Arc<RuleBook>) -> anyhow::Result<Tables> {
        let tables = Tables::new(catalog, book);
        let cluster = Cluster::from_settings(&self.service);
        let sender = SingleSender::new(&cluster, Publishing::default()).map_err(anyhow::Error::msg)?;
        while let Err(error) = tables.open(&cluster, &sender).await {
            tracing::warn!(%error, "a table cannot be read yet; trying again");
            tokio::time::sleep(RETRY).await;
        }
        tables.lay_over(&self.service);
        Ok(tables)
    }

    /// Resolves when everything of the span is written and committed.
    async fn rebuilt(&self, house: &House, topology: &Topology, bring_up: &BringUp) -> anyhow::Result<()> {
        let inputs: Vec<TopicPartition> = partitions(house, self.settings.input_topics()).collect();
        self.rebuild.reached(&inputs, |_, progress| progress.finished).await;
        drained(topology, &inputs).await?;
        let admin = KafkaAdmin::new(&bring_up.cluster)?;
        let mut ends = BTreeMap::new();
        for topic in repartition::topics(&self.settings) {
            for (partition, _, end) in admin.watermarks(&topic).await.with_context(|| topic.clone())? {
                ends.insert(TopicPartition::new(topic.as_str(), partition), end);
            }
        }
        let merged: Vec<TopicPartition> = ends.keys().cloned().collect();
        self.rebuild.reached(&merged, |partition, progress| progress.next_offset >= ends[partition]).await;
        drained(topology, &merged).await
    }

    /// Says now and then how far it is.
    async fn tell(&self, house: &House) -> Infallible {
        let mut ticks = tokio::time::interval(TOLD_EVERY);
        loop {
            ticks.tick().await;
            let inputs: Vec<TopicPartition> = partitions(house, self.settings.input_topics()).collect();
            let finished =
                inputs.iter().filter(|partition| self.rebuild.progress(partition).finished).count();
            let records = house.metrics.processed.get();
            tracing::info!(partitions = inputs.len(), finished, records, "rebuilding");
        }
    }
}

async fn drained(topology: &Topology, partitions: &[TopicPartition]) -> anyhow::Result<()> {
    if topology.drain(partitions).await {
        return Ok(());
    }
    bail!("a partition was lost before all of it was written; run it again")
}

async fn in_quarantine(topology: &Topology) -> anyhow::Error {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Some((partition, why)) = topology.state().quarantined.first_key_value() {
            return anyhow::anyhow!("{partition} cannot be rebuilt: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use tidecast_event::EventTime;

    #[test]
    fn a_time_is_a_date_a_date_time_or_epoch_seconds() {
        let new_year = EventTime(1_767_225_600_000_000);
        for text in ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1767225600"] {
            assert_eq!(parse(text), Some(new_year), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "NaN"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
