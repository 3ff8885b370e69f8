//! ARIMA, seasonal and with regressors, by exact maximum likelihood of the differenced series.
//!
//! `phi(B) Phi(B^s) (1-B)^d (1-B^s)^D (y_t - mean - drift t - x_t' beta) = theta(B) Theta(B^s) e_t` with Gaussian `e_t`.
//! Differencing comes first; the likelihood is that of the differenced series, with the innovation variance and the
//! regression coefficients concentrated out (Box and Jenkins 1970; Harvey 1989; [`likelihood`] tells the recursion).

#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must fail the test, not pass it")]

pub mod diagnostics;
mod estimate;
pub mod fitted;
mod kalman;
mod levels;
mod likelihood;
mod polynomial;
mod rotation;
mod shape;
mod starts;

pub use diagnostics::{LjungBox, ljung_box};
pub use fitted::FittedArima;

pub(crate) use estimate::{Effort, Estimate, Objective};
pub(crate) use likelihood::Columns;
pub(crate) use shape::Shape;
pub(crate) use starts::is_stationary;

use crate::difference::Differencing;
use crate::regression::least_squares;
use crate::{Budget, Fit, FitError};
use serde::{Deserialize, Serialize};

/// Highest order of any one polynomial.
const HIGHEST_ORDER: usize = 48;
/// Longest reach of the polynomials of one model, in observations.
const LONGEST_REACH: usize = 2_000;

/// A specification `ARIMA(p,d,q)(P,D,Q)m`, to be fitted.
///
/// ```
/// use tidecast_forecast::{Budget, Fit, Predict, arima::Arima};
/// let y: Vec<f64> = (0..60).map(|t| f64::from(t) + (f64::from(t) * 0.7).sin()).collect();
/// let fitted = Arima::new(1, 1, 1).fit(&y, &mut Budget::default())?;
/// let path = fitted.forecast(12, 0.95);
/// assert!(path[11].lower < path[11].mean && path[11].mean < path[11].upper);
/// # Ok::<(), tidecast_forecast::FitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arima {
    /// `(p, d, q)`.
    pub order: (usize, usize, usize),
    /// `(P, D, Q)`.
    pub seasonal_order: (usize, usize, usize),
    /// Observations in a season, 1 where there is none.
    pub season: usize,
    /// Fit a mean; has an effect only where `d = D = 0`.
    pub mean: bool,
    /// Fit a drift, a slope per observation; needs `d + D <= 1`, for more differences leave nothing of a line.
    pub drift: bool,
}

impl Arima {
    /// Without a season; with a mean if `d = 0`.
    pub fn new(p: usize, d: usize, q: usize) -> Self {
        Arima { order: (p, d, q), seasonal_order: (0, 0, 0), season: 1, mean: true, drift: false }
    }

    /// With a seasonal part of `season` observations.
    pub fn seasonal(self, p: usize, d: usize, q: usize, season: usize) -> Self {
        Arima { seasonal_order: (p, d, q), season, ..self }
    }

    /// With a drift.
    pub fn with_drift(self) -> Self {
        Arima { drift: true, ..self }
    }

    /// Without a mean.
    pub fn without_mean(self) -> Self {
        Arima { mean: false, ..self }
    }

    /// A mean is fitted: asked for, and no difference takes it away.
    pub(crate) fn has_mean(&self) -> bool {
        self.mean && self.order.1 + self.seasonal_order.1 == 0
    }

    /// Parameters with the innovation variance, regressors not counted.
    pub(crate) fn parameters(&self) -> usize {
        let ((p, _, q), (sp, _, sq)) = (self.order, self.seasonal_order);
        p + q + sp + sq + 1 + usize::from(self.has_mean()) + usize::from(self.drift)
    }

    pub(crate) fn differencing(&self) -> Differencing {
        Differencing { d: self.order.1, seasonal_d: self.seasonal_order.1, season: self.season }
    }

