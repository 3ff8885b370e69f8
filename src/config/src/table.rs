//! Tables of settings: each key once, with its type, default, other names and one line of explanation.

use crate::error::{ConfigError, Origin};
use crate::kind::{Kind, Value};
use crate::nearest::nearest;
use crate::written::{Node, Raw, without_secrets};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;

/// One setting.
pub(crate) struct Key {
    /// Dotted path below the table.
    pub path: &'static str,
    pub kind: Kind,
    /// As a variable would say it; `None`: not set.
    pub default: Option<&'static str>,
    /// Other dotted paths that mean the same.
    pub also: &'static [&'static str],
    /// Variables that set it, beside the `STREAMING_` one.
    pub variables: &'static [&'static str],
    /// One line for the reference.
    pub doc: &'static str,
}

impl Key {
    pub const fn new(
        path: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Key { path, kind, default, also: &[], variables: &[], doc }
    }

    pub const fn variables(mut self, variables: &'static [&'static str]) -> Self {
        self.variables = variables;
        self
    }

    pub const fn also(mut self, also: &'static [&'static str]) -> Self {
        self.also = also;
        self
    }

    fn answers_to(&self, path: &str) -> bool {
        self.path == path || self.also.contains(&path)
    }
}

/// Looks a path up, by any of its names.
pub(crate) fn find(keys: &'static [Key], path: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.answers_to(path))
}

/// Settings given, by the path of their key.
pub(crate) type Given = BTreeMap<&'static str, Node>;

/// Takes a tree apart into the keys of the table; a name that is no key stops it.
pub(crate) fn flatten(
    keys: &'static [Key],
    prefix: &str,
    node: Node,
    out: &mut Given,
) -> Result<(), ConfigError> {
    if let Some(key) = find(keys, prefix) {
        return put(key, prefix, node, out);
    }
    let below = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    let is_section =
        keys.iter().any(|key| key.path.starts_with(&below) || key.also.iter().any(|a| a.starts_with(&below)));
    if !is_section {
        return Err(unknown(keys, prefix, &node.origin));
    }
    let node = node.parsed().unwrap_or(node);
    match node.raw {
        // An operator who opens `[auth]` does not mean "let everybody in".
        Raw::Map(entries) if entries.is_empty() && prefix == "auth" => Err(ConfigError::new(
            prefix,
            &node.origin,
            "an empty section",
            "the key that tokens are checked with",
        )),
        Raw::Map(entries) => {
            for (name, child) in entries {
                flatten(keys, &format!("{below}{name}"), child, out)?;
            }
            Ok(())
        }
        _ => Err(ConfigError::new(prefix, &node.origin, node.outline(), "a table")),
    }
}

fn put(key: &'static Key, written_as: &str, node: Node, out: &mut Given) -> Result<(), ConfigError> {
    if matches!(node.raw, Raw::Null) {
        return Ok(());
    }
    match out.get(key.path) {
        Some(other) if *other != node => {
            let found = format!("another value than in {}, for the same setting", other.origin);
            Err(ConfigError::new(
                written_as,
                &node.origin,
                found,
                format!("one of them, best as {}", key.path),
            ))
        }
        _ => {
            out.insert(key.path, node);
            Ok(())
        }
    }
}

/// The complaint about a name nobody knows. The value is not shown: it may be a misspelt password. So may the name, where
/// a value was written in its place.
pub(crate) fn unknown(keys: &'static [Key], path: &str, origin: &Origin) -> ConfigError {
    let all = || keys.iter().flat_map(|key| std::iter::once(key.path).chain(key.also.iter().copied()));
    let allowed = match nearest(path, all()) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            let section = path.rsplit_once('.').map_or("", |(section, _)| section);
            let mut names: Vec<&str> = keys.iter().filter_map(|key| child_of(key.path, section)).collect();
            if names.is_empty() {
                names = keys.iter().filter_map(|key| child_of(key.path, "")).collect();
            }
            names.dedup();
            names.join(", ")
        }
    };
    ConfigError::new(without_secrets(path), origin, "an unknown setting", allowed)
}

/// The next level of `path` below `section`.
fn child_of<'a>(path: &'a str, section: &str) -> Option<&'a str> {
    let rest = if section.is_empty() { path } else { path.strip_prefix(section)?.strip_prefix('.')? };
    rest.split('.').next()
}

