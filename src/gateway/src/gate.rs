//! What every request to the app and admin listeners passes: host and origin, access, limits, headers, figures.

use crate::access::{self, Caller, ROUTES, Refusal, Right};
use crate::auth::Authenticator;
use crate::browser::{self, Doorway, Site};
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;
use tidecast_config::Settings;

/// Who may pass, how often, and what is counted of it: the same for every listener.
pub(crate) struct Gate {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) pace: Pace,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metrics: Metrics,
}

impl Gate {
    pub(crate) fn new(
        settings: &Arc<Settings>,
        authenticator: &Arc<Authenticator>,
        metrics: &Metrics,
    ) -> Self {
        Gate {
            authenticator: authenticator.clone(),
            pace: Pace::new(settings.limits.rest_calls_per_second),
            settings: settings.clone(),
            metrics: metrics.clone(),
        }
    }
}

/// The outermost layer: figures and security headers, whatever the answer.
pub(crate) async fn dress(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    browser::add_security_headers(response.headers_mut());
    let label = route.as_deref().unwrap_or("other");
    // Anything may stand in a request line: only methods that mean something here become a label.
    let method = match method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS => {
            method.to_string()
        }
        _ => "other".into(),
    };
    let metrics = &gate.metrics;
    metrics.request_seconds.with_label_values(&[label, &method]).observe(started.elapsed().as_secs_f64());
    metrics.requests.with_label_values(&[label, &method, response.status().as_str()]).inc();
    response
}

/// The route whose caller may show a token in its first message.
const WEBSOCKET_ROUTE: &str = "/ws/ingest";

/// Where a connection comes from.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) std::net::IpAddr);

/// Host and origin of every request, pages included.
pub(crate) async fn check_origin(State(doorway): State<Doorway>, request: Request, next: Next) -> Response {
    let mut response = let_in(&doorway, request, next).await;
    if doorway.tls {
        // A browser that has been here by TLS does not come in the clear again.
        let lasting = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, lasting);
    }
    response
}

async fn let_in(doorway: &Doorway, request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers(), Some(request.uri()));
    if let Some(detail) = browser::misnamed_host(headers, uri, request.version()) {
        return Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
    }
    let site = match browser::check_host_and_origin(request.headers(), Some(request.uri()), doorway) {
        Ok(site) => site,
        Err(detail) => return Problem::new(StatusCode::FORBIDDEN, detail).into_response(),
    };
    let Some(origin) = request.headers().get(header::ORIGIN).filter(|_| site == Site::Allowed).cloned()
    else {
        return next.run(request).await;
    };
    let asks_first = *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first {
        let mut response = StatusCode::NO_CONTENT.into_response();
        browser::preflight(response.headers_mut());
        response
    } else {
        next.run(request).await
    };
    browser::share_with(response.headers_mut(), origin);
    response
}

/// Access to a route that exists. A method that the table does not name for it is answered here, so that a handler
/// without a rule cannot be reached.
pub(crate) async fn authorize(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let Some(route) = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()) else {
        return next.run(request).await;
    };
    let Some(mut right) = access::right_of(request.method(), &route) else {
        return wrong_method(request.method(), &route);
    };
    if right == Right::ReadMetrics && gate.settings.admin.public_metrics {
        right = Right::Anyone;
    }
    if right == Right::Anyone {
        return next.run(request).await;
    }
    let is_websocket = route == WEBSOCKET_ROUTE;
    let caller = gate.authenticator.caller(request.headers(), request.uri(), is_websocket).await;
    if let Err(wait) = gate.pace.count(&name_of(&caller, &request), Instant::now()) {
        let most = gate.settings.limits.rest_calls_per_second;
        let detail = format!("rate_limited: at most {most} calls a second (limits.rest_calls_per_second)");
        return Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_header("retry-after", wait.as_secs_f64().ceil().to_string())
            .into_response();
    }
    if is_websocket && matches!(caller, Ok(None)) {
        // Who it is comes with the first message.
        return next.run(request).await;
    }
    let decision =
        caller.and_then(|caller| access::authorize(Some(right), caller.as_deref()).map(|()| caller));
    match decision {
        Ok(Some(caller)) => {
            request.extensions_mut().insert::<Arc<Caller>>(caller);
            next.run(request).await
        }
        Ok(None) | Err(Refusal::NoToken) => Problem::new(
            StatusCode::UNAUTHORIZED,
            "a token is asked for, and none came that can be used: send Authorization: Bearer <token>",
        )
        .with_header("www-authenticate", "Bearer")
        .into_response(),
        Err(Refusal::MayNot) => {
            Problem::new(StatusCode::FORBIDDEN, "the token is good and its roles do not allow this")
                .into_response()
        }
    }
}

/// Who is counted: the subject, or the address.
fn name_of(caller: &Result<Option<Arc<Caller>>, Refusal>, request: &Request) -> String {
    if let Ok(Some(caller)) = caller
        && let Some(subject) = &caller.subject
    {
        return format!("subject {subject}");
    }
    request.extensions().get::<Peer>().map_or_else(String::new, |Peer(address)| address.to_string())
}

fn wrong_method(method: &Method, route: &str) -> Response {
    let mut allowed: Vec<&str> = Vec::new();
    for (known, _, _) in ROUTES.iter().filter(|(_, path, _)| *path == route) {
        allowed.push(known.as_str());
        if *known == Method::GET {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        return Problem::new(StatusCode::FORBIDDEN, "no rule says who may use this").into_response();
    }
    allowed.push("OPTIONS");
    let allow = allowed.join(", ");
    if *method == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        if let Ok(value) = HeaderValue::from_str(&allow) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        return response;
    }
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for this address; {allow} are"))
        .with_header("allow", allow)
        .into_response()
}
