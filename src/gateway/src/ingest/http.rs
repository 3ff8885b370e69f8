//! `POST /api/events`, `/api/forecasts` and `/api/anomalies`.

use crate::access::Caller;
use crate::problem::{FieldProblem, Problem};
use crate::rest::body::Whole;
use crate::rest::extract::Who;
use crate::rest::schemas;
use crate::services::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tidecast_config::ModelSpec;
use tidecast_event::{Anomaly, ForecastMessage, Rejection};
use tidecast_ports::IngestError;

/// Refusals that are told one by one.
const ERRORS_MAX: usize = 1_000;
/// Events in one body: what is told of each takes room, however small it is.
const EVENTS_MAX: usize = 200_000;
/// Bytes that is told of an event takes, about.
const EVENT: usize = 256;
/// Messages of `POST /api/forecasts` and `/api/anomalies` at once.
const MESSAGES_MAX: usize = 10_000;

pub(crate) fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Cuts a body into events, bytes as they came: one, an array, or one a line.
pub fn cut_events(bytes: &Bytes, content_type: &str) -> Result<Vec<Bytes>, Problem> {
    let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let lines = || {
        let whole = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = whole.filter(|line| !line.is_empty()).take(EVENTS_MAX + 1);
        let lines: Vec<Bytes> = lines.map(|line| bytes.slice_ref(line)).collect();
        if lines.len() > EVENTS_MAX { Err(too_many()) } else { Ok(lines) }
    };
    if content_type.contains("ndjson") || content_type.contains("jsonl") {
        return lines();
    }
    if content_type.contains("msgpack") {
        return Ok(vec![bytes.clone()]);
    }
    match first {
        Some(b'[') => {
            let Items(items) = serde_json::from_slice(bytes).map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, format!("the array is not JSON: {error}"))
            })?;
            if items.len() > EVENTS_MAX {
                return Err(too_many());
            }
            Ok(items.into_iter().map(|item| bytes.slice_ref(item.get().as_bytes())).collect())
        }
        // One object may stand on many lines; many objects on a line each.
        Some(b'{')
            if bytes.trim_ascii().contains(&b'\n')
                && serde_json::from_slice::<IgnoredAny>(bytes).is_err() =>
        {
            lines()
        }
        Some(_) => Ok(vec![bytes.slice_ref(bytes.trim_ascii())]),
        None => Ok(Vec::new()),
    }
}

fn too_many() -> Problem {
    let detail = format!("more than {EVENTS_MAX} events in one body: send them in several");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// An array's items as they stand there; of more than [`EVENTS_MAX`], one more.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while items.len() <= EVENTS_MAX
                    && let Some(item) = seq.next_element()?
                {
                    items.push(item);
                }
                // The rest is passed over, for an array that is left in its midst is an error of its own.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

fn refusal(index: usize, many: bool, rejection: &Rejection) -> FieldProblem {
    FieldProblem {
        field: if many { format!("[{index}]") } else { String::new() },
        detail: rejection.detail.clone(),
        code: Some(rejection.reason.as_str().into()),
        index: Some(index as u64),
    }
}

/// Stores events: one, an array, or one a line (NDJSON); gzip is unpacked. Answers once Kafka has them.
#[utoipa::path(post, path = "/api/events", tag = "ingest",
    request_body(description = "One event, an array of events, or NDJSON", content(
        (schemas::Event = "application/json"), (String = "application/x-ndjson"), (Vec<u8> = "application/msgpack"))),
    responses(
    (status = 200, description = "Stored, all or in part; what was refused is told by its place", body = schemas::Accepted),
    (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Nothing could be used; nothing is stored", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka did not take them", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    if !caller.may_see_topic(&app.settings().topics.events) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the token's topics do not include the events topic",
        ));
    }
    let events = cut_events(&body.bytes, &body.content_type)?;
    body.take(events.len() * EVENT)?;
    if events.is_empty() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the body holds no event: send one, an array, or one a line",
        ));
    }
    let started = Instant::now();
    let (results, acknowledged) = app.services.ingest.ingest_batch(events, now_ms());
    let metrics = app.metrics();
    let mut errors = Vec::new();
    let mut refused = 0u64;
    for (index, rejection) in
        results.iter().enumerate().filter_map(|(n, result)| Some((n, result.as_ref().err()?)))
    {
        refused += 1;
        metrics.ingest_refused.with_label_values(&[rejection.reason.as_str()]).inc();
        if errors.len() < ERRORS_MAX {
            errors.push(refusal(index, results.len() > 1, rejection));
        }
    }
    let accepted = results.len() as u64 - refused;
    if accepted == 0 {
        let detail = match errors.first() {
            Some(only) if refused == 1 => only.detail.clone(),
            _ => format!("none of {refused} events can be used; nothing is stored"),
        };
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors));
    }
    // The producer has them now, and a bound of its own.
    drop(body);
    acknowledged.await?;
    metrics.ingest_accepted.with_label_values(&["http"]).inc_by(accepted);
    metrics.ingest_seconds.observe(started.elapsed().as_secs_f64());
    Ok(Json(json!({"accepted": accepted, "refused": refused, "errors": errors})).into_response())
}

