//! Where searches begin: the likelihood of an ARMA model has local optima, so from more than one place.

use super::likelihood::Columns;
use super::polynomial::partial_from_stationary;
use super::shape::Shape;
use crate::regression::least_squares;

/// A start keeps this far from the boundary of stationarity, where slopes vanish.
const MARGIN: f64 = 0.03;

/// Starting points of a search, unconstrained: Hannan and Rissanen's regression, Yule-Walker for the autoregressive
/// part alone, zeros, and two typical signatures (an over-differenced series and a persistent one).
pub(crate) fn starts(shape: &Shape, of: &Columns) -> Vec<Vec<f64>> {
    let mut found = Vec::new();
    let series = filled(&of.columns[0]);
    let r = usize::from(shape.p.max(shape.q))
        + usize::from(shape.seasonal_p.max(shape.seasonal_q)) * shape.season();
    let order = (2 * r).max((10.0 * (series.len() as f64).log10()) as usize).min(series.len() / 3);
    let long = levinson(&series, order);
    if let Some(natural) = hannan_rissanen(shape, &series, &long) {
        found.push(shape.free(&natural, MARGIN));
    }
    let block = |n: u16, value: f64| (0..n).map(move |i| if i == 0 { value } else { 0.0 });
    let signature = |ar, ma, seasonal_ar, seasonal_ma| -> Vec<f64> {
        block(shape.p, ar)
            .chain(block(shape.q, ma))
            .chain(block(shape.seasonal_p, seasonal_ar))
            .chain(block(shape.seasonal_q, seasonal_ma))
            .collect()
    };
    if shape.p > 0 {
        let mut natural = signature(0.0, 0.0, 0.0, 0.0);
        let short = levinson(&series, shape.p.into());
        natural[..short.len()].copy_from_slice(&short);
        found.push(shape.free(&natural, MARGIN));
    }
    found.push(signature(0.0, 0.0, 0.0, 0.0));
    // In the unconstrained coordinates a moving average has the opposite sign.
    found.push(signature(0.1, 0.7, 0.1, 0.8));
    found.push(signature(0.9, 0.5, 0.6, 0.5));
    found
}

/// First partial autocorrelations of the two sides of a pair of polynomials, where likelihoods of seasonal models were
/// seen to have second optima: near-cancelling roots next to the unit circle, and roots that trade places.
const PAIRS: [(f64, f64); 10] = [
    (-0.85, -0.97),
    (-0.97, -0.9),
    (0.6, 0.98),
    (0.97, 0.9),
    (0.2, 0.9),
    (-0.3, 0.3),
    (0.3, -0.3),
    (0.85, 0.5),
    (0.8, 0.99),
    (-0.5, -0.75),
];

/// Places around `best`, unconstrained, with the ordinary or the seasonal pair of polynomials set anew.
pub(crate) fn probes(shape: &Shape, best: &[f64]) -> Vec<Vec<f64>> {
    let (p, q) = (usize::from(shape.p), usize::from(shape.q));
    let (seasonal_p, seasonal_q) = (usize::from(shape.seasonal_p), usize::from(shape.seasonal_q));
    let mut places = Vec::new();
    for (at, ar, ma) in [(0, p, q), (p + q, seasonal_p, seasonal_q)] {
        for (a, m) in PAIRS {
            let mut x = best.to_vec();
            let (left, right) = x[at..].split_at_mut(ar);
            if let Some(first) = left.first_mut() {
                *first = f64::atanh(a);
            }
            if let Some(first) = right[..ma].first_mut() {
                *first = f64::atanh(m);
            }
            if ar + ma > 0 && !places.contains(&x) {
                places.push(x);
            }
        }
    }
    places
}

