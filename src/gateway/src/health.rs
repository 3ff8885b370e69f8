//! `/health*` and `/metrics`.

use crate::gate::Gate;
use crate::live::Hub;
use crate::services::RenderMetrics;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use tidecast_ports::Health;
use tidecast_ports::stats::ComponentHealth;
use tokio_util::sync::CancellationToken;

/// What these routes tell of.
pub(crate) struct Watched {
    pub(crate) gate: Arc<Gate>,
    pub(crate) health: Arc<dyn Health>,
    pub(crate) render_metrics: RenderMetrics,
    /// Live delivery, in a process that has clients.
    pub(crate) hub: Option<Arc<Hub>>,
    /// Set when the service ends.
    pub(crate) stopping: CancellationToken,
}

fn answer(component: &ComponentHealth) -> Response {
    let status = if component.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(shown(component))).into_response()
}

fn shown(component: &ComponentHealth) -> Value {
    json!({"status": if component.ok { "ok" } else { "unavailable" }, "detail": component.detail})
}

/// The whole: 200 while the process lives and is ready.
pub(crate) async fn overall(State(watched): State<Arc<Watched>>) -> Response {
    let health = &watched.health;
    let checks = [
        ("live", health.live()),
        ("ready", health.ready()),
        ("startup", health.started()),
        ("kafka", health.kafka()),
        ("state", health.state()),
    ];
    let wrong: Vec<&str> = checks.iter().filter(|(_, check)| !check.ok).map(|(name, _)| *name).collect();
    let ok = !wrong.iter().any(|name| matches!(*name, "live" | "ready"));
    let detail = match checks.iter().find(|(_, check)| !check.ok) {
        None => "everything is well".to_owned(),
        Some((name, check)) => format!("{name}: {}", check.detail),
    };
    let status = match (ok, wrong.is_empty()) {
        (true, true) => "ok",
        (true, false) => "degraded",
        (false, _) => "unavailable",
    };
    let checks: serde_json::Map<String, Value> =
        checks.iter().map(|(name, check)| ((*name).to_owned(), shown(check))).collect();
    let body =
        json!({"status": status, "detail": detail, "version": env!("CARGO_PKG_VERSION"), "checks": checks});
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The process makes progress.
pub(crate) async fn live(State(watched): State<Arc<Watched>>) -> Response {
    answer(&watched.health.live())
}

/// Topics exist and partitions are assigned.
pub(crate) async fn ready(State(watched): State<Arc<Watched>>) -> Response {
    if watched.stopping.is_cancelled() {
        return answer(&ComponentHealth { ok: false, detail: "stopping".into() });
    }
    answer(&watched.health.ready())
}

/// Start-up is over.
pub(crate) async fn startup(State(watched): State<Arc<Watched>>) -> Response {
    answer(&watched.health.started())
}

/// The broker.
pub(crate) async fn kafka(State(watched): State<Arc<Watched>>) -> Response {
    answer(&watched.health.kafka())
}

/// The WebSocket listener.
pub(crate) async fn websocket(State(watched): State<Arc<Watched>>) -> Response {
    let Some(hub) = &watched.hub else {
        return answer(&ComponentHealth { ok: true, detail: "this process has not the role gateway".into() });
    };
    let most = watched.gate.settings.websocket.max_connections;
    let active = hub.metrics.connections.get();
    let (_, queued) = hub.load();
    let ok = !watched.stopping.is_cancelled();
    let body = json!({"status": if ok { "ok" } else { "unavailable" }, "active_connections": active,
        "max_connections": most, "queued_messages": queued,
        "detail": if ok { format!("{active} of at most {most} connections") } else { "stopping".into() }});
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Prometheus text, or OpenMetrics for who asks for it.
pub(crate) async fn metrics(State(watched): State<Arc<Watched>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let (content_type, body) = (watched.render_metrics)(accept);
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store".to_owned())], body)
        .into_response()
}
