//! The exact Gaussian likelihood of a stationary ARMA process with regression, in O(n r) per column.
//!
//! State in Akaike's form: the forecasts of the next `r` values. Where nothing is missing the Riccati equation has
//! displacement rank one, so that instead of a covariance a gain `g` and one more vector `l` are carried (Morf,
//! Sidhu and Kailath 1974), here scaled so that a step is a hyperbolic rotation by the partial autocorrelation
//! `rho = l[0]`: `g' = (g - rho T l) / (1 - rho^2)`, `l' = (T l - rho g) / (1 - rho^2)`, `F' = F (1 - rho^2)`, from
//! `g = l = (gamma_1, ..., gamma_r) / gamma_0`, `F = gamma_0`. Shifts are free: a vector of the state is a window that
//! moves along an array. Once `l` is negligible the rotation is the identity, and `r` steps later the innovations
//! follow the difference equation of the model.

use super::kalman::Dense;
use super::polynomial::{Autocovariance, Sparse, degree};
use super::rotation::Rotation;
use crate::regression::solve_positive_from;

/// `l` below this changes the gain and the variance by its square: nothing in double precision.
pub(super) const NEGLIGIBLE: f64 = 1e-9;

/// Values that the columns of pulses may have in all.
const PULSES: usize = 2_000_000;

/// What a likelihood is evaluated on: the differenced series and its differenced regressors, all of one length.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// The series first, then the regressors; `NaN` in the first where missing, never in the others.
    pub columns: Vec<Vec<f64>>,
    /// Some value of the series is missing.
    pub gaps: bool,
    /// Values of the series that are there.
    pub observed: usize,
    /// The same without gaps: zeros in their place, then a pulse for each, then the regressors; empty where there
    /// are no gaps or too many.
    pulsed: Vec<Vec<f64>>,
}

impl Columns {
    pub(crate) fn new(series: Vec<f64>, regressors: Vec<Vec<f64>>) -> Self {
        let missing: Vec<usize> = (0..series.len()).filter(|&t| series[t].is_nan()).collect();
        let observed = series.len() - missing.len();
        let pulsed = if missing.is_empty() || missing.len().saturating_mul(series.len()) > PULSES {
            Vec::new()
        } else {
            let filled = series.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
            let pulse = |&t: &usize| (0..series.len()).map(|at| f64::from(u8::from(at == t))).collect();
            std::iter::once(filled)
                .chain(missing.iter().map(pulse))
                .chain(regressors.iter().cloned())
                .collect()
        };
        let mut columns = vec![series];
        columns.extend(regressors);
        Columns { columns, gaps: !missing.is_empty(), observed, pulsed }
    }

    pub(crate) fn len(&self) -> usize {
        self.columns[0].len()
    }
}

/// The likelihood at one point, innovation variance and regression coefficients concentrated out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evaluation {
    /// Log-likelihood.
    pub loglik: f64,
    /// Innovation variance that maximises it.
    pub sigma2: f64,
    /// Regression coefficients that maximise it (generalised least squares).
    pub beta: Vec<f64>,
    /// Variances of `beta`.
    pub beta_variance: Vec<f64>,
}

/// Memory that evaluations go over again.
#[derive(Debug, Default, Clone)]
pub(crate) struct Workspace {
    acov: Autocovariance,
    gamma: Vec<f64>,
    rotation: Rotation,
    gain: Vec<f64>,
    l: Vec<f64>,
    predicted: Vec<Vec<f64>>,
    now: Vec<f64>,
    cross: Vec<f64>,
}

