//! GARCH(p,q): a constant mean and a variance that follows the squares of past errors (Bollerslev 1986), by maximum
//! likelihood with normal or standardised Student-t errors.
//!
//! `y_t = mu + e_t`, `s2_t = omega + sum alpha_i e2_{t-i} + sum beta_j s2_{t-j}`, `sum alpha + sum beta < 1`. Squares before
//! the first observation are an exponentially weighted mean of the first 75 (weight 0.94), the convention of the
//! Python package arch, so that likelihoods compare. A missing value's square is its expectation.

mod likelihood;

use crate::quantile::{normal_quantile, ordered_step};
use crate::{Budget, Fit, FitError, Predict, Step, Summary};
use likelihood::{Sample, estimate};
use serde::{Deserialize, Serialize};
use statrs::function::beta::inv_beta_reg;

/// Highest order of either polynomial.
const HIGHEST_ORDER: usize = 10;

/// A specification `GARCH(p,q)`: `p` lags of squared errors, `q` of the variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garch {
    /// Lags of squared errors, at least 1.
    pub p: usize,
    /// Lags of the variance.
    pub q: usize,
    /// Errors have Student's t distribution, its degrees of freedom estimated; otherwise the normal.
    pub student: bool,
}

impl Garch {
    /// With normal errors.
    pub fn new(p: usize, q: usize) -> Self {
        Garch { p, q, student: false }
    }

    /// With Student-t errors.
    pub fn student(self) -> Self {
        Garch { student: true, ..self }
    }

    /// Parameters: mean, constant, lags, and degrees of freedom.
    fn parameters(&self) -> usize {
        2 + self.p + self.q + usize::from(self.student)
    }
}

impl Fit for Garch {
    type Fitted = FittedGarch;

    fn needed(&self) -> usize {
        8 + self.parameters()
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<FittedGarch, FitError> {
        if self.p == 0 || self.p.max(self.q) > HIGHEST_ORDER {
            return Err(FitError::Specification(format!(
                "GARCH(p,q) needs p from 1 to {HIGHEST_ORDER} (lags of squared errors) and q from 0 to {HIGHEST_ORDER}"
            )));
        }
        if let Some(row) = y.iter().position(|v| v.is_infinite()) {
            return Err(FitError::Specification(format!(
                "the value at row {} is infinite: remove it or mark it missing",
                row + 1
            )));
        }
        let got = y.iter().filter(|v| !v.is_nan()).count();
        if got < self.needed() {
            return Err(FitError::TooShort { family: "GARCH", needed: self.needed(), got });
        }
        let sample = Sample::new(y, self.p, self.q);
        let found = estimate(self, &sample, budget)?;
        let mut fitted = FittedGarch {
            of: *self,
            natural: found.natural.into(),
            errors: found.errors.into(),
            loglik: found.loglik,
            given: y.len() as u64,
            observed: got as u64,
            exhausted: budget.exhausted,
            squares: vec![found.backcast; self.p].into(),
            variances: vec![found.backcast; self.q].into(),
        };
        y.iter().for_each(|v| fitted.update(*v));
        Ok(fitted)
    }
}

/// A fitted GARCH model: its parameters and the last squares and variances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedGarch {
    of: Garch,
    /// mu, omega, alpha, beta, and nu if Student, in units of the series.
    natural: Box<[f64]>,
    errors: Box<[f64]>,
    loglik: f64,
    given: u64,
    observed: u64,
    exhausted: bool,
    /// Newest first.
    squares: Box<[f64]>,
    variances: Box<[f64]>,
}

impl FittedGarch {
    fn mu(&self) -> f64 {
        self.natural[0]
    }

    fn alpha(&self) -> &[f64] {
        &self.natural[2..2 + self.of.p]
    }

    fn beta(&self) -> &[f64] {
        &self.natural[2 + self.of.p..2 + self.of.p + self.of.q]
    }

    /// Degrees of freedom of Student-t errors.
    fn nu(&self) -> Option<f64> {
        self.of.student.then(|| self.natural[2 + self.of.p + self.of.q])
    }

    /// Variance of the next value, in squared units of the series.
    fn next_variance(&self) -> f64 {
        let lagged = |of: &[f64], by: &[f64]| of.iter().zip(by).map(|(a, b)| a * b).sum::<f64>();
        self.natural[1] + lagged(self.alpha(), &self.squares) + lagged(self.beta(), &self.variances)
    }

