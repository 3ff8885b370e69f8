//! Taking a season off a series: the classical decomposition, and seasonal-trend decomposition by loess.

use crate::quantile::normal_quantile;
use serde::{Deserialize, Serialize};

/// Seasonal indices and how they combine with the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seasonal {
    /// One value a place: factors around 1, or differences around 0.
    pub indices: Vec<f64>,
    /// Whether they are factors.
    pub multiplies: bool,
    /// Place of the next observation.
    pub next: usize,
}

impl Seasonal {
    /// `y` without the season of the place `ahead` steps from the next observation.
    pub fn remove(&self, y: f64, ahead: usize) -> f64 {
        let index = self.indices[(self.next + ahead) % self.indices.len()];
        if self.multiplies { y / index } else { y - index }
    }

    /// `y` with that season put back.
    pub fn restore(&self, y: f64, ahead: usize) -> f64 {
        let index = self.indices[(self.next + ahead) % self.indices.len()];
        if self.multiplies { y * index } else { y + index }
    }

    /// Moves on by one observation.
    pub fn advance(&mut self) {
        self.next = (self.next + 1) % self.indices.len();
    }
}

/// Quantile of the normal distribution from which the autocorrelation at a season's lag speaks for a season, and the
/// weight left to a season's values by each season after it: chosen on the even-placed series of M3.
const SEASONAL_QUANTILE: f64 = 0.9;
const NEWER: f64 = 0.8;

/// Whether the autocorrelation at lag `m` is significant: the test of the Theta method (Fiorucci et al. 2016, section 4),
/// at 80 % where that takes 90, for [`classical`] draws a season that is chance towards none. False where there are fewer than two seasons and an observation.
pub fn is_seasonal(y: &[f64], m: usize) -> bool {
    if m < 2 || y.len() <= 2 * m {
        return false;
    }
    let known: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
    // From the first value, so that a season on a high level is not lost to the rounding of the mean.
    let first = known.first().copied().unwrap_or(0.0);
    let mean = known.iter().map(|v| v - first).sum::<f64>() / known.len().max(1) as f64;
    let centred: Vec<f64> = y.iter().map(|v| if v.is_finite() { v - first - mean } else { 0.0 }).collect();
    let variance: f64 = centred.iter().map(|v| v * v).sum();
    if variance <= 1e-30 * first * first * known.len() as f64 || !variance.is_finite() || variance == 0.0 {
        return false;
    }
    let correlation =
        |lag: usize| centred[lag..].iter().zip(&centred).map(|(a, b)| a * b).sum::<f64>() / variance;
    let before: f64 = (1..m).map(|lag| correlation(lag).powi(2)).sum();
    let limit = normal_quantile(SEASONAL_QUANTILE) * ((1.0 + 2.0 * before) / y.len() as f64).sqrt();
    correlation(m).abs() > limit
}

/// Classical decomposition: averages of what is left of each place after a centred moving average, newer seasons
/// counting for more, drawn together as far as their differences may be chance (James and Stein's estimator; Miller and
/// Williams 2003). Multiplicative where the series is above zero. `None` where a place was never seen beside a moving
/// average.
pub fn classical(y: &[f64], m: usize) -> Option<Seasonal> {
    let multiplies = y.iter().all(|v| !v.is_finite() || *v > 0.0);
    let smooth = crate::ets::centred_average(&fill_gaps(y, m), m);
    let left = |t: usize| if multiplies { y[t] / smooth[t] } else { y[t] - smooth[t] };
    let mut indices = Vec::with_capacity(m);
    // Squares around the averages, their degrees of freedom, and how much of a single value's variance an average has.
    let (mut squares, mut free, mut part) = (0.0, 0.0, 0.0);
    for place in 0..m {
        let known = || (place..y.len()).step_by(m).map(|t| (t, left(t))).filter(|(_, v)| v.is_finite());
        let weight = |t: usize| NEWER.powi(((y.len() - 1 - t) / m) as i32);
        let (mut sum, mut total, mut total_squares) = (0.0, 0.0, 0.0);
        for (t, v) in known() {
            let w = weight(t);
            (sum, total, total_squares) = (sum + w * v, total + w, total_squares + w * w);
        }
        if total == 0.0 {
            return None;
        }
        let index = sum / total;
        squares += known().map(|(_, v)| (v - index) * (v - index)).sum::<f64>();
        free += known().count() as f64 - 1.0;
        part += total_squares / (total * total) / m as f64;
        indices.push(index);
    }
    let centre = indices.iter().sum::<f64>() / m as f64;
    let places = m as f64 - 1.0;
    let between = indices.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / places;
    if free > 0.0 && between > 0.0 {
        let chance = (places - 2.0) / places * part * squares / free;
        let kept = (1.0 - chance / between).clamp(0.0, 1.0);
        indices.iter_mut().for_each(|index| *index = centre + kept * (*index - centre));
    }
    let mean = indices.iter().sum::<f64>() / m as f64;
    for index in &mut indices {
        *index = if multiplies { *index / mean } else { *index - mean };
    }
    // A factor near zero would blow the adjusted series up; such a season is additive.
    let usable = indices.iter().all(|v| v.is_finite() && (!multiplies || *v > 1e-2));
    usable.then(|| Seasonal { next: y.len() % m, indices, multiplies })
}

