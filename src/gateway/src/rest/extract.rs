//! What a request carries beside its body: parameters, names, preconditions; each fault a problem that names it.

use crate::access::Caller;
use crate::problem::Problem;
use crate::services::App;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tidecast_ports::PageRequest;
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;

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
