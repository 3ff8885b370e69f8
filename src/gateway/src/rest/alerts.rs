//! `/api/alerts/**`, `/api/silences/**` and `/api/audit`: what people did about alerts, and about everything else.

use super::body::Whole;
use super::extract::{Name, PageQuery, Params, Who, checked_limit, page_of};
use super::schemas;
use crate::access::Caller;
use crate::audit::{Asked, AuditEntry, CHANGES, ENTRIES};
use crate::live::alerts::AlertItem;
use crate::live::index::Pattern;
use crate::problem::Problem;
use crate::services::App;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidecast_ports::notes::{SILENCES, Silence};
use tidecast_ports::paths::segment;

/// Keys of acknowledgements begin so; the alert's id follows.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged/";
/// Acknowledgements and silences kept.
const ACKNOWLEDGED_MAX: usize = 2_000;
const SILENCES_MAX: usize = 1_000;
/// Longest note, reason and name, characters.
const TEXT_MAX: usize = 1_000;
const NAME_MAX: usize = 200;

/// Somebody has seen to an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Acknowledgement {
    /// Who; null without authentication.
    pub by: Option<String>,
    /// When, RFC 3339.
    pub at: String,
    /// What they say to it.
    pub note: Option<String>,
}

fn unavailable(why: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).with_header("retry-after", "5")
}

fn text(value: Option<String>, field: &str, most: usize) -> Result<Option<String>, Problem> {
    match value {
        Some(text) if text.chars().count() > most => Err(Problem::field(
            field,
            format!("found {} characters; allowed: {most} at most", text.chars().count()),
        )),
        value => Ok(value.filter(|text| !text.is_empty())),
    }
}

/// Acknowledgements by the alert's id.
pub(crate) fn acknowledgements(app: &App) -> BTreeMap<String, Acknowledgement> {
    let notes = app.services.notes.below(ACKNOWLEDGED);
    let read = |(key, value): (String, bytes::Bytes)| {
        Some((key.strip_prefix(ACKNOWLEDGED)?.to_owned(), serde_json::from_slice(&value).ok()?))
    };
    notes.into_iter().filter_map(read).collect()
}

/// Silences, those that are over included.
pub(crate) fn silences(app: &App) -> Vec<Silence> {
    let notes = app.services.notes.below(SILENCES);
    notes.into_iter().filter_map(|(_, value)| serde_json::from_slice(&value).ok()).collect()
}

/// Whether a caller is shown an alert: by its topic, and the model it is about.
pub(super) fn may_see(app: &App, caller: &Caller, item: &AlertItem) -> bool {
    caller.may_see_topic(&app.settings().topics.alerts)
        && item.model_id.as_deref().is_none_or(|model| caller.may_see_model(model))
}

/// An alert that the caller may see: what it is about, for the audit log.
fn check_alert(app: &App, caller: &Caller, id: &str) -> Result<Asked, Problem> {
    let (found, _) = app.services.hub.alerts(None, 1, |item| item.id == id);
    match found.first() {
        Some((_, item)) if may_see(app, caller, item) => {
            Ok(Asked(json!({"model_id": item.model_id, "topic": app.settings().topics.alerts})))
        }
        _ => Err(Problem::not_found(format!("there is no alert \"{id}\" among the newest"))),
    }
}

/// What is said to an alert.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remark {
    /// For others to read.
    #[serde(default)]
    note: Option<String>,
}

