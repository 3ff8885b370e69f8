//! What a setting may be: its type and bounds, how it is read, and how that is said in a message.

use crate::duration::{format_duration, parse_duration};
use crate::error::ConfigError;
use crate::place::{self, SharedPlace};
use crate::written::{Node, Raw, quoted};
use secrecy::SecretString;
use std::time::Duration;

/// A setting's type and bounds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Flag,
    Int {
        min: i64,
        max: i64,
    },
    /// A number in `[min, max]`.
    Number {
        min: f64,
        max: f64,
    },
    /// A text, not empty.
    Text,
    /// One of these, in any case.
    Choice(&'static [&'static str]),
    /// A list of texts; from a variable also separated by commas.
    Texts,
    /// A list of these.
    Choices(&'static [&'static str]),
    /// A list of `host:port`; from a variable also separated by commas.
    Servers,
    /// A host name or address.
    Host,
    /// A legal Kafka topic name.
    Topic,
    /// A duration with units.
    Duration {
        min: Duration,
        max: Duration,
    },
    /// A duration with units, or a number of seconds.
    SecondsOrDuration {
        min: Duration,
        max: Duration,
    },
    /// A number of seconds, fractions allowed.
    Seconds {
        min: f64,
        max: f64,
    },
    /// A text that is never shown.
    Secret,
    /// An address of one of these schemes.
    Url(&'static [&'static str]),
    /// The address of a [`SharedPlace`].
    Place,
    /// Any JSON object.
    Object,
    /// Any JSON value.
    Json,
    /// A list of JSON objects, read by their own table.
    Tables,
}

/// A value as valid.
#[derive(Clone)]
pub(crate) enum Value {
    Flag(bool),
    Int(i64),
    Number(f64),
    Text(String),
    Texts(Vec<String>),
    Duration(Duration),
    Secret(SecretString),
    Node(Node),
    Nodes(Vec<Node>),
}

