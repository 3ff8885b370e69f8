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
    /// Records behind the newest.
    pub lag: u64,
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
}