    /// Mean and standard deviation of the next observation.
    pub fn one_step(&self) -> (f64, f64) {
        (self.mu(), self.next_variance().sqrt())
    }

    /// Expected variances 1, 2, ... `horizon` steps ahead, in squared units of the series.
    pub fn variance_path(&self, horizon: usize) -> Vec<f64> {
        let (mut squares, mut variances) = (self.squares.to_vec(), self.variances.to_vec());
        let mut path = Vec::with_capacity(horizon);
        for _ in 0..horizon {
            let lagged = |of: &[f64], by: &[f64]| of.iter().zip(by).map(|(a, b)| a * b).sum::<f64>();
            let next = self.natural[1] + lagged(self.alpha(), &squares) + lagged(self.beta(), &variances);
            // The expectation of a square to come is its variance.
            push(&mut squares, next);
            push(&mut variances, next);
            path.push(next);
        }
        path
    }

    /// The loss that the value `steps` ahead (1: the next) exceeds with `probability` (0.01: once in a hundred), a
    /// positive number where the quantile is negative. Beyond one step the errors' distribution is taken as it is for
    /// one.
    pub fn value_at_risk(&self, probability: f64, steps: usize) -> f64 {
        let variance = self.variance_path(steps.max(1)).last().copied().unwrap_or(0.0);
        -(self.mu() + self.error_quantile(probability) * variance.sqrt())
    }

    /// Quantile of an error of unit variance.
    fn error_quantile(&self, p: f64) -> f64 {
        match self.nu() {
            None => normal_quantile(p),
            Some(nu) => {
                let tail = p.min(1.0 - p).clamp(1e-300, 0.5);
                let x = inv_beta_reg(0.5 * nu, 0.5, 2.0 * tail);
                let t = (nu * (1.0 - x) / x.max(f64::MIN_POSITIVE)).sqrt() * ((nu - 2.0) / nu).sqrt();
                if p < 0.5 { -t } else { t }
            }
        }
    }
}

/// Puts a value in front and drops the last.
fn push(of: &mut [f64], value: f64) {
    if !of.is_empty() {
        of.rotate_right(1);
        of[0] = value;
    }
}

impl Predict for FittedGarch {
    fn update(&mut self, y: f64) {
        let variance = self.next_variance();
        let error = y - self.mu();
        let square = error * error;
        // Missing, or so large that its square is no double: no news of the variance.
        push(&mut self.squares, if square.is_finite() { square } else { variance });
        push(&mut self.variances, variance.min(f64::MAX));
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        let half = self.error_quantile(0.5 + 0.5 * level.clamp(1e-9, 1.0 - 1e-12));
        let mean = self.mu();
        let path = self.variance_path(out.len());
        for (slot, variance) in out.iter_mut().zip(path) {
            let width = half * variance.sqrt();
            *slot = ordered_step(mean, mean - width, mean + width);
        }
    }

    fn summary(&self) -> Summary {
        let Garch { p, q, student } = self.of;
        let mut names = vec!["mu".to_owned(), "omega".to_owned()];
        names.extend((1..=p).map(|i| format!("alpha[{i}]")));
        names.extend((1..=q).map(|i| format!("beta[{i}]")));
        if student {
            names.push("nu".to_owned());
        }
        let finite = |v: f64| v.is_finite().then_some(v);
        let (n, k) = (self.observed as f64, self.natural.len() as f64);
        let aic = -2.0 * self.loglik + 2.0 * k;
        let persistence: f64 = self.alpha().iter().chain(self.beta()).sum();
        Summary {
            model: format!("GARCH({p},{q}){}", if student { " with Student-t errors" } else { "" }),
            n: self.given as usize,
            loglik: finite(self.loglik),
            aic: finite(aic),
            aicc: if n > k + 1.0 { finite(aic + 2.0 * k * (k + 1.0) / (n - k - 1.0)) } else { None },
            bic: finite(-2.0 * self.loglik + k * n.ln()),
            sigma2: finite(self.natural[1] / (1.0 - persistence)),
            params: names.iter().cloned().zip(self.natural.iter().copied()).collect(),
            std_errors: names
                .into_iter()
                .zip(self.errors.iter().copied())
                .filter(|(_, e)| e.is_finite())
                .collect(),
            budget_exhausted: self.exhausted,
        }
    }
}