/// Gaps filled by the line between their neighbours; ends by the nearest value. All zeros where nothing is known.
pub fn interpolate(y: &[f64]) -> Vec<f64> {
    let mut out = y.to_vec();
    let mut last: Option<usize> = None;
    for t in 0..y.len() {
        if y[t].is_finite() {
            let from = last.map_or(0, |l| l + 1);
            for (gap, filled) in out.iter_mut().enumerate().take(t).skip(from) {
                *filled = match last {
                    None => y[t],
                    Some(l) => y[l] + (y[t] - y[l]) * ((gap - l) as f64 / (t - l) as f64),
                };
            }
            last = Some(t);
        }
    }
    let end = last.map_or(0.0, |l| y[l]);
    let from = last.map_or(0, |l| l + 1);
    out[from..].fill(end);
    out
}

/// Rounds in which gaps are filled: each leaves of its error the part of a season that is missing.
const FILL_ROUNDS: usize = 12;

/// Gaps filled by what their place of the season usually is beside the moving average. A line between their neighbours would cut
/// the peaks off, and what is left out of a moving average moves it by its place. As [`interpolate`] where there are
/// fewer than two seasons.
pub fn fill_gaps(y: &[f64], m: usize) -> Vec<f64> {
    let mut filled = interpolate(y);
    if m < 2 || y.len() < 2 * m || y.iter().all(|v| v.is_finite()) {
        return filled;
    }
    for _ in 0..FILL_ROUNDS {
        let trend = interpolate(&crate::ets::centred_average(&filled, m));
        let mut places = vec![(0.0, 0_u32); m];
        for (t, value) in y.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let (sum, count) = &mut places[t % m];
            *sum += value - trend[t];
            *count += 1;
        }
        for (t, value) in filled.iter_mut().enumerate() {
            if let (false, (sum, count @ 1..)) = (y[t].is_finite(), places[t % m]) {
                *value = trend[t] + sum / f64::from(count);
            }
        }
    }
    filled
}

/// Season and trend of one STL (Cleveland, Cleveland, McRae and Terpenning 1990; two passes, no robustness weights).
///
/// `y` without gaps, at least two seasons of length `m`; `window` (odd) smooths each place over the years.
pub fn stl(y: &[f64], m: usize, window: usize) -> (Vec<f64>, Vec<f64>) {
    let n = y.len();
    let mut trend = vec![0.0; n];
    let mut season = vec![0.0; n];
    let trend_window = odd(1.5 * m as f64 / (1.0 - 1.5 / window as f64));
    for _ in 0..2 {
        // Each place of the season by itself, smoothed and drawn out by one season at both ends.
        let mut cycle = vec![0.0; n + 2 * m];
        for place in 0..m {
            let part: Vec<f64> = (place..n).step_by(m).map(|t| y[t] - trend[t]).collect();
            let smooth = loess(&part, window, 0, 1, 1);
            for (k, v) in smooth.into_iter().enumerate() {
                cycle[place + k * m] = v;
            }
        }
        let low = average(&average(&average(&cycle, m), m), 3);
        let low = loess(&low, odd(m as f64), 1, jump(m), 0);
        for t in 0..n {
            season[t] = cycle[t + m] - low[t];
        }
        let adjusted: Vec<f64> = y.iter().zip(&season).map(|(y, s)| y - s).collect();
        trend = loess(&adjusted, trend_window, 1, jump(trend_window), 0);
    }
    (season, trend)
}

fn odd(v: f64) -> usize {
    let whole = v.ceil() as usize;
    if whole.is_multiple_of(2) { whole + 1 } else { whole }
}

/// Loess is evaluated at every so many points and interpolated between.
fn jump(window: usize) -> usize {
    window.div_ceil(10).max(1)
}

/// Running means of `width` neighbours: shorter by `width − 1`.
fn average(y: &[f64], width: usize) -> Vec<f64> {
    let mut sum: f64 = y[..width].iter().sum();
    let mut out = vec![sum / width as f64];
    for t in width..y.len() {
        sum += y[t] - y[t - width];
        out.push(sum / width as f64);
    }
    out
}