/// Acknowledges an alert: somebody sees to it.
#[utoipa::path(post, path = "/api/alerts/{id}/acknowledge", tag = "alerts", params(("id" = String, Path)),
    request_body = Option<Remark>, responses(
    (status = 201, description = "Who, when, and what they say", body = Acknowledgement),
    (status = 404, description = "There is none among the newest", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(id): Name,
    body: Whole,
) -> Result<Response, Problem> {
    let remark: Remark = body.json_or_default()?;
    let about = check_alert(&app, &caller, &id)?;
    let acknowledgement = Acknowledgement {
        by: caller.subject.as_deref().map(str::to_owned),
        at: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        note: text(remark.note, "note", TEXT_MAX)?,
    };
    let notes = &app.services.notes;
    let value = serde_json::to_vec(&acknowledgement).unwrap_or_default();
    notes.put(&format!("{ACKNOWLEDGED}{id}"), value.into()).await.map_err(unavailable)?;
    // Alerts are listed while they are among the newest: what is known of older ones is of no use.
    let mut known: Vec<(String, String)> =
        acknowledgements(&app).into_iter().map(|(id, known)| (known.at, id)).collect();
    known.sort();
    for (_, id) in known.iter().take(known.len().saturating_sub(ACKNOWLEDGED_MAX)) {
        let _ = notes.delete(&format!("{ACKNOWLEDGED}{id}")).await;
    }
    Ok((StatusCode::CREATED, Extension(about), Json(acknowledgement)).into_response())
}

/// Takes an acknowledgement back.
#[utoipa::path(delete, path = "/api/alerts/{id}/acknowledge", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 204, description = "Nobody has seen to it"),
    (status = 404, description = "Nobody had", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn unacknowledge(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(id): Name,
) -> Result<Response, Problem> {
    let about = check_alert(&app, &caller, &id)?;
    let key = format!("{ACKNOWLEDGED}{id}");
    if app.services.notes.get(&key).is_none() {
        return Err(Problem::not_found(format!("nobody has acknowledged the alert \"{id}\"")));
    }
    app.services.notes.delete(&key).await.map_err(unavailable)?;
    Ok((StatusCode::NO_CONTENT, Extension(about)).into_response())
}

/// A silence as it is asked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilence {
    /// Names it.
    #[schema(min_length = 1, max_length = 200, pattern = "^[A-Za-z0-9 ._/-]+$")]
    name: String,
    /// Model ids that it covers, `*` at the end matches; every one where absent.
    #[serde(default)]
    model_id: Option<String>,
    /// Rules that it covers, likewise.
    #[serde(default)]
    rule: Option<String>,
    /// When it is over, RFC 3339; a time to come.
    #[schema(format = DateTime)]
    until: String,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// The models that a silence covers.
pub(crate) fn covered(model_id: Option<&str>) -> Pattern {
    model_id.map_or_else(Pattern::all, Pattern::parse)
}

/// Whoever silences has to be shown every model that is silenced.
fn check_covered(caller: &Caller, model_id: Option<&str>) -> Result<(), Problem> {
    match caller.may_see_all_of(&covered(model_id)) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the token's models do not include every model that the silence covers (model_id)",
        )),
    }
}

/// Silences by name.
#[utoipa::path(get, path = "/api/silences", tag = "alerts", params(PageQuery), responses(
    (status = 200, description = "A page of silences", body = schemas::SilencePage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list_silences(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(page): Params<PageQuery>,
) -> Result<Response, Problem> {
    let page = page.page()?;
    let search = page.search.unwrap_or_default().to_lowercase();
    let mut found = silences(&app);
    found.retain(|silence| {
        caller.may_see_some_of(&covered(silence.model_id.as_deref()))
            && silence.name.to_lowercase().contains(&search)
            && page.cursor.as_ref().is_none_or(|cursor| silence.name > *cursor)
    });
    let limit = page.limit.unwrap_or(usize::MAX);
    Ok(Json(page_of(found.into_iter(), limit, |silence| silence.name.clone())).into_response())
}

/// Silences alerts for a while: they are listed and sent to live clients, and notify nobody (webhook, Slack, e-mail).
#[utoipa::path(post, path = "/api/silences", tag = "alerts", request_body = NewSilence, responses(
    (status = 201, description = "The silence; Location names it", body = schemas::Silence),
    (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create_silence(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    let NewSilence { name, model_id, rule, until, reason } = body.object()?;
    // In an address the two go up or nowhere.
    let goes_nowhere = matches!(&*name, "." | "..");
    if name.is_empty()
        || name.chars().count() > NAME_MAX
        || name.chars().any(char::is_control)
        || goes_nowhere
    {
        let detail = format!("1 to {NAME_MAX} characters, no control characters, neither . nor ..");
        return Err(Problem::field("name", detail));
    }
    check_covered(&caller, model_id.as_deref().filter(|id| !id.is_empty()))?;
    let over = DateTime::parse_from_rfc3339(&until)
        .map_err(|_| Problem::field("until", "not RFC 3339, such as 2026-01-20T10:30:00Z"))?;
    let now = Utc::now();
    if over <= now {
        return Err(Problem::field(
            "until",
            format!("found {until}, which is over; allowed: a time to come"),
        ));
    }
    // Between the look and the note nobody else makes one here.
    let _alone = app.silencing.lock().await;
    let known = silences(&app);
    let is_open = |silence: &&Silence| silence.until_ms > now.timestamp_millis();
    if let Some(there) = known.iter().find(|silence| silence.name == name && is_open(silence)) {
        let hidden = !caller.may_see_some_of(&covered(there.model_id.as_deref()));
        let next = if hidden { "choose another name" } else { "remove it first" };
        return Err(Problem::new(StatusCode::CONFLICT, format!("there is a silence \"{name}\"; {next}")));
    }
    // Those that are over are cleared away when another is made.
    for past in known.iter().filter(|silence| !is_open(silence)) {
        let _ = app.services.notes.delete(&format!("{SILENCES}{}", past.name)).await;
    }
    if known.iter().filter(is_open).count() >= SILENCES_MAX {
        let detail = format!("there are {SILENCES_MAX} silences already; remove one first");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let silence = Silence {
        name,
        model_id: text(model_id, "model_id", TEXT_MAX)?,
        rule: text(rule, "rule", TEXT_MAX)?,
        until: over.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true),
        until_ms: over.timestamp_millis(),
        reason: text(reason, "reason", TEXT_MAX)?,
        by: caller.subject.as_deref().map(str::to_owned),
    };
    let value = serde_json::to_vec(&silence).unwrap_or_default();
    app.services
        .notes
        .put(&format!("{SILENCES}{}", silence.name), value.into())
        .await
        .map_err(unavailable)?;
    let location = format!("/api/silences/{}", segment(&silence.name));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(silence)).into_response())
}

