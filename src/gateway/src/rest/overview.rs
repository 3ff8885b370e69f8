//! What the pages ask first: figures, alerts, and where the live connection is.

use super::extract::{Params, Who, checked_limit, numbered, page_of};
use super::{alerts, schemas};
use crate::live::alerts::{AlertItem, AlertKind};
use crate::live::roster::SessionItem;
use crate::pages::websocket_authority;
use crate::problem::Problem;
use crate::services::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tidecast_ports::notes::Silence;

/// Figures of the whole instance.
#[utoipa::path(get, path = "/api/stats", tag = "overview", responses(
    (status = 200, description = "Figures as of now", body = schemas::Stats),
))]
pub(crate) async fn stats(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let worker = serde_json::to_value(app.services.stats.stats())
        .map_err(|error| Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let (_, queued) = app.services.hub.load();
    let websocket = json!({"active_connections": app.metrics().connections.get(), "queued_messages": queued});
    let mut answer = Map::new();
    // The contract's order: websocket stands before kafka.
    for (name, value) in worker.as_object().cloned().unwrap_or_default() {
        if name == "kafka" {
            answer.insert("websocket".into(), websocket.clone());
        }
        answer.insert(name, value);
    }
    answer.entry("websocket").or_insert(websocket);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Value::Object(answer))).into_response())
}

/// Which clients.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Sessions {
    /// Most items to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{0,18}$")]
    cursor: Option<String>,
    /// Keeps those whose user or address contains this, ignoring case.
    search: Option<String>,
}

/// The clients connected to this instance, in the order in which they came.
#[utoipa::path(get, path = "/api/sessions", tag = "overview", params(Sessions), responses(
    (status = 200, description = "A page of clients", body = schemas::SessionPage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sessions(
    State(app): State<Arc<App>>,
    Params(page): Params<Sessions>,
) -> Result<Response, Problem> {
    let limit = checked_limit(page.limit)?;
    let after = numbered(page.cursor.as_deref())?.unwrap_or(0);
    let search = page.search.unwrap_or_default().to_lowercase();
    let wanted = |item: &SessionItem| {
        let texts = [item.user.as_deref(), item.address.as_deref()];
        texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&search)) || search.is_empty()
    };
    let found = app.services.hub.sessions().into_iter().filter(|item| item.id > after && wanted(item));
    let page = page_of(found, limit, |item| item.id.to_string());
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

/// Which alerts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Alerts {
    /// Most items to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{0,18}$")]
    cursor: Option<String>,
    /// Only those about this model.
    model_id: Option<String>,
    /// Only those of this kind.
    kind: Option<AlertKind>,
}

/// The newest alerts that this instance has seen, newest first.
#[utoipa::path(get, path = "/api/alerts", tag = "overview", params(Alerts), responses(
    (status = 200, description = "A page of alerts", body = schemas::AlertPage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn alerts(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(Alerts { limit, cursor, model_id, kind }): Params<Alerts>,
) -> Result<Response, Problem> {
    let before = numbered(cursor.as_deref())?;
    let (items, more) = app.services.hub.alerts(before, checked_limit(limit)?, |item| {
        alerts::may_see(&app, &caller, item)
            && model_id.as_deref().is_none_or(|wanted| item.model_id.as_deref() == Some(wanted))
            && kind.is_none_or(|wanted| item.kind == wanted)
    });
    let next = items.last().filter(|_| more).map(|(number, _)| number.to_string());
    let (acknowledged, silences) = (alerts::acknowledgements(&app), alerts::silences(&app));
    let now_ms = chrono::Utc::now().timestamp_millis();
    let told = |(_, mut item): (u64, AlertItem)| {
        item.acknowledged = acknowledged.get(&item.id).cloned();
        let covers =
            |silence: &Silence| silence.covers(item.rule.as_deref(), item.model_id.as_deref(), now_ms);
        item.silenced = silences.iter().any(covers);
        item
    };
    let items: Vec<_> = items.into_iter().map(told).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({"items": items, "next": next}))).into_response())
}

/// A ticket for one WebSocket: `?ticket=` at the handshake, within a minute.
#[utoipa::path(post, path = "/api/ws-tickets", tag = "overview", responses(
    (status = 201, description = "A ticket, good once", body = schemas::Ticket),
    (status = 503, description = "Too many are out", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn ticket(State(app): State<Arc<App>>, Who(caller): Who) -> Result<Response, Problem> {
    let given = app.authenticator().tickets.give(caller, std::time::Instant::now()).await;
    let ticket = given.ok_or_else(|| {
        let detail = "too many tickets are out; try again in a minute";
        Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, detail).with_header("retry-after", "60")
    })?;
    let body = json!({"ticket": ticket, "expires_in": crate::tickets::LIFE.as_secs()});
    Ok((axum::http::StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// What a page has to know before it can ask for anything else. Holds no data, and asks for no token.
#[utoipa::path(get, path = "/api/client-config", tag = "overview", responses(
    (status = 200, description = "Addresses", body = schemas::ClientConfig),
))]
pub(crate) async fn client_config(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    let authority = websocket_authority(&app, &headers, &uri);
    let scheme = if app.settings().websocket.listener.tls.is_some() { "wss" } else { "ws" };
    let body = json!({
        "websocket_url": format!("{scheme}://{authority}/forecast-updates"),
        "auth_required": app.authenticator().is_required(),
        "version": env!("CARGO_PKG_VERSION"),
        "heartbeat_interval_seconds": app.settings().websocket.heartbeat_interval.as_secs_f64(),
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
