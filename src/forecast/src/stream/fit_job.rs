//! A fit as a piece of work that can be done anywhere.

use crate::conformal::{self, Conformal};
use crate::{Budget, FitError, Fitted, Spec};

/// Everything a fit needs: a bounded history and the model's specification.
#[derive(Debug, Clone, PartialEq)]
pub struct FitJob {
    pub(super) spec: Spec,
    pub(super) history: Vec<f64>,
    /// One column an exogenous series.
    pub(super) exogenous: Vec<Vec<f64>>,
    pub(super) effective_at: u64,
    /// Horizon and level to calibrate intervals for; `None` where the running calibration goes on.
    pub(super) calibrate: Option<(usize, f64)>,
}

/// What a fit gave.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOutcome {
    pub(super) fitted: Result<Fitted, FitError>,
    /// Exogenous series that the fit has, by place: one that said nothing yet is left out.
    pub(super) used: Vec<u16>,
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
        let (fitted, used) = self.fit();
        let calibration = match (&fitted, self.calibrate) {
            (Ok(fitted), Some((horizon, level))) => {
                let fitted = used.is_empty().then_some(fitted);
                Some(conformal::calibrate(&self.spec, &self.history, horizon, level, fitted))
            }
            _ => None,
        };
        FitOutcome { fitted, used, calibration, effective_at: self.effective_at }
    }

    /// Fits with all exogenous series; where that cannot be (one has not varied yet, or two say the same), with those
    /// that can be added one after the other.
    fn fit(&self) -> (Result<Fitted, FitError>, Vec<u16>) {
        let of = |used: &[u16]| {
            let columns: Vec<Vec<f64>> =
                used.iter().map(|place| self.exogenous[usize::from(*place)].clone()).collect();
            self.spec.fit_with(&self.history, &columns, &mut Budget::default())
        };
        let all: Vec<u16> = (0..self.exogenous.len() as u16).collect();
        let whole = of(&all);
        if all.is_empty() || whole.is_ok() {
            return (whole, all);
        }
        let (mut best, mut used) = (of(&[]), Vec::new());
        for place in all {
            used.push(place);
            match of(&used) {
                Ok(fitted) => best = Ok(fitted),
                Err(_) => drop(used.pop()),
            }
        }
        (best, used)
    }
}

impl FitOutcome {
    /// Index of the observation before which it takes effect.
    pub fn effective_at(&self) -> u64 {
        self.effective_at
    }

    /// Why there is no model, if there is none.
    pub fn error(&self) -> Option<String> {
        self.fitted.as_ref().err().map(ToString::to_string)
    }
}
