//! Logs: human on a terminal, JSON elsewhere, on standard error. Traces beside them when a collector is set.

use crate::registry::{Build, registry};
use crate::traces::{self, TRACE_TARGET};
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::{IsTerminal, Write};
use tidecast_config::{LogFormat, Role, Settings as AllSettings, Telemetry as Settings};
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

/// Libraries that say a lot at the levels we log ours.
const QUIETED: [&str; 9] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry_otlp",
    "reqwest",
    "rustls",
    "tower",
];

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The collector's address or protocol cannot be used.
    #[error("telemetry.otlp_endpoint cannot be used: {0}")]
    Exporter(String),
    /// Something set up logging before.
    #[error("logging is set up already")]
    AlreadySet,
    /// The process' own metrics could not be made.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A level that there is not.
    #[error("log level {0:?}: error, warn, info, debug or trace")]
    Level(String),
}

/// Sets up logs, traces and metrics for the whole process. Called once, inside a Tokio runtime: the gRPC exporter needs
/// one.
pub fn start(settings: &AllSettings) -> Result<Telemetry, TelemetryError> {
    let roles = [(Role::Worker, "worker"), (Role::Gateway, "gateway"), (Role::Exporter, "exporter")];
    let roles: Vec<&str> =
        roles.iter().filter(|(role, _)| settings.has_role(*role)).map(|(_, name)| *name).collect();
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("TIDECAST_COMMIT").unwrap_or("unknown"),
        roles: &roles.join(","),
    };
    // In containers every process has the same number.
    let process = || match std::env::var("HOSTNAME") {
        Ok(host) if !host.is_empty() => format!("{host}-{}", std::process::id()),
        _ => std::process::id().to_string(),
    };
    let instance = settings.kafka.group_instance_id.clone().unwrap_or_else(process);
    let mut telemetry = Telemetry::init(&settings.telemetry, &instance)?;
    telemetry.registry = registry(&build)?;
    Ok(telemetry)
}

/// Telemetry of this process, for as long as it is kept: dropping it sends what is left to the collector.
pub struct Telemetry {
    level: reload::Handle<Targets, Registry>,
    provider: Option<SdkTracerProvider>,
    registry: prometheus::Registry,
}

impl Telemetry {
    /// Where every crate registers its metrics; cheap to clone. With those of process and build in it after [`start`].
    pub fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// Sets up logs and traces for the whole process. Called once, inside a Tokio runtime when a collector is spoken
    /// to over gRPC. `instance` names this process in traces.
    pub fn init(settings: &Settings, instance: &str) -> Result<Telemetry, TelemetryError> {
        let human = match settings.log_format {
            LogFormat::Human => true,
            LogFormat::Json => false,
            LogFormat::Auto => std::io::stderr().is_terminal(),
        };
        let (subscriber, telemetry) = build(settings, instance, human, std::io::stderr)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::AlreadySet)?;
        Ok(telemetry)
    }

    /// As [`Telemetry::init`], with the subscriber given back instead of made the process' own.
    pub fn with_writer<W>(
        settings: &Settings,
        instance: &str,
        human: bool,
        writer: W,
    ) -> Result<(impl Subscriber + Send + Sync + 'static, Telemetry), TelemetryError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        build(settings, instance, human, writer)
    }

    /// Changes the level while running.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = targets(level)?;
        self.level.reload(filter).map_err(|_| TelemetryError::Level(level.to_owned()))
    }

    /// Traces are exported.
    pub fn exports_traces(&self) -> bool {
        self.provider.is_some()
    }

    /// Sends what is left to the collector. Blocks for up to the exporter's timeout.
    pub fn flush(&self) {
        if let Some(error) = self.provider.as_ref().and_then(|provider| provider.force_flush().err()) {
            // The subscriber may be gone; this is the last thing the process says.
            let _ = writeln!(std::io::stderr(), "traces were not all delivered: {error}");
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            let _ = provider.shutdown();
        }
    }
}

fn build<W>(
    settings: &Settings,
    instance: &str,
    human: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + 'static + use<W>, Telemetry), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, level) = reload::Layer::new(targets(&settings.log_level)?);
    let provider = traces::provider(settings, instance)?;
    // Spans of a traced event are made whatever the log level, and only they go to the collector.
    let traced = provider.as_ref().map(|provider| {
        traces::layer(provider).with_filter(Targets::new().with_target(TRACE_TARGET, LevelFilter::TRACE))
    });
    let subscriber =
        tracing_subscriber::registry().with(lines(human, writer).with_filter(filter)).with(traced);
    Ok((subscriber, Telemetry { level, provider, registry: prometheus::Registry::new() }))
}

fn lines<S, W>(human: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match human {
        true => Box::new(layer.with_target(false)),
        false => Box::new(layer.json().flatten_event(true).with_current_span(false).with_span_list(false)),
    }
}

fn targets(level: &str) -> Result<Targets, TelemetryError> {
    let ours: LevelFilter = level.parse().map_err(|_| TelemetryError::Level(level.to_owned()))?;
    let theirs = ours.min(LevelFilter::WARN);
    Ok(Targets::new().with_default(ours).with_targets(QUIETED.map(|target| (target, theirs))))
}
