//! A forecast, as written to `ml-predictions` and pushed as `forecast_update`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One forecast of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastMessage {
    /// The model.
    pub model_id: String,
    /// When it was made: RFC 3339; the end of the newest window it rests on.
    pub timestamp: String,
    /// The value at the last step of the horizon.
    pub predicted_value: f64,
    /// Its interval, lower then upper.
    pub confidence_interval: [f64; 2],
    /// Steps ahead.
    pub forecast_horizon: usize,
    /// The model's type, e.g. `SARIMA`.
    pub model_type: String,
    /// `path` (one [`PathStep`] per step), `accuracy`, and what the model was registered with.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// One step of `metadata.path`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathStep {
    /// Start of the window that is forecast, RFC 3339.
    pub timestamp: String,
    /// Point forecast.
    pub mean: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}