impl Workspace {
    /// The exact log-likelihood; `None` where the process is not stationary or arithmetic failed.
    pub(crate) fn exact(&mut self, of: &Columns, ar: &Sparse, ma: &Sparse) -> Option<Evaluation> {
        if !of.gaps {
            let log_det = self.without_gaps(&of.columns, ar, ma)?;
            return self.concentrate(of.observed, 0, log_det);
        }
        // A missing value is a coefficient of its own, integrated out: cheaper than a covariance while there are fewer
        // of them than the state is long.
        let pulses = of.len() - of.observed;
        let state = degree(ar).max(degree(ma) + 1);
        if pulses < state && !of.pulsed.is_empty() {
            let log_det = self.without_gaps(&of.pulsed, ar, ma)?;
            if let Some(found) = self.concentrate(of.observed, pulses, log_det) {
                return Some(found);
            }
        }
        let log_det = self.with_gaps(of, ar, ma)?;
        self.concentrate(of.observed, 0, log_det)
    }

    /// As [`Workspace::exact`] without what only the end of a search needs: -log-likelihood, infinite where it fails.
    pub(crate) fn objective(&mut self, of: &Columns, ar: &Sparse, ma: &Sparse) -> f64 {
        let value = self.exact(of, ar, ma).map_or(f64::INFINITY, |e| -e.loglik);
        if value.is_nan() { f64::INFINITY } else { value }
    }

    /// The conditional likelihood (innovations before the first full lag are zero), a few operations an
    /// observation: where searches begin. Missing values count as predicted.
    pub(crate) fn conditional(&mut self, of: &Columns, ar: &Sparse, ma: &Sparse) -> f64 {
        let from = degree(ar);
        let n = of.len();
        if n <= from + of.columns.len() {
            return f64::INFINITY;
        }
        self.prepare(&of.columns, 0);
        for (column, v) in of.columns.iter().zip(&mut self.predicted) {
            v.fill(0.0);
            difference_equation(column, v, from, ar, ma);
        }
        for t in from..n {
            if of.gaps && of.columns[0][t].is_nan() {
                continue;
            }
            for (slot, v) in self.now.iter_mut().zip(&self.predicted) {
                *slot = v[t];
            }
            accumulate(&mut self.cross, &self.now, 1.0);
        }
        let value = self.concentrate(of.observed, 0, 0.0).map_or(f64::INFINITY, |e| -e.loglik);
        if value.is_nan() { f64::INFINITY } else { value }
    }

    fn prepare(&mut self, columns: &[Vec<f64>], extra: usize) {
        let k = columns.len();
        self.predicted.resize(k, Vec::new());
        for column in &mut self.predicted {
            column.clear();
            column.resize(columns[0].len() + extra, 0.0);
        }
        self.now.clear();
        self.now.resize(k, 0.0);
        self.cross.clear();
        self.cross.resize(k * k, 0.0);
    }

