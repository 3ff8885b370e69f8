//! Errors as RFC 9457 problem documents (`application/problem+json`), with the field at fault.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidecast_config::Fault;
use tidecast_ports::{ControlError, IngestError};

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `about:blank`: the title says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status' own words.
    pub title: &'static str,
    /// The status, again.
    pub status: u16,
    /// What was found, what is allowed, what to do next.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// Dotted path of the field at fault, or the name of the parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Each fault of its own, where there are several (events of an array).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    #[serde(skip)]
    #[schema(ignore)]
    headers: Box<[(&'static str, String)]>,
}

/// One fault among several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// Dotted path of the field.
    pub field: String,
    /// What is wrong.
    pub detail: String,
    /// Fixed reason, where there is one: the dead letters' reasons for events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Place in the array or the lines that were sent, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

impl Problem {
    /// A problem.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into().into_boxed_str(),
            field: None,
            errors: Vec::new(),
            headers: Box::default(),
        }
    }

    /// 422: a field is wrong.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let (field, detail) = (field.into(), detail.into());
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone());
        problem.errors = vec![FieldProblem { field: field.clone(), detail, code: None, index: None }];
        problem.field = Some(field);
        problem
    }

    /// 400: a parameter of the address is wrong.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        let mut problem = Problem::field(name, detail);
        problem.set_status(StatusCode::BAD_REQUEST);
        problem
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// Another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.set_status(status);
        self
    }

    fn set_status(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        self.title = status.canonical_reason().unwrap_or("Error");
    }

    /// A header beside it.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut headers = std::mem::take(&mut self.headers).into_vec();
        headers.push((name, value.into()));
        self.headers = headers.into();
        self
    }

    /// Several faults.
    pub fn with_errors(mut self, errors: Vec<FieldProblem>) -> Self {
        self.field = errors.first().map(|error| error.field.clone()).filter(|field| !field.is_empty());
        self.errors = errors;
        self
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(detail) => Problem::not_found(detail),
            ControlError::Conflict(detail) => Problem::new(StatusCode::CONFLICT, detail),
            ControlError::Changed(detail) => Problem::new(StatusCode::PRECONDITION_FAILED, detail),
            ControlError::Invalid { field, message } => Problem::field(field, message),
            ControlError::Unavailable(detail) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_header("retry-after", "5")
            }
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let message = fault.message();
        Problem::field(fault.field, message)
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Rejected(rejection) => {
                let mut problem = Problem::field("", rejection.detail.clone());
                problem.errors[0].code = Some(rejection.reason.as_str().into());
                problem.field = None;
                problem
            }
            IngestError::Unavailable(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                .with_header("retry-after", "1"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_and_nothing_else_is_added() {
        let problem = Problem::field("order[1]", "found -1; allowed: 0 or more");
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            serde_json::json!({"type": "about:blank", "title": "Unprocessable Entity", "status": 422,
                "detail": "found -1; allowed: 0 or more", "field": "order[1]",
                "errors": [{"field": "order[1]", "detail": "found -1; allowed: 0 or more"}]})
        );
        let response = Problem::from(ControlError::Unavailable("Kafka is away".into())).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "5");
    }
}