/// Ends a silence.
#[utoipa::path(delete, path = "/api/silences/{name}", tag = "alerts", params(("name" = String, Path)), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Kafka is away", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_silence(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(name): Name,
) -> Result<StatusCode, Problem> {
    let key = format!("{SILENCES}{name}");
    let found = app.services.notes.get(&key);
    let silence = found.and_then(|silence| serde_json::from_slice::<Silence>(&silence).ok());
    let seen = |silence: &Silence| caller.may_see_some_of(&covered(silence.model_id.as_deref()));
    let Some(silence) = silence.filter(seen) else {
        return Err(Problem::not_found(format!("there is no silence \"{name}\"")));
    };
    check_covered(&caller, silence.model_id.as_deref())?;
    app.services.notes.delete(&key).await.map_err(unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which changes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Changes {
    /// Most items to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Only what was done so, such as `model.replace`; `model.*` for everything done to models.
    action: Option<String>,
    /// Keeps those whose action, path or subject contains this, ignoring case.
    search: Option<String>,
}

/// The actions that are asked for. The error is one that no action can ever match.
fn actions(wanted: Option<String>) -> Result<Pattern, Problem> {
    let wanted = wanted.map_or_else(Pattern::all, |wanted| Pattern::parse(&wanted));
    if !CHANGES.iter().any(|(.., action)| wanted.matches(action)) {
        let known: Vec<&str> = CHANGES.iter().map(|(.., action)| *action).collect();
        let detail = format!("there are {}, and a `*` at the end matches any rest", known.join(", "));
        return Err(Problem::parameter("action", detail));
    }
    Ok(wanted)
}

/// Changes that were made over REST, newest first: who, what, before and after. A token with `models` or `topics` gets none
/// of others.
#[utoipa::path(get, path = "/api/audit", tag = "overview", params(Changes), responses(
    (status = 200, description = "A page of changes", body = schemas::AuditPage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn audit(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(Changes { limit, cursor, action, search }): Params<Changes>,
) -> Result<Response, Problem> {
    let limit = checked_limit(limit)?;
    let actions = actions(action)?;
    let search = search.unwrap_or_default().to_lowercase();
    let wanted = |entry: &AuditEntry| {
        let subject = entry.subject.as_deref().unwrap_or_default();
        actions.matches(&entry.action)
            && [entry.action.as_str(), entry.path.as_str(), subject]
                .iter()
                .any(|text| text.to_lowercase().contains(&search))
    };
    let entries = app.services.notes.below(ENTRIES);
    let found = entries
        .into_iter()
        .rev()
        .filter_map(|(_, value)| serde_json::from_slice::<AuditEntry>(&value).ok())
        .filter(|entry| cursor.as_ref().is_none_or(|cursor| entry.id < *cursor) && wanted(entry))
        .filter(|entry| entry.may_be_shown(&caller));
    let page = page_of(found, limit, |entry| entry.id.clone());
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}
