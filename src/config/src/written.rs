//! Settings as written: a tree of values, each with where it stands. Nothing is judged here.

use crate::error::{ConfigError, Origin};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A value as written. It has no `Debug`: it may be a secret.
#[derive(Clone)]
pub(crate) struct Node {
    pub raw: Raw,
    pub origin: Origin,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// From a variable or the command line: its type is that of the setting.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// A date-time, or a number that no double or 64-bit integer holds.
    Other(&'static str),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

/// What a value is called in a message.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Null => f.write_str("null"),
            Raw::Bool(value) => write!(f, "{value}"),
            Raw::Int(value) => write!(f, "{value}"),
            // 8000.0 keeps its `.0`, or it would look like the whole number that it is not.
            Raw::Float(value) => write!(f, "{value:?}"),
            Raw::Str(text) | Raw::Text(text) => write!(f, "{}", quoted(text)),
            Raw::List(_) => f.write_str("a list"),
            Raw::Map(_) => f.write_str("a table"),
            Raw::Other(what) => f.write_str(what),
        }
    }
}

/// What stands in a message for what may be a secret.
pub(crate) const HIDDEN: &str = "[REDACTED]";

/// A text in quotes on one line, cut where it is long, without what may be a secret.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let text = without_secrets(text);
    let mut out = String::from("\"");
    for c in text.chars().take(LONGEST) {
        out.extend(c.escape_debug());
    }
    out.push_str(if text.chars().nth(LONGEST).is_some() { "…\"" } else { "\"" });
    out
}

/// An address as far as its host, nothing of a text with a user and a password, and any other text. Of what holds both,
/// nobody can tell where the password ends.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let login = text.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        return if login { HIDDEN.into() } else { text.into() };
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(is_scheme) || rest.contains('@') {
        return HIDDEN.into();
    }
    // A folder's path is no secret, and a webhook's is its password.
    if matches!(scheme, "s3" | "gs" | "file") && !rest.contains(['?', '#']) {
        return text.into();
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-_.[]:".contains(c);
    match rest.split_once(|c| !is_host(c)) {
        Some((host, _)) => format!("{scheme}://{host}/{HIDDEN}").into(),
        None => text.into(),
    }
}

impl Node {
    pub fn text(text: &str, origin: &Origin) -> Self {
        Node { raw: Raw::Text(text.to_owned()), origin: origin.clone() }
    }

    pub fn from_json(value: &Json, origin: &Origin) -> Self {
        let raw = match value {
            Json::Null => Raw::Null,
            Json::Bool(value) => Raw::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Raw::Int(int),
                (None, Some(float)) if float.is_finite() => Raw::Float(float),
                _ => Raw::Other("a number too large"),
            },
            Json::String(text) => Raw::Str(text.clone()),
            Json::Array(items) => Raw::List(items.iter().map(|item| Node::from_json(item, origin)).collect()),
            Json::Object(map) => Raw::Map(
                map.iter().map(|(name, value)| (name.clone(), Node::from_json(value, origin))).collect(),
            ),
        };
        Node { raw, origin: origin.clone() }
    }

    /// The value as JSON; a date-time has no JSON form and gives `None`.
    pub fn to_json(&self) -> Option<Json> {
        Some(match &self.raw {
            Raw::Null => Json::Null,
            Raw::Bool(value) => Json::Bool(*value),
            Raw::Int(value) => Json::from(*value),
            Raw::Float(value) => serde_json::Number::from_f64(*value).map(Json::Number)?,
            Raw::Str(text) | Raw::Text(text) => Json::String(text.clone()),
            Raw::List(items) => Json::Array(items.iter().map(Node::to_json).collect::<Option<_>>()?),
            Raw::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(name, node)| Some((name.clone(), node.to_json()?)))
                    .collect::<Option<_>>()?,
            ),
            Raw::Other(_) => return None,
        })
    }

    /// What of the value JSON cannot say, and where: a date, a number that is not finite.
    pub fn beyond_json(&self, path: &str) -> Option<String> {
        let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match &self.raw {
            Raw::Other(what) => {
                let place = if path.is_empty() { String::new() } else { format!("{path} = ") };
                Some(format!("{place}{what}, which JSON does not have; a text in quotes would do"))
            }
            Raw::List(items) => {
                items.iter().enumerate().find_map(|(n, item)| item.beyond_json(&at(&n.to_string())))
            }
            Raw::Map(entries) => entries.iter().find_map(|(name, node)| node.beyond_json(&at(name))),
            _ => None,
        }
    }

    /// What a message calls the value where a table, a list or JSON should be. Anything may stand in a text there, a
    /// password too, so of one that should be JSON no more is told than where it ceases to be.
    pub fn outline(&self) -> String {
        match &self.raw {
            Raw::Text(text) if text.trim().is_empty() => "an empty text".into(),
            Raw::Text(text) => match serde_json::from_str(text) {
                Ok(json) => Node::from_json(&json, &self.origin).outline(),
                Err(error) => format!("a text that is no JSON ({})", place_and_reason(&error)),
            },
            Raw::Str(_) => "a text".into(),
            other => other.to_string(),
        }
    }

    /// A text that should be JSON, read as such; everything else as it is.
    pub fn parsed(&self) -> Option<Node> {
        match &self.raw {
            Raw::Text(text) => {
                serde_json::from_str::<Json>(text).ok().map(|json| Node::from_json(&json, &self.origin))
            }
            _ => Some(self.clone()),
        }
    }
}

