//! To the forecasting stage of a partition.

use crate::messages::{BatchOutput, ModelOutput};

/// What the forecasting stage receives.
#[derive(Debug)]
pub enum ForecastingMessage {
    /// A batch from the aggregation.
    Batch(Box<BatchOutput>),
    /// A model's answer.
    Answer {
        /// The batch it was asked for.
        batch: u64,
        /// Its place in the batch.
        slot: usize,
        /// What it gave.
        output: Box<ModelOutput>,
    },
    /// A second has passed: forecasts by `update_frequency_seconds` may be due.
    Tick,
}

impl ForecastingMessage {
    /// Bytes it holds, about, where that can be many.
    pub fn weight(&self) -> usize {
        match self {
            ForecastingMessage::Batch(output) => output.weight(),
            ForecastingMessage::Answer { .. } | ForecastingMessage::Tick => 0,
        }
    }
}
