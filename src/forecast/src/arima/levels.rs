//! The filter of a fitted model, in levels: what goes on after the fit, an observation at a time.
//!
//! The state is the forecasts of the next `N` values of the undifferenced series, the first observations being known
//! exactly; the rotation of [`super::likelihood`] holds for it as it stands, with the polynomial that has the unit
//! roots in it. It starts from the integrated vectors: with `c` the weights of `1 / ((1-B)^d (1-B^s)^D)`,
//! `l = c * (gamma_1, ...) / gamma_0` and `g` the same plus `c_1, c_2, ...`.

use super::kalman::Dense;
use super::polynomial::{Autocovariance, Sparse, degree, psi_weights};
use super::shape::Shape;
use crate::difference::binomial;
use serde::{Deserialize, Serialize};

/// The rotation stops where `l` is so small that its effect, its square, is lost in double precision.
const NEGLIGIBLE: f64 = 1e-9;
/// Standard deviation given to an unknown first value, in innovations: as good as not known.
const UNKNOWN: f64 = 1e4;
/// Arithmetic spent on the covariance when the first missing value asks for it.
const COVARIANCE_WORK: usize = 200_000_000;
/// Values past this are taken as missing: their products are no doubles.
const LARGEST: f64 = 1e300;

/// State and covariance, however they are known. Variances are in units of the innovation variance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Levels {
    /// Nothing was missing lately, the gain still moves: forecasts, gain and `l` one after the other.
    Rotating { vectors: Box<[f64]>, variance: f64 },
    /// The gain has settled: forecasts and gain.
    Settled { vectors: Box<[f64]>, variance: f64 },
    /// Values were missing: forecasts and the whole covariance.
    Gaps { forecasts: Vec<f64>, dense: Box<Dense> },
}

/// The integrated autoregression as a product of a short ordinary and a short seasonal polynomial, signs such that the
/// next value is the sum of coefficient times lag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integrated<'a> {
    pub ordinary: &'a [f64],
    pub seasonal: &'a [f64],
    pub season: usize,
}

impl Integrated<'_> {
    /// The next element of a vector that obeys the recursion, from the end of `of`.
    #[inline]
    pub(crate) fn next(&self, of: &[f64]) -> f64 {
        let n = of.len();
        let mut sum = 0.0;
        for (i, a) in self.ordinary.iter().enumerate() {
            sum += a * of[n - 1 - i];
        }
        for (j, b) in self.seasonal.iter().enumerate() {
            let at = n - (j + 1) * self.season;
            let mut inner = of[at];
            for (i, a) in self.ordinary.iter().enumerate() {
                inner -= a * of[at - 1 - i];
            }
            sum += b * inner;
        }
        sum
    }

    /// Moves a vector of the state on by one.
    #[inline]
    fn shift(&self, of: &mut [f64]) {
        let (next, last) = (self.next(of), of.len() - 1);
        of.copy_within(1.., 0);
        of[last] = next;
    }

    /// The terms of the product.
    pub(crate) fn terms(&self) -> Sparse {
        let mut out = Sparse::new();
        super::polynomial::product(self.ordinary, self.seasonal, self.season, -1.0, &mut out);
        out
    }
}

/// Multiplies an autoregression `1 - a_1 B - ...` by `(1 - B)^d`; the result in the same convention.
pub(crate) fn integrate(coefficients: &[f64], d: usize) -> Vec<f64> {
    let differences = binomial(d);
    let mut out = vec![0.0; coefficients.len() + d + 1];
    for (i, a) in std::iter::once(-1.0).chain(coefficients.iter().copied()).enumerate() {
        for (j, b) in differences.iter().enumerate() {
            out[i + j] += a * b;
        }
    }
    out.remove(0);
    out
}

impl Levels {
    /// Length of the state.
    pub(crate) fn dimension(shape: &Shape) -> usize {
        let ar = usize::from(shape.p + shape.d)
            + usize::from(shape.seasonal_p + shape.seasonal_d) * shape.season();
        let ma = usize::from(shape.q) + usize::from(shape.seasonal_q) * shape.season();
        ar.max(ma + 1).max(1)
    }