/// Local regression of `degree` 0 or 1 over the `window` nearest points with tricube weights, also at `beyond` points
/// before the first and after the last.
fn loess(y: &[f64], window: usize, degree: u8, jump: usize, beyond: usize) -> Vec<f64> {
    let n = y.len();
    let last = n as i64 - 1;
    let at = |x: i64| -> f64 {
        let q = window.min(n);
        let from = (x - (q as i64 - 1) / 2).clamp(0, (n - q) as i64) as usize;
        let mut reach = (x - from as i64).abs().max((x - (from + q - 1) as i64).abs()) as f64;
        if window > n {
            reach += ((window - n) / 2) as f64;
        }
        let reach = reach.max(1.0) * 1.001;
        let (mut w0, mut w1, mut w2, mut wy, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (t, &v) in y.iter().enumerate().skip(from).take(q) {
            let d = t as f64 - x as f64;
            let u = (d / reach).abs();
            let c = 1.0 - u * u * u;
            let w = c * c * c;
            w0 += w;
            wy += w * v;
            if degree == 1 {
                w1 += w * d;
                w2 += w * d * d;
                wxy += w * d * v;
            }
        }
        let spread = w0 * w2 - w1 * w1;
        if degree == 1 && spread > 1e-9 * w0 * w0 { (w2 * wy - w1 * wxy) / spread } else { wy / w0 }
    };
    let mut out = Vec::with_capacity(n + 2 * beyond);
    out.extend((0..beyond).map(|k| at(k as i64 - beyond as i64)));
    let mut t = 0i64;
    while t <= last {
        let here = at(t);
        let next = (t + jump as i64).min(last);
        out.push(here);
        if next > t + 1 {
            let there = at(next);
            out.extend((1..next - t).map(|k| here + (there - here) * k as f64 / (next - t) as f64));
        }
        t = if next > t { next } else { last + 1 };
    }
    out.extend((0..beyond).map(|k| at(n as i64 + k as i64)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stl_gives_a_line_and_a_season_back() {
        let season = [3.0, -1.0, 0.5, -2.5];
        let y: Vec<f64> = (0..80).map(|t| 10.0 + 0.3 * t as f64 + season[t % 4]).collect();
        let (s, trend) = stl(&y, 4, 11);
        assert_eq!((s.len(), trend.len()), (80, 80));
        for t in 8..72 {
            assert!((s[t] - season[t % 4]).abs() < 0.05, "{t}: {}", s[t]);
            assert!((trend[t] - 10.0 - 0.3 * t as f64).abs() < 0.05, "{t}: {}", trend[t]);
        }
    }

    #[test]
    fn classical_indices_are_the_factors_that_were_put_in() {
        let factors = [1.2, 0.9, 0.7, 1.2];
        let y: Vec<f64> = (0..40).map(|t| 100.0 * factors[t % 4]).collect();
        let seasonal = classical(&y, 4).unwrap();
        assert!(seasonal.multiplies && is_seasonal(&y, 4));
        for (index, factor) in seasonal.indices.iter().zip(factors) {
            assert!((index - factor).abs() < 1e-9);
        }
        assert!(!is_seasonal(&[5.0; 40], 4));
    }

    #[test]
    fn a_season_that_is_chance_is_drawn_towards_none_and_a_sure_one_is_kept() {
        let noise = |t: usize| ((t * 7919) % 1009) as f64 / 1009.0 - 0.5;
        let spread = |size: f64| {
            let y: Vec<f64> =
                (0..96).map(|t| 10.0 + size * ((t % 12) as f64 - 5.5) / 11.0 + noise(t)).collect();
            let indices = classical(&y, 12).unwrap().indices;
            indices.iter().fold(f64::MIN, |a, b| a.max(*b)) - indices.iter().fold(f64::MAX, |a, b| a.min(*b))
        };
        // Averages of four noisy values or so differ by about 0.05; a third of that and less is left.
        assert!(spread(0.0) < 0.03, "{}", spread(0.0));
        assert!((spread(5.0) / 0.5 - 1.0).abs() < 0.1, "{}", spread(5.0));
    }

    #[test]
    fn newer_seasons_count_for_more() {
        // The first place is high in the older half and no longer in the newer.
        let y: Vec<f64> = (0..96).map(|t| if t % 4 == 0 && t < 48 { 12.0 } else { 10.0 }).collect();
        let first = classical(&y, 4).unwrap().indices[0];
        assert!(first < 1.02, "{first}: the plain average is about 1.07");
    }

    #[test]
    fn gaps_are_bridged_and_ends_held() {
        let n = f64::NAN;
        assert_eq!(interpolate(&[n, 1.0, n, n, 4.0, n]), [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(interpolate(&[n, n]), [0.0, 0.0]);
    }
}
