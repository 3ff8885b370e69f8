//! How often a series has to be differenced.

use crate::decompose::{interpolate, stl};
use crate::difference::Differencing;

/// 5 % point of the KPSS statistic around a level (Kwiatkowski, Phillips, Schmidt and Shin 1992, table 1).
const KPSS_5_PERCENT: f64 = 0.463;
/// A season this strong is differenced away (Wang, Smith and Hyndman 2006; the bound of Hyndman's `nsdiffs`).
const STRONG: f64 = 0.64;
/// Width of the seasonal smoother, in seasons.
const SEASONAL_WINDOW: usize = 11;

/// The KPSS statistic of stationarity around a level, with `3 sqrt(n) / 13` lags; 0 where the series does not vary.
pub fn kpss(y: &[f64]) -> f64 {
    kpss_beyond(y, rounding(y))
}

/// What rounding may have made of values: no series varies that moves less.
fn rounding(y: &[f64]) -> f64 {
    2.0 * f64::EPSILON * y.iter().fold(0.0f64, |most, v| most.max(v.abs()))
}

/// As [`kpss`], 0 where the series stays within `rounding` of its mean.
fn kpss_beyond(y: &[f64], rounding: f64) -> f64 {
    let n = y.len();
    // A sum of large levels would lose what they move by.
    let place = y.first().copied().unwrap_or(0.0);
    let mean = y.iter().map(|v| (v - place) / n as f64).sum::<f64>();
    let e: Vec<f64> = y.iter().map(|v| v - place - mean).collect();
    let size = e.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if !(size > rounding) || !size.is_finite() {
        return 0.0;
    }
    let covariance =
        |lag: usize| e.iter().zip(&e[lag..]).map(|(a, b)| (a / size) * (b / size)).sum::<f64>() / n as f64;
    let lags = ((3.0 * (n as f64).sqrt() / 13.0) as usize).min(n.saturating_sub(1));
    let long_run = covariance(0)
        + 2.0 * (1..=lags).map(|s| (1.0 - s as f64 / (lags + 1) as f64) * covariance(s)).sum::<f64>();
    let mut sum = 0.0;
    let squares: f64 = e
        .iter()
        .map(|v| {
            sum += v / size;
            sum * sum
        })
        .sum();
    if long_run > 0.0 { squares / (n as f64 * n as f64 * long_run) } else { 0.0 }
}

/// Ordinary differences until the KPSS test no longer rejects at 5 %, at most `most`.
pub fn ordinary_differences(y: &[f64], most: usize) -> usize {
    differences_beyond(y, most, rounding(y))
}

/// The same, of a series that has been differenced by `by` already.
pub(super) fn further_differences(y: &[f64], by: Differencing, most: usize) -> usize {
    let doubled = 2f64.powi((by.d + by.seasonal_d) as i32);
    differences_beyond(&by.apply(&interpolate(y)), most, doubled * rounding(&interpolate(y)))
}

fn differences_beyond(y: &[f64], most: usize, mut rounding: f64) -> usize {
    let mut y = interpolate(y);
    for d in 0..most {
        if y.len() < 8 || kpss_beyond(&y, rounding) <= KPSS_5_PERCENT {
            return d;
        }
        y = Differencing { d: 1, seasonal_d: 0, season: 1 }.apply(&y);
        rounding *= 2.0;
    }
    most
}

/// Strength of the season `m`, from 0 to 1: the share of the variance of season and remainder that the remainder alone
/// does not have. 0 without two whole seasons.
pub fn seasonal_strength(y: &[f64], m: usize) -> f64 {
    if m < 2 || y.len() < 2 * m + 1 {
        return 0.0;
    }
    let y = interpolate(y);
    let (place, rounding) = (y[0], rounding(&y));
    let size = y.iter().fold(0.0f64, |s, v| s.max((v - place).abs()));
    if !(size > 0.0) || !size.is_finite() {
        return 0.0;
    }
    let y: Vec<f64> = y.iter().map(|v| (v - place) / size).collect();
    let (season, trend) = stl(&y, m, SEASONAL_WINDOW);
    let left: Vec<f64> = y.iter().zip(&season).zip(&trend).map(|((y, s), t)| y - s - t).collect();
    let both: Vec<f64> = left.iter().zip(&season).map(|(r, s)| r + s).collect();
    let (left, both) = (variance(&left), variance(&both));
    if both > (rounding / size).powi(2).max(1e-24) { (1.0 - left / both).clamp(0.0, 1.0) } else { 0.0 }
}

/// Whether the season `m` asks for a seasonal difference.
pub fn seasonal_differences(y: &[f64], m: usize) -> usize {
    usize::from(seasonal_strength(y, m) > STRONG)
}

fn variance(y: &[f64]) -> f64 {
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    y.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kpss_is_that_of_the_reference() {
        // By hand: y = 1, 2, 3, 4 has the partial sums -1.5, -2, -1.5, 0 and, so short, no lags.
        let hand = (1.5f64.powi(2) * 2.0 + 4.0) / (16.0 * 1.25);
        assert!((kpss(&[1.0, 2.0, 3.0, 4.0]) - hand).abs() < 1e-12);
        assert_eq!(kpss(&[7.0; 20]), 0.0);
    }

    #[test]
    fn a_line_is_differenced_once_and_a_parabola_twice() {
        let noise = |t: i32| f64::from(t * t % 13) * 0.01;
        let line: Vec<f64> = (0..80).map(|t| f64::from(t) + noise(t)).collect();
        let parabola: Vec<f64> = (0..80).map(|t| f64::from(t * t) + noise(t)).collect();
        let level: Vec<f64> = (0..80).map(noise).collect();
        assert_eq!([&level, &line, &parabola].map(|y| ordinary_differences(y, 2)), [0, 1, 2]);
    }

    #[test]
    fn only_a_strong_season_is_differenced() {
        let y = |size: f64| -> Vec<f64> {
            (0..96i64)
                .map(|t| {
                    size * (t as f64 * std::f64::consts::TAU / 12.0).sin() + (t * t * 7 % 23) as f64 / 23.0
                })
                .collect()
        };
        assert_eq!(seasonal_differences(&y(5.0), 12), 1);
        assert_eq!(seasonal_differences(&y(0.05), 12), 0);
        assert_eq!(seasonal_differences(&[1.0; 10], 12), 0);
    }
}
