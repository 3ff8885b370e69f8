//! The audit log: every change that was made over REST, by whom, from where, with what was before and is after.
//!
//! A change is answered once its entry is in Kafka. Where that fails the change stands, and the log of the process says so.

use crate::access::Caller;
use crate::gate::Peer;
use crate::rest::alerts::covered;
use crate::services::App;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Keys of entries begin so; the time follows, so that their order is that of the changes.
pub(crate) const ENTRIES: &str = "audit/";
/// Entries kept; past it the oldest go.
const ENTRIES_MAX: usize = 5_000;
/// Bytes of what was before and is after, each; past it only the size is kept, of fields that are longer than the second.
const STATE_BYTES_MAX: usize = 64 << 10;
const FIELD_BYTES_MAX: usize = 4 << 10;

/// Routes that change something, and what an entry calls it.
pub(crate) const CHANGES: &[(Method, &str, &str)] = &[
    (Method::POST, "/api/models", "model.create"),
    (Method::PUT, "/api/models/{id}", "model.replace"),
    (Method::DELETE, "/api/models/{id}", "model.delete"),
    (Method::POST, "/api/models/{id}/refit", "model.refit"),
    (Method::POST, "/api/rules", "rule.create"),
    (Method::PUT, "/api/rules/{name}", "rule.replace"),
    (Method::DELETE, "/api/rules/{name}", "rule.delete"),
    (Method::POST, "/api/alerts/{id}/acknowledge", "alert.acknowledge"),
    (Method::DELETE, "/api/alerts/{id}/acknowledge", "alert.unacknowledge"),
    (Method::POST, "/api/silences", "silence.create"),
    (Method::DELETE, "/api/silences/{name}", "silence.delete"),
    (Method::POST, "/api/dlq/replay", "dlq.replay"),
    (Method::POST, "/api/kafka/send", "kafka.send"),
    (Method::POST, "/api/kafka/metrics/cleanup", "kafka.metrics.cleanup"),
];

/// Routes for those who change things that change nothing themselves.
#[cfg(test)]
const NO_CHANGES: &[&str] = &["/api/rules/test", "/api/rules/try", "/api/kafka/test"];

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Names it.
    pub id: String,
    /// When, RFC 3339.
    pub timestamp: String,
    /// `sub` of the token; null without authentication.
    pub subject: Option<String>,
    /// Where from.
    pub address: String,
    /// What was done, such as `model.replace`.
    pub action: String,
    /// To what: the path.
    pub path: String,
    /// What was asked for, where that says more than what was before and is after: the letters to send again, the message
    /// sent by hand. Null elsewhere.
    #[serde(default)]
    #[schema(value_type = Option<Object>, required)]
    pub request: Value,
    /// What there was; null where there was nothing.
    #[schema(value_type = Option<Object>, required)]
    pub before: Value,
    /// What the change was answered with; null for what is gone.
    #[schema(value_type = Option<Object>, required)]
    pub after: Value,
}

/// What a change was asked for with; left with its answer by those whose states do not tell.
#[derive(Clone)]
pub(crate) struct Asked(pub(crate) Value);

