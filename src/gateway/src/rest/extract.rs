//! What a request carries: parameters, bodies, preconditions; each fault a problem that names it.

use crate::access::Caller;
use crate::problem::Problem;
use crate::services::App;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tidecast_ports::PageRequest;
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;

/// How long a client may take to send a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How many times its own size a compressed body may become.
const INFLATED_FACTOR: usize = 8;
/// Most items of one page, and those of a page that names no limit.
const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

/// Query parameters; a wrong one is a 400 that says what it should be.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + IntoParams> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let Query(value) = Query::try_from_uri(&parts.uri).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned();
            match text.split_once(": ") {
                Some((name, detail)) => {
                    let detail = number_wanted::<T>(&parts.uri, name).unwrap_or_else(|| detail.to_owned());
                    Problem::parameter(name, detail)
                }
                None => Problem::new(StatusCode::BAD_REQUEST, text),
            }
        })?;
        Ok(Params(value))
    }
}

/// What was found for a parameter that is a number, and what is allowed, as its description has it: the reader's own words
/// are about digits. `None` for any other parameter.
fn number_wanted<T: IntoParams>(uri: &Uri, name: &str) -> Option<String> {
    let described =
        T::into_params(|| Some(ParameterIn::Query)).into_iter().find(|known| known.name == name)?;
    let schema = serde_json::to_value(described.schema?).ok()?;
    let is_number = |kind: &Value| kind == "integer" || kind == "number";
    match &schema["type"] {
        Value::Array(kinds) if kinds.iter().any(is_number) => {}
        kind if is_number(kind) => {}
        _ => return None,
    }
    let bound = |word: &str| schema[word].as_f64();
    let allowed = match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
        (Some(least), None) => format!("a whole number, {least} at least"),
        _ => "a whole number".to_owned(),
    };
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let found = pairs.into_iter().find(|(known, _)| known == name)?.1;
    let found: String = found.chars().take(64).collect();
    Some(format!("found \"{found}\"; allowed: {allowed}"))
}

/// The one name in a path, percent-decoded.
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "the name in the path is not percent-encoded UTF-8")
        })?;
        Ok(Name(name))
    }
}

/// Who is asking; put there by the gate.
pub(crate) struct Who(pub(crate) Arc<Caller>);

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Arc<Caller>>().cloned();
        caller.map(Who).ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "nobody has said who this is"))
    }
}

/// A body, whole: within the limit, in time, unpacked when it came as gzip.
pub(crate) struct Whole {
    /// What was sent, unpacked.
    pub(crate) bytes: Bytes,
    /// `Content-Type` without parameters, lower case; empty when there is none.
    pub(crate) content_type: String,
}

impl FromRequest<Arc<App>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let most = app.settings().limits.request_body_size;
        let (parts, body) = request.into_parts();
        let bytes = read_body(body, most).await?;
        let bytes = match encoding(&parts.headers)? {
            Encoding::Identity => bytes,
            Encoding::Gzip => {
                let unpacked = tokio::task::spawn_blocking(move || {
                    inflate(&bytes, most.saturating_mul(INFLATED_FACTOR))
                });
                unpacked
                    .await
                    .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unpacking failed"))??
            }
        };
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        Ok(Whole { bytes, content_type: content_type.trim().to_ascii_lowercase() })
    }
}

async fn read_body(body: Body, most: usize) -> Result<Bytes, Problem> {
    let reading = tokio::time::timeout(BODY_PATIENCE, Limited::new(body, most).collect()).await;
    match reading {
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within 30 s")),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("at most {most} bytes (limits.request_body_size); send it in parts");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}

enum Encoding {
    Identity,
    Gzip,
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    // Names of codings are the same in capitals (RFC 9110, 8.4.1).
    let named = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    match named.as_deref() {
        None | Some(b"identity") => Ok(Encoding::Identity),
        Some(b"gzip" | b"x-gzip") => Ok(Encoding::Gzip),
        Some(_) => {
            let detail = "Content-Encoding: gzip, or none";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                .with_header("accept-encoding", "gzip"))
        }
    }
}

fn inflate(bytes: &[u8], most: usize) -> Result<Bytes, Problem> {
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes).take(most as u64 + 1);
    decoder.read_to_end(&mut unpacked).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("Content-Encoding: not gzip ({error})"))
    })?;
    if unpacked.len() > most {
        let detail = format!("the body unpacks to more than {most} bytes; send it in parts");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(unpacked.into())
}

impl Whole {
    /// The body as JSON of a known shape. 400 when it is not JSON, 422 with the field when it is another JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let plain = ["", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"];
        if !plain.contains(&&*self.content_type) && !self.content_type.ends_with("+json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type: application/json is read here",
            ));
        }
        read_json(&self.bytes)
    }

    /// As [`Whole::json`], where nothing and `null` stand for all that is usual.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        let is_empty = self.bytes.is_empty() || self.bytes.trim_ascii() == b"null";
        if is_empty { Ok(T::default()) } else { self.object() }
    }

    /// A body that is one object. Of a list the fields would be taken by their places.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match self.bytes.trim_ascii_start().first() {
            Some(b'[') => {
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "found a list; allowed: an object"))
            }
            _ => self.json(),
        }
    }
}

