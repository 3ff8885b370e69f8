//! To the forecasting stage of a partition.

use crate::messages::BatchOutput;

/// What the forecasting stage receives.
#[derive(Debug)]
pub enum ForecastingMessage {
    /// A batch from the aggregation.
    Batch(Box<BatchOutput>),
    /// Every model that a batch was shown to has answered.
    Answered,
    /// A second has passed: forecasts by `update_frequency_seconds` may be due.
    Tick,
}

impl ForecastingMessage {
    /// Bytes it holds, about, where that can be many.
    pub fn weight(&self) -> usize {
        match self {
            ForecastingMessage::Batch(output) => output.weight(),
            ForecastingMessage::Answered | ForecastingMessage::Tick => 0,
        }
    }
}