/// Longest duration: `Duration::MAX` does not survive arithmetic in microseconds.
pub(crate) const YEARS: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Kind {
    /// What is allowed, for a message or the reference.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Flag => "true or false".into(),
            Kind::Int { min, max: i64::MAX } => format!("a whole number from {min}"),
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Text => "a text that is not empty".into(),
            Kind::Choice(names) => one_of(names),
            Kind::Texts => "a list of texts that are not empty".into(),
            Kind::Choices(names) => format!("a list of {}", one_of(names)),
            Kind::Servers => "a list of host:port, at least one".into(),
            Kind::Host => "a host name or an IP address without port".into(),
            Kind::Topic => "a topic name: 1 to 249 of a-z A-Z 0-9 . _ -, not . or ..".into(),
            Kind::Duration { min, max } => {
                format!("a duration with its unit such as {}{}", example(*min), bounds(*min, *max))
            }
            Kind::SecondsOrDuration { min, max } => {
                format!("a duration such as {} or a number of seconds{}", example(*min), bounds(*min, *max))
            }
            Kind::Seconds { min, max } => format!("a number of seconds from {min} to {max}"),
            Kind::Secret => "a secret that is not empty (never shown)".into(),
            Kind::Url(schemes) => {
                format!("an address that starts with {}", schemes.map_join(" or ", |s| format!("{s}://")))
            }
            Kind::Place => place::ALLOWED.into(),
            Kind::Object => "an object".into(),
            Kind::Json => "any value".into(),
            Kind::Tables => "a list of tables".into(),
        }
    }

    /// What was found, as a message may show it.
    pub fn found(&self, node: &Node) -> String {
        match (self, &node.raw) {
            (Kind::Secret, Raw::Str(text) | Raw::Text(text)) if text.is_empty() => "an empty text".into(),
            (Kind::Secret, _) => "a value that is not shown".into(),
            // Addresses may carry a password between scheme and host.
            (Kind::Url(_) | Kind::Place | Kind::Host, Raw::Str(text) | Raw::Text(text))
                if text.contains('@') =>
            {
                "an address with a user or password in it".into()
            }
            (Kind::Texts | Kind::Choices(_), _) => texts(node).err().unwrap_or_else(|| node.outline()),
            (Kind::Servers, _) => servers(node).err().unwrap_or_else(|| node.outline()),
            (Kind::Object | Kind::Json, _) => node.beyond_json("").unwrap_or_else(|| node.outline()),
            (Kind::Tables, _) => node.outline(),
            (_, raw) => raw.to_string(),
        }
    }

    /// Reads and checks a value.
    pub fn read(&self, setting: &str, node: &Node) -> Result<Value, ConfigError> {
        self.value(node)
            .ok_or_else(|| ConfigError::new(setting, &node.origin, self.found(node), self.allowed()))
            .and_then(|value| self.check_items(setting, node, value))
    }

    fn value(&self, node: &Node) -> Option<Value> {
        match self {
            Kind::Flag => flag(&node.raw).map(Value::Flag),
            Kind::Int { min, max } => {
                let value = int(&node.raw)?;
                (*min..=*max).contains(&value).then_some(Value::Int(value))
            }
            Kind::Number { min, max } => {
                let value = number(&node.raw)?;
                (*min..=*max).contains(&value).then_some(Value::Number(value))
            }
            Kind::Text => text(&node.raw).map(|text| Value::Text(text.to_owned())),
            Kind::Choice(names) => {
                let text = text(&node.raw)?;
                names.iter().find(|n| n.eq_ignore_ascii_case(text)).map(|n| Value::Text((*n).to_owned()))
            }
            Kind::Texts | Kind::Choices(_) => texts(node).ok().map(Value::Texts),
            Kind::Servers => servers(node).ok().filter(|servers| !servers.is_empty()).map(Value::Texts),
            Kind::Host => {
                text(&node.raw).filter(|host| is_host(host)).map(|host| Value::Text(host.to_owned()))
            }
            Kind::Topic => {
                text(&node.raw).filter(|name| is_topic(name)).map(|name| Value::Text(name.to_owned()))
            }
            Kind::Duration { min, max } => {
                let duration = parse_duration(text(&node.raw)?)?;
                (*min..=*max).contains(&duration).then_some(Value::Duration(duration))
            }
            Kind::SecondsOrDuration { min, max } => {
                let duration = match number(&node.raw) {
                    Some(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
                    None => parse_duration(text(&node.raw)?)?,
                };
                (*min..=*max).contains(&duration).then_some(Value::Duration(duration))
            }
            Kind::Seconds { min, max } => {
                let seconds = number(&node.raw)?;
                (*min..=*max).contains(&seconds).then_some(())?;
                Duration::try_from_secs_f64(seconds).ok().map(Value::Duration)
            }
            Kind::Secret => match &node.raw {
                Raw::Str(text) | Raw::Text(text) if !text.is_empty() => {
                    Some(Value::Secret(SecretString::from(text.clone())))
                }
                _ => None,
            },
            Kind::Url(schemes) => {
                let text = text(&node.raw)?;
                let (scheme, rest) = text.split_once("://")?;
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
                let plain = !authority.is_empty() && !authority.contains('@');
                (known && plain && !text.contains(char::is_whitespace)).then(|| Value::Text(text.to_owned()))
            }
            Kind::Place => {
                let text = text(&node.raw)?;
                SharedPlace::parse(text).map(|_| Value::Text(text.to_owned()))
            }
            Kind::Object => {
                let node = node.parsed()?;
                (matches!(node.raw, Raw::Map(_)) && node.to_json().is_some()).then_some(Value::Node(node))
            }
            Kind::Json => node.to_json().map(|_| Value::Node(node.clone())),
            Kind::Tables => match node.parsed()?.raw {
                Raw::List(items) => Some(Value::Nodes(items)),
                _ => None,
            },
        }
    }

    /// Lists are judged item by item, so that the message names the one at fault.
    fn check_items(&self, setting: &str, node: &Node, value: Value) -> Result<Value, ConfigError> {
        let fault = |index: usize, found: String, allowed: String| {
            Err(ConfigError::new(format!("{setting}[{index}]"), &node.origin, found, allowed))
        };
        match (self, value) {
            (Kind::Choices(names), Value::Texts(items)) => {
                let mut canonical = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    match names.iter().find(|name| name.eq_ignore_ascii_case(item)) {
                        Some(name) => canonical.push((*name).to_owned()),
                        None => return fault(index, quoted(item), one_of(names)),
                    }
                }
                Ok(Value::Texts(canonical))
            }
            (Kind::Servers, Value::Texts(items)) => {
                let mut servers = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    match server(item) {
                        Some(server) => servers.push(server),
                        None if item.contains('@') => {
                            return fault(index, "an address with a user in it".into(), "host:port".into());
                        }
                        None => {
                            return fault(
                                index,
                                quoted(item),
                                "host:port with a port from 1 to 65535".into(),
                            );
                        }
                    }
                }
                Ok(Value::Texts(servers))
            }
            (_, value) => Ok(value),
        }
    }
}

