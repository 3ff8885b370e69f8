//! The registry that every crate registers its metrics with.

use crate::process::ProcessCollector;
use prometheus::{Gauge, Opts, Registry};

/// What is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Its commit, where known.
    pub commit: &'a str,
    /// The roles this process has.
    pub roles: &'a str,
}

/// A registry with the metrics of the process and of the build in it.
pub fn registry(build: &Build<'_>) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::new()?))?;
    let info = Gauge::with_opts(
        Opts::new("tidecast_build_info", "Always 1; its labels say what is running.")
            .const_label("version", build.version)
            .const_label("commit", build.commit)
            .const_label("roles", build.roles),
    )?;
    info.set(1.0);
    registry.register(Box::new(info))?;
    Ok(registry)
}
