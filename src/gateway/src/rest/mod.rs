//! REST (contract section 7) and its description.

pub(crate) mod alerts;
pub(crate) mod body;
pub(crate) mod extract;
mod models;
mod operations;
mod overview;
mod rule_trials;
mod rules;
pub mod schemas;
mod visible;

use crate::browser::Doorway;
use crate::gate::{self, Gate};
use crate::health::Watched;
use crate::ingest;
use crate::services::App;
use crate::{audit, browser, health, pages, sse};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The head of the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidecast",
        description = "Live forecasts on streams of events: models, rules, events in, aggregates out. Errors are RFC 9457 \
                       problem documents. Live updates come by WebSocket (`/forecast-updates`) and as server-sent events \
                       (`/stream/metrics`).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "overview", description = "Figures and alerts"),
        (name = "alerts", description = "Who sees to them, and which notify nobody for a while"),
        (name = "models", description = "Register, inspect, change and query models while running"),
        (name = "rules", description = "Rules, and a dry run"),
        (name = "ingest", description = "Events, forecasts and anomalies in"),
        (name = "live", description = "Aggregates out"),
        (name = "dead letters", description = "Rejected input, and its way back"),
        (name = "kafka", description = "The broker's side"),
    )
)]
struct Description;

fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(overview::stats))
        .routes(routes!(overview::alerts))
        .routes(routes!(alerts::acknowledge, alerts::unacknowledge))
        .routes(routes!(alerts::list_silences, alerts::create_silence))
        .routes(routes!(alerts::delete_silence))
        .routes(routes!(alerts::audit))
        .routes(routes!(overview::sessions))
        .routes(routes!(overview::client_config))
        .routes(routes!(overview::ticket))
        .routes(routes!(models::list, models::create))
        .routes(routes!(models::get, models::replace, models::delete))
        .routes(routes!(models::refit))
        .routes(routes!(models::forecast))
        .routes(routes!(models::history))
        .routes(routes!(rules::list, rules::create))
        .routes(routes!(rules::test))
        .routes(routes!(rule_trials::try_on))
        .routes(routes!(rules::get, rules::replace, rules::delete))
        .routes(routes!(ingest::http::events))
        .routes(routes!(ingest::http::forecasts))
        .routes(routes!(ingest::http::anomalies))
        .routes(routes!(sse::stream_metrics))
        .routes(routes!(operations::dead_letters))
        .routes(routes!(operations::replay))
        .routes(routes!(operations::health))
        .routes(routes!(operations::topics))
        .routes(routes!(operations::records))
        .routes(routes!(operations::metrics))
        .routes(routes!(operations::metrics_summary))
        .routes(routes!(operations::metrics_hourly))
        .routes(routes!(operations::metrics_of_topic))
        .routes(routes!(operations::clean_metrics))
        .routes(routes!(operations::test))
        .routes(routes!(operations::send))
}

fn health_routes(watched: Arc<Watched>) -> Router {
    Router::new()
        .route("/health", get(health::overall))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/startup", get(health::startup))
        .route("/health/kafka", get(health::kafka))
        .route("/health/websocket", get(health::websocket))
        .with_state(watched)
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    complete(described().split_for_parts().1)
}

/// Adds to every operation what any of them may be refused with: parameters and bodies that cannot be read, access, rates,
/// versions.
fn complete(mut openapi: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
    let problem = |description: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new().description(description).content("application/problem+json", content).build()
    };
    let refused = problem("Refused: the problem says why, and which field or parameter it is about");
    let unable =
        problem("Not now: Kafka is away, or too much is asked at once; the same request may be made again");
    for item in openapi.paths.paths.values_mut() {
        for operation in
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
        {
            operation.responses.responses.insert("4XX".to_owned(), refused.clone().into());
            operation.responses.responses.insert("5XX".to_owned(), unable.clone().into());
        }
    }
    openapi
}

/// The app listener: pages, REST, ingest, streams, health.
pub(crate) fn app_router(app: Arc<App>, watched: Arc<Watched>, doorway: Doorway) -> Router {
    let gate = app.gate.clone();
    let (api, openapi) = described().split_for_parts();
    let openapi = complete(openapi);
    let docs = Router::new()
        .merge(utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", openapi))
        .layer(middleware::from_fn(docs_policy))
        .route("/asyncapi.json", get(asyncapi));
    let routes = api
        // A WebSocket: its messages are in the other description.
        .route("/ws/ingest", get(ingest::socket::upgrade))
        .with_state(app.clone())
        .merge(health_routes(watched))
        .layer(DefaultBodyLimit::disable())
        .route_layer(middleware::from_fn_with_state(app.clone(), audit::keep))
        .route_layer(middleware::from_fn_with_state(gate.clone(), gate::authorize))
        .merge(docs)
        .fallback_service(axum::routing::any(pages::page_or_file).with_state(app));
    finish(routes, gate, doorway)
}

/// The admin listener: health and metrics.
pub(crate) fn admin_router(watched: Arc<Watched>, doorway: Doorway) -> Router {
    let gate = watched.gate.clone();
    let routes = health_routes(watched.clone())
        .route("/metrics", get(health::metrics).with_state(watched))
        .route_layer(middleware::from_fn_with_state(gate.clone(), gate::authorize))
        .fallback(|| async {
            crate::problem::Problem::not_found(
                "there are /health, /health/live, /health/ready, /health/startup, \
                /health/kafka, /health/websocket and /metrics",
            )
        });
    finish(routes, gate, doorway)
}

fn finish(routes: Router, gate: Arc<Gate>, doorway: Doorway) -> Router {
    routes
        .layer(middleware::from_fn_with_state(doorway, gate::check_origin))
        .layer(middleware::from_fn_with_state(gate, gate::dress))
}

/// The WebSocket's messages, described.
async fn asyncapi() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../../asyncapi.json"))
}

