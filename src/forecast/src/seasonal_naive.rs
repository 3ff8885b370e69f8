//! Forecasts by repeating: the last season ([`SeasonalNaive`]), the last value ([`SeasonalNaive`] of season 1), or
//! the last value with the average change ([`Drift`]). The yardsticks of every comparison
//! (Hyndman and Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., section 5.2).

use crate::quantile::{interval_z, ordered_step};
use crate::{Budget, Fit, FitError, Predict, Step, Summary};
use serde::{Deserialize, Serialize};

/// Repeats the values of one season ago. A season of 1 is the naive forecast (random walk).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeasonalNaive {
    /// Observations in a season, at least 1.
    pub season: usize,
}

/// A fitted [`SeasonalNaive`]: one season of values and the size of its errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedSeasonalNaive {
    season: Vec<f64>,
    /// Where in `season` the next observation belongs.
    next: usize,
    /// Residual standard deviation, and the number of errors it was computed from.
    sigma: f64,
    n: usize,
}

impl Fit for SeasonalNaive {
    type Fitted = FittedSeasonalNaive;

    fn needed(&self) -> usize {
        self.season.max(1) + 1
    }

    fn fit(&self, y: &[f64], _budget: &mut Budget) -> Result<FittedSeasonalNaive, FitError> {
        let m = self.season.max(1);
        let family = if m == 1 { "Naive" } else { "SeasonalNaive" };
        let got = y.iter().filter(|v| v.is_finite()).count();
        if got < 2 || y.len() < m + 1 {
            return Err(FitError::TooShort { family, needed: self.needed(), got });
        }
        let start = y.iter().copied().find(|v| v.is_finite()).unwrap_or(0.0);
        let scale = y.iter().filter(|v| v.is_finite()).fold(0.0_f64, |s, v| s.max(v.abs())).max(1e-300);
        // A missing value keeps the place's last one; a place never seen starts at the first value there is.
        let mut season = vec![f64::NAN; m];
        let (mut sum, mut count) = (0.0, 0usize);
        for (t, &v) in y.iter().enumerate() {
            let place = &mut season[t % m];
            if v.is_finite() {
                if place.is_finite() {
                    let e = (v - *place) / scale;
                    sum += e * e;
                    count += 1;
                }
                *place = v;
            }
        }
        season.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = start);
        let sigma = if count == 0 { 0.0 } else { (sum / count as f64).sqrt() * scale };
        Ok(FittedSeasonalNaive { season, next: y.len() % m, sigma, n: y.len() })
    }
}

impl Predict for FittedSeasonalNaive {
    fn update(&mut self, y: f64) {
        if y.is_finite() {
            self.season[self.next] = y;
        }
        self.next = (self.next + 1) % self.season.len();
        self.n += 1;
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        let (m, z) = (self.season.len(), interval_z(level));
        for (h, step) in out.iter_mut().enumerate() {
            let mean = self.season[(self.next + h) % m];
            let half = z * self.sigma * ((h / m + 1) as f64).sqrt();
            *step = ordered_step(mean, mean - half, mean + half);
        }
    }

    fn summary(&self) -> Summary {
        let m = self.season.len();
        let model = if m == 1 { "Naive".to_owned() } else { format!("SeasonalNaive({m})") };
        Summary { model, n: self.n, sigma2: Some(self.sigma * self.sigma), ..Summary::default() }
    }
}

/// The last value, moved on by the average change of the history (a random walk with drift).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift;

/// A fitted [`Drift`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedDrift {
    last: f64,
    drift: f64,
    sigma: f64,
    /// Observations given, and steps since the last one that was not missing.
    n: usize,
    since: usize,
    /// Length the drift was estimated from: its own uncertainty grows with the horizon over it.
    span: f64,
}

impl Fit for Drift {
    type Fitted = FittedDrift;

    fn needed(&self) -> usize {
        3
    }

    fn fit(&self, y: &[f64], _budget: &mut Budget) -> Result<FittedDrift, FitError> {
        let known: Vec<(usize, f64)> = y.iter().copied().enumerate().filter(|(_, v)| v.is_finite()).collect();
        let (Some(&(first_at, first)), Some(&(last_at, last)), true) =
            (known.first(), known.last(), known.len() >= 3)
        else {
            return Err(FitError::TooShort { family: "Drift", needed: 3, got: known.len() });
        };
        let span = (last_at - first_at) as f64;
        let drift = last / span - first / span;
        // A change over a gap of k steps has k times the variance of one step.
        let scale = known.iter().fold(1e-300_f64, |s, (_, v)| s.max(v.abs()));
        let sum: f64 = known
            .windows(2)
            .map(|w| {
                let k = (w[1].0 - w[0].0) as f64;
                ((w[1].1 / scale - w[0].1 / scale) - k * drift / scale).powi(2) / k
            })
            .sum();
        let sigma = (sum / (known.len() - 2) as f64).sqrt() * scale;
        Ok(FittedDrift { last, drift, sigma, n: y.len(), since: y.len() - 1 - last_at, span })
    }
}

impl Predict for FittedDrift {
    fn update(&mut self, y: f64) {
        self.n += 1;
        if y.is_finite() {
            (self.last, self.since) = (y, 0);
        } else {
            self.since += 1;
        }
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        let z = interval_z(level);
        for (i, step) in out.iter_mut().enumerate() {
            let h = (i + 1 + self.since) as f64;
            let mean = self.last + h * self.drift;
            let half = z * self.sigma * (h * (1.0 + h / self.span)).sqrt();
            *step = ordered_step(mean, mean - half, mean + half);
        }
    }

    fn summary(&self) -> Summary {
        let params = [("drift".to_owned(), self.drift)].into();
        let sigma2 = Some(self.sigma * self.sigma);
        Summary { model: "Drift".into(), n: self.n, sigma2, params, ..Summary::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_season_is_repeated_and_the_interval_grows_by_seasons() {
        let y: Vec<f64> = (0..24).map(|t| (t % 4) as f64 + 0.1 * ((t * 7) % 5) as f64).collect();
        let mut fitted = SeasonalNaive { season: 4 }.fit(&y, &mut Budget::default()).unwrap();
        let path = fitted.forecast(8, 0.95);
        for (h, step) in path.iter().enumerate() {
            assert_eq!(step.mean, y[20 + h % 4]);
        }
        let width = |s: &Step| s.upper - s.lower;
        assert!((width(&path[4]) / width(&path[0]) - 2f64.sqrt()).abs() < 1e-12);
        fitted.update(99.0);
        assert_eq!(fitted.forecast(4, 0.95)[3].mean, 99.0);
    }

    #[test]
    fn drift_is_the_line_through_first_and_last_and_skips_gaps() {
        let y = [1.0, f64::NAN, 3.0, 4.0, 5.0, f64::NAN];
        let fitted = Drift.fit(&y, &mut Budget::default()).unwrap();
        let path = fitted.forecast(2, 0.9);
        assert!((path[0].mean - 7.0).abs() < 1e-12 && (path[1].mean - 8.0).abs() < 1e-12);
        assert!(path[0].upper - path[0].lower < 1e-9, "a straight line has no error");
    }

    #[test]
    fn too_short_says_how_many() {
        let err = SeasonalNaive { season: 12 }.fit(&[1.0; 5], &mut Budget::default()).unwrap_err();
        assert!(err.to_string().contains("at least 13 observations and got 5"), "{err}");
    }
}
