//! Outputs as the contract's JSON, written straight from what the stages hold.

use bytes::Bytes;
use serde::Serialize;
use std::cell::RefCell;
use std::io::Write;
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

thread_local! {
    /// Messages are written here and copied out at their size: a model that is quiet holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Forecast<'_> {
    /// The contract's JSON.
    pub fn to_json(&self) -> Bytes {
        SCRATCH.with_borrow_mut(|text| {
            text.clear();
            self.write(text);
            Bytes::copy_from_slice(text)
        })
    }

    fn write(&self, text: &mut Vec<u8>) {
        let last = self.path.last().copied().unwrap_or(Step { mean: 0.0, lower: 0.0, upper: 0.0 });
        put(text, "{\"model_id\":", &self.spec.model_id);
        put_time(text, ",\"timestamp\":", self.at);
        put(text, ",\"predicted_value\":", &last.mean);
        put(text, ",\"confidence_interval\":", &[last.lower, last.upper]);
        put(text, ",\"forecast_horizon\":", &self.path.len());
        put(text, ",\"model_type\":", self.spec.model_type.as_str());
        text.extend_from_slice(b",\"metadata\":{");
        for (name, value) in &self.spec.metadata {
            if !matches!(name.as_str(), "path" | "accuracy") {
                put(text, "", name);
                put(text, ":", value);
                text.push(b',');
            }
        }
        if let Some(accuracy) = self.accuracy {
            put(text, "\"accuracy\":", &accuracy);
            text.push(b',');
        }
        text.extend_from_slice(b"\"path\":");
        let mut before = "[{\"timestamp\":";
        for (index, step) in self.path.iter().enumerate() {
            let ahead = self.advance_micros.saturating_mul(index as i64);
            put_time(text, before, self.at.plus_micros(ahead));
            put(text, ",\"mean\":", &step.mean);
            put(text, ",\"lower\":", &step.lower);
            put(text, ",\"upper\":", &step.upper);
            text.push(b'}');
            before = ",{\"timestamp\":";
        }
        text.extend_from_slice(if self.path.is_empty() { b"[]}}" } else { b"]}}" });
    }
}

/// What stands before a plain value, then the value.
pub(crate) fn put(text: &mut impl Write, before: &str, value: &(impl Serialize + ?Sized)) {
    // Plain data into memory does not fail.
    let _ = text.write_all(before.as_bytes());
    let _ = serde_json::to_writer(text, value);
}

fn put_time(text: &mut Vec<u8>, before: &str, time: EventTime) {
    text.extend_from_slice(before.as_bytes());
    text.push(b'"');
    time.put_rfc3339(text);
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_forecast_is_the_contracts_json() {
        let spec = json!({"model_id": "a \"b\"", "model_type": "ETS", "series": "s:k", "horizon": 2,
            "metadata": {"unit": "°C", "path": "not ours"}});
        let spec = ModelSpec::from_json(&spec).expect("a valid model");
        let step = |mean| Step { mean, lower: mean - 1.5, upper: f64::INFINITY };
        let at = EventTime(1_768_564_232_665_000);
        let path = [step(1.0), step(2.5)];
        let mut forecast =
            Forecast { spec: &spec, at, advance_micros: 1_000_000, path: &path, accuracy: Some(0.875) };
        let written: Value = serde_json::from_slice(&forecast.to_json()).expect("JSON");
        assert_eq!(
            written,
            json!({"model_id": "a \"b\"", "timestamp": "2026-01-16T11:50:32.665Z", "predicted_value": 2.5,
                "confidence_interval": [1.0, null], "forecast_horizon": 2, "model_type": "ETS",
                "metadata": {"unit": "°C", "accuracy": 0.875, "path": [
                    {"timestamp": "2026-01-16T11:50:32.665Z", "mean": 1.0, "lower": -0.5, "upper": null},
                    {"timestamp": "2026-01-16T11:50:33.665Z", "mean": 2.5, "lower": 1.0, "upper": null}]}})
        );
        (forecast.path, forecast.accuracy) = (&[], None);
        let written: Value = serde_json::from_slice(&forecast.to_json()).expect("JSON");
        assert_eq!(written["metadata"], json!({"unit": "°C", "path": []}));
    }
}
