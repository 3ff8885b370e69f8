//! A fitted ARIMA model: its parameters and its filter, a few hundred bytes, and nothing of the history.

use super::levels::{Integrated, Levels, integrate};
use super::polynomial::{Sparse, product};
use super::shape::Shape;
use super::{Arima, Found};
use crate::quantile::{computed_step, interval_z};
use crate::{FitError, Predict, Step, Summary};
use serde::{Deserialize, Serialize};

/// A fitted ARIMA model. [`Predict::update`] is the exact next step of its Kalman filter, missing values included.
///
/// With regressors, [`FittedArima::update_with`] and [`FittedArima::forecast_with`] take theirs; the methods of
/// [`Predict`] carry the last ones forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedArima {
    shape: Shape,
    flags: Flags,
    /// ARMA parameters, regression coefficients, standard errors of both, then the integrated autoregression: its
    /// ordinary and its seasonal polynomial. One block, for there may be a hundred thousand models.
    numbers: Box<[f64]>,
    /// The regressors last seen.
    regressors: Box<[f64]>,
    /// Standard deviation of an innovation.
    sd: f64,
    /// `NaN` where the series left nothing to explain.
    loglik: f64,
    given: u64,
    effective: u64,
    /// Observations seen, fit included: the time of the drift.
    time: u64,
    levels: Levels,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Flags {
    mean: bool,
    drift: bool,
    exhausted: bool,
}

impl FittedArima {
    pub(crate) fn assemble(
        of: &Arima,
        shape: Shape,
        found: Found,
        y: &[f64],
        regressors: &[Vec<f64>],
        exhausted: bool,
    ) -> FittedArima {
        let [ar, _, seasonal_ar, _] = shape.split(&found.natural);
        let ordinary = integrate(ar, shape.d.into());
        let seasonal = integrate(seasonal_ar, shape.seasonal_d.into());
        let numbers = [&found.natural[..], &found.beta, &found.errors, &ordinary, &seasonal].concat();
        let mut fitted = FittedArima {
            shape,
            flags: Flags { mean: of.has_mean(), drift: of.drift, exhausted },
            numbers: numbers.into(),
            regressors: vec![0.0; regressors.len()].into(),
            sd: found.sd,
            loglik: found.loglik,
            given: y.len() as u64,
            effective: found.observed as u64,
            time: 0,
            levels: Levels::Settled { vectors: Box::default(), variance: 1.0 },
        };
        fitted.run(y, regressors, |_, _, _| ());
        fitted
    }

    /// The model, where its forecasts are numbers: near the largest double, sums of what it remembers are none, and
    /// a path of zeros would look like a forecast.
    pub(crate) fn finite(self) -> Result<Self, FitError> {
        let known = self.levels.forecasts(Levels::dimension(&self.shape));
        if known.iter().all(|v| v.is_finite()) {
            return Ok(self);
        }
        let reason = "its forecasts are no finite numbers: rescale the series".into();
        Err(FitError::Numerical { family: "ARIMA", reason })
    }

    /// Puts the filter through a history from its start, telling each value its forecast and the standard deviation of it.
    fn run(&mut self, y: &[f64], regressors: &[Vec<f64>], mut each: impl FnMut(f64, f64, f64)) {
        // Values missing before the first one say nothing.
        let leading = y.iter().take_while(|v| v.is_nan()).count();
        self.time = leading as u64;
        let lost = (usize::from(self.shape.d) + usize::from(self.shape.seasonal_d) * self.shape.season())
            .min(y.len() - leading);
        let mut row = vec![0.0; regressors.len()];
        let mut take = |fitted: &mut Self, t: usize| {
            row.iter_mut().zip(regressors).for_each(|(slot, x)| *slot = x[t]);
            fitted.regressors.copy_from_slice(&row);
        };
        let mut first = Vec::with_capacity(lost);
        for (t, y) in y.iter().enumerate().skip(leading).take(lost) {
            take(self, t);
            self.time += 1;
            first.push(y - self.deterministic(self.time, &self.regressors));
        }
        self.levels = Levels::start(&self.shape, self.arma(), self.recursion(), &first);
        for _ in 0..leading + lost {
            each(f64::NAN, f64::NAN, f64::NAN);
        }
        for (t, y) in y.iter().enumerate().skip(leading + lost) {
            take(self, t);
            let (mean, sd) = self.one_step();
            each(*y, mean, sd);
            self.step(*y);
        }
    }

    fn step(&mut self, y: f64) {
        self.time += 1;
        let level = y - self.deterministic(self.time, &self.regressors);
        let n = Levels::dimension(&self.shape);
        let shape = self.shape;
        let (arma, rest) = self.numbers.split_at(shape.count());
        let (ordinary, seasonal) =
            rest[2 * self.coefficients() - shape.count()..].split_at(usize::from(shape.p + shape.d));
        let recursion = Integrated { ordinary, seasonal, season: shape.season() };
        // Only a first missing value needs the moving average again.
        let ma = || {
            let [_, ma, _, seasonal_ma] = shape.split(arma);
            let mut terms = Sparse::new();
            product(ma, seasonal_ma, shape.season(), 1.0, &mut terms);
            terms
        };
        self.levels.update(level, n, recursion, ma);
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The ARMA parameters: `ar`, `ma`, seasonal `ar`, seasonal `ma`.
    pub fn arma(&self) -> &[f64] {
        &self.numbers[..self.shape.count()]
    }

    /// Mean, drift and coefficients of regressors, those of them that the model has, in this order.
    pub fn beta(&self) -> &[f64] {
        &self.numbers[self.shape.count()..self.coefficients()]
    }

    /// ARMA parameters and regression coefficients.
    fn coefficients(&self) -> usize {
        let deterministic = usize::from(self.flags.mean) + usize::from(self.flags.drift);
        self.shape.count() + deterministic + self.regressors.len()
    }

    fn recursion(&self) -> Integrated<'_> {
        let polynomials = &self.numbers[2 * self.coefficients()..];
        let (ordinary, seasonal) = polynomials.split_at(usize::from(self.shape.p + self.shape.d));
        Integrated { ordinary, seasonal, season: self.shape.season() }
    }