    /// The filter before the first observation past `first`, the values that differencing loses.
    pub(crate) fn start(shape: &Shape, natural: &[f64], recursion: Integrated<'_>, first: &[f64]) -> Levels {
        let n = Levels::dimension(shape);
        let (mut ar, mut ma) = (Sparse::new(), Sparse::new());
        shape.expand(natural, &mut ar, &mut ma);
        let mut acov = Autocovariance::default();
        let mut gamma = vec![0.0; n + 1];
        if !acov.write(&ar, &ma, &mut gamma) {
            // Estimation gives stationary parameters alone; white noise keeps every promise of the type.
            gamma.fill(0.0);
            gamma[0] = 1.0;
        }
        let levels = differences(shape);
        let filled = fill(first);
        let forecasts = carry_on(&levels, &filled, &vec![0.0; n]);
        if first.iter().any(|v| v.is_nan()) {
            let dense = unknown_start(n, recursion, &ma, &ar, &mut acov, &levels, first);
            return match dense {
                Some(dense) => Levels::Gaps { forecasts, dense: Box::new(dense) },
                None => Levels::Settled { vectors: [forecasts, vec![0.0; n]].concat().into(), variance: 1.0 },
            };
        }
        let correlation: Vec<f64> = gamma[1..].iter().map(|g| g / gamma[0]).collect();
        let nothing = vec![0.0; first.len()];
        let l = carry_on(&levels, &nothing, &correlation);
        let mut pulse = vec![1.0];
        pulse.extend_from_slice(&correlation);
        let gain = carry_on(&levels, &nothing, &pulse);
        Levels::Rotating { vectors: [&forecasts[..], &gain[1..], &l].concat().into(), variance: gamma[0] }
    }

    /// Mean and variance (in innovations) of the next value.
    #[inline]
    pub(crate) fn next(&self) -> (f64, f64) {
        match self {
            Levels::Rotating { vectors, variance } | Levels::Settled { vectors, variance } => {
                (vectors[0], *variance)
            }
            Levels::Gaps { forecasts, dense } => (forecasts[0], dense.variance()),
        }
    }

    /// Forecasts as far as the state has them.
    pub(crate) fn forecasts(&self, n: usize) -> &[f64] {
        match self {
            Levels::Rotating { vectors, .. } | Levels::Settled { vectors, .. } => &vectors[..n],
            Levels::Gaps { forecasts, .. } => forecasts,
        }
    }

    /// The filter's exact next step.
    pub(crate) fn update(
        &mut self,
        y: f64,
        n: usize,
        recursion: Integrated<'_>,
        ma: impl FnOnce() -> Sparse,
    ) {
        if !(y.abs() <= LARGEST) {
            self.open_gap(n, recursion, ma);
            if let Levels::Gaps { forecasts, dense } = self {
                dense.skip();
                recursion.shift(forecasts);
            }
            return;
        }
        match self {
            Levels::Rotating { vectors, variance } => {
                let (forecasts, rest) = vectors.split_at_mut(n);
                let (gain, l) = rest.split_at_mut(n);
                let v = y - forecasts[0];
                recursion.shift(forecasts);
                let rho = l[0];
                recursion.shift(l);
                let keep = (1.0 - rho * rho).max(f64::MIN_POSITIVE);
                let scale = 1.0 / keep;
                let turn = rho * scale;
                let mut largest = 0.0f64;
                for ((x, g), l) in forecasts.iter_mut().zip(&mut *gain).zip(&mut *l) {
                    let (old, u) = (*g, *l);
                    *x += old * v;
                    *g = scale * old - turn * u;
                    *l = scale * u - turn * old;
                    largest = largest.max(l.abs());
                }
                *variance *= keep;
                // It falls to that of an innovation and never below: from there on the rest is rounding, which unit roots let grow.
                if largest < NEGLIGIBLE || *variance <= 1.0 {
                    *self = Levels::Settled { vectors: vectors[..2 * n].into(), variance: *variance };
                }
            }
            Levels::Settled { vectors, .. } => {
                let (forecasts, gain) = vectors.split_at_mut(n);
                let v = y - forecasts[0];
                recursion.shift(forecasts);
                for (x, g) in forecasts.iter_mut().zip(gain) {
                    *x += *g * v;
                }
            }
            Levels::Gaps { forecasts, dense } => {
                let v = y - forecasts[0];
                recursion.shift(forecasts);
                dense.observe();
                for (x, g) in forecasts.iter_mut().zip(dense.gain()) {
                    *x += *g * v;
                }
                if dense.settled() {
                    let vectors = [&forecasts[..], &dense.steady_gain()].concat().into();
                    *self = Levels::Settled { vectors, variance: 1.0 };
                }
            }
        }
    }

