//! `/api/dlq/**` and `/api/kafka/**`.

use super::body::Whole;
use super::extract::{Name, PageQuery, Params, Who};
use super::{schemas, visible};
use crate::audit::Asked;
use crate::problem::Problem;
use crate::services::App;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tidecast_event::Reason;
use tidecast_ports::operations::{RecordsRequest, ReplayRequest, TopicRecord};
use tidecast_ports::publish::{TOO_LARGE, UNKNOWN_TOPIC};

/// Hours of one answer, and days that may be named.
const HOURS_MAX: u32 = 2_160;
const DAYS_MAX: u32 = 3_650;

/// Which dead letters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Letters {
    /// Only those of this reason.
    #[param(
        pattern = "^(empty|invalid_json|invalid_messagepack|missing_field|wrong_type|repeated_field|invalid_timestamp|\
        future_timestamp|not_finite|too_deep|late|panic|too_large|unknown_topic)$"
    )]
    reason: Option<String>,
    /// Most items to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*)?$")]
    cursor: Option<String>,
}

fn known_reason(reason: &str, field: &str) -> Result<(), Problem> {
    // Of input, and of outputs.
    let known: Vec<&str> =
        Reason::ALL.map(Reason::as_str).into_iter().chain([TOO_LARGE, UNKNOWN_TOPIC]).collect();
    if known.contains(&reason) {
        return Ok(());
    }
    Err(Problem::field(field, format!("found \"{reason}\"; allowed: {}", known.join(", "))))
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
    let limit = super::extract::checked_limit(limit)?;
    let ask = |limit, cursor| {
        let page = tidecast_ports::PageRequest { limit: Some(limit), cursor, search: None };
        app.services.dead_letters.list(reason.clone(), page)
    };
    let page = visible::filled(limit, cursor, ask, |letter| caller.may_see_topic(&letter.topic)).await?;
    Ok(Json(page).into_response())
}

/// Puts dead letters back on the topics they came from: by id, of one reason, or all. An empty request means all.
#[utoipa::path(post, path = "/api/dlq/replay", tag = "dead letters", request_body = Option<schemas::Replay>, responses(
    (status = 200, description = "How many", body = schemas::ReplayResult),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn replay(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    let settings = app.settings();
    let written = [&*settings.topics.dlq, &*settings.topics.events];
    if !written.into_iter().chain(settings.input_topics()).all(|topic| caller.may_see_topic(topic)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the token's topics do not include the dead letters and all topics that they may go back to",
        ));
    }
    let mut request: ReplayRequest = body.json_or_default()?;
    if let Some(reason) = &request.reason {
        known_reason(reason, "reason")?;
    }
    let chosen = [!request.ids.is_empty(), request.reason.is_some(), request.all];
    match chosen.iter().filter(|chosen| **chosen).count() {
        0 => {
            // A selection that came out empty is not everything.
            let given: Value = body.json_or_default()?;
            if given.get("ids").is_some() || given.get("all").is_some() {
                return Err(Problem::field(
                    "ids",
                    "nothing is chosen: name ids or a reason, or give all: true",
                ));
            }
            request.all = true;
        }
        1 => {}
        _ => return Err(Problem::field("ids", "give one of ids, reason and all")),
    }
    if request.payload.is_some() && request.ids.len() != 1 {
        return Err(Problem::field("payload", "an edited payload is for a single id"));
    }
    let asked = json!({
        "ids": request.ids,
        "reason": request.reason,
        "all": request.all,
        "payload": request.payload,
    });
    let replayed = app.services.dead_letters.replay(request).await?;
    Ok((Extension(Asked(asked)), Json(replayed)).into_response())
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

/// Which records.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Records {
    /// Of this partition alone.
    #[param(minimum = 0)]
    partition: Option<i32>,
    /// Only those with this text in their key, value or headers, whatever the case.
    contains: Option<String>,
    /// Most records to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*)?$")]
    cursor: Option<String>,
}

/// A topic's records, newest first. A filter looks through so many records at a time; `next` goes on. A token with
/// `models` gets no records of other models; topics named `<group>-rules`, `-models` and `-notes` are no reader's.
#[utoipa::path(get, path = "/api/kafka/topics/{topic}/records", tag = "kafka", params(("topic" = String, Path), Records), responses(
    (status = 200, description = "A page of records", body = schemas::RecordPage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "It is named like a topic that a group keeps for itself", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such topic, or the token does not name it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "No such partition, or not a cursor of this list", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn records(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(topic): Name,
    Params(Records { partition, contains, limit, cursor }): Params<Records>,
) -> Result<Response, Problem> {
    visible::check_topic(&caller, app.settings(), &topic)?;
    let limit = super::extract::checked_limit(limit)?;
    let ask = |limit, cursor| {
        let (topic, contains) = (topic.clone(), contains.clone());
        app.services.kafka.records(RecordsRequest { topic, partition, contains, limit, cursor })
    };
    let may_show = |record: &TopicRecord| visible::may_show(&caller, app.settings(), &topic, record);
    let page = visible::filled(limit, cursor, ask, may_show).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

/// Publishing counters since the start.
#[utoipa::path(get, path = "/api/kafka/metrics", tag = "kafka", responses(
    (status = 200, description = "Counters", body = Object),
))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    Json(app.services.kafka.metrics().await).into_response()
}

