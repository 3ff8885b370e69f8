//! The gateway's metrics: every name, its help and unit, in one place.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

/// Handles to the metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Connections to `/forecast-updates`.
    pub connections: IntGauge,
    /// Connections that ended, by class of close code.
    pub disconnects: IntCounterVec,
    /// Updates skipped because a client was slow.
    pub dropped: IntCounter,
    /// Connections that were refused, by reason.
    pub refused: IntCounterVec,
    /// Updates queued for clients.
    pub deliveries: IntCounter,
    /// Output records that nobody could read.
    pub live_unreadable: IntCounter,
    /// Server-sent event streams.
    pub streams: IntGauge,
    /// Connections to `/ws/ingest`.
    pub ingest_connections: IntGauge,
    /// Events taken and acknowledged, by the way they came.
    pub ingest_accepted: IntCounterVec,
    /// Events refused, by reason.
    pub ingest_refused: IntCounterVec,
    /// Time from a batch's arrival to Kafka's acknowledgement.
    pub ingest_seconds: Histogram,
    /// Time to answer a request, by route and method.
    pub request_seconds: HistogramVec,
    /// Requests answered, by route, method and status.
    pub requests: IntCounterVec,
}

/// Why connections end, by class of close code.
pub(crate) const DISCONNECT_REASONS: [&str; 7] =
    ["closed", "restart", "lost", "protocol", "access", "rate", "other"];

impl Metrics {
    /// Makes and registers them. The error names a metric that is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let latency = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        let metrics = Metrics {
            connections: registered(
                registry,
                IntGauge::new("websocket_connections_active", "Clients connected to /forecast-updates")?,
            )?,
            disconnects: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("websocket_disconnects_total", "Connections to /forecast-updates that ended"),
                    &["reason"],
                )?,
            )?,
            dropped: registered(
                registry,
                IntCounter::new(
                    "websocket_messages_dropped_total",
                    "Updates skipped because a client did not take them in time; each client is told by a gap",
                )?,
            )?,
            refused: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("websocket_refused_total", "Connections that were refused before they began"),
                    &["reason"],
                )?,
            )?,
            deliveries: registered(
                registry,
                IntCounter::new("websocket_deliveries_total", "Updates queued for clients, once per client")?,
            )?,
            live_unreadable: registered(
                registry,
                IntCounter::new(
                    "live_records_unreadable_total",
                    "Output records that are not what their topic carries",
                )?,
            )?,
            streams: registered(
                registry,
                IntGauge::new("sse_streams_active", "Clients connected to /stream/metrics")?,
            )?,
            ingest_connections: registered(
                registry,
                IntGauge::new("ingest_connections_active", "Clients connected to /ws/ingest")?,
            )?,
            ingest_accepted: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "ingest_events_accepted_total",
                        "Events acknowledged by Kafka, by the way they came",
                    ),
                    &["via"],
                )?,
            )?,
            ingest_refused: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("ingest_events_refused_total", "Events refused to their sender, by reason"),
                    &["reason"],
                )?,
            )?,
            ingest_seconds: registered(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "ingest_acknowledge_seconds",
                        "From a batch's arrival to Kafka's acknowledgement",
                    )
                    .buckets(latency.clone()),
                )?,
            )?,
            request_seconds: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new("http_request_duration_seconds", "Time to answer a request")
                        .buckets(latency),
                    &["route", "method"],
                )?,
            )?,
            requests: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("http_requests_total", "Requests answered"),
                    &["route", "method", "status"],
                )?,
            )?,
        };
        // There from the start: a rate of what has not happened yet is 0, not nothing.
        for reason in DISCONNECT_REASONS {
            let _ = metrics.disconnects.with_label_values(&[reason]);
        }
        Ok(metrics)
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
