//! The two traits every family implements: an unfitted model can only be fitted, a fitted one only used.

use crate::FitError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One step of a forecast path. `lower <= mean <= upper`, all finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Point forecast, in the units of the series.
    pub mean: f64,
    /// Lower bound of the prediction interval.
    pub lower: f64,
    /// Upper bound of the prediction interval.
    pub upper: f64,
}

/// What a fit may spend, and what it spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Evaluations of the objective that are left.
    pub evaluations: u64,
    /// Set by a fit that stopped because nothing was left: its result is the best so far.
    pub exhausted: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { evaluations: 20_000, exhausted: false }
    }
}

/// What a fit says of itself. Fields that a family has no notion of are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The model as chosen, e.g. `ARIMA(2,1,1)(0,1,1)12` or `ETS(M,Ad,M)`.
    pub model: String,
    /// Observations given, missing ones included.
    pub n: usize,
    /// Log-likelihood (of the differenced series for ARIMA).
    pub loglik: Option<f64>,
    /// Akaike's criterion.
    pub aic: Option<f64>,
    /// Akaike's criterion corrected for small samples.
    pub aicc: Option<f64>,
    /// Schwarz's criterion.
    pub bic: Option<f64>,
    /// Innovation variance, in squared units of the series.
    pub sigma2: Option<f64>,
    /// Parameters by name, e.g. `ar.L1`, `ma.S.L12`, `mean`, `alpha`.
    pub params: BTreeMap<String, f64>,
    /// Standard errors by parameter name, where the family computes them.
    pub std_errors: BTreeMap<String, f64>,
    /// The evaluation budget ran out and this is the best model found so far.
    pub budget_exhausted: bool,
}

/// A model that can be fitted to a history.
pub trait Fit {
    /// What fitting gives.
    type Fitted: Predict;

    /// Least number of observations (missing ones not counted) that the family can be fitted to.
    fn needed(&self) -> usize;

    /// Fits to `y`, oldest first, `NaN` where missing. Never panics and never runs past `budget`.
    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<Self::Fitted, FitError>;
}

/// A fitted model: its whole memory is its own state, never the history.
pub trait Predict: Clone {
    /// Takes the next observation (`NaN`: missing) exactly as the model's filter would. O(state), no refit.
    fn update(&mut self, y: f64);

    /// Writes `out.len()` steps ahead of the last update, with the model's own interval at `level` in (0, 1).
    fn forecast_into(&self, level: f64, out: &mut [Step]);

    /// As [`Predict::forecast_into`], allocated.
    fn forecast(&self, horizon: usize, level: f64) -> Vec<Step> {
        let mut out = vec![Step { mean: 0.0, lower: 0.0, upper: 0.0 }; horizon];
        self.forecast_into(level, &mut out);
        out
    }

    /// Parameters, likelihood and criteria of the fit.
    fn summary(&self) -> Summary;
}
