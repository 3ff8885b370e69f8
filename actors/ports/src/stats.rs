//! Figures and health, as `/api/stats` and `/health*` tell them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `processor` of `/api/stats`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProcessorStats {
    /// Over the last ten seconds.
    pub events_per_second: f64,
    /// Windowed + late + filtered.
    pub total_events: u64,
    /// Mean time from poll to processed, milliseconds, over the last minute.
    pub processing_time_ms: f64,
    /// 99th percentile of the same.
    pub p99_latency_ms: f64,
    /// Dead-lettered.
    pub errors: u64,
    /// Records behind the newest; none while no partition is read, or the brokers do not say.
    pub lag: Option<u64>,
    /// The ledger and the stages: `ledger`, `stages` and more.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// `buffer` of `/api/stats`: the fullest stage's mailboxes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BufferStats {
    /// 0 to 1.
    pub utilization: f64,
    /// 0 to 1.
    pub drop_rate: f64,
    /// Messages waiting.
    pub size: u64,
    /// Messages that may wait.
    pub capacity: u64,
}

/// `service` of `/api/stats`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Since the process started.
    pub uptime_seconds: f64,
    /// Models, instances of templates included.
    pub registered_models: u64,
    /// Instances of templates among them.
    #[serde(default)]
    pub template_models: u64,
    /// Forecasts made.
    pub forecast_count: u64,
    /// Failures of any kind.
    pub error_count: u64,
    /// `error_count` over all that was tried.
    pub error_rate: f64,
    /// RFC 3339, wall clock.
    pub last_forecast_time: Option<String>,
}

/// `kafka` of `/api/stats`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KafkaStats {
    /// The broker answers.
    pub is_connected: bool,
    /// The events topic.
    pub topic: String,
    /// Records acknowledged.
    pub messages_sent: u64,
    /// Records that failed for good.
    pub errors: u64,
}

/// One of the `top_sources`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SourceCount {
    /// The source.
    pub source: String,
    /// Its events so far.
    pub count: u64,
}

/// What the worker's side knows; the gateway adds `websocket`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Events.
    pub processor: ProcessorStats,
    /// Queues.
    pub buffer: BufferStats,
    /// Models.
    pub service: ServiceStats,
    /// Producer.
    pub kafka: KafkaStats,
    /// Events by type (the 50 most frequent).
    pub distribution: Map<String, Value>,
    /// The ten busiest sources.
    pub top_sources: Vec<SourceCount>,
}

impl WorkerStats {
    /// Takes in the figures of another process: what is counted is added up, of what is slow or full the worst is told.
    /// `uptime_seconds` and the connection stay this process' own, and so does `registered_models`, which all share.
    pub fn add(&mut self, other: &WorkerStats) {
        let processor = &mut self.processor;
        let weight = |stats: &ProcessorStats| stats.events_per_second.max(f64::MIN_POSITIVE);
        let (own, others) = (weight(processor), weight(&other.processor));
        processor.processing_time_ms = (processor.processing_time_ms * own
            + other.processor.processing_time_ms * others)
            / (own + others);
        processor.p99_latency_ms = processor.p99_latency_ms.max(other.processor.p99_latency_ms);
        let (own, others) = (processor.total_events as f64, other.processor.total_events as f64);
        let service = &mut self.service;
        if own + others > 0.0 {
            service.error_rate =
                (service.error_rate * own + other.service.error_rate * others) / (own + others);
        }
        processor.events_per_second += other.processor.events_per_second;
        processor.total_events += other.processor.total_events;
        processor.errors += other.processor.errors;
        processor.lag = match (processor.lag, other.processor.lag) {
            (Some(own), Some(others)) => Some(own + others),
            (own, others) => own.or(others),
        };
        for (name, value) in &other.processor.more {
            let own = processor.more.entry(name.clone()).or_insert(Value::Null);
            merge(name, own, value);
        }
        if other.buffer.utilization > self.buffer.utilization {
            self.buffer = other.buffer.clone();
        }
        service.template_models += other.service.template_models;
        service.forecast_count += other.service.forecast_count;
        service.error_count += other.service.error_count;
        // RFC 3339 in UTC: the order of the texts is that of the times.
        let last = other.service.last_forecast_time.as_ref();
        service.last_forecast_time = service.last_forecast_time.take().max(last.cloned());
        self.kafka.messages_sent += other.kafka.messages_sent;
        self.kafka.errors += other.kafka.errors;
        for (kind, count) in &other.distribution {
            let own = self.distribution.entry(kind.clone()).or_insert_with(|| 0.into());
            merge(kind, own, count);
        }
        for source in &other.top_sources {
            match self.top_sources.iter_mut().find(|known| known.source == source.source) {
                Some(known) => known.count += source.count,
                None => self.top_sources.push(source.clone()),
            }
        }
        self.top_sources.sort_by_key(|source| std::cmp::Reverse(source.count));
        self.top_sources.truncate(TOP_SOURCES);
    }
}