/// The parser's own words, which quote nothing, after the place instead of before it.
fn place_and_reason(error: &serde_json::Error) -> String {
    let (line, column, text) = (error.line(), error.column(), error.to_string());
    let reason = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    format!("line {line}, column {column}: {reason}")
}

/// Reads the file. A syntax error names its line and never quotes it, for the line may hold a password.
pub(crate) fn from_toml(name: &str, text: &str) -> Result<Node, ConfigError> {
    let name: Arc<str> = name.into();
    let lines = Lines::of(text);
    let at = |position: usize| Origin::File { name: name.clone(), line: lines.line(position) };
    match DeTable::parse(text) {
        Ok(table) => Ok(from_table(table.get_ref(), at(0), &at)),
        Err(error) => {
            let origin = at(error.span().map_or(0, |span| span.start));
            let what = error.message().lines().next().unwrap_or_default().to_owned();
            let found = format!("a line that is not TOML ({what})");
            Err(ConfigError::new("file", &origin, found, "TOML 1.0, each name once"))
        }
    }
}

fn from_table(table: &DeTable<'_>, origin: Origin, at: &dyn Fn(usize) -> Origin) -> Node {
    let mut entries: Vec<(usize, String, Node)> = table
        .iter()
        .map(|(name, value)| {
            let start = name.span().start;
            (start, name.get_ref().to_string(), from_value(value.get_ref(), at(start), at))
        })
        .collect();
    // The table is sorted by name; the order of the file is what a reader expects to see kept.
    entries.sort_by_key(|entry| entry.0);
    Node { raw: Raw::Map(entries.into_iter().map(|(_, name, node)| (name, node)).collect()), origin }
}

fn from_value(value: &DeValue<'_>, origin: Origin, at: &dyn Fn(usize) -> Origin) -> Node {
    let raw = match value {
        DeValue::String(text) => Raw::Str(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number too large"), Raw::Int),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(float) if float.is_finite() => Raw::Float(float),
            _ => Raw::Other("a number that is not finite"),
        },
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Other("a date-time"),
        DeValue::Array(items) => Raw::List(
            items.iter().map(|item| from_value(item.get_ref(), at(item.span().start), at)).collect(),
        ),
        DeValue::Table(table) => return from_table(table, origin, at),
    };
    Node { raw, origin }
}

/// Where lines start, to turn a byte position into a line number.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Lines(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn line(&self, position: usize) -> usize {
        self.0.partition_point(|&newline| newline < position) + 1
    }
}
