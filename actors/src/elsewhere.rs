//! What the group's other processes have, as the output topics tell it: a gateway answers for every model, whichever
//! process runs it, and counts what all of them do.
//!
//! A forecast's record carries, in the header [`OBSERVED`], the observation that led to it. From these the newest
//! forecast and a stretch of history of each model are kept; models of this process are not, for the registry has them.

use crate::catalog::Catalog;
use crate::registry::{HISTORY_MIN, HISTORY_ROWS, Registry, Row, Waiting};
use crate::rule_book::Fared;
use dashmap::DashMap;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidecast_event::{EventTime, ForecastMessage};
use tidecast_ports::control::HistoryPoint;
use tidecast_ports::stats::WorkerStats;
use tidecast_ports::{LiveRecord, LiveSink, OutputKind};

/// Models kept at least: a cache that is set smaller would make a gateway deny models that others run.
const MODELS_MIN: usize = 20_000;
/// Rows of history of one model.
const HISTORY_MAX: usize = 512;
/// Partitions whose ledgers are kept.
const LEDGERS_MAX: usize = 100_000;
/// What a ledger counts.
const LEDGER: [&str; 5] = ["in", "windowed", "late", "dead_lettered", "filtered"];
/// Processes whose figures are kept.
const INSTANCES_MAX: usize = 1_000;

/// The header of a forecast's record, made of an [`Observed`].
pub const OBSERVED: &str = "observed";

/// What a model had seen when it made a forecast: observations and anomalies so far, and the newest row of its history.
pub type Observed = (u64, u64, HistoryPoint);

/// A model that runs in another process.
#[derive(Debug, Clone)]
pub struct FarModel {
    /// Its newest forecast.
    pub newest: ForecastMessage,
    /// Observations so far; 0 where the record did not say.
    pub observations: u64,
    /// Anomalies so far.
    pub anomalies: u64,
}

#[derive(Debug, Default)]
struct Kept {
    newest: bytes::Bytes,
    observations: u64,
    anomalies: u64,
    history: VecDeque<Row>,
}

/// Figures of one process.
#[derive(Debug)]
struct Figures {
    /// When they were written, epoch milliseconds.
    at_ms: i64,
    stats: WorkerStats,
    /// How rules fared there, by name.
    rules: BTreeMap<String, Fared>,
}

/// The models and figures of other processes.
#[derive(Debug)]
pub struct Elsewhere {
    /// This process, whose own records are not counted a second time.
    instance: String,
    registry: Arc<Registry>,
    catalog: Arc<Catalog>,
    /// Models kept; those met first stay.
    models_max: usize,
    /// Figures that are older are of a process that is gone.
    fresh: Duration,
    models: DashMap<String, Kept>,
    /// Models that do not forecast yet, as their process told last.
    waiting: DashMap<String, Waiting>,
    figures: Mutex<BTreeMap<String, Figures>>,
    /// The ledger of each partition as it was told last, and when (epoch milliseconds). It goes on with whoever has the partition:
    /// what a process told that is gone, or gave it up, holds until the next one tells.
    ledgers: Mutex<BTreeMap<Place, (i64, Value)>>,
}

/// Topic and partition.
type Place = (String, i64);

#[derive(Deserialize)]
struct Report {
    instance: String,
    stats: WorkerStats,
    #[serde(default)]
    rules: BTreeMap<String, Fared>,
    #[serde(default)]
    waiting: BTreeMap<String, Waiting>,
}

impl Elsewhere {
    /// Nothing is known yet. `every` is how often processes tell their figures; of the others' models, `models_max` are kept,
    /// and never fewer than 20,000.
    pub fn new(
        instance: String,
        registry: Arc<Registry>,
        catalog: Arc<Catalog>,
        every: Duration,
        models_max: usize,
    ) -> Self {
        Elsewhere {
            instance,
            registry,
            catalog,
            models_max: models_max.max(MODELS_MIN),
            fresh: every * 3 + Duration::from_secs(2),
            models: DashMap::new(),
            waiting: DashMap::new(),
            figures: Mutex::default(),
            ledgers: Mutex::default(),
        }
    }

    /// A model, if it runs in another process and has forecast since this one began to read.
    pub fn model(&self, id: &str) -> Option<FarModel> {
        let kept = self.models.get(id)?;
        let newest = serde_json::from_slice(&kept.newest).ok()?;
        Some(FarModel { newest, observations: kept.observations, anomalies: kept.anomalies })
    }

    /// The newest rows of a model's history, oldest first.
    pub fn history(&self, id: &str, limit: usize) -> Vec<HistoryPoint> {
        let Some(kept) = self.models.get(id) else { return Vec::new() };
        Row::newest(&kept.history, limit)
    }