async fn docs_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = HeaderValue::from_static(browser::DOCS_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;
    use axum::http::Method;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    #[test]
    fn every_described_route_has_a_rule_and_every_rule_of_the_api_a_description() {
        let openapi = serde_json::to_value(openapi()).unwrap();
        let mut described = Vec::new();
        for (path, item) in openapi["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let method: Method = method.to_uppercase().parse().unwrap();
                assert!(access::right_of(&method, path).is_some(), "{method} {path} is without a rule");
                described.push((method, path.clone()));
            }
        }
        for (method, path, _) in access::ROUTES {
            let elsewhere = ["/health", "/metrics", "/openapi.json", "/asyncapi.json", "/ws/ingest"]
                .iter()
                .any(|prefix| path.starts_with(prefix));
            let here = described.iter().any(|(known, at)| known == method && at == path);
            assert!(here || elsewhere, "{method} {path} has a rule and no description");
        }
    }

    #[test]
    fn every_operation_says_how_it_refuses_and_every_reason_of_a_dead_letter_is_named() {
        let openapi = serde_json::to_value(openapi()).unwrap();
        for item in openapi["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let refused = &operation["responses"]["4XX"]["content"]["application/problem+json"];
                assert_eq!(refused["schema"]["$ref"], "#/components/schemas/Problem", "{operation}");
            }
        }
        let mut parameters = openapi["paths"]["/api/dlq"]["get"]["parameters"].as_array().unwrap().iter();
        let reason = parameters.find(|parameter| parameter["name"] == "reason").unwrap();
        let named: Vec<&str> = reason["schema"]["pattern"]
            .as_str()
            .unwrap()
            .trim_matches(['^', '(', ')', '$'])
            .split('|')
            .collect();
        let inputs = tidecast_event::Reason::ALL.map(tidecast_event::Reason::as_str);
        let outputs = [tidecast_ports::publish::TOO_LARGE, tidecast_ports::publish::UNKNOWN_TOPIC];
        assert_eq!(named, [&inputs[..], &outputs].concat());
    }

    fn names(openapi: &Value, schema: &Value) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            found.extend(names(openapi, &openapi["components"]["schemas"][name]));
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            found.extend(names(openapi, part));
        }
        found.extend(schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned()));
        found
    }

    /// What travels has no field that the description lacks, and the description none that cannot travel.
    #[test]
    fn the_description_names_the_fields_that_travel() {
        let openapi = serde_json::to_value(openapi()).unwrap();
        let check = |schema: &str, travels: Value, unsaid: &[&str]| {
            let mut travels: BTreeSet<String> = travels.as_object().unwrap().keys().cloned().collect();
            travels.extend(unsaid.iter().map(|name| (*name).to_owned()));
            assert_eq!(names(&openapi, &openapi["components"]["schemas"][schema]), travels, "{schema}");
        };
        let model = json!({"model_id": "m", "model_type": "SARIMAX", "order": [1, 1, 1], "seasonal_order": [1, 1, 1, 7],
            "series": "by_source:s", "history": [1], "update_frequency_seconds": 60, "exogenous": ["by_type:t/event_count"]});
        let spec = tidecast_config::ModelSpec::from_json(&model).unwrap();
        check("Model", serde_json::to_value(&spec).unwrap(), &["season"]);
        let view = tidecast_ports::control::ModelView {
            spec,
            state: tidecast_ports::control::ModelState::Live,
            observations: 0,
            needed: 0,
            accuracy: None,
            last_forecast_time: None,
            anomalies: 0,
            template: None,
            summary: None,
            error: None,
            version: 1,
        };
        check("ModelView", serde_json::to_value(&view).unwrap(), &["season"]);
        let rule = json!({"name": "r", "event_type": "WINDOW_CLOSED", "condition": "true", "action": "log"});
        let spec = tidecast_config::RuleSpec::from_json(&rule).unwrap();
        check("Rule", serde_json::to_value(&spec).unwrap(), &[]);
        let view = tidecast_ports::control::RuleView {
            spec,
            built_in: false,
            fired: 0,
            errors: 0,
            last_fired: None,
            version: 1,
        };
        check("RuleView", serde_json::to_value(&view).unwrap(), &[]);
        let letter = tidecast_ports::operations::DeadLetter {
            id: String::new(),
            reason: String::new(),
            detail: String::new(),
            topic: String::new(),
            partition: 0,
            offset: 0,
            timestamp: String::new(),
            key: None,
            payload: None,
            payload_base64: None,
            truncated: false,
        };
        check("DeadLetter", serde_json::to_value(&letter).unwrap(), &[]);
        let stats = tidecast_ports::stats::WorkerStats::default();
        check("Stats", serde_json::to_value(&stats).unwrap(), &["websocket"]);
    }
}
