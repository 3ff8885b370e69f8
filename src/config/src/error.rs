//! The one message that stops a start: which setting, where from, what was found, what is allowed.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it: the default.
    Default,
    /// A line of the configuration file.
    File {
        /// The file's name, as the caller gave it.
        name: Arc<str>,
        /// Line, from 1.
        line: usize,
    },
    /// A variable of the process environment.
    Environment(Arc<str>),
    /// A variable of the `.env` file.
    DotEnv {
        /// The variable.
        variable: Arc<str>,
        /// Line, from 1.
        line: usize,
    },
    /// The command line.
    CommandLine,
    /// An object handed in while running (a REST body, a record).
    Request,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::Environment(variable) => write!(f, "environment variable {variable}"),
            Origin::DotEnv { variable, line } => write!(f, "{variable} in .env:{line}"),
            Origin::CommandLine => f.write_str("command line"),
            Origin::Request => f.write_str("request"),
        }
    }
}

/// Why the configuration cannot be used. Its text is one line and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {setting} ({origin}): found {found}; allowed: {allowed}")]
pub struct ConfigError {
    /// Dotted path, e.g. `kafka.acks` or `series[0].window.size`.
    pub setting: String,
    /// Where it was written.
    pub origin: Origin,
    /// What was found there.
    pub found: String,
    /// What would do, with the nearest known name for an unknown one.
    pub allowed: String,
}

impl ConfigError {
    pub(crate) fn new(
        setting: impl Into<String>,
        origin: &Origin,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        ConfigError {
            setting: setting.into(),
            origin: origin.clone(),
            found: found.into(),
            allowed: allowed.into(),
        }
    }

    /// Moves the fault below `prefix`: a fault of an object becomes one of the list that holds it.
    pub(crate) fn below(mut self, prefix: &str) -> Self {
        self.setting = match (prefix.is_empty(), self.setting.is_empty()) {
            (true, _) => self.setting,
            (_, true) => prefix.to_owned(),
            _ => format!("{prefix}.{}", self.setting),
        };
        self
    }
}

/// A wrong field of an object that came in while running; becomes a problem document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}; allowed: {allowed}")]
pub struct Fault {
    /// Dotted path of the field, e.g. `order[1]`; empty for the object itself.
    pub field: String,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl Fault {
    /// A fault of one field.
    pub fn new(field: impl Into<String>, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Fault { field: field.into(), found: found.into(), allowed: allowed.into() }
    }

    /// What was found and what is allowed, without the field's name.
    pub fn message(&self) -> String {
        format!("found {}; allowed: {}", self.found, self.allowed)
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Fault { field: error.setting, found: error.found, allowed: error.allowed }
    }
}