    /// A model of another process that has not forecast since this one began to read: where it stood when that told last.
    pub fn waiting(&self, id: &str) -> Option<Waiting> {
        self.waiting.get(id).map(|waiting| waiting.clone())
    }

    /// The names of the models.
    pub fn names(&self) -> Vec<String> {
        let waiting = self.waiting.iter().map(|waiting| waiting.key().clone());
        self.models.iter().map(|kept| kept.key().clone()).chain(waiting).collect()
    }

    /// A model was changed or removed; of a template, its models too.
    pub fn forget(&self, id: &str) {
        let is_of_it = |name: &str| {
            let rest = name.strip_prefix(id);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.models.retain(|name, _| !is_of_it(name));
        self.waiting.retain(|name, _| !is_of_it(name));
        self.registry.forget_left(is_of_it);
    }

    /// Other processes that work on partitions.
    pub fn workers(&self) -> u64 {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let works = |stats: &&WorkerStats| {
            let partitions = stats.processor.more.get("partitions");
            partitions.and_then(serde_json::Value::as_u64).is_some_and(|partitions| partitions > 0)
        };
        figures.values().map(|figures| &figures.stats).filter(works).count() as u64
    }

    /// Adds the figures that other processes told lately.
    pub fn add_figures(&self, stats: &mut WorkerStats) {
        let own = ledgers_of(stats);
        for other in self.fresh_figures().values() {
            stats.add(&other.stats);
        }
        // Each partition once, whoever told of it; of those that are here, as they stand now.
        let known = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let told = known.iter().map(|(place, (_, row))| (place.clone(), row.clone()));
        let rows: BTreeMap<Place, Value> = told.chain(own).collect();
        if rows.is_empty() {
            return;
        }
        let sum = |name: &str| rows.values().filter_map(|row| row[name].as_u64()).sum::<u64>();
        let processor = &mut stats.processor;
        processor.total_events = sum("windowed") + sum("late") + sum("filtered");
        processor.errors = sum("dead_lettered");
        let whole = LEDGER.map(|name| (name.to_owned(), Value::from(sum(name))));
        processor.more.insert("ledger".to_owned(), Value::Object(whole.into_iter().collect()));
        processor.more.insert("ledgers".to_owned(), rows.into_values().collect());
    }

    /// Adds how a rule fared in other processes, as they told lately.
    pub fn add_fared(&self, rule: &str, fared: &mut Fared) {
        for other in self.fresh_figures().values().filter_map(|other| other.rules.get(rule)) {
            fared.add(other);
        }
    }

    fn fresh_figures(&self) -> MutexGuard<'_, BTreeMap<String, Figures>> {
        let now = i64::try_from(crate::wall_clock_ms()).unwrap_or(i64::MAX);
        let fresh = i64::try_from(self.fresh.as_millis()).unwrap_or(i64::MAX);
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.retain(|_, told| now.saturating_sub(told.at_ms) < fresh);
        figures
    }

    fn forecast(&self, record: &LiveRecord) {
        let Ok(id) = std::str::from_utf8(&record.key) else { return };
        if self.registry.get(id).is_some() {
            self.models.remove(id);
            return;
        }
        if !self.models.contains_key(id) {
            // A record whose key is no model of ours was written by somebody else.
            if self.models.len() >= self.models_max || self.catalog.model(id).is_none() {
                return;
            }
        }
        let observed =
            record.observed.as_deref().and_then(|observed| serde_json::from_slice::<Observed>(observed).ok());
        let rows = (HISTORY_ROWS / self.models.len().max(1)).clamp(HISTORY_MIN, HISTORY_MAX);
        self.waiting.remove(id);
        let mut kept = self.models.entry(id.to_owned()).or_default();
        if let Some(left) = self.registry.take_left(id) {
            // What it saw here goes on there.
            kept.history = left.history(rows).iter().map(Row::from).collect();
        }
        kept.newest = record.value.clone();
        let Some((observations, anomalies, point)) = observed else { return };
        (kept.observations, kept.anomalies) = (observations, anomalies);
        // An output that was aborted comes again.
        if kept.history.back().is_some_and(|last| last.window_start() >= point.window_start) {
            return;
        }
        while kept.history.len() >= rows {
            kept.history.pop_front();
        }
        kept.history.push_back(Row::from(&point));
    }

    fn report(&self, record: &LiveRecord) {
        let Ok(report) = serde_json::from_slice(&record.value) else { return };
        let Report { instance, stats, rules, waiting } = report;
        self.keep_ledgers(&stats, record.timestamp_ms);
        if instance == self.instance {
            return;
        }
        self.keep_waiting(waiting);
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if figures.len() < INSTANCES_MAX || figures.contains_key(&instance) {
            figures.insert(instance, Figures { at_ms: record.timestamp_ms, stats, rules });
        }
    }
}