    /// What the regression says for observation `time`, counted from 1.
    fn deterministic(&self, time: u64, regressors: &[f64]) -> f64 {
        let mut beta = self.beta().iter();
        let mut sum = 0.0;
        if self.flags.mean {
            sum += beta.next().unwrap_or(&0.0);
        }
        if self.flags.drift {
            sum += beta.next().unwrap_or(&0.0) * time as f64;
        }
        sum + beta.zip(regressors).map(|(b, x)| b * x).sum::<f64>()
    }

    /// Mean and standard deviation of the next observation, in units of the series.
    pub fn one_step(&self) -> (f64, f64) {
        let (mean, variance) = self.levels.next();
        (mean + self.deterministic(self.time + 1, &self.regressors), self.sd * variance.sqrt())
    }

    /// Standard deviation of an innovation, in units of the series.
    pub fn innovation_sd(&self) -> f64 {
        self.sd
    }

    /// Number of regressors that the model was fitted with.
    pub fn regressors(&self) -> usize {
        self.regressors.len()
    }

    /// As [`Predict::update`], with the regressors of this observation; missing ones are carried forward.
    pub fn update_with(&mut self, y: f64, regressors: &[f64]) {
        for (slot, x) in self.regressors.iter_mut().zip(regressors).filter(|(_, x)| x.is_finite()) {
            *slot = *x;
        }
        self.step(y);
    }

    /// As [`Predict::forecast_into`], with `regressors` step by step (`out.len()` rows of [`FittedArima::regressors`]
    /// values); where rows are wanting the last ones known are carried forward.
    pub fn forecast_with(&self, level: f64, regressors: &[f64], out: &mut [Step]) {
        let (n, recursion) = (Levels::dimension(&self.shape), self.recursion());
        let z = interval_z(level) * self.sd;
        let mut small = [0.0; SMALL];
        let mut large = Vec::new();
        let variances = if out.len() <= SMALL {
            &mut small[..out.len()]
        } else {
            large.resize(out.len(), 0.0);
            &mut large[..]
        };
        self.levels.variances(n, recursion, variances);
        let known = self.levels.forecasts(n);
        let mut longer = Vec::new();
        if out.len() > n {
            longer.extend_from_slice(known);
            while longer.len() < out.len() {
                longer.push(recursion.next(&longer));
            }
        }
        let path = if out.len() > n { &longer[..] } else { known };
        let k = self.regressors.len();
        let mut row = &self.regressors[..];
        for (h, ((slot, x), variance)) in out.iter_mut().zip(path).zip(&*variances).enumerate() {
            if k > 0 {
                row = regressors.get(h * k..(h + 1) * k).unwrap_or(row);
            }
            let mean = x + self.deterministic(self.time + 1 + h as u64, row);
            let half = z * variance.sqrt();
            *slot = computed_step(mean, mean - half, mean + half);
        }
    }

    /// One-step errors of the model's filter over a history (with its regressors), each with the standard deviation it
    /// had: `NaN` where the value is missing or was lost to differencing.
    pub fn innovations(&self, y: &[f64], regressors: &[Vec<f64>]) -> Vec<(f64, f64)> {
        let mut again = self.clone();
        let mut out = Vec::with_capacity(y.len());
        again.run(y, regressors, |y, mean, sd| out.push((y - mean, sd)));
        out
    }
}

/// Longest horizon whose forecast allocates nothing.
const SMALL: usize = 64;

impl Predict for FittedArima {
    fn update(&mut self, y: f64) {
        self.step(y);
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        self.forecast_with(level, &[], out);
    }

    fn summary(&self) -> Summary {
        let mut names = self.shape.names();
        if self.flags.mean {
            names.push("mean".into());
        }
        if self.flags.drift {
            names.push("drift".into());
        }
        names.extend((1..=self.regressors.len()).map(|i| format!("x{i}")));
        let count = self.coefficients();
        let errors = &self.numbers[count..2 * count];
        let (n, k) = (self.effective as f64, count as f64 + 1.0);
        let finite = |v: f64| v.is_finite().then_some(v);
        let aic = -2.0 * self.loglik + 2.0 * k;
        Summary {
            model: self.shape.title(),
            n: self.given as usize,
            loglik: finite(self.loglik),
            aic: finite(aic),
            aicc: if n > k + 1.0 { finite(aic + 2.0 * k * (k + 1.0) / (n - k - 1.0)) } else { None },
            bic: finite(-2.0 * self.loglik + k * n.ln()),
            sigma2: finite(self.sd * self.sd),
            params: names.iter().cloned().zip(self.numbers[..count].iter().copied()).collect(),
            std_errors: names
                .into_iter()
                .zip(errors.iter().copied())
                .filter(|(_, e)| e.is_finite())
                .collect(),
            budget_exhausted: self.flags.exhausted,
        }
    }
}
