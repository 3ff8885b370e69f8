//! The pipeline's metrics: every name, help and unit in one place.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, register_gauge_vec_with_registry, register_gauge_with_registry,
    register_histogram_with_registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry, register_int_gauge_vec_with_registry,
    register_int_gauge_with_registry,
};
use std::sync::Arc;

/// What forecasters count.
#[derive(Debug)]
pub struct ModelMetrics {
    /// `ml_inference_duration_ms`.
    pub inference_ms: Histogram,
    /// `ml_inference_requests_total`.
    pub inference_requests: IntCounter,
    /// `ml_inference_failures_total`.
    pub inference_failures: IntCounter,
    /// `ml_inference_slow_total`.
    pub inference_slow: IntCounter,
    /// `ml_anomalies_total`.
    pub anomalies: IntCounter,
}

/// What the stages count. Children are held by whoever counts; nothing is looked up per event.
#[derive(Debug, Clone)]
pub struct PipelineMetrics {
    /// `events_processed_total`.
    pub processed: IntCounter,
    /// `events_failed_total`.
    pub failed: IntCounter,
    /// `event_processing_duration_ms`, from poll to publishable.
    pub processing_ms: Histogram,
    /// `kafka_consumer_lag` by topic and partition.
    pub lag: IntGaugeVec,
    /// `event_time_newest_seconds` by topic and partition: epoch seconds of the newest event processed.
    pub newest: GaugeVec,
    /// `kafka_consumer_lag_seconds` by topic and partition: the lag in event time.
    pub lag_seconds: GaugeVec,
    /// `kafka_consumer_lag_clear_seconds`: until the lag is gone, infinite while it does not shrink.
    pub clear_seconds: Gauge,
    /// `pipeline_bottleneck` by stage: 1 for the one that holds the others up.
    pub bottleneck: IntGaugeVec,
    /// `ledger_unbalanced` by topic, partition and stage: 1 where records were counted nowhere or twice.
    pub unbalanced: IntGaugeVec,
    /// The ledger by topic and partition: in, windowed, late, dead-lettered, filtered.
    pub ledger: [IntCounterVec; 5],
    /// `values_left_out_total` by series.
    pub values_left_out: IntCounterVec,
    /// `events_expired_total` by series.
    pub expired: IntCounterVec,
    /// `windows_closed_total` by series.
    pub windows: IntCounterVec,
    /// `commits_total`.
    pub commits: IntCounter,
    /// `commit_duration_seconds`.
    pub commit_seconds: Histogram,
    /// `publish_records_total`.
    pub published: IntCounter,
    /// `outputs_unwritten_total` by reason.
    pub unwritten: IntCounterVec,
    /// `publish_failures_total`.
    pub publish_failures: IntCounter,
    /// `kafka_producer_connected`.
    pub connected: Gauge,
    /// `rules_fired_total` by rule.
    pub rules_fired: IntCounterVec,
    /// `rule_errors_total` by rule.
    pub rule_errors: IntCounterVec,
    /// `rule_value` by rule, field and model: what an `update_metrics` action keeps.
    pub rule_values: GaugeVec,
    /// `snapshots_total` by outcome.
    pub snapshots: IntCounterVec,
    /// `snapshots_failing`.
    pub snapshots_failing: IntGauge,
    /// `standby_partitions`.
    pub standby: IntGauge,
    /// `partition_restarts_total`.
    pub restarts: IntCounter,
    /// Forecasters' own.
    pub models: Arc<ModelMetrics>,
}

/// Names of [`PipelineMetrics::ledger`], in its order.
pub const LEDGER: [(&str, &str); 5] = [
    ("events_in_total", "Input records, since the group began."),
    ("events_windowed_total", "Input records that some series took."),
    ("events_late_total", "Input records refused as late and taken by no series."),
    ("events_dead_lettered_total", "Input records that could not be used."),
    ("events_filtered_total", "Input records that no series wanted."),
];

const MILLISECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0,
    5000.0,
];

