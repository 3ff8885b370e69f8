//! File < `.env` < environment < command line: what each says, and who wins.

use crate::dotenv;
use crate::error::{ConfigError, Origin};
use crate::keys::KEYS;
use crate::nearest::nearest;
use crate::table::{Given, find, flatten, unknown};
use crate::written::{Node, from_toml};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that may hold settings, read by the caller: this crate opens no file and no environment.
#[derive(Clone, Default)]
pub struct Sources {
    /// The configuration file's name (for messages) and text.
    pub file: Option<(String, String)>,
    /// Text of the `.env` file.
    pub dotenv: Option<String>,
    /// The process environment; variables that are not ours are passed over.
    pub environment: BTreeMap<String, String>,
    /// `key=value` from the command line, the last one wins.
    pub overrides: Vec<String>,
}

const PREFIX: &str = "STREAMING_";

/// The settings given, each by the source that wins, and whether `[auth]` was opened at all.
pub(crate) fn gather(sources: &Sources) -> Result<Given, ConfigError> {
    let mut given = Given::new();
    if let Some((name, text)) = &sources.file {
        flatten(KEYS, "", from_toml(name, text)?, &mut given)?;
    }
    if let Some(text) = &sources.dotenv {
        let variables = dotenv::parse(text)?;
        let with_origin = |v: dotenv::Variable| {
            // Twice in one file: the last one counts, as in a shell.
            (v.name.clone(), (v.value, Origin::DotEnv { variable: v.name.into(), line: v.line }))
        };
        overlay(&mut given, from_variables(&variables.into_iter().map(with_origin).collect())?);
    }
    let environment = sources
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), (value.clone(), Origin::Environment(Arc::from(name.as_str())))))
        .collect();
    overlay(&mut given, from_variables(&environment)?);
    for text in &sources.overrides {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            ConfigError::new(
                "override",
                &Origin::CommandLine,
                "a word without =",
                "key=value, such as app.port=8000",
            )
        })?;
        let mut one = Given::new();
        flatten(KEYS, path.trim(), Node::text(value, &Origin::CommandLine), &mut one)?;
        overlay(&mut given, one);
    }
    Ok(given)
}

fn overlay(below: &mut Given, above: Given) {
    below.extend(above);
}

/// Aliases first, then the `STREAMING_` names over them.
fn from_variables(variables: &BTreeMap<String, (String, Origin)>) -> Result<Given, ConfigError> {
    let mut aliases = Given::new();
    for key in KEYS {
        for name in key.variables {
            // An alias left empty (`KAFKA_SASL_USERNAME=`) is an alias not set.
            if let Some((value, origin)) = variables.get(*name).filter(|(value, _)| !value.trim().is_empty())
            {
                flatten(KEYS, key.path, Node::text(value, origin), &mut aliases)
                    .map_err(|error| ConfigError { setting: (*name).to_owned(), ..error })?;
            }
        }
    }
    let mut ours = Given::new();
    for (name, (value, origin)) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let path = rest.to_ascii_lowercase().replace("__", ".");
        let is_section = KEYS.iter().any(|key| key.path.starts_with(&format!("{path}.")));
        if find(KEYS, &path).is_none() && !is_section {
            return Err(unknown_variable(name, &path, origin));
        }
        flatten(KEYS, &path, Node::text(value, origin), &mut ours)?;
    }
    overlay(&mut aliases, ours);
    Ok(aliases)
}

fn unknown_variable(name: &str, path: &str, origin: &Origin) -> ConfigError {
    let variable = |path: &str| format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"));
    let allowed = match nearest(path, KEYS.iter().map(|key| key.path)) {
        Some(near) => format!("did you mean {}?", variable(near)),
        None => unknown(KEYS, path, origin).allowed,
    };
    ConfigError::new(name, origin, "an unknown setting", allowed)
}