    fn without_gaps(&mut self, columns: &[Vec<f64>], ar: &Sparse, ma: &Sparse) -> Option<f64> {
        let n = columns[0].len();
        let r = degree(ar).max(degree(ma) + 1).max(1);
        self.gamma.clear();
        self.gamma.resize(r + 1, 0.0);
        if !self.acov.write(ar, ma, &mut self.gamma) {
            return None;
        }
        if let [only] = columns {
            let sums = self.rotation.run(only, &self.gamma, ar, ma)?;
            self.cross.clear();
            self.cross.push(sums.squares);
            self.now.clear();
            return Some(sums.log_det);
        }
        self.prepare(columns, r);
        self.gain.clear();
        self.gain.extend(self.gamma[1..].iter().map(|g| g / self.gamma[0]));
        self.l.clear();
        self.l.extend_from_slice(&self.gain);
        self.l.resize(n + r, 0.0);

        let mut f = self.gamma[0];
        let (mut log_det, mut product) = (0.0, 1.0);
        let mut settled: Option<usize> = None;
        for t in 0..n {
            if settled.is_some_and(|since| t >= since + r) {
                return Some(self.settled(columns, t, f, log_det + f64::ln(product), ar, ma));
            }
            let len = r.min(n - 1 - t);
            let grows = t + r < n;
            let inverse = 1.0 / f;
            product *= f;
            if !(1e-100..1e100).contains(&product) {
                log_det += product.ln();
                product = 1.0;
            }
            let gain = &mut self.gain[..len];
            for (c, predicted) in self.predicted.iter_mut().enumerate() {
                if grows {
                    predicted[t + r] = tail(predicted, t + r, ar);
                }
                let v = columns[c][t] - predicted[t];
                predicted[t] = v;
                self.now[c] = v;
                // A pulse is nothing until its time comes.
                if c > 0 && v != 0.0 {
                    for (x, g) in predicted[t + 1..][..len].iter_mut().zip(&*gain) {
                        *x += g * v;
                    }
                }
            }
            accumulate(&mut self.cross, &self.now, inverse);

            let v = self.now[0];
            let x = &mut self.predicted[0][t + 1..][..len];
            let rho = self.l[t];
            if settled.is_none() {
                if grows {
                    self.l[t + r] = tail(&self.l, t + r, ar);
                }
                let l = &mut self.l[t + 1..][..len];
                if rho == 0.0 {
                    for (x, g) in x.iter_mut().zip(gain) {
                        *x += *g * v;
                    }
                } else {
                    let keep = 1.0 - rho * rho;
                    if !(keep > 0.0) {
                        return None;
                    }
                    let scale = 1.0 / keep;
                    let turn = rho * scale;
                    for ((x, g), l) in x.iter_mut().zip(gain).zip(l) {
                        let (old, u) = (*g, *l);
                        *x += old * v;
                        *g = scale * old - turn * u;
                        *l = scale * u - turn * old;
                    }
                    f *= keep;
                }
                if rho.abs() < NEGLIGIBLE && self.l[t + 1..][..len].iter().all(|l| l.abs() < NEGLIGIBLE) {
                    settled = Some(t + 1);
                }
            } else {
                for (x, g) in x.iter_mut().zip(gain) {
                    *x += *g * v;
                }
            }
        }
        Some(log_det + product.ln())
    }

    /// The rest of the sample from `t`, once gain and variance no longer move.
    fn settled(
        &mut self,
        columns: &[Vec<f64>],
        t: usize,
        f: f64,
        log_det: f64,
        ar: &Sparse,
        ma: &Sparse,
    ) -> f64 {
        for (column, v) in columns.iter().zip(&mut self.predicted) {
            difference_equation(column, v, t, ar, ma);
        }
        let n = columns[0].len();
        for at in t..n {
            for (slot, v) in self.now.iter_mut().zip(&self.predicted) {
                *slot = v[at];
            }
            accumulate(&mut self.cross, &self.now, 1.0 / f);
        }
        log_det + (n - t) as f64 * f.ln()
    }

    fn with_gaps(&mut self, of: &Columns, ar: &Sparse, ma: &Sparse) -> Option<f64> {
        let mut dense = Dense::stationary(ar, ma, &mut self.acov)?;
        let r = dense.dimension();
        self.prepare(&of.columns, r);
        let n = of.len();
        let (mut log_det, mut product) = (0.0, 1.0);
        for t in 0..n {
            let missing = of.columns[0][t].is_nan();
            for predicted in &mut self.predicted {
                predicted[t + r] = tail(predicted, t + r, ar);
            }
            if missing {
                dense.skip();
                continue;
            }
            let f = dense.observe();
            if !(f > 0.0 && f.is_finite()) {
                return None;
            }
            product *= f;
            if !(1e-100..1e100).contains(&product) {
                log_det += product.ln();
                product = 1.0;
            }
            for (c, predicted) in self.predicted.iter_mut().enumerate() {
                let v = of.columns[c][t] - predicted[t];
                self.now[c] = v;
                for (x, g) in predicted[t + 1..].iter_mut().zip(dense.gain()) {
                    *x += g * v;
                }
            }
            accumulate(&mut self.cross, &self.now, 1.0 / f);
        }
        Some(log_det + product.ln())
    }