impl PipelineMetrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter =
            |name: &str, help: &str| register_int_counter_with_registry!(Opts::new(name, help), registry);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register_int_counter_vec_with_registry!(Opts::new(name, help), labels, registry)
        };
        let place = &["topic", "partition"];
        let mut ledger = Vec::with_capacity(LEDGER.len());
        for (name, help) in LEDGER {
            ledger.push(counters(name, help, place)?);
        }
        let ledger = ledger.try_into().map_err(|_| prometheus::Error::Msg("five ledger entries".into()))?;
        let milliseconds = |name: &str, help: &str| {
            register_histogram_with_registry!(
                HistogramOpts::new(name, help).buckets(MILLISECONDS.to_vec()),
                registry
            )
        };
        Ok(PipelineMetrics {
            processed: counter("events_processed_total", "Input records processed.")?,
            failed: counter("events_failed_total", "Input records that went to the dead-letter topic.")?,
            processing_ms: milliseconds(
                "event_processing_duration_ms",
                "Milliseconds from a poll's return to its outputs being ready to publish.",
            )?,
            lag: register_int_gauge_vec_with_registry!(
                Opts::new("kafka_consumer_lag", "Records between the newest and the last one processed."),
                place,
                registry
            )?,
            newest: register_gauge_vec_with_registry!(
                Opts::new("event_time_newest_seconds", "Newest event time processed, epoch seconds."),
                place,
                registry
            )?,
            lag_seconds: register_gauge_vec_with_registry!(
                Opts::new(
                    "kafka_consumer_lag_seconds",
                    "Seconds of event time between the newest and the last one processed."
                ),
                place,
                registry
            )?,
            clear_seconds: register_gauge_with_registry!(
                Opts::new(
                    "kafka_consumer_lag_clear_seconds",
                    "Seconds until the lag is gone; infinite while it does not shrink."
                ),
                registry
            )?,
            bottleneck: register_int_gauge_vec_with_registry!(
                Opts::new("pipeline_bottleneck", "1 for the stage that holds the others up."),
                &["stage"],
                registry
            )?,
            unbalanced: register_int_gauge_vec_with_registry!(
                Opts::new("ledger_unbalanced", "1 where the ledger did not add up at the last snapshot."),
                &["topic", "partition", "stage"],
                registry
            )?,
            ledger,
            values_left_out: counters(
                "values_left_out_total",
                "Numeric values that are in no window, for their series has too many fields.",
                &["series"],
            )?,
            expired: counters(
                "events_expired_total",
                "Events that a partition took, and that are in no window of a repartitioned series: theirs were forgotten.",
                &["series"],
            )?,
            windows: counters("windows_closed_total", "Windows closed or corrected.", &["series"])?,
            commits: counter("commits_total", "Commits of outputs and offsets.")?,
            commit_seconds: register_histogram_with_registry!(
                HistogramOpts::new("commit_duration_seconds", "Seconds a commit took.").buckets(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
                ]),
                registry
            )?,
            published: counter("publish_records_total", "Records acknowledged by Kafka.")?,
            unwritten: counters(
                "outputs_unwritten_total",
                "Outputs that cannot be written and are dead letters instead: too large, or for a topic that cannot be made.",
                &["reason"],
            )?,
            publish_failures: counter(
                "publish_failures_total",
                "Commits that failed, their outputs repeated.",
            )?,
            connected: register_gauge_with_registry!(
                Opts::new("kafka_producer_connected", "1 while Kafka acknowledges, 0 while it does not."),
                registry
            )?,
            rules_fired: counters("rules_fired_total", "Times a rule fired.", &["rule"])?,
            rule_errors: counters("rule_errors_total", "Conditions that could not be evaluated.", &["rule"])?,
            rule_values: register_gauge_vec_with_registry!(
                Opts::new("rule_value", "The number that a rule's update_metrics action keeps."),
                &["rule", "field", "model"],
                registry
            )?,
            snapshots: counters("snapshots_total", "Snapshots by outcome.", &["outcome"])?,
            snapshots_failing: register_int_gauge_with_registry!(
                "snapshots_failing",
                "1 while the newest snapshot could not be written.",
                registry
            )?,
            standby: register_int_gauge_with_registry!(
                Opts::new("standby_partitions", "Partitions of other instances that are followed here."),
                registry
            )?,
            restarts: counter("partition_restarts_total", "Partitions started again after a failure.")?,
            models: Arc::new(ModelMetrics {
                inference_ms: milliseconds(
                    "ml_inference_duration_ms",
                    "Milliseconds of one forecast or update.",
                )?,
                inference_requests: counter("ml_inference_requests_total", "Forecasts made.")?,
                inference_failures: counter("ml_inference_failures_total", "Fits or forecasts that failed.")?,
                inference_slow: counter(
                    "ml_inference_slow_total",
                    "Forecasts or updates that took longer than realtime_ml.max_latency_ms.",
                )?,
                anomalies: counter("ml_anomalies_total", "Anomalies found.")?,
            }),
        })
    }
}
