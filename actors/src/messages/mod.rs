//! What actors say to each other. Actors import these, never one another; only `topology` knows them all.

mod aggregator;
mod answers;
mod batch_output;
mod forecaster;
mod forecasting;
mod publisher;

pub use aggregator::AggregatorMessage;
pub use answers::{Answers, Place};
pub use batch_output::{BatchOutput, ClosedWindow, ForecastEvent, ModelRecord, SnapshotParts, Written};
pub use forecaster::{ForecasterMessage, ModelOutput};
pub use forecasting::ForecastingMessage;
pub use publisher::PublisherMessage;
