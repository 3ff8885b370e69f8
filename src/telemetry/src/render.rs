//! Metrics for a scraper: Prometheus text, or OpenMetrics for one that asks for it.

use crate::openmetrics;
use prometheus::{Registry, TextEncoder};
use std::sync::Arc;

/// Content type of Prometheus text.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A body and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// [`TEXT`] or [`OPENMETRICS`].
    pub content_type: &'static str,
    /// The metrics.
    pub body: String,
}

/// Writes every metric of the registry in the form that an `Accept` header prefers.
pub fn render(registry: &Registry, accept: Option<&str>) -> prometheus::Result<Rendered> {
    let families = registry.gather();
    match accept.is_some_and(prefers_openmetrics) {
        true => Ok(Rendered { content_type: OPENMETRICS, body: openmetrics::encode(&families) }),
        false => Ok(Rendered { content_type: TEXT, body: TextEncoder::new().encode_to_string(&families)? }),
    }
}

/// Renders for a listener: from a request's `Accept` to the content type and the body.
pub type Render = Arc<dyn Fn(Option<&str>) -> (String, Vec<u8>) + Send + Sync>;

/// As a listener wants it.
pub fn renderer(registry: Registry) -> Render {
    Arc::new(move |accept| match render(&registry, accept) {
        Ok(Rendered { content_type, body }) => (content_type.to_owned(), body.into_bytes()),
        // A comment in the text form: a scraper reads no metrics and says so, a person reads why.
        Err(error) => (TEXT.to_owned(), format!("# not rendered: {error}\n").into_bytes()),
    })
}

/// OpenMetrics is named with a weight at least that of plain text; `*/*` alone names nothing.
fn prefers_openmetrics(accept: &str) -> bool {
    let (mut open, mut text) = (0.0f64, 0.0f64);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut weight = 1.0;
        let mut known_version = true;
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => weight = value.trim().parse().unwrap_or(0.0),
                Some(("version", value)) => {
                    known_version = matches!(value.trim(), "0.0.1" | "1.0.0" | "0.0.4")
                }
                _ => {}
            }
        }
        match media.as_str() {
            "application/openmetrics-text" if known_version => open = open.max(weight),
            "text/plain" => text = text.max(weight),
            _ => {}
        }
    }
    open > 0.0 && open >= text
}

#[cfg(test)]
mod tests {
    use super::prefers_openmetrics;

    #[test]
    fn the_form_is_chosen_by_weight() {
        // What Prometheus itself sends.
        assert!(prefers_openmetrics(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        ));
        assert!(prefers_openmetrics("application/openmetrics-text"));
        for plain in [
            "*/*",
            "",
            "text/plain",
            "text/html, */*",
            "application/openmetrics-text;q=0",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/openmetrics-text; version=9.0.0",
        ] {
            assert!(!prefers_openmetrics(plain), "{plain}");
        }
    }
}