    /// Regression coefficients and innovation variance out of the sums of products of innovations. The first `pulses`
    /// regressors stand for missing values: they are integrated out, which adds the log-determinant of their block.
    fn concentrate(&mut self, observed: usize, pulses: usize, log_det: f64) -> Option<Evaluation> {
        let k = self.now.len().max(1);
        let n = observed as f64;
        let mut rest = self.cross[0];
        let mut log_det = log_det;
        let (mut beta, mut variance) = (Vec::new(), Vec::new());
        if k > 1 {
            let normal: Vec<f64> = (1..k)
                .flat_map(|i| (1..k).map(move |j| (i.max(j), i.min(j))))
                .map(|(i, j)| self.cross[i * k + j])
                .collect();
            let right: Vec<f64> = (1..k).map(|i| self.cross[i * k]).collect();
            let solved = solve_positive_from(&normal, &right, pulses)?;
            rest -= solved.x.iter().zip(&right).map(|(b, r)| b * r).sum::<f64>();
            log_det += solved.log_pivots[..pulses].iter().sum::<f64>();
            beta = solved.x[pulses..].to_vec();
            variance = solved.inverse_diagonal;
        }
        let sigma2 = rest.max(0.0) / n;
        let loglik = -0.5 * (n * (2.0 * std::f64::consts::PI * sigma2).ln() + log_det + n);
        variance.iter_mut().for_each(|v| *v *= sigma2);
        Some(Evaluation { loglik, sigma2, beta, beta_variance: variance })
    }
}

/// One more element of a vector that obeys the autoregression: `of[at]` from those before it.
#[inline]
pub(super) fn tail(of: &[f64], at: usize, ar: &Sparse) -> f64 {
    ar.iter().map(|&(lag, a)| a * of[at - lag]).sum()
}

/// Innovations from `from` on by the difference equation; earlier ones are in `v`. Missing values make zeros and
/// are taken as zero where they are lags, which only a conditional likelihood does.
fn difference_equation(w: &[f64], v: &mut [f64], from: usize, ar: &Sparse, ma: &Sparse) {
    for t in from..w.len() {
        let mut e = w[t];
        for &(lag, a) in ar {
            e -= a * w[t - lag];
        }
        for &(lag, b) in ma.iter().take_while(|(lag, _)| *lag <= t) {
            e -= b * v[t - lag];
        }
        v[t] = if e.is_nan() { 0.0 } else { e };
    }
}

/// Adds the outer product of `v` to the lower triangle of `cross`.
#[inline]
fn accumulate(cross: &mut [f64], v: &[f64], weight: f64) {
    let k = v.len();
    for i in 0..k {
        if v[i] == 0.0 {
            continue;
        }
        let scaled = v[i] * weight;
        for j in 0..=i {
            cross[i * k + j] += scaled * v[j];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_integrated_out_and_filtered_over_are_one_likelihood() {
        let mut series: Vec<f64> = (0..90).map(|t| ((t * t * 7) % 23) as f64 / 11.0 - 1.0).collect();
        for t in [0, 17, 40, 41, 42, 60, 89] {
            series[t] = f64::NAN;
        }
        let trend = (0..90).map(|t| f64::from(t) / 90.0).collect();
        let of = Columns::new(series, vec![vec![1.0; 90], trend]);
        let (mut ar, mut ma) = (Sparse::new(), Sparse::new());
        super::super::polynomial::product(&[0.5], &[0.6], 12, -1.0, &mut ar);
        super::super::polynomial::product(&[-0.3], &[], 12, 1.0, &mut ma);
        let mut work = Workspace::default();
        let pulsed = work.exact(&of, &ar, &ma).unwrap();
        let log_det = work.with_gaps(&of, &ar, &ma).unwrap();
        let filtered = work.concentrate(of.observed, 0, log_det).unwrap();
        assert!((pulsed.loglik - filtered.loglik).abs() < 1e-9, "{pulsed:?} {filtered:?}");
        assert!((pulsed.sigma2 / filtered.sigma2 - 1.0).abs() < 1e-10);
        assert_eq!(pulsed.beta.len(), 2);
        for (a, b) in pulsed
            .beta
            .iter()
            .zip(&filtered.beta)
            .chain(pulsed.beta_variance.iter().zip(&filtered.beta_variance))
        {
            assert!((a - b).abs() < 1e-9, "{pulsed:?} {filtered:?}");
        }
    }
}
