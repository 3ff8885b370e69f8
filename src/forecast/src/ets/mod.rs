//! Exponential smoothing in state space form: every combination of additive or multiplicative error, trend (with or
//! without damping) and season, fitted by maximum likelihood.
//!
//! Source: Hyndman, Koehler, Ord and Snyder, *Forecasting with Exponential Smoothing* (2008). The parameter region is
//! their usual one (`0 < β < α < 1`, `0 < γ < 1 − α`, `0.8 ≤ φ ≤ 0.98`). Where R's `ets` searches without
//! derivatives, the gradient here is exact, by the adjoint of the recursion, which makes a fit about a hundred times
//! cheaper; initial states are fitted together with the smoothing parameters, as there.
//!
//! - [`recursion`]: one step, the likelihood, its gradient
//! - `start`: where the search begins
//! - `search`: the minimiser
//! - `fitted`: what a fit leaves, `update` and `forecast`
//! - `variance`: widths of the intervals

mod fitted;
pub mod recursion;
mod search;
mod start;
mod variance;

pub use fitted::FittedEts;
pub(crate) use start::centred_average;

use crate::{Budget, Fit, FitError};
use recursion::{Constants, States};
use serde::{Deserialize, Serialize};

/// How errors enter: added to the forecast, or as a fraction of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Error {
    /// `y = ŷ + e`
    Additive,
    /// `y = ŷ (1 + ε)`
    Multiplicative,
}

/// How trend or season enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Component {
    /// Not at all.
    None,
    /// By addition.
    Additive,
    /// By multiplication.
    Multiplicative,
}

/// One model of the taxonomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ets {
    /// Error term.
    pub error: Error,
    /// Trend term.
    pub trend: Component,
    /// Whether the trend fades with the horizon (factor φ a step).
    pub damped: bool,
    /// Seasonal term.
    pub seasonal: Component,
    /// Observations in a season; not used without a seasonal term.
    pub period: usize,
}

impl Ets {
    /// Additive error, damped additive trend and, where `period` is above 1, additive season.
    pub fn additive(period: usize) -> Ets {
        let seasonal = if period > 1 { Component::Additive } else { Component::None };
        Ets {
            error: Error::Additive,
            trend: Component::Additive,
            damped: true,
            seasonal,
            period: period.max(1),
        }
    }

    /// The usual name, e.g. `ETS(M,Ad,M)`.
    pub fn name(&self) -> String {
        let letter = |c: Component| match c {
            Component::None => "N",
            Component::Additive => "A",
            Component::Multiplicative => "M",
        };
        let error = if self.error == Error::Additive { "A" } else { "M" };
        let damped = if self.damped { "d" } else { "" };
        format!("ETS({error},{}{damped},{})", letter(self.trend), letter(self.seasonal))
    }

    /// Whether some component multiplies, so that the series must stay above zero.
    pub fn needs_positive(&self) -> bool {
        self.error == Error::Multiplicative
            || self.trend == Component::Multiplicative
            || self.seasonal == Component::Multiplicative
    }

    /// Length of the seasonal state: 0 without a season.
    pub fn season_len(&self) -> usize {
        if self.seasonal == Component::None { 0 } else { self.period }
    }

    /// Number of smoothing parameters and free initial states.
    pub fn free_parameters(&self) -> usize {
        let trend = usize::from(self.trend != Component::None);
        let season = self.season_len();
        // The seasonal states are constrained to a fixed sum, so one of them is not free.
        1 + trend + usize::from(self.damped) + usize::from(season > 0) + 1 + trend + season.saturating_sub(1)
    }

    fn check(&self, y: &[f64]) -> Result<usize, FitError> {
        if self.damped && self.trend == Component::None {
            return Err(FitError::Specification(
                "ETS: damping needs a trend; use ETS(.,Ad,.) or leave it".into(),
            ));
        }
        if self.seasonal != Component::None && self.period < 2 {
            return Err(FitError::Specification(
                "ETS: a seasonal term needs a season of at least 2: set the season or use ETS(.,.,N)".into(),
            ));
        }
        let got = y.iter().filter(|v| v.is_finite()).count();
        if got < self.needed() || y.len() < self.needed() {
            return Err(FitError::TooShort { family: "ETS", needed: self.needed(), got });
        }
        if self.needs_positive() && y.iter().any(|v| v.is_finite() && *v <= 0.0) {
            return Err(FitError::Specification(format!(
                "{}: a multiplicative term needs values above zero; use an additive model",
                self.name()
            )));
        }
        Ok(got)
    }
}

impl Fit for Ets {
    type Fitted = FittedEts;

    fn needed(&self) -> usize {
        let season = self.season_len();
        if season > 0 { season + 4 } else { 4 }
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<FittedEts, FitError> {
        self.fit_with(y, None, budget)
    }
}

impl Ets {
    /// As [`Fit::fit`], pulled towards usual parameters by a weak prior: a little less likely, and better at
    /// forecasting short series. Its summary gives the likelihood without the prior.
    pub fn fit_shrunk(&self, y: &[f64], budget: &mut Budget) -> Result<FittedEts, FitError> {
        // Weights chosen on the even-placed M3 series.
        self.fit_with(y, Some(search::Prior { smoothing: 0.2, trend: 1.0 }), budget)
    }

    fn fit_with(
        &self,
        y: &[f64],
        prior: Option<search::Prior>,
        budget: &mut Budget,
    ) -> Result<FittedEts, FitError> {
        let got = self.check(y)?;
        let scale = series_scale(y);
        let scaled: Vec<f64> = y.iter().map(|v| if v.is_finite() { v / scale } else { f64::NAN }).collect();
        let (constants, states, evaluation) = search::fit(self, &scaled, prior, budget).ok_or_else(|| {
            let reason = "its likelihood is not finite anywhere near the start: use an additive model".into();
            FitError::Numerical { family: "ETS", reason }
        })?;
        Ok(FittedEts::new(*self, constants, states, evaluation, scale, (y.len(), got), budget.exhausted))
    }
}

/// A power of two near the series' size, so that scaling is exact and squares neither overflow nor vanish.
pub(crate) fn series_scale(y: &[f64]) -> f64 {
    let largest = y.iter().filter(|v| v.is_finite()).fold(0.0_f64, |s, v| s.max(v.abs()));
    if largest > 0.0 { 2f64.powi(largest.log2().floor().clamp(-1000.0, 1000.0) as i32) } else { 1.0 }
}

/// Parameters, final states and likelihood of one fit, in scaled units.
type Found = (Constants, States, search::Evaluation);

#[cfg(test)]
pub(crate) mod tests;
