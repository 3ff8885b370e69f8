//! To and from one model.

use crate::messages::{ForecastEvent, Place};
use std::sync::Arc;
use tidecast_event::{Aggregate, Anomaly, ForecastMessage};
use tidecast_ports::{ControlError, OutputRecord};
use tokio::sync::oneshot;

/// What a forecaster is asked.
#[derive(Debug)]
pub enum ForecasterMessage {
    /// A window of its series closed.
    Observe {
        /// Where the answer belongs.
        place: Place,
        /// The window.
        window: Arc<Aggregate>,
        /// From one window's start to the next's, microseconds.
        advance_micros: i64,
        /// Learn, and say nothing.
        silent: bool,
    },
    /// Its state is wanted for a snapshot.
    Snapshot {
        /// Where the answer belongs.
        place: Place,
    },
    /// `update_frequency_seconds` has passed: forecast again from the state as it is.
    Again {
        /// Where the answer belongs.
        place: Place,
    },
    /// An operator has asked for a new fit, so often by now.
    Refit {
        /// How often since the model was registered.
        asked: u64,
    },
    /// A forecast is asked for by REST.
    Forecast {
        /// Steps; the model's own when absent.
        horizon: Option<usize>,
        /// The answer.
        reply: oneshot::Sender<Result<ForecastMessage, ControlError>>,
    },
}

/// What a forecaster answers.
#[derive(Debug, Default)]
pub struct ModelOutput {
    /// Records to be written.
    pub records: Vec<OutputRecord>,
    /// An anomaly, when the observation was one.
    pub anomaly: Option<Anomaly>,
    /// The forecast, as rules see it.
    pub forecast: Option<ForecastEvent>,
    /// State for the snapshot.
    pub state: Option<Vec<u8>>,
}