    /// The orders, checked.
    pub(crate) fn shape(&self) -> Result<Shape, FitError> {
        let ((p, d, q), (seasonal_p, seasonal_d, seasonal_q)) = (self.order, self.seasonal_order);
        let refuse = |why: String| Err(FitError::Specification(why));
        if [p, q, seasonal_p, seasonal_q].iter().any(|&o| o > HIGHEST_ORDER) {
            return refuse(format!(
                "an order of an ARIMA model is above {HIGHEST_ORDER}: choose a smaller one"
            ));
        }
        if d > 3 || seasonal_d > 2 {
            return refuse("ARIMA takes at most d = 3 and D = 2 differences: choose fewer".into());
        }
        let has_season = seasonal_p + seasonal_d + seasonal_q > 0;
        if has_season && self.season < 2 {
            return refuse("a seasonal ARIMA order needs a season of at least 2 observations".into());
        }
        let reach = self.season.saturating_mul(seasonal_p.max(seasonal_q) + seasonal_d) + p.max(q) + d;
        if has_season && reach > LONGEST_REACH {
            return refuse(format!(
                "the seasonal lags of this ARIMA model reach {reach} observations back, {LONGEST_REACH} at most: \
                 aggregate the series or choose a shorter season"
            ));
        }
        if self.drift && d + seasonal_d > 1 {
            return refuse("a drift needs d + D of at most 1: more differences leave nothing of it".into());
        }
        let season = if has_season { self.season } else { 1 };
        let small = |n: usize| n as u16;
        Ok(Shape {
            p: small(p),
            d: small(d),
            q: small(q),
            seasonal_p: small(seasonal_p),
            seasonal_d: small(seasonal_d),
            seasonal_q: small(seasonal_q),
            season: season as u32,
        })
    }

    /// Fits with regressors, each as long as `y` and without missing values; their coefficients are `x1`, `x2`, ...
    pub fn fit_with(
        &self,
        y: &[f64],
        regressors: &[Vec<f64>],
        budget: &mut Budget,
    ) -> Result<FittedArima, FitError> {
        self.fit_from(y, regressors, None, budget)
    }

    /// As [`Arima::fit_with`], with one more start: an `earlier` fit of the same orders.
    pub fn fit_from(
        &self,
        y: &[f64],
        regressors: &[Vec<f64>],
        earlier: Option<&FittedArima>,
        budget: &mut Budget,
    ) -> Result<FittedArima, FitError> {
        let shape = self.shape()?;
        let problem = Problem::new(self, y, regressors)?;
        let start = earlier.filter(|e| e.shape() == shape).map(|e| e.arma().to_vec());
        let found = problem.estimate(&shape, start.as_deref(), Effort::Full, budget)?;
        FittedArima::assemble(self, shape, found, y, regressors, budget.exhausted).finite()
    }

    /// The model at given ARMA parameters (stationary; in the order `ar`, `ma`, seasonal `ar`, seasonal `ma`), its
    /// variance and regression coefficients at their best for them: a fit made elsewhere, put to work on `y`.
    pub fn with_parameters(
        &self,
        y: &[f64],
        regressors: &[Vec<f64>],
        arma: &[f64],
    ) -> Result<FittedArima, FitError> {
        let shape = self.shape()?;
        let problem = Problem::new(self, y, regressors)?;
        let found = problem.fixed(&shape, arma)?.ok_or_else(|| {
            FitError::Specification(
                "these autoregressive parameters are not those of a stationary series".into(),
            )
        })?;
        FittedArima::assemble(self, shape, found, y, regressors, false).finite()
    }

    /// The exact log-likelihood of the differenced series at given parameters (in the order of the names `ar`, `ma`,
    /// seasonal `ar`, seasonal `ma`) and innovation variance; `sigma2` of `None` and regression coefficients always
    /// take their best values. `None` where the autoregression is not stationary.
    pub fn log_likelihood(
        &self,
        y: &[f64],
        regressors: &[Vec<f64>],
        arma: &[f64],
        sigma2: Option<f64>,
    ) -> Result<Option<f64>, FitError> {
        let shape = self.shape()?;
        let problem = Problem::new(self, y, regressors)?;
        Ok(problem.fixed(&shape, arma)?.map(|found| match sigma2 {
            None => found.loglik,
            Some(s) => {
                let ratio = found.sd * found.sd / s;
                found.loglik + 0.5 * found.observed as f64 * (ratio.ln() + 1.0 - ratio)
            }
        }))
    }
}