impl Elsewhere {
    fn keep_waiting(&self, told: BTreeMap<String, Waiting>) {
        for (id, waiting) in told {
            let is_known = self.waiting.contains_key(&id) || self.waiting.len() < self.models_max;
            if is_known && self.registry.get(&id).is_none() && self.catalog.model(&id).is_some() {
                // Of one that failed, what it forecast before is the newest still.
                self.registry.take_left(&id);
                self.waiting.insert(id, waiting);
            }
        }
    }

    fn keep_ledgers(&self, stats: &WorkerStats, at_ms: i64) {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, row) in ledgers_of(stats) {
            let is_newer =
                ledgers.get(&place).map_or(ledgers.len() < LEDGERS_MAX, |(told, _)| *told <= at_ms);
            if is_newer {
                ledgers.insert(place, (at_ms, row));
            }
        }
    }
}

/// The ledgers of single partitions that a process tells.
fn ledgers_of(stats: &WorkerStats) -> Vec<(Place, Value)> {
    let rows = stats.processor.more.get("ledgers").and_then(Value::as_array);
    let place = |row: &Value| Some((row["topic"].as_str()?.to_owned(), row["partition"].as_i64()?));
    rows.into_iter().flatten().filter_map(|row| Some((place(row)?, row.clone()))).collect()
}

/// The reader's records on their way to live delivery.
pub struct Overhear {
    /// Who keeps what it hears.
    pub elsewhere: Arc<Elsewhere>,
    /// Where they go on to.
    pub next: Arc<dyn LiveSink>,
}

impl LiveSink for Overhear {
    fn publish(&self, records: Vec<LiveRecord>) {
        for record in &records {
            match record.kind {
                OutputKind::Forecast => self.elsewhere.forecast(record),
                OutputKind::Metrics => self.elsewhere.report(record),
                OutputKind::Aggregate | OutputKind::Alert => {}
            }
        }
        self.next.publish(records);
    }

    fn caught_up(&self) {
        self.next.caught_up();
    }
}

/// A forecast message cut to its first `horizon` steps; `None` where it does not reach so far.
pub fn cut(mut message: ForecastMessage, horizon: usize) -> Option<ForecastMessage> {
    if horizon == message.forecast_horizon {
        return Some(message);
    }
    let path = message.metadata.get_mut("path")?.as_array_mut()?;
    let last = path.get(horizon.checked_sub(1)?)?.clone();
    path.truncate(horizon);
    let number = |name: &str| last.get(name)?.as_f64();
    message.predicted_value = number("mean")?;
    message.confidence_interval = [number("lower")?, number("upper")?];
    message.forecast_horizon = horizon;
    Some(message)
}

