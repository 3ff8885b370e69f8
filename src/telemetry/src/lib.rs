//! How the house is seen from outside: logs, traces, and the registry that metrics are rendered from.
//!
//! Each crate defines its own metrics and registers them with the [`prometheus::Registry`] it is handed; here are only
//! those of the process itself, and how all of them are written for a scraper.

mod logging;
mod openmetrics;
mod process;
mod registry;
mod render;
mod traces;

pub use logging::{Telemetry, TelemetryError, start};
pub use process::{Usage, usage};
pub use registry::{Build, registry};
pub use render::{OPENMETRICS, Render, Rendered, TEXT, render, renderer};
pub use traces::{TRACE_TARGET, deliver, extract, receive, stage, traceparent};