    /// Writes the variances, in innovations, of the errors of the forecasts 1, 2, ... steps ahead.
    ///
    /// Known gains: by the law of total variance `V_k = F_k + sum_{j<k} F_j g_j[k-1-j]^2` over the steps to come, whose
    /// gains depend on no data. A whole covariance: its diagonal, plus the innovations that are still to come.
    pub(crate) fn variances(&self, n: usize, recursion: Integrated<'_>, out: &mut [f64]) {
        let h = out.len();
        match self {
            Levels::Rotating { vectors, variance } => {
                let mut small = [0.0; 2 * SMALL];
                let mut large = Vec::new();
                let room = if n.max(h) <= SMALL {
                    &mut small[..]
                } else {
                    large.resize(2 * n.max(h), 0.0);
                    &mut large[..]
                };
                let half = room.len() / 2;
                let (gain, l) = room.split_at_mut(half);
                gain[..n].copy_from_slice(&vectors[n..2 * n]);
                l[..n].copy_from_slice(&vectors[2 * n..]);
                for i in n..h {
                    gain[i] = recursion.next(&gain[..i]);
                    l[i] = recursion.next(&l[..i]);
                }
                ahead(&mut gain[..h], &mut l[..h], *variance, out);
            }
            Levels::Settled { vectors, variance } => {
                let gain = &vectors[n..];
                let mut sum = *variance;
                let known = h.min(n + 1);
                if let Some(first) = out.first_mut() {
                    *first = sum;
                }
                for (slot, g) in out.iter_mut().skip(1).zip(gain) {
                    sum += variance * g * g;
                    *slot = sum;
                }
                if h > known {
                    let mut long = gain.to_vec();
                    for slot in &mut out[known..] {
                        let g = recursion.next(&long);
                        long.push(g);
                        sum += variance * g * g;
                        *slot = sum;
                    }
                }
            }
            Levels::Gaps { dense, .. } => dense.variances(out),
        }
    }

    /// Goes over to the whole covariance: `P = psi psi' + sum F l l'` over the rotations still to come, for it ends at
    /// `psi psi'` and each step takes `F l l'` off.
    fn open_gap(&mut self, n: usize, recursion: Integrated<'_>, ma: impl FnOnce() -> Sparse) {
        if matches!(self, Levels::Gaps { .. }) {
            return;
        }
        let ar = recursion.terms();
        let mut psi = vec![0.0; n];
        psi_weights(&ar, &ma(), &mut psi);
        let mut covariance: Vec<f64> = psi.iter().flat_map(|a| psi.iter().map(move |b| a * b)).collect();
        let forecasts = self.forecasts(n).to_vec();
        if let Levels::Rotating { vectors, variance } = self {
            let mut gain = vectors[n..2 * n].to_vec();
            let mut l = vectors[2 * n..].to_vec();
            let mut f = *variance;
            for _ in 0..(COVARIANCE_WORK / (n * n)).max(n) {
                for i in 0..n {
                    let scaled = f * l[i];
                    if scaled != 0.0 {
                        let row = &mut covariance[i * n..=i * n + i];
                        row.iter_mut().zip(&l).for_each(|(slot, l)| *slot += scaled * l);
                    }
                }
                let rho = l[0];
                recursion.shift(&mut l);
                let keep = (1.0 - rho * rho).max(f64::MIN_POSITIVE);
                let mut largest = 0.0f64;
                for (g, l) in gain.iter_mut().zip(&mut l) {
                    let (old, u) = (*g, *l);
                    *g = (old - rho * u) / keep;
                    *l = (u - rho * old) / keep;
                    largest = largest.max(l.abs());
                }
                f *= keep;
                // With a moving average that has a root close to the unit circle `l` gets small as slowly as 1/k, and what
                // rounding adds to it grows meanwhile: past the variance of an innovation there is nothing but that.
                if largest < 1e-7 || f <= 1.0 {
                    break;
                }
            }
        }
        for i in 0..n {
            for j in 0..i {
                covariance[j * n + i] = covariance[i * n + j];
            }
        }
        *self = Levels::Gaps { forecasts, dense: Box::new(Dense::new(ar, psi, covariance)) };
    }
}

/// Longest horizon and state whose variances need no allocation.
const SMALL: usize = 64;
/// Steps over which a moving gain is followed in a forecast; past them it is taken as it is.
const FOLLOWED: usize = 1_024;

