//! A fit as a piece of work that can be done anywhere.

use crate::conformal::{Conformal, ONE_SIGMA};
use crate::{Budget, Fit, Fitted, Predict, Spec};

/// Everything a fit needs: a bounded history and the model's specification.
#[derive(Debug, Clone, PartialEq)]
pub struct FitJob {
    pub(super) spec: Spec,
    pub(super) history: Vec<f64>,
    pub(super) effective_at: u64,
    /// Horizon and level to calibrate intervals for; `None` where the running calibration goes on.
    pub(super) calibrate: Option<(usize, f64)>,
}

/// What a fit gave.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOutcome {
    pub(super) fitted: Result<Fitted, String>,
    pub(super) calibration: Option<Conformal>,
    pub(super) effective_at: u64,
}

impl FitJob {
    /// Index of the observation before which the outcome must be installed.
    pub fn effective_at(&self) -> u64 {
        self.effective_at
    }

    /// Observations in the history.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// Whether the history is empty (it never is where a stream asked).
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// Fits. A pure function of the job, bounded by the budget of evaluations.
    pub fn run(self) -> FitOutcome {
        let fitted = self.spec.fit(&self.history, &mut Budget::default()).map_err(|error| error.to_string());
        let calibration = match (&fitted, self.calibrate) {
            (Ok(_), Some((horizon, level))) => Some(self.calibrate(horizon, level)),
            _ => None,
        };
        FitOutcome { fitted, calibration, effective_at: self.effective_at }
    }

    /// Measures honest errors where the history is long enough: a model fitted to its older part runs through the
    /// newer part as it would have live.
    fn calibrate(&self, horizon: usize, level: f64) -> Conformal {
        let mut conformal = Conformal::new(horizon, level);
        let split = self.spec.needed().max(self.history.len() / 2);
        if self.history.len() < split + 8 {
            return conformal;
        }
        let (older, newer) = self.history.split_at(split);
        if let Ok(mut fitted) = self.spec.fit(older, &mut Budget::default()) {
            conformal.expect(&fitted.forecast(horizon, ONE_SIGMA));
            for &y in newer {
                conformal.observe(y);
                fitted.update(y);
                conformal.expect(&fitted.forecast(horizon, ONE_SIGMA));
            }
            // Forecasts of what has not come yet belong to the model that is discarded here.
            conformal.forget_pending();
        }
        conformal
    }
}

impl FitOutcome {
    /// Index of the observation before which it takes effect.
    pub fn effective_at(&self) -> u64 {
        self.effective_at
    }

    /// Why there is no model, if there is none.
    pub fn error(&self) -> Option<&str> {
        self.fitted.as_ref().err().map(String::as_str)
    }
}
