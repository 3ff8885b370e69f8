//! Where the search begins: states read off the first seasons of the history.

use super::recursion::States;
use super::{Component, Ets};
use crate::quantile::median;

/// Initial states and the typical size of an error, from which the search measures its steps.
pub struct Start {
    /// Level, growth and season before the first observation.
    pub states: States,
    /// Typical absolute change unexplained by the season, in units of the series; above 0.
    pub unit: f64,
}

/// Reads the states off `y`, which is scaled to about 1.
pub fn start(ets: &Ets, y: &[f64]) -> Start {
    let m = ets.season_len();
    let season = if m > 0 { seasonal(ets.seasonal, m, y) } else { vec![] };
    let head: Vec<(f64, f64)> = y
        .iter()
        .enumerate()
        .filter(|(_, v)| v.is_finite())
        .take((2 * m).max(10))
        .map(|(t, &v)| {
            let adjusted = match ets.seasonal {
                Component::None => v,
                Component::Additive => v - season[t % m],
                Component::Multiplicative => v / season[t % m],
            };
            ((t + 1) as f64, adjusted)
        })
        .collect();
    let (intercept, slope) = line(&head);
    // A change that rounding could make says nothing; a small one on a high level does.
    let change = median(head.windows(2).map(|w| (w[1].1 - w[0].1).abs()));
    let unit = if change > 1e-14 { change } else { 1e-8 };
    let mut growth = 0.0;
    let mut level = median(head.iter().map(|h| h.1));
    match ets.trend {
        Component::None => {}
        Component::Additive => (level, growth) = (intercept, slope),
        Component::Multiplicative => {
            level = intercept;
            growth = if intercept > 0.0 { ((intercept + slope) / intercept).clamp(0.8, 1.25) } else { 1.0 };
        }
    }
    if ets.needs_positive() && level <= 0.0 {
        level = median(head.iter().map(|h| h.1)).max(1e-3);
        growth = if ets.trend == Component::Multiplicative { 1.0 } else { 0.0 };
    }
    Start { states: States { level, growth, season, next: 0 }, unit }
}

/// Seasonal places from the deviations of the first (at most four) seasons from their centred moving average, or
/// from the mean where there are fewer than two seasons.
fn seasonal(kind: Component, m: usize, y: &[f64]) -> Vec<f64> {
    let head = &y[..y.len().min(4 * m)];
    let smooth = centred_average(&crate::decompose::fill_gaps(head, m), m);
    let deviations = |place: usize| {
        let at = |t: usize| match kind {
            Component::Multiplicative => head[t] / smooth[t],
            _ => head[t] - smooth[t],
        };
        median((place..head.len()).step_by(m).map(at))
    };
    let multiplies = kind == Component::Multiplicative;
    let neutral = if multiplies { 1.0 } else { 0.0 };
    let mut season: Vec<f64> = (0..m)
        .map(deviations)
        .map(|d| if d.is_finite() && (!multiplies || d > 0.0) { d } else { neutral })
        .collect();
    let mean = season.iter().sum::<f64>() / m as f64;
    for s in &mut season {
        *s = if multiplies { (*s / mean).max(0.01) } else { *s - mean };
    }
    season
}

/// Moving average over one season, centred; `NaN` near the ends unless the history is shorter than two seasons, when
/// it is the plain mean everywhere. Missing values are left out of each average.
pub(crate) fn centred_average(y: &[f64], m: usize) -> Vec<f64> {
    let mean = |part: &[f64]| {
        let (sum, count) = part.iter().filter(|v| v.is_finite()).fold((0.0, 0), |(s, n), v| (s + v, n + 1));
        if count == 0 { f64::NAN } else { sum / count as f64 }
    };
    if y.len() < 2 * m {
        return vec![mean(y); y.len()];
    }
    let half = m / 2;
    (0..y.len())
        .map(|t| {
            if t < half || t + half >= y.len() {
                f64::NAN
            } else if m % 2 == 1 {
                mean(&y[t - half..=t + half])
            } else {
                0.5 * (mean(&y[t - half..t + half]) + mean(&y[t - half + 1..=t + half]))
            }
        })
        .collect()
}

/// Least-squares line through points: intercept and slope.
pub(crate) fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len().max(1) as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0 / n, s.1 + p.1 / n));
    let (sxx, sxy) =
        points.iter().fold((0.0, 0.0), |s, p| (s.0 + (p.0 - mx).powi(2), s.1 + (p.0 - mx) * (p.1 - my)));
    let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
    (my - slope * mx, slope)
}
