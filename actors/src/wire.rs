//! Outputs as the contract's JSON, written straight from what the stages hold.

use bytes::Bytes;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use tidecast_config::ModelSpec;
use tidecast_event::EventTime;
use tidecast_forecast::Step;

/// Any value that is plain data as JSON.
pub fn json(value: &impl Serialize) -> Bytes {
    // Plain data with text keys always has a JSON form.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// A forecast message, borrowed from the model that made it.
#[derive(Debug)]
pub struct Forecast<'a> {
    /// The model.
    pub spec: &'a ModelSpec,
    /// End of the newest window it rests on.
    pub at: EventTime,
    /// From one window's start to the next's; 0 when not known.
    pub advance_micros: i64,
    /// At least one step.
    pub path: &'a [Step],
    /// In [0, 1].
    pub accuracy: Option<f64>,
}

impl Forecast<'_> {
    /// The contract's JSON.
    pub fn to_json(&self) -> Bytes {
        json(self)
    }
}

impl Serialize for Forecast<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = self.path.last().copied().unwrap_or(Step { mean: 0.0, lower: 0.0, upper: 0.0 });
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("model_id", &self.spec.model_id)?;
        map.serialize_entry("timestamp", &self.at.to_rfc3339())?;
        map.serialize_entry("predicted_value", &last.mean)?;
        map.serialize_entry("confidence_interval", &[last.lower, last.upper])?;
        map.serialize_entry("forecast_horizon", &self.path.len())?;
        map.serialize_entry("model_type", self.spec.model_type.as_str())?;
        map.serialize_entry("metadata", &Metadata(self))?;
        map.end()
    }
}

struct Metadata<'a, 'b>(&'a Forecast<'b>);

impl Serialize for Metadata<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.0.spec.metadata {
            if !matches!(name.as_str(), "path" | "accuracy") {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(accuracy) = self.0.accuracy {
            map.serialize_entry("accuracy", &accuracy)?;
        }
        map.serialize_entry("path", &Path(self.0))?;
        map.end()
    }
}

struct Path<'a, 'b>(&'a Forecast<'b>);

impl Serialize for Path<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire {
            timestamp: String,
            mean: f64,
            lower: f64,
            upper: f64,
        }
        let mut seq = serializer.serialize_seq(Some(self.0.path.len()))?;
        for (index, step) in self.0.path.iter().enumerate() {
            let ahead = self.0.advance_micros.saturating_mul(index as i64);
            let timestamp = self.0.at.plus_micros(ahead).to_rfc3339();
            seq.serialize_element(&Wire {
                timestamp,
                mean: step.mean,
                lower: step.lower,
                upper: step.upper,
            })?;
        }
        seq.end()
    }
}
