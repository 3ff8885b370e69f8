//! What browsers are told and asked: security headers, and whether a page of another site is behind a request.
//!
//! A listener on loopback is reachable by every page that the operator's browser shows. Two checks stand against it:
//! the `Host` must name this machine (else a name was rebound to 127.0.0.1), and an `Origin`, which a browser always
//! sends with WebSockets and with requests that change something, must be of this host.

use axum::http::header::ToStrError;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};
use std::net::IpAddr;
use std::sync::Arc;
use tidecast_config::{ListenerName, Settings};

/// Scripts and styles from here alone, and nothing inline. `connect-src` lets the pages reach the WebSocket listener,
/// which is another port and so another origin.
pub fn page_policy(websocket: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'{websocket}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// For answers that are not pages.
pub const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The interactive description is Swagger UI, whose logo has a style of its own, named here by its hash.
pub const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds what every answer carries; a policy that is there already stays.
pub fn add_security_headers(headers: &mut HeaderMap) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY));
    }
}

/// The host part of `host:port` or of an origin, lower case, without brackets.
fn host_of(authority: &str) -> &str {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn is_loopback_name(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let host = host.trim_end_matches('.');
            host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
        }
    }
}

/// What a listener asks of `Host` and `Origin`.
#[derive(Debug, Clone)]
pub struct Doorway {
    /// The listener is bound to this machine alone.
    pub loopback: bool,
    /// It speaks TLS.
    pub tls: bool,
    /// Origins of other sites that may call here all the same (`allowed_origins`), lower case.
    pub allowed_origins: Arc<[String]>,
}

impl Doorway {
    /// As configured for a listener.
    pub fn new(settings: &Settings, name: ListenerName) -> Self {
        let listener = settings.listener(name);
        Doorway {
            loopback: listener.is_loopback(),
            tls: listener.tls.is_some(),
            allowed_origins: settings.allowed_origins.clone().into(),
        }
    }
}

/// Whose page is behind a request that may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// No page, or one of this host.
    Ours,
    /// One of `allowed_origins`: its browser wants to be told so.
    Allowed,
}

/// The `host:port` that a request asks for. An HTTP/2 request has it in its address, which a listener of HTTP/1.1 alone does
/// not look at.
pub fn asked_host<'r>(headers: &'r HeaderMap, uri: Option<&'r Uri>) -> Option<Result<&'r str, ToStrError>> {
    match headers.get(header::HOST) {
        Some(host) => Some(host.to_str()),
        None => uri.and_then(Uri::authority).map(|authority| Ok(authority.as_str())),
    }
}

/// What is wrong with how often a request names its host (RFC 9112, section 3.2): once, but in HTTP/1.0, which may leave it out.
/// Twice is how a proxy and the server behind it are made to see two different requests.
pub fn misnamed_host(headers: &HeaderMap, uri: Option<&Uri>, version: Version) -> Option<&'static str> {
    match headers.get_all(header::HOST).iter().count() {
        0 if version > Version::HTTP_10 && uri.and_then(Uri::authority).is_none() => Some("Host is missing"),
        0 | 1 => None,
        _ => Some("Host is there more than once"),
    }
}

/// Decides on a request's `Host`, as [`asked_host`] finds it, and `Origin`. The error is a sentence for who made the request.
pub fn check_host_and_origin(
    headers: &HeaderMap,
    uri: Option<&Uri>,
    doorway: &Doorway,
) -> Result<Site, &'static str> {
    let origin = headers.get(header::ORIGIN);
    let host = match asked_host(headers, uri) {
        // A probe of HTTP/1.0. Every browser names both.
        None if origin.is_none() => return Ok(Site::Ours),
        None => return Err("Host is missing"),
        Some(Err(_)) => return Err("Host: not a host name"),
        Some(Ok(host)) => host_of(host),
    };
    if doorway.loopback && !is_loopback_name(host) {
        return Err("Host: this listener answers to localhost, 127.0.0.1 and [::1] alone");
    }
    let Some(origin) = origin else { return Ok(Site::Ours) };
    let origin = origin.to_str().map_err(|_| "Origin: not an origin")?;
    // A file opened in a browser: no site can pretend to be one.
    if origin == "file://" {
        return Ok(Site::Ours);
    }
    let Some((_, authority)) = origin.split_once("://") else {
        return Err("Origin: a page without a site of its own may not call here");
    };
    let from = host_of(authority);
    if from.eq_ignore_ascii_case(host) || (is_loopback_name(from) && is_loopback_name(host)) {
        return Ok(Site::Ours);
    }
    if doorway.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return Ok(Site::Allowed);
    }
    Err("Origin: a page of another site may not call here (allowed_origins names those that may)")
}

/// Tells the browser of an allowed page that it may read the answer.
pub fn share_with(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    let readable = HeaderValue::from_static("etag, location, retry-after");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
}

/// What a browser asks before an allowed page's request: which methods and headers it may use.
pub fn preflight(headers: &mut HeaderMap) {
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, content-encoding, if-match, if-none-match, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, loopback: bool) -> bool {
        let allowed_origins = Arc::new(["https://ops.example:8443".to_owned()]);
        let doorway = Doorway { loopback, tls: false, allowed_origins };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check_host_and_origin(&headers, None, &doorway).is_ok()
    }

    #[test]
    fn rebound_names_and_other_sites_are_refused() {
        assert!(check("127.0.0.1:8765", None, true));
        assert!(check("[::1]:8765", Some("http://localhost:3000"), true));
        assert!(check("localhost:8765", Some("http://127.0.0.1:8000"), true));
        assert!(check("localhost", Some("file://"), true));
        assert!(!check("attacker.example:8765", None, true), "rebinding");
        assert!(!check("127.0.0.1.attacker.example", None, true));
        assert!(!check("localhost:8765", Some("https://attacker.example"), true));
        assert!(!check("localhost:8765", Some("https://localhost.attacker.example"), true));
        assert!(!check("localhost:8765", Some("https://localhost@attacker.example"), true));
        assert!(!check("localhost:8765", Some("null"), true), "a sandboxed frame of any site");
    }

    #[test]
    fn a_host_is_named_once() {
        let named = |hosts: &[&str], version: Version| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            misnamed_host(&headers, None, version)
        };
        assert_eq!(named(&["localhost"], Version::HTTP_11), None);
        assert_eq!(named(&[], Version::HTTP_10), None, "a probe from before hosts had names");
        assert_eq!(named(&[], Version::HTTP_11), Some("Host is missing"));
        assert!(named(&["localhost", "localhost"], Version::HTTP_11).is_some());
        let at: Uri = "http://localhost/health".parse().unwrap();
        assert_eq!(misnamed_host(&HeaderMap::new(), Some(&at), Version::HTTP_2), None);
    }

    #[test]
    fn another_site_may_when_it_is_named_with_its_port() {
        assert!(check("localhost:8765", Some("https://ops.example:8443"), true));
        assert!(check("tide.example", Some("https://OPS.example:8443"), false));
        assert!(!check("tide.example", Some("https://ops.example"), false));
        assert!(!check("tide.example", Some("http://ops.example:8443"), false));
        assert!(!check("attacker.example", Some("https://ops.example:8443"), true), "rebinding all the same");
    }

    #[test]
    fn past_loopback_the_page_must_be_of_the_same_host() {
        assert!(check("tide.example:8765", None, false));
        assert!(check("tide.example:8765", Some("https://TIDE.example"), false));
        assert!(!check("tide.example:8765", Some("https://other.example"), false));
        assert!(!check("tide.example", Some("http://localhost:3000"), false));
    }
}
