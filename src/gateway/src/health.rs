//! `/health*` and `/metrics`.

use crate::services::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use tidecast_ports::stats::ComponentHealth;

fn answer(component: &ComponentHealth) -> Response {
    let status = if component.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(shown(component))).into_response()
}

fn shown(component: &ComponentHealth) -> Value {
    json!({"status": if component.ok { "ok" } else { "unavailable" }, "detail": component.detail})
}

/// The whole: 200 while the process lives and is ready.
pub(crate) async fn overall(State(app): State<Arc<App>>) -> Response {
    let health = &app.services.health;
    let checks = [
        ("live", health.live()),
        ("ready", health.ready()),
        ("startup", health.started()),
        ("kafka", health.kafka()),
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
pub(crate) async fn live(State(app): State<Arc<App>>) -> Response {
    answer(&app.services.health.live())
}

/// Topics exist and partitions are assigned.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.stopping.is_cancelled() {
        return answer(&ComponentHealth { ok: false, detail: "stopping".into() });
    }
    answer(&app.services.health.ready())
}

/// Start-up is over.
pub(crate) async fn startup(State(app): State<Arc<App>>) -> Response {
    answer(&app.services.health.started())
}

/// The broker.
pub(crate) async fn kafka(State(app): State<Arc<App>>) -> Response {
    answer(&app.services.health.kafka())
}

/// The WebSocket listener.
pub(crate) async fn websocket(State(app): State<Arc<App>>) -> Response {
    let most = app.settings().websocket.max_connections;
    let active = app.metrics().connections.get();
    let (_, queued) = app.services.hub.load();
    let ok = !app.stopping.is_cancelled();
    let body = json!({"status": if ok { "ok" } else { "unavailable" }, "active_connections": active,
        "max_connections": most, "queued_messages": queued,
        "detail": if ok { format!("{active} of at most {most} connections") } else { "stopping".into() }});
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Prometheus text, or OpenMetrics for who asks for it.
pub(crate) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let (content_type, body) = (app.services.render_metrics)(accept);
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store".to_owned())], body)
        .into_response()
}