/// Sources told.
const TOP_SOURCES: usize = 10;

/// Takes one of the further figures of another process in.
fn merge(name: &str, own: &mut Value, other: &Value) {
    match (&mut *own, other) {
        (_, Value::Null) => {}
        (Value::Null, _) => *own = other.clone(),
        (Value::Object(own), Value::Object(other)) => {
            for (name, value) in other {
                merge(name, own.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        // Stages are the same in all processes, partitions are not.
        (Value::Array(own), Value::Array(other)) => {
            for value in other {
                let same = |known: &&mut Value| known.get("name").is_some() && known["name"] == value["name"];
                match own.iter_mut().find(same) {
                    Some(known) => merge("", known, value),
                    None => own.push(value.clone()),
                }
            }
        }
        (Value::Number(mine), Value::Number(theirs)) => {
            let worst = matches!(name, "lag_seconds" | "seconds_to_clear");
            *own = match (mine.as_u64(), theirs.as_u64(), worst) {
                (Some(mine), Some(theirs), false) => (mine + theirs).into(),
                _ => {
                    let (mine, theirs) = (mine.as_f64().unwrap_or(0.0), theirs.as_f64().unwrap_or(0.0));
                    if worst { mine.max(theirs).into() } else { (mine + theirs).into() }
                }
            };
        }
        // A name, such as the bottleneck's: this process' own.
        _ => {}
    }
}

/// Gives the figures.
pub trait StatsSource: Send + Sync {
    /// As of now.
    fn stats(&self) -> WorkerStats;
}

/// How one part of the house is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentHealth {
    /// Well.
    pub ok: bool,
    /// What is wrong and what to do, or a word on how it is.
    pub detail: String,
}

/// Health of the whole.
pub trait Health: Send + Sync {
    /// The process can still make progress; false asks the orchestrator for a restart.
    fn live(&self) -> ComponentHealth;
    /// Topics exist and partitions are assigned.
    fn ready(&self) -> ComponentHealth;
    /// Start-up is over.
    fn started(&self) -> ComponentHealth;
    /// The broker.
    fn kafka(&self) -> ComponentHealth;
    /// State is kept where it was asked to be.
    fn state(&self) -> ComponentHealth {
        ComponentHealth { ok: true, detail: "kept".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(rate: f64, total: u64, more: Value) -> WorkerStats {
        let mut stats = WorkerStats::default();
        stats.processor.events_per_second = rate;
        stats.processor.total_events = total;
        stats.processor.processing_time_ms = rate / 10.0;
        stats.processor.more = more.as_object().cloned().unwrap_or_default();
        stats
    }

    #[test]
    fn what_is_counted_is_added_up_and_of_what_is_slow_the_worst_is_told() {
        let stage = |name: &str, depth: u64| json!({"name": name, "depth": depth, "wait_seconds": 0.5});
        let mut a = of(
            100.0,
            10,
            json!({"ledger": {"in": 4}, "stages": [stage("rules", 1)], "lag_seconds": 3.0,
            "ledgers": [{"topic": "t", "partition": 0}], "bottleneck": null, "partitions": 2}),
        );
        let mut b = of(
            300.0,
            30,
            json!({"ledger": {"in": 5}, "stages": [stage("rules", 2), stage("publisher", 7)],
            "lag_seconds": 1.0, "ledgers": [{"topic": "t", "partition": 1}], "bottleneck": "rules", "partitions": 2}),
        );
        a.distribution.insert("click".into(), 3.into());
        b.distribution.insert("click".into(), 4.into());
        b.service.last_forecast_time = Some("2026-01-01T00:00:00Z".into());
        b.top_sources = vec![SourceCount { source: "s".into(), count: 2 }];
        b.service.error_rate = 0.4;
        a.add(&b);
        assert_eq!((a.processor.events_per_second, a.processor.total_events), (400.0, 40));
        assert!(
            (a.processor.processing_time_ms - 25.0).abs() < 1e-9 && (a.service.error_rate - 0.3).abs() < 1e-9
        );
        let more = Value::Object(a.processor.more.clone());
        assert_eq!(
            (&more["ledger"]["in"], &more["partitions"], &more["bottleneck"]),
            (&json!(9), &json!(4), &json!("rules"))
        );
        assert_eq!(more["lag_seconds"], json!(3.0));
        assert_eq!(more["ledgers"].as_array().map(Vec::len), Some(2));
        assert_eq!(more["stages"][0]["depth"], json!(3));
        assert_eq!(more["stages"][1]["name"], json!("publisher"));
        assert_eq!((a.distribution["click"].clone(), a.top_sources.len()), (json!(7), 1));
        assert_eq!(a.service.last_forecast_time.as_deref(), Some("2026-01-01T00:00:00Z"));
    }
}
