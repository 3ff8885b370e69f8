//! The dashboard's files, embedded in the binary.

use crate::browser::{asked_host, page_policy};
use crate::problem::Problem;
use crate::services::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

#[derive(rust_embed::RustEmbed)]
#[folder = "web/dist"]
struct Files;

/// Paths that are no page, whatever the case: what is not found below them is told as a problem.
const NOT_PAGES: [&str; 7] = ["/api", "/stream", "/ws", "/health", "/metrics", "/openapi.json", "/assets"];

/// Pages about something that has a name, which follows.
const PAGES_OF_NAMES: [&str; 3] = ["/models", "/rules", "/kafka"];

/// The `host:port` at which this client reaches the WebSocket listener: the host that it used here, with that port.
pub(crate) fn websocket_authority(app: &App, headers: &HeaderMap, uri: &Uri) -> String {
    let port = app.websocket_address.port();
    let bound = app.websocket_address.ip();
    let asked = asked_host(headers, Some(uri)).and_then(Result::ok).unwrap_or_default();
    let host = match asked.rfind(':') {
        Some(colon) if !asked[colon..].contains(']') => &asked[..colon],
        _ => asked,
    };
    let is_name =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b));
    let host = match is_name && (bound.is_unspecified() || bound.is_loopback()) {
        true => host.to_owned(),
        false if bound.is_ipv6() => format!("[{bound}]"),
        false => bound.to_string(),
    };
    format!("{host}:{port}")
}

/// Whatever no route takes: a file, else the page (its routes are the browser's), else 404.
pub(crate) async fn page_or_file(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let below = |prefix: &&str| {
        let (head, rest) = path.split_at_checked(prefix.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(prefix) && (rest.is_empty() || rest.starts_with('/'))
    };
    // A page's path may end in a name with a dot, and no other path of a page has one.
    let is_named_file =
        path.rsplit('/').next().is_some_and(|last| last.contains('.')) && !PAGES_OF_NAMES.iter().any(below);
    let is_no_page = is_named_file || path.starts_with("//") || NOT_PAGES.iter().any(below);
    let file = path.trim_start_matches('/');
    let found = (!file.is_empty()).then(|| Files::get(file)).flatten();
    if found.is_none() && is_no_page {
        return Problem::not_found(format!("there is nothing at {path}; /docs lists what there is"))
            .into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "a page is read with GET")
            .with_header("allow", "GET, HEAD")
            .into_response();
    }
    let is_asset = found.is_some() && file.starts_with("assets/");
    let (name, content) = match found {
        Some(content) => (file, content),
        None => match Files::get("index.html") {
            Some(content) => ("index.html", content),
            None => {
                return Problem::not_found("this build has no dashboard: see /docs for the REST API")
                    .into_response();
            }
        },
    };
    let tag: String = content.metadata.sha256_hash()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    // Files below assets/ have a hash of their content in their name.
    let caching = if is_asset { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => content.data.into_owned().into_response(),
    };
    let authority = websocket_authority(&app, request.headers(), request.uri());
    let policy = page_policy(&format!(" ws://{authority} wss://{authority}"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    for (name, value) in [(header::ETAG, tag), (header::CONTENT_SECURITY_POLICY, policy)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