/// `a, b or c`.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".into(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

trait MapJoin {
    fn map_join(&self, separator: &str, f: impl Fn(&str) -> String) -> String;
}

impl MapJoin for &[&str] {
    fn map_join(&self, separator: &str, f: impl Fn(&str) -> String) -> String {
        self.iter().map(|item| f(item)).collect::<Vec<_>>().join(separator)
    }
}

fn example(min: Duration) -> &'static str {
    if min >= Duration::from_secs(1) { "10s or 1h" } else { "250ms, 10s or 1h" }
}

fn bounds(min: Duration, max: Duration) -> String {
    match (min.is_zero(), max >= YEARS) {
        (true, true) => String::new(),
        (false, true) => format!(", at least {}", format_duration(min)),
        (true, false) => format!(", at most {}", format_duration(max)),
        (false, false) => format!(", from {} to {}", format_duration(min), format_duration(max)),
    }
}

fn flag(raw: &Raw) -> Option<bool> {
    match raw {
        Raw::Bool(value) => Some(*value),
        Raw::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn int(raw: &Raw) -> Option<i64> {
    match raw {
        Raw::Int(value) => Some(*value),
        Raw::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number(raw: &Raw) -> Option<f64> {
    match raw {
        Raw::Int(value) => Some(*value as f64),
        Raw::Float(value) => Some(*value),
        Raw::Text(text) => text.trim().parse::<f64>().ok().filter(|value| value.is_finite()),
        _ => None,
    }
}

fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Str(text) | Raw::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// A list of texts, or what was found in its place.
fn texts(node: &Node) -> Result<Vec<String>, String> {
    match &node.raw {
        Raw::List(items) => entries(items.iter().map(|item| &item.raw)),
        Raw::Text(written) if written.trim_start().starts_with('[') => {
            node.parsed().ok_or_else(|| node.outline()).and_then(|list| texts(&list))
        }
        Raw::Text(written) if written.trim().is_empty() => Ok(Vec::new()),
        Raw::Str(written) | Raw::Text(written) => between_commas(written),
        _ => Err(node.outline()),
    }
}

/// As [`texts`]: the first of brokers between commas may be an IPv6 address in brackets, which is not the beginning of JSON.
/// What has quotes was meant to be JSON.
fn servers(node: &Node) -> Result<Vec<String>, String> {
    match &node.raw {
        Raw::Text(written)
            if written.trim_start().starts_with('[') && !written.contains('"') && node.parsed().is_none() =>
        {
            between_commas(written)
        }
        _ => texts(node),
    }
}

fn between_commas(written: &str) -> Result<Vec<String>, String> {
    let items: Vec<Raw> = written.split(',').map(|item| Raw::Str(item.to_owned())).collect();
    entries(items.iter())
}

/// A fault names the entry by its number: what stands beside it may be a secret.
fn entries<'a>(items: impl Iterator<Item = &'a Raw>) -> Result<Vec<String>, String> {
    let entry = |(index, item): (usize, &Raw)| match (text(item), item) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Raw::Str(_) | Raw::Text(_)) => Err(format!("a list whose entry {} is empty", index + 1)),
        (None, other) => Err(format!("a list whose entry {} is {other}", index + 1)),
    };
    items.enumerate().map(entry).collect()
}

fn is_host(host: &str) -> bool {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let legal = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.trim_end_matches('.').split('.').all(legal)
}

/// `host:port`, with Kafka's usual port where none is given; IPv6 in brackets.
fn server(written: &str) -> Option<String> {
    // Some clients write the protocol in front; librdkafka would take it too, and the protocol has a setting.
    let (host, port) = match written.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (format!("[{host}]"), if port.is_empty() { "9092" } else { port.strip_prefix(':')? })
        }
        None => {
            let (host, port) = written.split_once(':').unwrap_or((written, "9092"));
            is_host(host).then_some(())?;
            (host.to_owned(), port)
        }
    };
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    Some(format!("{host}:{port}"))
}

/// Kafka's rule for topic names.
pub fn is_topic(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 249
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
