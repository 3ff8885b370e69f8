//! `/api/rules/**`.

use super::body::Whole;
use super::extract::{Name, PageQuery, Params, Who, etag, if_match};
use super::{schemas, visible};
use crate::problem::Problem;
use crate::services::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::sync::Arc;
use tidecast_config::{Fault, RuleSpec};
use tidecast_ports::ControlError;
use tidecast_ports::control::{RuleTest, RuleView};
use tidecast_ports::paths::segment;

/// Fields of an answer that say how a rule fares: a client may send back what it has read.
const TOLD_NOT_SET: [&str; 6] = ["built_in", "builtin", "fired", "errors", "last_fired", "version"];

/// Readers never see the secrets in actions.
fn redacted(mut view: RuleView) -> RuleView {
    view.spec = view.spec.redacted();
    view
}

fn shown(status: StatusCode, view: RuleView) -> Response {
    let view = redacted(view);
    (status, etag(view.version), Json(view)).into_response()
}

fn spec_of(mut object: Value, name: Option<&str>) -> Result<RuleSpec, Problem> {
    if let Some(fields) = object.as_object_mut() {
        TOLD_NOT_SET.iter().for_each(|told| drop(fields.remove(*told)));
        if let Some(name) = name {
            match fields.get("name") {
                None => drop(fields.insert("name".into(), name.into())),
                Some(Value::String(named)) if named == name => {}
                Some(_) => return Err(Problem::field("name", format!("must be \"{name}\", as in the path"))),
            }
        }
    }
    Ok(RuleSpec::from_json(&object)?)
}

/// Rules by name.
#[utoipa::path(get, path = "/api/rules", tag = "rules", params(PageQuery), responses(
    (status = 200, description = "A page of rules", body = schemas::RulePage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(page): Params<PageQuery>,
) -> Result<Response, Problem> {
    let mut page = app.services.control.rules(page.page()?).await?;
    page.items = page.items.into_iter().map(redacted).collect();
    Ok(Json(page).into_response())
}

/// Registers a rule.
#[utoipa::path(post, path = "/api/rules", tag = "rules", request_body = schemas::Rule, responses(
    (status = 201, description = "The rule; Location names it", body = schemas::RuleView),
    (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    let spec = spec_of(body.json()?, None)?;
    visible::check_rule(&caller, app.settings(), &spec.action)?;
    let view = app.services.control.create_rule(spec).await?;
    let location = format!("/api/rules/{}", segment(&view.spec.name));
    Ok(([(header::LOCATION, location)], shown(StatusCode::CREATED, view)).into_response())
}

/// One rule.
#[utoipa::path(get, path = "/api/rules/{name}", tag = "rules", params(("name" = String, Path)), responses(
    (status = 200, description = "The rule, and how it fares", body = schemas::RuleView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, Name(name): Name) -> Result<Response, Problem> {
    Ok(shown(StatusCode::OK, app.services.control.rule(&name).await?))
}

/// Replaces a rule. Secrets that were read as `[REDACTED]` and sent back so stay what they were; headers of a webhook that
/// is given another `url` have to be written anew.
#[utoipa::path(put, path = "/api/rules/{name}", tag = "rules",
    params(("name" = String, Path)),
    request_body = schemas::Rule, responses(
    (status = 200, description = "The rule as it is now", body = schemas::RuleView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(name): Name,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Problem> {
    let version = if_match(&headers);
    let control = &app.services.control;
    // Whether it is there goes before what is wrong with the body.
    control.rule(&name).await?;
    let spec = spec_of(body.json()?, Some(&name))?;
    visible::check_rule(&caller, app.settings(), &spec.action)?;
    let replaced = control.replace_rule(&name, spec, version.as_deref()).await;
    Ok(shown(StatusCode::OK, replaced?))
}

/// Removes a rule.
#[utoipa::path(delete, path = "/api/rules/{name}", tag = "rules",
    params(("name" = String, Path)),
    responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    visible::check_rule(&caller, app.settings(), &Value::Null)?;
    let version = if_match(&headers);
    let deleted = app.services.control.delete_rule(&name, version.as_deref()).await;
    deleted?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a rule of which only the condition is known would otherwise be.
fn completed(rule: Value, event: &Value) -> Value {
    let Value::Object(mut fields) = rule else { return rule };
    let kind = event.get("event_type").cloned().unwrap_or_else(|| "FORECAST_GENERATED".into());
    for (name, value) in [("name", "dry run".into()), ("event_type", kind), ("action", "log".into())] {
        fields.entry(name).or_insert(value);
    }
    Value::Object(fields)
}

/// A dry run: what a rule would do with a sample event. Nothing is sent, written or counted.
#[utoipa::path(post, path = "/api/rules/test", tag = "rules", request_body = schemas::RuleTest, responses(
    (status = 200, description = "What it found", body = schemas::RuleTestResult),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn test(State(app): State<Arc<App>>, body: Whole) -> Result<Response, Problem> {
    let mut fields: Map<String, Value> = body.json()?;
    let event = fields
        .remove("event")
        .ok_or_else(|| Problem::field("event", "missing; a sample event, an object"))?;
    if !event.is_object() {
        return Err(Problem::field("event", "a sample event is an object"));
    }
    let rule = asked_for(&app, &mut fields, &event).await?;
    if let Some(unknown) = fields.keys().next() {
        return Err(Fault::new(unknown, "an unknown field", "rule or condition, and event").into());
    }
    let tested = app.services.control.test_rule(RuleTest { rule, event }).await;
    Ok(Json(tested.map_err(|error| match error {
        ControlError::Invalid { field, message } => below("rule", Problem::field(field, message)),
        other => other.into(),
    })?)
    .into_response())
}

/// The rule in full, its condition alone, or the name of one that is registered.
pub(super) async fn asked_for(
    app: &App,
    fields: &mut Map<String, Value>,
    event: &Value,
) -> Result<RuleSpec, Problem> {
    match (fields.remove("rule"), fields.remove("condition")) {
        (Some(Value::String(name)), None) => Ok(app.services.control.rule(&name).await?.spec),
        (Some(rule), None) => spec_of(completed(rule, event), None).map_err(|problem| below("rule", problem)),
        (None, Some(condition)) => {
            let rule = Value::Object(Map::from_iter([("condition".to_owned(), condition)]));
            spec_of(completed(rule, event), None)
        }
        (Some(_), Some(_)) => Err(Problem::field("condition", "give a rule or a condition, not both")),
        (None, None) => Err(Problem::field("rule", "missing; a rule, its condition or its name")),
    }
}

pub(super) fn below(parent: &str, problem: Problem) -> Problem {
    match problem.field.clone() {
        Some(field)
            if field != parent
                && !field.starts_with("rule.")
                && field != "event"
                && !field.starts_with("event.") =>
        {
            Problem::field(format!("{parent}.{field}"), problem.detail)
        }
        _ => problem,
    }
}