/// When a forecast was made.
pub fn made_at(message: &ForecastMessage) -> Option<EventTime> {
    EventTime::parse_rfc3339(&message.timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Registered, Registrar};
    use bytes::Bytes;
    use serde_json::json;
    use tidecast_config::ModelSpec;

    fn elsewhere() -> Elsewhere {
        let catalog = Arc::new(Catalog::default());
        let spec = json!({"model_id": "load", "model_type": "ETS", "series": "by_source:*", "horizon": 3});
        let spec = ModelSpec::from_json(&spec).expect("a valid model");
        catalog.set_model("load", Some(Registered::new(Some(spec), Registrar::Api, 1)));
        Elsewhere::new("here".to_owned(), Arc::default(), catalog, Duration::from_secs(10), 2)
    }

    fn record(kind: OutputKind, key: &str, value: &Value, observed: Option<&Value>) -> LiveRecord {
        LiveRecord {
            kind,
            partition: 0,
            offset: 0,
            id: None,
            timestamp_ms: i64::try_from(crate::wall_clock_ms()).expect("this century"),
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: value.to_string().into(),
            replayed: false,
            traceparent: None,
            observed: observed.map(|observed| observed.to_string().into_bytes().into()),
        }
    }

    fn forecast(id: &str, second: u64) -> Value {
        let step = |n: u64| json!({"timestamp": "t", "mean": n, "lower": n - 1, "upper": n + 1});
        json!({"model_id": id, "timestamp": format!("2026-01-01T00:00:{second:02}Z"), "predicted_value": 3,
            "confidence_interval": [2, 4], "forecast_horizon": 3, "model_type": "ETS",
            "metadata": {"accuracy": 0.9, "path": [step(1), step(2), step(3)]}})
    }

    fn observed(second: u64) -> Value {
        json!([second, 1, {"window_start": second, "value": 5.0, "predicted": null, "lower": null, "upper": null,
            "anomaly_score": null}])
    }

    #[test]
    fn a_model_of_another_process_is_known_by_its_forecasts() {
        let elsewhere = elsewhere();
        // The second comes twice: it was aborted the first time.
        for second in [7, 8, 8, 9] {
            let (value, observed) = (forecast("load/a", second), observed(second));
            elsewhere.forecast(&record(OutputKind::Forecast, "load/a", &value, Some(&observed)));
        }
        elsewhere.forecast(&record(OutputKind::Forecast, "nobody's", &forecast("nobody's", 1), None));
        assert_eq!(elsewhere.names(), ["load/a"]);
        let far = elsewhere.model("load/a").expect("it was heard of");
        assert_eq!((far.observations, far.anomalies), (9, 1));
        assert_eq!(made_at(&far.newest).map(EventTime::to_rfc3339).as_deref(), Some("2026-01-01T00:00:09Z"));
        let starts: Vec<f64> =
            elsewhere.history("load/a", 2).iter().map(|point| point.window_start).collect();
        assert_eq!(starts, [8.0, 9.0]);
        let two = cut(far.newest.clone(), 2).expect("the path has three steps");
        assert_eq!(
            (two.predicted_value, two.confidence_interval, two.forecast_horizon),
            (2.0, [1.0, 3.0], 2)
        );
        assert_eq!(two.metadata["path"].as_array().map(Vec::len), Some(2));
        assert!(cut(far.newest, 4).is_none(), "no further than it reaches");
        elsewhere.forget("loa");
        assert!(elsewhere.model("load/a").is_some(), "another model's name");
        elsewhere.forget("load");
        assert!(elsewhere.model("load/a").is_none(), "its template changed");
    }

    #[test]
    fn figures_of_others_are_added_while_they_are_fresh_and_ones_own_never() {
        let elsewhere = elsewhere();
        let mut stats = WorkerStats::default();
        stats.processor.total_events = 5;
        for (instance, age_ms) in [("here", 0), ("there", 0), ("gone", 60_000), ("older", 0)] {
            let mut report = json!({"instance": instance, "timestamp": "t", "stats": stats,
                "rules": {"r": {"fired": 3, "errors": 1, "last_fired": "2026-01-01T00:00:00Z"}}});
            if instance == "older" {
                report.as_object_mut().expect("an object").remove("rules");
            }
            let mut record = record(OutputKind::Metrics, instance, &report, None);
            record.timestamp_ms -= age_ms;
            elsewhere.report(&record);
        }
        let mut own = WorkerStats::default();
        own.processor.total_events = 2;
        elsewhere.add_figures(&mut own);
        assert_eq!(own.processor.total_events, 12);
        let (mut known, mut other) = (Fared { fired: 1, ..Fared::default() }, Fared::default());
        elsewhere.add_fared("r", &mut known);
        elsewhere.add_fared("another", &mut other);
        assert_eq!((known.fired, known.errors), (4, 1));
        assert_eq!(known.last_fired.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(other, Fared::default());
    }

    #[test]
    fn a_partition_that_moves_is_counted_once() {
        let elsewhere = elsewhere();
        let row = |partition: i32, count: u64| {
            json!({"topic": "t", "partition": partition, "in": count + 2, "windowed": count, "late": 1,
                "dead_lettered": 1, "filtered": 0})
        };
        let of = |rows: Vec<Value>| {
            let mut stats = WorkerStats::default();
            stats.processor.total_events = 7;
            stats.processor.more.insert("ledgers".to_owned(), rows.into());
            stats
        };
        let tell = |instance: &str, rows: Vec<Value>, later_ms: i64| {
            let report = json!({"instance": instance, "timestamp": "t", "stats": of(rows)});
            let mut record = record(OutputKind::Metrics, instance, &report, None);
            record.timestamp_ms += later_ms;
            elsewhere.report(&record);
        };
        let total = |rows: Vec<Value>| {
            let mut own = of(rows);
            elsewhere.add_figures(&mut own);
            (own.processor.total_events, own.processor.errors, own.processor.more["ledger"]["in"].clone())
        };
        tell("there", vec![row(0, 10), row(1, 20)], 0);
        assert_eq!(total(vec![row(2, 100)]), (133, 3, json!(136)));
        // One comes here and goes on.
        assert_eq!(total(vec![row(2, 100), row(1, 25)]), (138, 3, json!(141)));
        tell("here", vec![row(2, 100), row(1, 25)], 1);
        // It goes to a third, which has not told anything yet, then has; what the first says late is old.
        assert_eq!(total(vec![row(2, 100)]), (138, 3, json!(141)));
        tell("third", vec![row(1, 30)], 2);
        tell("there", vec![row(0, 10), row(1, 20)], -1);
        assert_eq!(total(vec![row(2, 100)]), (143, 3, json!(146)));
    }
}
