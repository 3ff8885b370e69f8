//! Forecasts computed a second way: each model alone, without actors, snapshots or faults, on the windows that were
//! committed. What a model says depends on its windows in their order and on nothing else.

use crate::workload::Plan;
use serde_json::Value;
use std::collections::BTreeMap;
use tidecast_actors::brain::{Brain, BrainMaker, StreamModels};
use tidecast_config::ModelSpec;
use tidecast_forecast::Step;

/// A forecast: its event time and its path (mean, lower, upper).
pub type Forecast = (String, Vec<[f64; 3]>);
/// Forecasts by model, in their order.
pub type Told = BTreeMap<String, Vec<Forecast>>;

struct Model {
    spec: ModelSpec,
    brain: Box<dyn Brain>,
    last: Option<f64>,
    advance: f64,
}

impl Model {
    fn settle(&mut self) {
        if let Some(job) = self.brain.take_fit() {
            self.brain.install(job.run());
        }
    }

    fn step(&mut self, value: f64) {
        self.settle();
        self.brain.observe(value, &[]);
        self.settle();
    }

    /// The first emission of a window.
    fn window(&mut self, message: &Value) -> Option<(String, Vec<Step>)> {
        let start = message["window_start"].as_f64()?;
        if self.last.is_some_and(|last| start <= last) {
            return None;
        }
        if let Some(last) = self.last {
            let counts = self.spec.field == "event_count" || self.spec.field.ends_with(".sum");
            for _ in 1..((start - last) / self.advance).round() as i64 {
                self.step(if counts { 0.0 } else { f64::NAN });
            }
        }
        let value = match self.spec.field.rsplit_once('.') {
            None => message["event_count"].as_f64(),
            Some((path, statistic)) => message["aggregates"][path][statistic].as_f64(),
        };
        self.step(value.unwrap_or(f64::NAN));
        self.last = Some(start);
        let end = (message["window_end"].as_f64()? * 1e6) as i64;
        let path = self.brain.forecast(self.spec.horizon, self.spec.level)?;
        Some((tidecast_event::EventTime(end).to_rfc3339(), path))
    }
}

/// What the models say on these windows: first emissions, in the order of their topic.
pub fn expect<'m>(plan: &Plan, windows: impl Iterator<Item = &'m Value>) -> Told {
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let mut told = Told::new();
    for message in windows {
        let (Some(series), Some(key)) = (message["series"].as_str(), message["key"].as_str()) else {
            continue;
        };
        for spec in &plan.models {
            let Some(of) = spec.series.as_ref().filter(|of| of.family == series) else { continue };
            if !spec.is_template() && of.key != key {
                continue;
            }
            let spec = if spec.is_template() { spec.instance(key) } else { spec.clone() };
            let advance = plan.series.iter().find(|one| one.name == series).map_or(1, |one| one.advance_ms);
            let model = models.entry(spec.model_id.clone()).or_insert_with(|| Model {
                brain: StreamModels.make(&spec).expect("a valid model"),
                spec,
                last: None,
                advance: advance as f64 / 1e3,
            });
            if let Some((at, path)) = model.window(message) {
                let path = path.iter().map(|step| [step.mean, step.lower, step.upper].map(through_json));
                told.entry(model.spec.model_id.clone()).or_default().push((at, path.collect()));
            }
        }
    }
    told
}

/// What a reader of JSON gets.
fn through_json(value: f64) -> f64 {
    serde_json::to_string(&value).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(f64::NAN)
}

/// A committed forecast message in the same form.
pub fn read(message: &Value) -> Option<(String, Forecast)> {
    let model = message["model_id"].as_str()?.to_owned();
    let path = message["metadata"]["path"].as_array()?;
    let step = |step: &Value| ["mean", "lower", "upper"].map(|name| step[name].as_f64().unwrap_or(f64::NAN));
    Some((model, (message["timestamp"].as_str()?.to_owned(), path.iter().map(step).collect())))
}
