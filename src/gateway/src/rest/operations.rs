//! `/api/dlq/**` and `/api/kafka/**`.

use super::extract::{PageQuery, Params, Who, Whole};
use super::schemas;
use crate::problem::Problem;
use crate::services::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tidecast_event::Reason;
use tidecast_ports::operations::ReplayRequest;

/// Which dead letters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Letters {
    /// Only those of this reason.
    reason: Option<String>,
    /// Most items to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

fn known_reason(reason: &str, field: &str) -> Result<(), Problem> {
    if Reason::ALL.iter().any(|known| known.as_str() == reason) {
        return Ok(());
    }
    let known = Reason::ALL.map(Reason::as_str).join(", ");
    Err(Problem::field(field, format!("found \"{reason}\"; allowed: {known}")))
}

/// Rejected input, newest first.
#[utoipa::path(get, path = "/api/dlq", tag = "dead letters", params(Letters), responses(
    (status = 200, description = "A page of dead letters", body = schemas::DeadLetterPage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn dead_letters(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(Letters { reason, limit, cursor }): Params<Letters>,
) -> Result<Response, Problem> {
    if let Some(reason) = &reason {
        known_reason(reason, "reason").map_err(|problem| problem.with_status(StatusCode::BAD_REQUEST))?;
    }
    let limit = Some(super::extract::checked_limit(limit)?);
    let page = tidecast_ports::PageRequest { limit, cursor, search: None };
    let mut page = app.services.dead_letters.list(reason, page).await?;
    page.items.retain(|letter| caller.may_see_topic(&letter.topic));
    Ok(Json(page).into_response())
}

/// Puts dead letters back on the topics they came from: by id, of one reason, or all. An empty request means all.
#[utoipa::path(post, path = "/api/dlq/replay", tag = "dead letters", request_body = Option<schemas::Replay>, responses(
    (status = 200, description = "How many", body = schemas::ReplayResult),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn replay(State(app): State<Arc<App>>, body: Whole) -> Result<Response, Problem> {
    let mut request: ReplayRequest = match body.bytes.is_empty() {
        true => ReplayRequest::default(),
        false => body.json()?,
    };
    if let Some(reason) = &request.reason {
        known_reason(reason, "reason")?;
    }
    let chosen = [!request.ids.is_empty(), request.reason.is_some(), request.all];
    match chosen.iter().filter(|chosen| **chosen).count() {
        0 => request.all = true,
        1 => {}
        _ => return Err(Problem::field("ids", "give one of ids, reason and all")),
    }
    if request.payload.is_some() && request.ids.len() != 1 {
        return Err(Problem::field("payload", "an edited payload is for a single id"));
    }
    Ok(Json(app.services.dead_letters.replay(request).await?).into_response())
}

/// The connection, and how long the look took.
#[utoipa::path(get, path = "/api/kafka/health", tag = "kafka", responses(
    (status = 200, description = "What was found", body = Object),
))]
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    Json(app.services.kafka.health().await).into_response()
}

/// Topics with their partitions and offsets.
#[utoipa::path(get, path = "/api/kafka/topics", tag = "kafka", params(PageQuery), responses(
    (status = 200, description = "A page of topics", body = schemas::TopicPage),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn topics(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(page): Params<PageQuery>,
) -> Result<Response, Problem> {
    let page = page.page()?;
    let name = |topic: &Value| {
        topic.get("name").or_else(|| topic.get("topic")).and_then(Value::as_str).map(str::to_owned)
    };
    let search = page.search.unwrap_or_default().to_lowercase();
    let mut topics: Vec<(String, Value)> = app
        .services
        .kafka
        .topics()
        .await?
        .into_iter()
        .map(|topic| (name(&topic).unwrap_or_default(), topic))
        .filter(|(name, _)| caller.may_see_topic(name) && name.to_lowercase().contains(&search))
        .filter(|(name, _)| page.cursor.as_ref().is_none_or(|cursor| name > cursor))
        .collect();
    topics.sort_by(|(a, _), (b, _)| a.cmp(b));
    let limit = page.limit.unwrap_or(usize::MAX);
    let next = (topics.len() > limit).then(|| topics[limit - 1].0.clone());
    let items: Vec<Value> = topics.into_iter().take(limit).map(|(_, topic)| topic).collect();
    Ok(Json(json!({"items": items, "next": next})).into_response())
}

/// Publishing counters since the start.
#[utoipa::path(get, path = "/api/kafka/metrics", tag = "kafka", responses(
    (status = 200, description = "Counters", body = Object),
))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    Json(app.services.kafka.metrics().await).into_response()
}

/// Tries connection settings without keeping them.
#[utoipa::path(post, path = "/api/kafka/test", tag = "kafka", request_body = Object, responses(
    (status = 200, description = "Whether it connected, or why not", body = schemas::ConnectionTest),
    (status = 422, description = "Not an object of settings", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn test(State(app): State<Arc<App>>, body: Whole) -> Result<Response, Problem> {
    let settings: Map<String, Value> = body.json()?;
    Ok(Json(app.services.kafka.test(settings).await).into_response())
}

/// One message by hand.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    /// Where to.
    topic: String,
    /// The record's key.
    #[serde(default)]
    key: Option<String>,
    /// The record's value: any JSON; a text is sent as it is.
    #[schema(value_type = Object)]
    message: Value,
}

/// Sends one message by hand.
#[utoipa::path(post, path = "/api/kafka/send", tag = "kafka", request_body = Send, responses(
    (status = 201, description = "Where it stands", body = Object),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn send(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    let Send { topic, key, message } = body.json()?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty() || topic.len() > 249 || !topic.bytes().all(legal) || topic == "." || topic == ".." {
        return Err(Problem::field("topic", "1 to 249 letters, digits, dots, underscores and hyphens"));
    }
    if !caller.may_see_topic(&topic) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token's topics do not include this name"));
    }
    let place = app.services.kafka.send(&topic, key.as_deref(), &message).await?;
    Ok((StatusCode::CREATED, Json(place)).into_response())
}