impl AuditEntry {
    /// Whether a caller may know of this change: it is about none of the models and topics that the token does not name.
    pub(crate) fn may_be_shown(&self, caller: &Caller) -> bool {
        let states = || [&self.before, &self.after, &self.request].into_iter();
        let text = |field: &str| {
            states().filter_map(|state| state.get(field)?.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let silences = self.action.starts_with("silence.");
        let of_all = silences && states().all(|state| state.is_null() || state["model_id"].is_null());
        let may = |id: &String| match silences {
            // It may cover more than is seen, and still concerns what is.
            true => caller.may_see_some_of(&covered(Some(id))),
            false => caller.may_see_model(id),
        };
        let named = self.path.strip_prefix("/api/models/").and_then(|rest| decode(rest.split('/').next()?));
        (of_all || text("model_id").iter().chain(&named).all(may))
            && text("topic").iter().all(|topic| caller.may_see_topic(topic))
    }
}

fn action_of(method: &Method, route: &str) -> Option<&'static str> {
    CHANGES.iter().find(|(of, path, _)| of == method && *path == route).map(|(.., action)| *action)
}

/// Carries out a request whose caller is known; writes down what it changed.
pub(crate) async fn keep(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let caller = request.extensions().get::<Arc<Caller>>().cloned();
    let (Some(route), Some(caller)) = (route, caller) else { return next.run(request).await };
    let Some(action) = action_of(request.method(), &route) else { return next.run(request).await };
    let path = request.uri().path().to_owned();
    let address =
        request.extensions().get::<Peer>().map_or_else(String::new, |Peer(address)| address.to_string());
    let before = bounded(before(&app, &route, &path).await);
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let request = parts.extensions.remove::<Asked>().map_or(Value::Null, |Asked(request)| bounded(request));
    let body = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let after = bounded(serde_json::from_slice(&body).unwrap_or(Value::Null));
    let now = chrono::Utc::now();
    let id = format!("{:016}-{:08x}", number_after(now.timestamp_micros()), random());
    let entry = AuditEntry {
        id,
        timestamp: now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        subject: caller.subject.as_deref().map(str::to_owned),
        address,
        action: action.to_owned(),
        path,
        request,
        before,
        after,
    };
    tracing::info!(action, path = entry.path, subject = entry.subject, address = entry.address, "changed");
    write_down(&app, &entry).await;
    Response::from_parts(parts, Body::from(body))
}

/// The microsecond, or the number after the last one: entries of one process keep their order.
fn number_after(now_micros: i64) -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let next = |last: i64| Some(now_micros.max(last + 1));
    LAST.fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
        .map_or(now_micros, |last| now_micros.max(last + 1))
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness two changes of one microsecond in two processes share a key, and the later one stays.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

async fn write_down(app: &App, entry: &AuditEntry) {
    let notes = &app.services.notes;
    let value = serde_json::to_vec(entry).unwrap_or_default();
    if let Err(error) = notes.put(&format!("{ENTRIES}{}", entry.id), Bytes::from(value)).await {
        tracing::error!(
            action = entry.action,
            path = entry.path,
            subject = entry.subject,
            error,
            "a change was made and could not be written to the audit log"
        );
        return;
    }
    let entries = notes.below(ENTRIES);
    for (key, _) in entries.iter().take(entries.len().saturating_sub(ENTRIES_MAX)) {
        // Another gateway may be doing the same; the next change tries again.
        let _ = notes.delete(key).await;
    }
}

/// What stands at a path before it is changed, as a reader would see it.
async fn before(app: &App, route: &str, path: &str) -> Value {
    let name = |prefix: &str| {
        let rest = path.strip_prefix(prefix)?;
        let segment = rest.split('/').next()?;
        decode(segment)
    };
    let control = &app.services.control;
    let found = match route {
        "/api/models/{id}" | "/api/models/{id}/refit" => match name("/api/models/") {
            Some(id) => control.model(&id).await.ok().and_then(|view| serde_json::to_value(view.spec).ok()),
            None => None,
        },
        "/api/rules/{name}" => match name("/api/rules/") {
            Some(name) => {
                let rule = control.rule(&name).await.ok();
                rule.and_then(|view| serde_json::to_value(view.spec.redacted()).ok())
            }
            None => None,
        },
        "/api/silences/{name}" => name("/api/silences/")
            .and_then(|name| app.services.notes.get(&format!("{}{name}", tidecast_ports::notes::SILENCES)))
            .and_then(|silence| serde_json::from_slice(&silence).ok()),
        "/api/alerts/{id}/acknowledge" => name("/api/alerts/")
            .and_then(|id| app.services.notes.get(&format!("{}{id}", crate::rest::alerts::ACKNOWLEDGED)))
            .and_then(|note| serde_json::from_slice(&note).ok()),
        _ => None,
    };
    found.unwrap_or(Value::Null)
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, others @ ..] = rest {
        match (first, others) {
            (b'%', [high, low, after @ ..]) => {
                let digits = std::str::from_utf8(&[*high, *low]).ok().map(str::to_owned)?;
                bytes.push(u8::from_str_radix(&digits, 16).ok()?);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// What of a state is kept: where it is large, its large fields are not (a model's history).
fn bounded(state: Value) -> Value {
    let size = |value: &Value| value.to_string().len();
    let omitted = |bytes: usize| json!({"omitted_bytes": bytes});
    let bytes = size(&state);
    match state {
        state if bytes <= STATE_BYTES_MAX => state,
        Value::Object(mut fields) => {
            for value in fields.values_mut() {
                let bytes = size(value);
                if bytes > FIELD_BYTES_MAX {
                    *value = omitted(bytes);
                }
            }
            let kept = Value::Object(fields);
            if size(&kept) <= STATE_BYTES_MAX { kept } else { omitted(bytes) }
        }
        _ => omitted(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{ROUTES, Right};

    #[test]
    fn every_route_that_changes_something_is_written_down() {
        for (method, path, right) in ROUTES {
            let changes = matches!(right, Right::Operate | Right::Administer) && *method != Method::GET;
            let known = action_of(method, path).is_some();
            assert_eq!(changes && !NO_CHANGES.contains(path), known, "{method} {path}");
        }
    }

    #[test]
    fn names_in_paths_are_read_and_large_states_are_cut() {
        assert_eq!(decode("departures%2FJFK%20%C3%A9").as_deref(), Some("departures/JFK é"));
        assert_eq!((decode("%zz"), decode("%ff")), (None, None));
        assert_eq!(bounded(json!("x".repeat(100_000))), json!({"omitted_bytes": 100_002}));
        let model = json!({"horizon": 5, "history": vec![1.5; 50_000]});
        let kept = bounded(model);
        assert_eq!((&kept["horizon"], &kept["history"]), (&json!(5), &json!({"omitted_bytes": 200_001})));
    }
}