impl Fit for Arima {
    type Fitted = FittedArima;

    fn needed(&self) -> usize {
        let ((p, _, q), (sp, _, sq)) = (self.order, self.seasonal_order);
        let reach = p.max(q).saturating_add(sp.max(sq).saturating_mul(self.season));
        self.differencing().lost().saturating_add(reach.max(1)).saturating_add(self.parameters())
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<FittedArima, FitError> {
        self.fit_from(y, &[], None, budget)
    }
}

/// A history as the likelihood wants it: differenced, regression taken off once, in units of its own size.
pub(crate) struct Problem {
    pub columns: Columns,
    /// What the columns were divided by; 0 where nothing is left to explain.
    pub scale: f64,
    /// Coefficients of the regression taken off at first, and what each regressor was divided by.
    offset: Vec<f64>,
    regressor_scale: Vec<f64>,
}

/// What estimation found, in units of the series.
pub(crate) struct Found {
    pub natural: Vec<f64>,
    pub beta: Vec<f64>,
    /// Standard errors of `natural`, then of `beta`.
    pub errors: Vec<f64>,
    pub sd: f64,
    /// `NaN` where the series leaves nothing to explain.
    pub loglik: f64,
    pub observed: usize,
}

impl Problem {
    pub(crate) fn new(of: &Arima, y: &[f64], regressors: &[Vec<f64>]) -> Result<Self, FitError> {
        let refuse = |why: String| Err(FitError::Specification(why));
        if let Some(row) = y.iter().position(|v| v.is_infinite()) {
            return refuse(format!("the value at row {} is infinite: remove it or mark it missing", row + 1));
        }
        for (i, x) in regressors.iter().enumerate() {
            if x.len() != y.len() || x.iter().any(|v| !v.is_finite()) {
                return refuse(format!("regressor {} must be finite and as long as the series", i + 1));
            }
        }
        let got = y.iter().filter(|v| !v.is_nan()).count();
        let needed = of.needed().saturating_add(regressors.len());
        if got < needed {
            return Err(FitError::TooShort { family: "ARIMA", needed, got });
        }
        let differencing = of.differencing();
        let mut deterministic: Vec<Vec<f64>> = Vec::new();
        if of.has_mean() {
            deterministic.push(vec![1.0; y.len()]);
        }
        if of.drift {
            deterministic.push((1..=y.len()).map(|t| t as f64).collect());
        }
        // Where a mean or a difference takes it away, the place of the series is taken off first: what is left is exact, and
        // a part of a large level would be rounded to as much as the series moves.
        let is_shifted = of.has_mean() || differencing.lost() > 0;
        let place = if is_shifted { y.iter().copied().find(|v| !v.is_nan()).unwrap_or(0.0) } else { 0.0 };
        // Sizes first: the difference of two values near the largest double is no double.
        let size = |moved: &dyn Fn(f64) -> f64| {
            y.iter().filter(|v| !v.is_nan()).fold(0.0f64, |m, v| m.max(moved(*v).abs()))
        };
        let (largest, half) = (size(&|v| v), size(&|v| 0.5 * v - 0.5 * place));
        let unit = if half > 0.5 * f64::MAX {
            largest
        } else if half > 0.0 {
            2.0 * half
        } else {
            1.0
        };
        let moved = |v: f64| if half > 0.5 * f64::MAX { v / unit - place / unit } else { (v - place) / unit };
        let mut series = differencing.apply(&y.iter().map(|v| moved(*v)).collect::<Vec<_>>());
        let mut regressor_scale = Vec::new();
        let mut columns = Vec::new();
        for x in deterministic.iter().chain(regressors) {
            let size = x.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(f64::MIN_POSITIVE);
            columns.push(differencing.apply(&x.iter().map(|v| v / size).collect::<Vec<_>>()));
            regressor_scale.push(size);
        }
        let seen = |column: &[f64]| -> Vec<f64> {
            column.iter().zip(&series).filter(|(_, w)| !w.is_nan()).map(|(c, _)| *c).collect()
        };
        let observed = seen(&series);
        if observed.len() < of.parameters() + regressors.len() {
            return Err(FitError::TooShort {
                family: "ARIMA",
                needed,
                got: observed.len().min(needed.saturating_sub(1)),
            });
        }
        let present: Vec<Vec<f64>> = columns.iter().map(|c| seen(c)).collect();
        let Some((offset, _)) = least_squares(&present, &observed) else {
            return refuse(
                "a regressor does not vary, or is a combination of the others, once differenced: leave it out".into(),
            );
        };
        for (column, b) in columns.iter().zip(&offset) {
            for (w, x) in series.iter_mut().zip(column) {
                *w -= b * x;
            }
        }
        let left = series.iter().filter(|v| !v.is_nan()).fold(0.0f64, |m, v| m.max(v.abs()));
        // What rounding leaves is nothing: that of the values themselves, which every difference doubles, and that of a
        // regression on more than a mean.
        let differences = (of.order.1 + of.seasonal_order.1) as i32;
        let of_values = f64::EPSILON * 2f64.powi(differences) * (largest / unit);
        let of_regression = match columns.len() > usize::from(of.has_mean()) {
            true if regressors.is_empty() => 1e-13,
            true => 1e-13 * (largest / unit).max(1.0),
            false => 4e-15 * 2f64.powi(differences),
        };
        let rounding = of_values.max(of_regression);
        let left = if left < rounding { 0.0 } else { left };
        if left > 0.0 {
            series.iter_mut().for_each(|w| *w /= left);
        }
        let mut offset: Vec<f64> = offset.iter().map(|b| b * unit).collect();
        if of.has_mean() {
            offset[0] += place;
        }
        Ok(Problem { columns: Columns::new(series, columns), scale: left * unit, offset, regressor_scale })
    }

