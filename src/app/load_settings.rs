//! Reads the files and the environment that hold settings; the config room makes sense of them.

use crate::cli::ConfigOptions;
use anyhow::Context;
use std::sync::Arc;
use tidecast_config::{Settings, Sources};
use tidecast_rules::{Filter, Rule};

/// The settings of this process. `base` is what the command brings itself, below everything else.
pub fn load(options: &ConfigOptions, base: Option<(&str, &str)>) -> anyhow::Result<Arc<Settings>> {
    let file = match &options.config {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the configuration file {} cannot be read", path.display()))?;
            Some((path.display().to_string(), text))
        }
        None => base.map(|(name, text)| (name.to_owned(), text.to_owned())),
    };
    let dotenv = match std::fs::read_to_string(".env") {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(".env in the working directory cannot be read"),
    };
    // Names or values that are no text cannot be settings of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let sources =
        Sources { file, dotenv, environment: environment.collect(), overrides: options.set.clone() };
    let settings = Settings::load(&sources)?;
    compile_conditions(&settings)?;
    Ok(Arc::new(settings))
}

/// The config room takes conditions and actions as they are written; whether they compile is the rules room's to say.
fn compile_conditions(settings: &Settings) -> anyhow::Result<()> {
    for (index, series) in settings.series.iter().enumerate() {
        if let Some(source) = &series.filter
            && let Err(error) = Filter::compile(source)
        {
            let path = format!("series[{index}].where");
            return Err(settings.refuse(&path, format!("{source:?}: {}", error.found), error.allowed).into());
        }
    }
    for (index, rule) in settings.rules.iter().enumerate() {
        if let Err(fault) = Rule::from_json(&serde_json::to_value(rule)?) {
            let path = format!("rules[{index}].{}", fault.field);
            return Err(settings.refuse(&path, fault.found, fault.allowed).into());
        }
    }
    Ok(())
}
