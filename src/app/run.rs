//! `tidecast run`: the service until it is told to end, or a rebuild of the past.

use crate::cli::{RoleName, RunOptions};
use crate::service::{Addresses, Service};
use crate::{load_settings, rebuild};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tidecast_config::Settings;
use tokio::time::Instant;

/// Runs the service.
pub fn run(options: &RunOptions) -> anyhow::Result<ExitCode> {
    let mut config = options.config.clone();
    if !options.role.is_empty() {
        let names: Vec<&str> = options
            .role
            .iter()
            .map(|role| match role {
                RoleName::Worker => "\"worker\"",
                RoleName::Gateway => "\"gateway\"",
                RoleName::Exporter => "\"exporter\"",
            })
            .collect();
        config.set.push(format!("roles=[{}]", names.join(",")));
    }
    if let Some(span) = rebuild::span(options)? {
        return rebuild::run(options, span);
    }
    let settings = load_settings::load(&config, None)?;
    on_runtime(settings, |_, _| async { Ok(()) })
}

/// Within five seconds a supervisor such as systemd or Kubernetes may be counted on to wait; this leaves room to flush.
const STOP_WITHIN: Duration = Duration::from_millis(4_200);
/// The last of that is for naming what was not done.
const SAYING: Duration = Duration::from_millis(100);

/// Starts a runtime and the service on it, runs `beside` next to it, and ends everything on SIGTERM or Ctrl-C.
pub fn on_runtime<F, B>(settings: Arc<Settings>, beside: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Arc<Settings>, Addresses) -> B,
    B: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let open_files = raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidecast").build()?;
    let telemetry = runtime.block_on(async { tidecast_telemetry::start(&settings) })?;
    let code = runtime.block_on(async {
        for warning in settings.warnings() {
            tracing::warn!("{warning}");
        }
        warn_of_few_files(&settings, open_files);
        let mut service = Service::start(settings.clone(), telemetry.registry()).await?;
        for (name, address) in service.listeners() {
            tracing::info!(listener = name.as_str(), %address, "listening");
        }
        let mut beside = tokio::spawn(beside(settings.clone(), service.listeners().clone()));
        let mut done = false;
        let failure = tokio::select! {
            signal = signalled() => { tracing::info!(signal, "ending"); None }
            error = service.failed() => Some(error),
            error = async {
                match (&mut beside).await {
                    Ok(Ok(())) => { done = true; std::future::pending().await }
                    Ok(Err(error)) => error,
                    Err(error) => anyhow::Error::from(error),
                }
            } => { done = true; Some(error) }
        };
        if !done {
            beside.abort();
        }
        // With Kafka away nothing can be committed any more; the next start goes on from what was.
        let deadline = Instant::now() + STOP_WITHIN;
        match tokio::time::timeout_at(deadline, service.stop(deadline - SAYING)).await {
            Ok(stopped) => stopped?,
            Err(_) => {
                tracing::warn!("not everything ended in time; the next start repeats what was not committed")
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(ExitCode::SUCCESS),
        }
    });
    telemetry.flush();
    runtime.shutdown_timeout(Duration::from_millis(300));
    code
}

/// Raises the limit of open files to what the system allows this process: every client is one. Answers the limit that
/// holds now, `None` where there is none.
fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_err() {
            return limit.current;
        }
    }
    limit.maximum
}

/// Files that are open beside the clients' connections: Kafka's, snapshots, listeners.
const OTHER_FILES: u64 = 512;

fn warn_of_few_files(settings: &Settings, limit: Option<u64>) {
    let wanted = settings.websocket.max_connections as u64 + OTHER_FILES;
    if settings.has_role(tidecast_config::Role::Gateway)
        && let Some(limit) = limit
        && limit < wanted
    {
        tracing::warn!(
            limit,
            wanted,
            "this process may open fewer files than websocket.max_connections asks for: raise its hard limit (ulimit -Hn)"
        );
    }
}

/// Resolves with the name of the signal that asks this process to end.
pub async fn signalled() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