/// One message or several, each with its own name in front of a fault.
fn one_or_many<T: DeserializeOwned>(body: &Whole, known: &[&str]) -> Result<(Vec<T>, bool), Problem> {
    let value: Value = body.json()?;
    let (values, many) = match value {
        Value::Array(values) => (values, true),
        one => (vec![one], false),
    };
    if values.is_empty() || values.len() > MESSAGES_MAX {
        let detail = format!("found {} messages; allowed: 1 to {MESSAGES_MAX}", values.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let mut messages = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let prefix = if many { format!("[{index}].") } else { String::new() };
        let Some(fields) = value.as_object() else {
            let detail = format!("{prefix} a message is an object");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.trim_start()));
        };
        if let Some(unknown) = fields.keys().find(|field| !known.contains(&field.as_str())) {
            let detail = format!("an unknown field; there are {}", known.join(", "));
            return Err(Problem::field(format!("{prefix}{unknown}"), detail));
        }
        let message = serde_path_to_error::deserialize(value).map_err(|error| {
            let (path, text) = (error.path().to_string(), error.inner().to_string());
            let field = match path.as_str() {
                "." => text.split('`').nth(1).unwrap_or_default().to_owned(),
                path => path.to_owned(),
            };
            Problem::field(format!("{prefix}{field}"), text)
        })?;
        messages.push(message);
    }
    Ok((messages, many))
}

fn check_common(
    prefix: &str,
    model_id: &str,
    timestamp: &str,
    range: [f64; 2],
    range_name: &str,
) -> Result<(), Problem> {
    ModelSpec::external(model_id)
        .map_err(|fault| Problem::field(format!("{prefix}model_id"), fault.message()))?;
    if chrono::DateTime::parse_from_rfc3339(timestamp).is_err() {
        return Err(Problem::field(
            format!("{prefix}timestamp"),
            "not RFC 3339, such as 2026-01-20T10:30:00Z",
        ));
    }
    if range[0] > range[1] {
        return Err(Problem::field(format!("{prefix}{range_name}"), "the lower bound comes first"));
    }
    Ok(())
}

/// The path of a forecast, where it has one: what pages draw.
fn check_path(prefix: &str, path: Option<&Value>) -> Result<(), Problem> {
    let Some(path) = path.filter(|path| !path.is_null()) else { return Ok(()) };
    let is_step = |step: &Value| {
        let number = |name: &str| step[name].as_f64();
        let time = step["timestamp"].as_str().map(chrono::DateTime::parse_from_rfc3339);
        matches!((number("lower"), number("mean"), number("upper")), (Some(l), Some(_), Some(u)) if l <= u)
            && time.is_some_and(|time| time.is_ok())
    };
    let wrong = match path.as_array() {
        Some(steps) => steps.iter().position(|step| !is_step(step)).map(|at| format!("[{at}]")),
        None => Some(String::new()),
    };
    match wrong {
        None => Ok(()),
        Some(at) => {
            let allowed = "a list of {\"timestamp\" (RFC 3339), \"mean\", \"lower\", \"upper\"}, a step each, lower first";
            Err(Problem::field(format!("{prefix}metadata.path{at}"), allowed))
        }
    }
}

/// A model that the token does not name is as one that does not exist.
fn check_seen(caller: &Caller, prefix: &str, model_id: &str) -> Result<(), Problem> {
    match caller.may_see_model(model_id) {
        true => Ok(()),
        false => {
            Err(Problem::field(format!("{prefix}model_id"), format!("there is no model \"{model_id}\""))
                .with_status(StatusCode::NOT_FOUND))
        }
    }
}