fn ahead(gain: &mut [f64], l: &mut [f64], variance: f64, out: &mut [f64]) {
    let h = out.len();
    out.fill(0.0);
    let mut f = variance;
    let mut sum = 0.0;
    for j in 0..h {
        out[j] += f;
        let left = h - j - 1;
        if j == FOLLOWED {
            for (i, g) in gain[..left].iter().enumerate() {
                sum += f * g * g;
                out[j + 1 + i] += sum + f;
            }
            return;
        }
        for (slot, g) in out[j + 1..].iter_mut().zip(&*gain) {
            *slot += f * g * g;
        }
        let rho = l[0];
        let scale = 1.0 / (1.0 - rho * rho).max(f64::MIN_POSITIVE);
        let turn = rho * scale;
        for i in 0..left {
            let (old, u) = (gain[i], l[i + 1]);
            gain[i] = scale * old - turn * u;
            l[i] = scale * u - turn * old;
        }
        f *= (1.0 - rho * rho).max(f64::MIN_POSITIVE);
    }
}

/// Coefficients of the differencing, as (lag, coefficient).
fn differences(shape: &Shape) -> Sparse {
    let of = crate::difference::Differencing {
        d: shape.d.into(),
        seasonal_d: shape.seasonal_d.into(),
        season: shape.season(),
    };
    of.coefficients().into_iter().enumerate().filter(|(_, c)| *c != 0.0).map(|(i, c)| (i + 1, c)).collect()
}

/// The levels that follow `first` where the differences are `steps`.
fn carry_on(levels: &Sparse, first: &[f64], steps: &[f64]) -> Vec<f64> {
    let m = first.len();
    let mut y = first.to_vec();
    for (t, step) in steps.iter().enumerate() {
        y.push(step + levels.iter().map(|&(lag, c)| c * y[t + m - lag]).sum::<f64>());
    }
    y.split_off(m)
}

/// Missing values between their neighbours, the ends by the nearest value.
fn fill(first: &[f64]) -> Vec<f64> {
    let known: Vec<usize> = (0..first.len()).filter(|&i| !first[i].is_nan()).collect();
    (0..first.len())
        .map(|i| {
            let after = known.partition_point(|&k| k < i);
            match (after.checked_sub(1).map(|b| known[b]), known.get(after)) {
                (_, Some(&k)) if k == i => first[i],
                (Some(a), Some(&b)) => first[a] + (first[b] - first[a]) * (i - a) as f64 / (b - a) as f64,
                (Some(k), None) | (None, Some(&k)) => first[k],
                (None, None) => 0.0,
            }
        })
        .collect()
}

/// The covariance where some of the first values are missing: the stationary part integrated, and each unknown value
/// with a variance as good as infinite.
fn unknown_start(
    n: usize,
    recursion: Integrated<'_>,
    ma: &Sparse,
    ar: &Sparse,
    acov: &mut Autocovariance,
    levels: &Sparse,
    first: &[f64],
) -> Option<Dense> {
    let integrated = recursion.terms();
    let mut psi = vec![0.0; n];
    psi_weights(&integrated, ma, &mut psi);
    let mut gamma = vec![0.0; n];
    if !acov.write(ar, ma, &mut gamma) {
        return None;
    }
    let mut stationary = vec![0.0; n];
    psi_weights(ar, ma, &mut stationary);
    let nothing = vec![0.0; first.len()];
    // Rows of the stationary covariance, integrated; then columns likewise.
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let row: Vec<f64> = (0..n)
                .map(|j| {
                    let common: f64 =
                        (0..i.min(j)).map(|k| stationary[k] * stationary[k + i.abs_diff(j)]).sum();
                    gamma[i.abs_diff(j)] - common
                })
                .collect();
            carry_on(levels, &nothing, &row)
        })
        .collect();
    for j in 0..n {
        let column: Vec<f64> = rows.iter().map(|r| r[j]).collect();
        for (row, value) in rows.iter_mut().zip(carry_on(levels, &nothing, &column)) {
            row[j] = value;
        }
    }
    for (i, _) in first.iter().enumerate().filter(|(_, v)| v.is_nan()) {
        let mut one = nothing.clone();
        one[i] = UNKNOWN;
        let response = carry_on(levels, &one, &vec![0.0; n]);
        for (row, a) in rows.iter_mut().zip(&response) {
            row.iter_mut().zip(&response).for_each(|(slot, b)| *slot += a * b);
        }
    }
    debug_assert!(degree(&integrated) <= n);
    Some(Dense::new(integrated, psi, rows.concat()))
}
