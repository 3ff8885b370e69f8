//! `/api/models/**`.

use super::body::Whole;
use super::extract::{Name, PageQuery, Params, Who, etag, if_match};
use super::schemas;
use crate::problem::Problem;
use crate::services::App;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tidecast_config::ModelSpec;
use tidecast_ports::control::{ModelView, Page};
use tidecast_ports::paths::segment;

/// Fields of an answer that say how a model fares: a client may send back what it has read.
const TOLD_NOT_SET: [&str; 10] = [
    "state",
    "observations",
    "needed",
    "accuracy",
    "last_forecast_time",
    "anomalies",
    "template",
    "summary",
    "error",
    "version",
];

/// Longest forecast, and most rows of history, that are given at once.
const HORIZON_MAX: usize = 1_000;
const HISTORY_MAX: usize = 10_000;
const HISTORY_DEFAULT: usize = 200;

/// The name of a model in a path: of one that the caller may know of.
pub(crate) struct ModelName(String);

impl FromRequestParts<Arc<App>> for ModelName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Name(id) = Name::from_request_parts(parts, app).await?;
        let Who(caller) = Who::from_request_parts(parts, app).await?;
        match caller.may_see_model(&id) {
            true => Ok(ModelName(id)),
            false => Err(Problem::not_found(format!("there is no model \"{id}\""))),
        }
    }
}

fn shown(status: StatusCode, view: &ModelView) -> Response {
    (status, etag(view.version), Json(view)).into_response()
}

fn spec_of(body: &Whole, id: Option<&str>) -> Result<ModelSpec, Problem> {
    let mut object: Value = body.json()?;
    if let Some(fields) = object.as_object_mut() {
        TOLD_NOT_SET.iter().for_each(|told| drop(fields.remove(*told)));
        if let Some(id) = id {
            match fields.get("model_id") {
                None => drop(fields.insert("model_id".into(), id.into())),
                Some(Value::String(named)) if named == id => {}
                Some(_) => {
                    return Err(Problem::field("model_id", format!("must be \"{id}\", as in the path")));
                }
            }
        }
    }
    Ok(ModelSpec::from_json(&object)?)
}

/// Models by name.
#[utoipa::path(get, path = "/api/models", tag = "models", params(PageQuery), responses(
    (status = 200, description = "A page of models", body = schemas::ModelPage),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    Params(page): Params<PageQuery>,
) -> Result<Response, Problem> {
    let mut asked = page.page()?;
    let limit = asked.limit.unwrap_or(usize::MAX);
    let mut items = Vec::new();
    // What the caller may not see makes no page shorter.
    let next = loop {
        let page = app.services.control.models(asked.clone()).await?;
        items.extend(page.items.into_iter().filter(|model| caller.may_see_model(&model.spec.model_id)));
        match page.next {
            Some(cursor) if items.len() < limit => asked.cursor = Some(cursor),
            next => break next,
        }
    };
    let more = items.len() > limit || next.is_some();
    items.truncate(limit);
    // Where a page ends tells no name of what is hidden.
    let next = items.last().filter(|_| more).map(|model| model.spec.model_id.clone());
    Ok(Json(Page { items, next }).into_response())
}

/// Registers a model.
#[utoipa::path(post, path = "/api/models", tag = "models", request_body = schemas::Model, responses(
    (status = 201, description = "The model; Location names it", body = schemas::ModelView),
    (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    body: Whole,
) -> Result<Response, Problem> {
    let spec = spec_of(&body, None)?;
    if !caller.may_see_model(&spec.model_id) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token's models do not include this name"));
    }
    let view = app.services.control.create_model(spec).await?;
    let location = format!("/api/models/{}", segment(&view.spec.model_id));
    Ok(([(header::LOCATION, location)], shown(StatusCode::CREATED, &view)).into_response())
}

/// One model.
#[utoipa::path(get, path = "/api/models/{id}", tag = "models", params(("id" = String, Path)), responses(
    (status = 200, description = "The model, and how it fares", body = schemas::ModelView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, ModelName(id): ModelName) -> Result<Response, Problem> {
    Ok(shown(StatusCode::OK, &app.services.control.model(&id).await?))
}

/// Replaces a model.
#[utoipa::path(put, path = "/api/models/{id}", tag = "models",
    params(("id" = String, Path)),
    request_body = schemas::Model, responses(
    (status = 200, description = "The model as it is now", body = schemas::ModelView),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    ModelName(id): ModelName,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Problem> {
    let version = if_match(&headers);
    let spec = spec_of(&body, Some(&id))?;
    let replaced = app.services.control.replace_model(&id, spec, version.as_deref()).await;
    Ok(shown(StatusCode::OK, &replaced?))
}

/// Removes a model; of a template, its models too.
#[utoipa::path(delete, path = "/api/models/{id}", tag = "models",
    params(("id" = String, Path)),
    responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ModelName(id): ModelName,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let version = if_match(&headers);
    let deleted = app.services.control.delete_model(&id, version.as_deref()).await;
    deleted?;
    app.services.hub.forget(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// Asks for a new fit of what a model knows by now, before its next window; under a template's name, of all its models.
#[utoipa::path(post, path = "/api/models/{id}/refit", tag = "models", params(("id" = String, Path)), responses(
    (status = 202, description = "Asked for; the model as it is until then", body = schemas::ModelView),
    (status = 404, description = "There is no such model", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "There is nothing to fit again yet, or it is forecast elsewhere", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn refit(
    State(app): State<Arc<App>>,
    ModelName(id): ModelName,
) -> Result<Response, Problem> {
    Ok(shown(StatusCode::ACCEPTED, &app.services.control.refit_model(&id).await?))
}

/// How far ahead.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ahead {
    /// Steps; the model's own horizon where absent.
    #[param(minimum = 1, maximum = 1000)]
    horizon: Option<usize>,
}

/// A forecast now.
#[utoipa::path(get, path = "/api/models/{id}/forecast", tag = "models", params(("id" = String, Path), Ahead), responses(
    (status = 200, description = "A forecast message", body = schemas::Forecast),
    (status = 404, description = "There is no such model", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Not yet: it is warming up; or it is a template", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn forecast(
    State(app): State<Arc<App>>,
    ModelName(id): ModelName,
    Params(Ahead { horizon }): Params<Ahead>,
) -> Result<Response, Problem> {
    if let Some(steps) = horizon
        && !(1..=HORIZON_MAX).contains(&steps)
    {
        return Err(Problem::parameter("horizon", format!("found {steps}; allowed: 1 to {HORIZON_MAX}")));
    }
    Ok(Json(app.services.control.forecast(&id, horizon).await?).into_response())
}

/// How far back.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Back {
    /// Most rows.
    #[param(minimum = 1, maximum = 10000, default = 200)]
    limit: Option<usize>,
}

/// What came and what was predicted for it, oldest first.
#[utoipa::path(get, path = "/api/models/{id}/history", tag = "models", params(("id" = String, Path), Back), responses(
    (status = 200, description = "The newest rows, oldest first", body = schemas::HistoryPage),
    (status = 404, description = "There is no such model", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    ModelName(id): ModelName,
    Params(Back { limit }): Params<Back>,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(HISTORY_DEFAULT);
    if !(1..=HISTORY_MAX).contains(&limit) {
        return Err(Problem::parameter("limit", format!("found {limit}; allowed: 1 to {HISTORY_MAX}")));
    }
    let items = app.services.control.history(&id, limit).await?;
    Ok(Json(json!({"items": items, "next": null})).into_response())
}