fn prefix(index: usize, many: bool) -> String {
    if many { format!("[{index}].") } else { String::new() }
}

fn made<T: Serialize>(mut messages: Vec<T>, many: bool) -> Response {
    match (many, messages.pop()) {
        (false, Some(one)) => (StatusCode::CREATED, Json(one)).into_response(),
        (_, last) => {
            messages.extend(last);
            (StatusCode::CREATED, Json(json!({"items": messages, "next": null}))).into_response()
        }
    }
}

/// Takes forecasts of models that run elsewhere. An unknown model becomes an External one.
#[utoipa::path(post, path = "/api/forecasts", tag = "ingest",
    request_body(description = "One forecast, or an array", content((schemas::Forecast = "application/json"))),
    responses(
    (status = 201, description = "Published; the forecast again, or `items` for an array", body = schemas::Forecast),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka did not take them", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn forecasts(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    const KNOWN: [&str; 7] = [
        "model_id",
        "timestamp",
        "predicted_value",
        "confidence_interval",
        "forecast_horizon",
        "model_type",
        "metadata",
    ];
    let (messages, many) = one_or_many::<ForecastMessage>(&body, &KNOWN)?;
    for (index, message) in messages.iter().enumerate() {
        let prefix = prefix(index, many);
        check_seen(&caller, &prefix, &message.model_id)?;
        let interval = message.confidence_interval;
        check_common(&prefix, &message.model_id, &message.timestamp, interval, "confidence_interval")?;
        if message.forecast_horizon == 0 {
            return Err(Problem::field(format!("{prefix}forecast_horizon"), "found 0; allowed: 1 or more"));
        }
        check_path(&prefix, message.metadata.get("path"))?;
    }
    app.services.outputs.forecasts(messages.clone()).await.map_err(output_problem)?;
    Ok(made(messages, many))
}

/// Takes anomalies found elsewhere.
#[utoipa::path(post, path = "/api/anomalies", tag = "ingest",
    request_body(description = "One anomaly, or an array", content((schemas::Anomaly = "application/json"))),
    responses(
    (status = 201, description = "Published; the anomaly again, or `items` for an array", body = schemas::Anomaly),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka did not take them", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn anomalies(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    const KNOWN: [&str; 9] = [
        "model_id",
        "timestamp",
        "anomaly_score",
        "observed_value",
        "predicted_value",
        "expected_range",
        "severity",
        "message",
        "recommended_actions",
    ];
    let (messages, many) = one_or_many::<Anomaly>(&body, &KNOWN)?;
    for (index, message) in messages.iter().enumerate() {
        let prefix = prefix(index, many);
        check_seen(&caller, &prefix, &message.model_id)?;
        check_common(
            &prefix,
            &message.model_id,
            &message.timestamp,
            message.expected_range,
            "expected_range",
        )?;
        if !(0.0..=1.0).contains(&message.anomaly_score) {
            let detail = format!("found {}; allowed: 0 to 1", message.anomaly_score);
            return Err(Problem::field(format!("{prefix}anomaly_score"), detail));
        }
    }
    app.services.outputs.anomalies(messages.clone()).await.map_err(output_problem)?;
    Ok(made(messages, many))
}

fn output_problem(error: IngestError) -> Problem {
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(content_type: &str, body: &'static [u8]) -> Vec<Bytes> {
        cut_events(&Bytes::from_static(body), content_type).unwrap()
    }

    #[test]
    fn events_are_cut_out_byte_for_byte() {
        let one = cut("application/json", b" {\n  \"a\": 1.50\n}\n");
        assert_eq!(one, [Bytes::from_static(b"{\n  \"a\": 1.50\n}")]);
        assert_eq!(cut("", b"[ {\"a\":1.50 } , 3 ]"), [&b"{\"a\":1.50 }"[..], b"3"]);
        let lines = [&b"{\"a\":1}"[..], b"{\"b\":", b"{\"c\":3}"];
        assert_eq!(cut("", b"{\"a\":1}\n{\"b\":\r\n\n{\"c\":3}\n"), lines, "a broken line harms no other");
        assert_eq!(cut("application/x-ndjson", b"[1]\n{}"), [&b"[1]"[..], b"{}"]);
        assert_eq!(cut("application/msgpack", b"\x80"), [&b"\x80"[..]]);
        assert!(cut("", b" \n ").is_empty());
    }
}