/// A table's values as valid, defaults filled in.
pub(crate) struct Values {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Values {
    /// Reads what was given by the table's types.
    pub fn read(keys: &'static [Key], mut given: Given) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for key in keys {
            let node = match (given.remove(key.path), key.default) {
                // An empty variable is how shells and compose files leave a setting out.
                (Some(node), None) if node.raw == Raw::Text(String::new()) => continue,
                (Some(node), _) => node,
                (None, Some(default)) => Node::text(default, &Origin::Default),
                (None, None) => continue,
            };
            let value = key.kind.read(key.path, &node)?;
            values.insert(key.path, (value, node.origin));
        }
        Ok(Values { values })
    }

    /// Reads one object by a table of its own.
    pub fn of_object(keys: &'static [Key], node: &Node) -> Result<Self, ConfigError> {
        if !matches!(node.raw, Raw::Map(_)) {
            return Err(ConfigError::new("", &node.origin, node.outline(), "an object"));
        }
        let mut given = Given::new();
        flatten(keys, "", node.clone(), &mut given)?;
        Values::read(keys, given)
    }

    /// Where the value stands; the default's origin when nobody wrote it.
    pub fn origin(&self, path: &str) -> Origin {
        self.values.get(path).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Whether somebody wrote it.
    pub fn is_given(&self, path: &str) -> bool {
        self.values.get(path).is_some_and(|(_, origin)| *origin != Origin::Default)
    }

    pub fn origins(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        self.values.iter().map(|(path, (_, origin))| (*path, origin))
    }

    fn get(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|(value, _)| value)
    }

    pub fn flag(&self, path: &str) -> bool {
        matches!(self.get(path), Some(Value::Flag(true)))
    }

    pub fn opt_int(&self, path: &str) -> Option<i64> {
        match self.get(path) {
            Some(Value::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// A whole number with a default; its bounds fit `T` by the table, which a test walks.
    pub fn int<T: TryFrom<i64>>(&self, path: &str) -> T {
        let value = self.opt_int(path).and_then(|value| T::try_from(value).ok());
        value.expect("the table of settings gives this number a default and bounds that fit")
    }

    pub fn number(&self, path: &str) -> Option<f64> {
        match self.get(path) {
            Some(Value::Number(value)) => Some(*value),
            _ => None,
        }
    }

    pub fn opt_text(&self, path: &str) -> Option<String> {
        match self.get(path) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    /// A text with a default.
    pub fn text(&self, path: &str) -> String {
        self.opt_text(path).expect("the table of settings gives this text a default")
    }

    /// A text that has to be there.
    pub fn required_text(&self, path: &str, object: &Origin) -> Result<String, ConfigError> {
        self.opt_text(path)
            .ok_or_else(|| ConfigError::new(path, object, "nothing", "a text that is not empty"))
    }

    pub fn opt_texts(&self, path: &str) -> Option<Vec<String>> {
        match self.get(path) {
            Some(Value::Texts(texts)) => Some(texts.clone()),
            _ => None,
        }
    }

    pub fn texts(&self, path: &str) -> Vec<String> {
        self.opt_texts(path).unwrap_or_default()
    }

    pub fn opt_duration(&self, path: &str) -> Option<Duration> {
        match self.get(path) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    /// A duration with a default.
    pub fn duration(&self, path: &str) -> Duration {
        self.opt_duration(path).expect("the table of settings gives this duration a default")
    }

    /// A whole number of milliseconds with a default.
    pub fn millis(&self, path: &str) -> Duration {
        Duration::from_millis(self.int(path))
    }

    pub fn secret(&self, path: &str) -> Option<SecretString> {
        match self.get(path) {
            Some(Value::Secret(secret)) => Some(secret.clone()),
            _ => None,
        }
    }

    pub fn node(&self, path: &str) -> Option<&Node> {
        match self.get(path) {
            Some(Value::Node(node)) => Some(node),
            _ => None,
        }
    }

    pub fn nodes(&self, path: &str) -> &[Node] {
        match self.get(path) {
            Some(Value::Nodes(nodes)) => nodes,
            _ => &[],
        }
    }

    /// A complaint about a value of this table that clashes with another.
    pub fn refuse(&self, path: &str, found: impl Into<String>, allowed: impl Into<String>) -> ConfigError {
        ConfigError::new(path, &self.origin(path), found, allowed)
    }
}