/// Which period.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Period {
    /// `today` (UTC) or `last_7_days`.
    #[param(default = "today", pattern = "^(today|last_7_days)$")]
    period: Option<String>,
}

/// Publishing in a period, of all instances.
#[utoipa::path(get, path = "/api/kafka/metrics/summary", tag = "kafka", params(Period), responses(
    (status = 200, description = "Figures", body = schemas::PublishingSummary),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics_summary(
    State(app): State<Arc<App>>,
    Params(Period { period }): Params<Period>,
) -> Result<Response, Problem> {
    let period = period.unwrap_or_else(|| "today".to_owned());
    if !matches!(period.as_str(), "today" | "last_7_days") {
        return Err(Problem::parameter("period", format!("found \"{period}\"; allowed: today, last_7_days")));
    }
    Ok(Json(app.services.kafka.publishing_summary(&period)?).into_response())
}

/// How many hours.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Hours {
    /// This one and those before it.
    #[param(minimum = 1, maximum = 2160, default = 24)]
    hours: Option<u32>,
}

/// Publishing by hour, oldest first.
#[utoipa::path(get, path = "/api/kafka/metrics/hourly", tag = "kafka", params(Hours), responses(
    (status = 200, description = "A row for each hour", body = schemas::PublishingHours),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics_hourly(
    State(app): State<Arc<App>>,
    Params(Hours { hours }): Params<Hours>,
) -> Result<Response, Problem> {
    let hours = hours.unwrap_or(24);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Problem::parameter("hours", format!("found {hours}; allowed: 1 to {HOURS_MAX}")));
    }
    let items = app.services.kafka.publishing_hourly(hours)?;
    Ok(Json(json!({"items": items, "next": null})).into_response())
}

/// How many rows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Rows {
    /// Most rows to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// Publishing to one topic by hour, newest first; hours without a message are left out.
#[utoipa::path(get, path = "/api/kafka/metrics/topic/{topic}", tag = "kafka", params(("topic" = String, Path), Rows), responses(
    (status = 200, description = "A row for each hour", body = schemas::PublishingHours),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "The token does not name the topic", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics_of_topic(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(topic): Name,
    Params(Rows { limit }): Params<Rows>,
) -> Result<Response, Problem> {
    if !caller.may_see_topic(&topic) {
        return Err(Problem::not_found(format!("there is no topic \"{topic}\"")));
    }
    let limit = super::extract::checked_limit(limit)?;
    let items = app.services.kafka.publishing_of_topic(&topic, limit)?;
    Ok(Json(json!({"items": items, "next": null})).into_response())
}

/// How old.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Days {
    /// Rows older than this go.
    #[param(minimum = 0, maximum = 3650, default = 30)]
    days: Option<u32>,
}

/// Removes old rows of publishing.
#[utoipa::path(post, path = "/api/kafka/metrics/cleanup", tag = "kafka", params(Days), responses(
    (status = 200, description = "How many rows went", body = schemas::Cleaned),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn clean_metrics(
    State(app): State<Arc<App>>,
    Params(Days { days }): Params<Days>,
) -> Result<Response, Problem> {
    let days = days.unwrap_or(30);
    if days > DAYS_MAX {
        return Err(Problem::parameter("days", format!("found {days}; allowed: 0 to {DAYS_MAX}")));
    }
    let deleted = app.services.kafka.clean_publishing(days).await?;
    Ok((Extension(Asked(json!({"days": days}))), Json(json!({"deleted": deleted}))).into_response())
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
    #[schema(min_length = 1, max_length = 249, pattern = "^[A-Za-z0-9._-]+$")]
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
    let Send { topic, key, message } = body.object()?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty() || topic.len() > 249 || !topic.bytes().all(legal) || topic == "." || topic == ".." {
        return Err(Problem::field("topic", "1 to 249 letters, digits, dots, underscores and hyphens"));
    }
    if !caller.may_see_topic(&topic) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token's topics do not include this name"));
    }
    visible::check_target(app.settings(), &topic)?;
    let place = app.services.kafka.send(&topic, key.as_deref(), &message).await?;
    let asked = json!({"topic": topic, "key": key, "message": message});
    Ok((StatusCode::CREATED, Extension(Asked(asked)), Json(place)).into_response())
}