/// As [`Whole::json`], from bytes.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if !inner.is_data() {
            return Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {inner}"));
        }
        let text = inner.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        match path.as_str() {
            "." => match text.split('`').nth(1) {
                // "unknown field `x`" and "missing field `x`" name it themselves.
                Some(field) if text.contains("field `") => Problem::field(field, text.clone()),
                _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text),
            },
            path => Problem::field(path, text),
        }
    })?;
    deserializer.end().map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not one JSON value: {error}"))
    })?;
    Ok(value)
}

/// `?limit=`, `?cursor=` and `?search=` of a list.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Most items to give, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Keeps items whose name contains this, ignoring case.
    search: Option<String>,
}

/// A limit of a list, checked.
pub(crate) fn checked_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(PAGE_DEFAULT),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(limit) => Err(Problem::parameter("limit", format!("found {limit}; allowed: 1 to {PAGE_MAX}"))),
    }
}

/// A page of what was found, in its order: at most `limit` items, and where there are more, the last one's name as the cursor
/// of the next page.
pub(crate) fn page_of<T: Serialize>(
    mut found: impl Iterator<Item = T>,
    limit: usize,
    name: impl Fn(&T) -> String,
) -> Value {
    let items: Vec<T> = found.by_ref().take(limit).collect();
    let next = items.last().filter(|_| found.next().is_some()).map(name);
    json!({"items": items, "next": next})
}

/// A cursor that is a number; `None` without one, or with an empty one.
pub(crate) fn numbered(cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let wrong = |_| Problem::parameter("cursor", "not the `next` of an earlier page");
    cursor.filter(|cursor| !cursor.is_empty()).map(|cursor| cursor.parse().map_err(wrong)).transpose()
}

impl PageQuery {
    /// As the ports take it.
    pub(crate) fn page(self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { limit: Some(checked_limit(self.limit)?), cursor: self.cursor, search: self.search })
    }
}

/// `If-Match`: the versions that a change is for; `None`: whichever there is. A weak tag, or one that no version of ours looks
/// like, matches none (RFC 9110, 13.1.1).
pub(crate) fn if_match(headers: &HeaderMap) -> Option<Vec<u64>> {
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes().trim_ascii() == b"*") {
        // For what is not there alone, and nothing that is not there is changed.
        return Some(Vec::new());
    }
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    values.peek()?;
    let tags: Vec<&str> =
        values.flat_map(|value| value.to_str().unwrap_or_default().split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return None;
    }
    let version = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    Some(tags.into_iter().filter_map(version).collect())
}

/// The `ETag` of a version.
pub(crate) fn etag(version: u64) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_ports::operations::ReplayRequest;

    #[test]
    fn json_faults_name_their_field() {
        let fault = |text: &str| {
            let problem = read_json::<ReplayRequest>(text.as_bytes()).unwrap_err();
            (problem.status, problem.field.clone().unwrap_or_default())
        };
        assert_eq!(fault("{\"ids\": 3}"), (422, "ids".into()));
        assert_eq!(fault("{\"ids\": [\"a\", 3]}"), (422, "ids[1]".into()));
        assert_eq!(fault("{\"everything\": true}").0, 422);
        assert!(fault("{\"everything\": true}").1.contains("everything"));
        assert_eq!(fault("{"), (400, String::new()));
        assert_eq!(fault("{} {}"), (400, String::new()));
        assert_eq!(fault(&format!("{{\"payload\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000))).0, 400);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 10 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        assert_eq!(inflate(&bomb, 1 << 20).unwrap_err().status, 413);
        assert_eq!(inflate(&bomb, 10 << 20).unwrap().len(), 10 << 20);
        assert_eq!(inflate(b"plain", 100).unwrap_err().status, 400);
    }

    #[test]
    fn versions() {
        let mut headers = HeaderMap::new();
        assert_eq!(if_match(&headers), None);
        headers.insert(header::IF_MATCH, "\"17\"".parse().unwrap());
        assert_eq!(if_match(&headers), Some(vec![17]));
        headers.insert(header::IF_MATCH, "W/\"17\"".parse().unwrap());
        assert_eq!(if_match(&headers), Some(vec![]));
        headers.insert(header::IF_MATCH, "\"17\", W/\"18\" , \"19\"".parse().unwrap());
        headers.append(header::IF_MATCH, "\"20\"".parse().unwrap());
        assert_eq!(if_match(&headers), Some(vec![17, 19, 20]));
        headers.append(header::IF_MATCH, "*".parse().unwrap());
        assert_eq!(if_match(&headers), None);
        headers.insert(header::IF_NONE_MATCH, "*".parse().unwrap());
        assert_eq!(if_match(&headers), Some(vec![]), "for what is not there");
    }
}
