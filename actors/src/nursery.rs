//! Models whose series has not been seen by any partition of this process: trained on their `history`, asked by REST.

use crate::brain::{Brain, BrainMaker};
use crate::forecaster::not_yet;
use crate::registry::ModelStatus;
use crate::wire;
use dashmap::DashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_config::ModelSpec;
use tidecast_event::{EventTime, ForecastMessage};
use tidecast_ports::ControlError;
use tidecast_ports::control::ModelState;

/// Models kept made; past them they are made again for each question.
const KEPT: usize = 1_000;

/// A model made from its registration alone, and the registration.
type Made = (Arc<ModelSpec>, Arc<Mutex<Box<dyn Brain>>>);

/// The models without an actor, and the newest forecasts of External ones. Cheap to clone.
#[derive(Clone, Default)]
pub struct Nursery {
    made: Arc<DashMap<String, Made>>,
    external: Arc<DashMap<String, ForecastMessage>>,
}

impl Nursery {
    /// Forgets a model that changed or went.
    pub fn forget(&self, id: &str) {
        self.made.remove(id);
        self.external.remove(id);
    }

    /// The newest forecast posted for an External model.
    pub fn external(&self, id: &str) -> Option<ForecastMessage> {
        self.external.get(id).map(|forecast| forecast.clone())
    }

    /// Keeps the newest forecast of an External model.
    pub fn keep_external(&self, forecast: &ForecastMessage) {
        self.external.insert(forecast.model_id.clone(), forecast.clone());
    }

    fn brain(
        &self,
        brains: &dyn BrainMaker,
        spec: &Arc<ModelSpec>,
    ) -> Result<Arc<Mutex<Box<dyn Brain>>>, String> {
        if let Some(made) = self.made.get(&spec.model_id)
            && made.0 == *spec
        {
            return Ok(made.1.clone());
        }
        let mut brain = brains.make(spec).map_err(|error| error.to_string())?;
        if let Some(job) = brain.take_fit() {
            brain.install(job.run());
        }
        let brain = Arc::new(Mutex::new(brain));
        if self.made.len() < KEPT {
            self.made.insert(spec.model_id.clone(), (spec.clone(), brain.clone()));
        }
        Ok(brain)
    }

    /// Where the model stands. Fits it to its history the first time: blocks for as long as that takes.
    pub fn status(&self, brains: &dyn BrainMaker, spec: &Arc<ModelSpec>) -> ModelStatus {
        let brain = match self.brain(brains, spec) {
            Ok(brain) => brain,
            Err(error) => {
                let mut status = ModelStatus::new(ModelState::Failed);
                status.error = Some(error);
                return status;
            }
        };
        let brain = brain.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = ModelStatus::new(ModelState::WarmingUp);
        status.follow(&**brain);
        status.tell_fit(&**brain);
        status
    }

    /// A forecast from the history alone, made now. Blocks as [`Nursery::status`] does.
    pub fn forecast(
        &self,
        brains: &dyn BrainMaker,
        spec: &Arc<ModelSpec>,
        horizon: Option<usize>,
        advance_micros: i64,
    ) -> Result<ForecastMessage, ControlError> {
        let brain = self.brain(brains, spec).map_err(ControlError::Unavailable)?;
        let brain = brain.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = brain.forecast(horizon.unwrap_or(spec.horizon), spec.level) else {
            return Err(not_yet(&spec.model_id, &**brain));
        };
        let at = EventTime::from_millis(crate::wall_clock_ms() as i64);
        let message = wire::Forecast { spec, at, advance_micros, path: &path, accuracy: brain.accuracy() };
        serde_json::from_slice(&message.to_json())
            .map_err(|error| ControlError::Unavailable(error.to_string()))
    }
}