    /// Estimates `shape`, and brings the result back to the units of the series.
    pub(crate) fn estimate(
        &self,
        shape: &Shape,
        earlier: Option<&[f64]>,
        effort: Effort,
        budget: &mut Budget,
    ) -> Result<Found, FitError> {
        let observed = self.columns.observed;
        if self.scale == 0.0 {
            let errors = vec![f64::NAN; shape.count() + self.offset.len()];
            let beta = self.offset.iter().zip(&self.regressor_scale).map(|(b, s)| b / s).collect();
            return Ok(Found {
                natural: vec![0.0; shape.count()],
                beta,
                errors,
                sd: 0.0,
                loglik: f64::NAN,
                observed,
            });
        }
        let found = estimate::estimate(shape, &self.columns, earlier, effort, budget)?;
        Ok(self.in_units_of_the_series(found))
    }

    /// The likelihood at given ARMA parameters; `None` where they are not stationary.
    fn fixed(&self, shape: &Shape, arma: &[f64]) -> Result<Option<Found>, FitError> {
        if arma.len() != shape.count() {
            return Err(FitError::Specification(format!(
                "{} takes {} parameters and {} were given",
                shape.title(),
                shape.count(),
                arma.len()
            )));
        }
        let errors = vec![f64::NAN; arma.len()];
        Ok(Objective::new(shape, &self.columns)
            .at(arma)
            .map(|at| self.in_units_of_the_series(Estimate { natural: arma.to_vec(), errors, at })))
    }

    fn in_units_of_the_series(&self, found: Estimate) -> Found {
        let observed = self.columns.observed;
        let scaled = found.at.beta.iter().zip(&self.offset).zip(&self.regressor_scale);
        let beta = scaled.map(|((b, offset), size)| (b * self.scale + offset) / size).collect();
        let variances = found.at.beta_variance.iter().zip(&self.regressor_scale);
        let beta_errors = variances.map(|(v, size)| v.sqrt() * self.scale / size);
        let errors = found.errors.iter().copied().chain(beta_errors).collect();
        Found {
            natural: found.natural,
            beta,
            errors,
            sd: found.at.sigma2.sqrt() * self.scale,
            loglik: found.at.loglik - observed as f64 * self.scale.ln(),
            observed,
        }
    }
}