/// `count` places scattered evenly over the partial autocorrelations (the additive recurrence on square roots of primes of
/// Richtmyer 1951), unconstrained: in turn of all parameters, and of the ordinary or the seasonal ones alone with the others
/// as in `best`.
pub(crate) fn scattered(shape: &Shape, best: &[f64], count: usize) -> Vec<Vec<f64>> {
    const PRIMES: [f64; 12] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0, 31.0, 37.0];
    const WIDEST: f64 = 0.95;
    let ordinary = usize::from(shape.p) + usize::from(shape.q);
    let place = |n: usize| {
        best.iter().enumerate().map(move |(i, &at)| {
            let kept = match n % 3 {
                0 => false,
                1 => i >= ordinary,
                _ => ordinary < best.len() && i < ordinary,
            };
            let part = ((n + 1) as f64 * PRIMES[i % PRIMES.len()].sqrt() + i as f64 * 0.137).fract();
            if kept { at } else { f64::atanh(WIDEST * (2.0 * part - 1.0)) }
        })
    };
    (0..count).map(|n| place(n).collect()).collect()
}

/// The series with missing values at its mean.
fn filled(series: &[f64]) -> Vec<f64> {
    let (sum, n) = series.iter().filter(|v| !v.is_nan()).fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    let mean = if n > 0.0 { sum / n } else { 0.0 };
    series.iter().map(|v| if v.is_nan() { mean } else { *v }).collect()
}

/// Yule-Walker coefficients of an autoregression of at most `order`, fewer where the series is exhausted.
fn levinson(series: &[f64], order: usize) -> Vec<f64> {
    let gamma: Vec<f64> =
        (0..=order).map(|k| series.iter().zip(series.iter().skip(k)).map(|(a, b)| a * b).sum()).collect();
    let mut phi: Vec<f64> = Vec::with_capacity(order);
    let mut previous = Vec::with_capacity(order);
    let mut variance = gamma[0];
    for k in 1..=order {
        if !(variance > 1e-12 * gamma[0]) {
            break;
        }
        let ahead: f64 = phi.iter().zip(gamma[..k].iter().rev()).map(|(a, g)| a * g).sum();
        let last = (gamma[k] - ahead) / variance;
        previous.clone_from(&phi);
        for (slot, mirrored) in phi.iter_mut().zip(previous.iter().rev()) {
            *slot -= last * mirrored;
        }
        phi.push(last);
        variance *= 1.0 - last * last;
    }
    phi
}

/// Innovations from a long autoregression, then one regression on lags of the series and of the innovations. The
/// products of a seasonal model's factors are left to the search.
fn hannan_rissanen(shape: &Shape, series: &[f64], long: &[f64]) -> Option<Vec<f64>> {
    let n = series.len();
    let m = long.len();
    let mut innovations = vec![0.0; n];
    for t in m..n {
        let ahead: f64 = long.iter().zip(series[t - m..t].iter().rev()).map(|(a, y)| a * y).sum();
        innovations[t] = series[t] - ahead;
    }
    let season = shape.season();
    let lags = |n: u16, by: usize| (1..=usize::from(n)).map(move |i| i * by);
    let parts = [
        (series, shape.p, 1),
        (&innovations[..], shape.q, 1),
        (series, shape.seasonal_p, season),
        (&innovations[..], shape.seasonal_q, season),
    ];
    let reach = parts.iter().map(|(_, n, by)| usize::from(*n) * by).max()?;
    let from = reach + m.min(n / 4);
    if n <= from + 2 * shape.count() {
        return None;
    }
    let columns: Vec<Vec<f64>> = parts
        .iter()
        .flat_map(|&(of, count, by)| lags(count, by).map(move |lag| of[from - lag..n - lag].to_vec()))
        .collect();
    let (beta, _) = least_squares(&columns, &series[from..])?;
    beta.iter().all(|b| b.is_finite()).then_some(beta)
}

/// How far two unconstrained points are apart as models: the largest difference of a partial autocorrelation.
pub(crate) fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a.tanh() - b.tanh()).abs()).fold(0.0, f64::max)
}

/// Whether natural parameters are those of a stationary autoregression; spoils nothing.
pub(crate) fn is_stationary(coefficients: &[f64]) -> bool {
    partial_from_stationary(&mut coefficients.to_vec())
}
