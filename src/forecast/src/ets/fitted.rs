//! What a fit leaves: parameters and states, moved on by each observation.

use super::recursion::{Constants, States};
use super::search::Evaluation;
use super::{Component, Error, Ets, variance};
use crate::{Predict, Step, Summary};
use serde::{Deserialize, Serialize};

/// A fitted [`Ets`]: a few numbers and one season.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedEts {
    pub(super) ets: Ets,
    pub(super) constants: Constants,
    pub(super) states: States,
    /// Innovation variance: of relative errors where they multiply, else in squared scaled units.
    pub(super) sigma2: f64,
    /// Scaled units to units of the series; a power of two.
    pub(super) scale: f64,
    /// Observations given, those not missing among them when fitted.
    n: usize,
    count: usize,
    loglik: f64,
    budget_exhausted: bool,
}

impl FittedEts {
    pub(super) fn new(
        ets: Ets,
        constants: Constants,
        states: States,
        evaluation: Evaluation,
        scale: f64,
        (n, count): (usize, usize),
        budget_exhausted: bool,
    ) -> Self {
        let spare = count.saturating_sub(ets.free_parameters()).max(1) as f64;
        let sigma2 = evaluation.sum_squares / spare;
        // A density in units of the series is thinner by the scale, once for each observation.
        let loglik = evaluation.loglik - count as f64 * scale.ln();
        FittedEts { ets, constants, states, sigma2, scale, n, count, loglik, budget_exhausted }
    }

    /// The model that was fitted.
    pub fn model(&self) -> Ets {
        self.ets
    }

    /// Akaike's criterion corrected for small samples; infinite where there are too few observations for it.
    pub fn aicc(&self) -> f64 {
        let (k, n) = (self.parameters(), self.count as f64);
        if n - k - 1.0 <= 0.0 {
            f64::INFINITY
        } else {
            -2.0 * self.loglik + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
        }
    }

    /// Free parameters, the variance among them.
    fn parameters(&self) -> f64 {
        (self.ets.free_parameters() + 1) as f64
    }

    pub(super) fn path(&self) -> Path<'_> {
        Path { fitted: self, level: self.states.level, growth: self.states.growth, place: self.states.next }
    }
}

/// Point forecasts one after the other, without touching the model.
pub(super) struct Path<'a> {
    fitted: &'a FittedEts,
    level: f64,
    growth: f64,
    place: usize,
}

impl Path<'_> {
    pub(super) fn next_mean(&mut self) -> f64 {
        self.next_parts().0
    }

    /// The forecast and the seasonal state in it (neutral without one).
    pub(super) fn next_parts(&mut self) -> (f64, f64) {
        let FittedEts { ets, constants, states, .. } = self.fitted;
        match ets.trend {
            Component::None => {}
            Component::Additive => {
                self.growth *= constants.phi;
                self.level += self.growth;
            }
            Component::Multiplicative => {
                self.growth = self.growth.powf(constants.phi);
                self.level *= self.growth;
            }
        }
        match ets.seasonal {
            Component::None => (self.level, 1.0),
            kind => {
                let s = states.season[self.place];
                self.place = (self.place + 1) % states.season.len();
                (if kind == Component::Additive { self.level + s } else { self.level * s }, s)
            }
        }
    }
}

impl Predict for FittedEts {
    fn update(&mut self, y: f64) {
        self.n += 1;
        let y = if y.is_finite() { y / self.scale } else { f64::NAN };
        let mut states =
            std::mem::replace(&mut self.states, States { level: 0.0, growth: 0.0, season: vec![], next: 0 });
        variance::step_states(self, &mut states, y);
        self.states = states;
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        variance::fill(self, level, out);
    }

    fn summary(&self) -> Summary {
        let Constants { alpha, beta, gamma, phi } = self.constants;
        let mut params = vec![("alpha", alpha)];
        if self.ets.trend != Component::None {
            params.push(("beta", beta));
        }
        if self.ets.damped {
            params.push(("phi", phi));
        }
        if self.ets.seasonal != Component::None {
            params.push(("gamma", gamma));
        }
        let (k, n) = (self.parameters(), self.count as f64);
        let unit = if self.ets.error == Error::Additive { self.scale * self.scale } else { 1.0 };
        let aic = -2.0 * self.loglik + 2.0 * k;
        Summary {
            model: self.ets.name(),
            n: self.n,
            loglik: Some(self.loglik),
            aic: Some(aic),
            aicc: Some(self.aicc()).filter(|v| v.is_finite()),
            bic: Some(-2.0 * self.loglik + k * n.ln()),
            sigma2: Some(self.sigma2 * unit).filter(|v| v.is_finite()),
            params: params.into_iter().map(|(name, v)| (name.to_owned(), v)).collect(),
            budget_exhausted: self.budget_exhausted,
            ..Summary::default()
        }
    }
}
