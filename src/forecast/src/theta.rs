//! The Theta method and its dynamic, optimised form.
//!
//! Assimakopoulos and Nikolopoulos (2000); state space form of Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler
//! (2016). The forecast is `μ_t = ℓ_{t−1} + ω((1−α)^{t−1} A + (1−(1−α)^t)/α · B)` with `ω = 1 − 1/θ`, a level `ℓ` of
//! simple exponential smoothing and the line `A + Bt`: fitted once and `θ = 2` in [`Theta::standard`], refitted
//! at each observation and `θ` estimated in [`Theta::dynamic`]. Given α the forecasts are linear in `ℓ_0` and `ω`, so
//! least squares gives both exactly and the search is over α alone.

use crate::decompose::{Seasonal, classical, is_seasonal};
use crate::quantile::{computed_step, interval_z};
use crate::{Budget, Fit, FitError, Predict, Step, Summary};
use serde::{Deserialize, Serialize};

/// Theta, standard or dynamic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theta {
    /// Observations in a season; 1 is none. A season is taken off only where it is significant.
    pub season: usize,
    /// Whether the line moves with the observations and `θ` is fitted.
    pub dynamic: bool,
}

impl Theta {
    /// `θ = 2`, one line through the history.
    pub fn standard(season: usize) -> Theta {
        Theta { season, dynamic: false }
    }

    /// Dynamic optimised Theta.
    pub fn dynamic(season: usize) -> Theta {
        Theta { season, dynamic: true }
    }
}

/// Least-squares line through the observations so far, kept as running moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    count: f64,
    mean_t: f64,
    mean_y: f64,
    stt: f64,
    sty: f64,
}

impl Line {
    fn add(&mut self, t: f64, y: f64) {
        self.count += 1.0;
        let (dt, dy) = (t - self.mean_t, y - self.mean_y);
        self.mean_t += dt / self.count;
        self.mean_y += dy / self.count;
        self.stt += dt * (t - self.mean_t);
        self.sty += dt * (y - self.mean_y);
    }

    fn slope(&self) -> f64 {
        if self.stt > 0.0 { self.sty / self.stt } else { 0.0 }
    }

    fn intercept(&self) -> f64 {
        self.mean_y - self.slope() * self.mean_t
    }
}

/// A fitted [`Theta`], in scaled units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedTheta {
    dynamic: bool,
    seasonal: Option<Seasonal>,
    alpha: f64,
    /// `1 − 1/θ`
    weight: f64,
    level: f64,
    line: Line,
    /// Observations so far, missing ones included.
    n: usize,
    /// `(1 − α)^n`
    faded: f64,
    sigma2: f64,
    scale: f64,
    loglik: Option<f64>,
}

const ALPHA: (f64, f64) = (0.1, 0.99);

impl Fit for Theta {
    type Fitted = FittedTheta;

    fn needed(&self) -> usize {
        4
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<FittedTheta, FitError> {
        let family = if self.dynamic { "DynamicOptimizedTheta" } else { "Theta" };
        let got = y.iter().filter(|v| v.is_finite()).count();
        if got < self.needed() {
            return Err(FitError::TooShort { family, needed: self.needed(), got });
        }
        let scale = crate::ets::series_scale(y);
        let mut adjusted: Vec<f64> =
            y.iter().map(|v| if v.is_finite() { v / scale } else { f64::NAN }).collect();
        let mut seasonal =
            if is_seasonal(&adjusted, self.season) { classical(&adjusted, self.season) } else { None };
        if let Some(seasonal) = &mut seasonal {
            let end = std::mem::replace(&mut seasonal.next, 0);
            for (t, v) in adjusted.iter_mut().enumerate() {
                *v = seasonal.remove(*v, t);
            }
            seasonal.next = end;
        }
        let problem = Problem::new(*self, &adjusted);
        let alpha = problem.search(budget).ok_or_else(|| FitError::Numerical {
            family,
            reason: "no smoothing parameter gave a finite error; check the values for overflow".into(),
        })?;
        let solved = problem.solve(alpha);
        let mut level = solved.level;
        for &v in &adjusted {
            if v.is_finite() {
                level += alpha * (v - level);
            }
        }
        let spare = (solved.count - if self.dynamic { 3.0 } else { 2.0 }).max(1.0);
        let variance = solved.sum_squares / solved.count;
        let loglik = -0.5 * solved.count * ((2.0 * std::f64::consts::PI * variance).ln() + 1.0)
            - solved.count * scale.ln();
        Ok(FittedTheta {
            dynamic: self.dynamic,
            seasonal,
            alpha,
            weight: solved.weight,
            level,
            line: problem.whole,
            n: y.len(),
            faded: problem.faded(alpha),
            sigma2: solved.sum_squares / spare,
            scale,
            loglik: Some(loglik).filter(|v| v.is_finite()),
        })
    }
}

/// The history, and the line as it stood before each observation.
struct Problem<'a> {
    kind: Theta,
    y: &'a [f64],
    lines: Vec<(f64, f64)>,
    whole: Line,
    /// First observation whose error counts.
    from: usize,
    /// About where the series is: the first value that is known.
    place: f64,
}

struct Solved {
    level: f64,
    weight: f64,
    sum_squares: f64,
    count: f64,
}

impl<'a> Problem<'a> {
    fn new(kind: Theta, y: &'a [f64]) -> Self {
        let mut whole = Line::default();
        let mut lines = Vec::with_capacity(y.len());
        for (t, &v) in y.iter().enumerate() {
            lines.push((whole.intercept(), whole.slope()));
            if v.is_finite() {
                whole.add((t + 1) as f64, v);
            }
        }
        if !kind.dynamic {
            lines.fill((whole.intercept(), whole.slope()));
        }
        let from = if kind.dynamic && y.len() > 6 { 2 } else { 0 };
        let place = y.iter().copied().find(|v| v.is_finite()).unwrap_or(0.0);
        Problem { kind, y, lines, whole, from, place }
    }

    fn faded(&self, alpha: f64) -> f64 {
        (1.0 - alpha).powf(self.y.len() as f64)
    }

    /// Level and weight by least squares for one α.
    ///
    /// The unknowns are `ω` and `δ`, with `ℓ_0 = c + δ − ωc` for a value `c` of the series: the model is the same, and what is
    /// summed is of the size of the errors. Sums of squared levels would hide the errors of a series far from zero.
    fn solve(&self, alpha: f64) -> Solved {
        let place = self.place;
        let (mut level, mut power) = (place, 1.0);
        // Normal equations of the residual on what multiplies δ (d) and ω (x).
        let (mut dd, mut dx, mut xx, mut dr, mut xr, mut rr, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let mut d = 1.0;
        for (t, (&v, &(a, b))) in self.y.iter().zip(&self.lines).enumerate() {
            let after = power * (1.0 - alpha);
            let x = power * (a - place) + (power - d) * place + (1.0 - after) / alpha * b;
            if v.is_finite() {
                if t >= self.from {
                    let r = v - level;
                    dd += d * d;
                    dx += d * x;
                    xx += x * x;
                    dr += d * r;
                    xr += x * r;
                    rr += r * r;
                    count += 1.0;
                }
                level += alpha * (v - level);
                d *= 1.0 - alpha;
            }
            power = after;
        }
        let with = |weight: f64| {
            let off = if dd > 0.0 { (dr - weight * dx) / dd } else { 0.0 };
            let sum = rr + off * off * dd + weight * weight * xx - 2.0 * (off * dr + weight * xr)
                + 2.0 * off * weight * dx;
            let level = place + off - weight * place;
            Solved { level, weight, sum_squares: sum.max(0.0), count }
        };
        if !self.kind.dynamic {
            return with(0.5);
        }
        let determinant = dd * xx - dx * dx;
        let weight = if determinant > 1e-12 * dd * xx { (dd * xr - dx * dr) / determinant } else { 0.5 };
        with(weight.clamp(0.0, 1.0))
    }

    /// The α with the least squared error: the best of a grid, refined by golden sections.
    fn search(&self, budget: &mut Budget) -> Option<f64> {
        let mut value = |alpha: f64| {
            budget.evaluations = budget.evaluations.saturating_sub(1);
            budget.exhausted |= budget.evaluations == 0;
            let s = self.solve(alpha).sum_squares;
            if s.is_finite() { s } else { f64::INFINITY }
        };
        const GRID: usize = 12;
        let at = |i: f64| ALPHA.0 + (ALPHA.1 - ALPHA.0) * i / GRID as f64;
        let best = (0..=GRID).map(|i| (value(at(i as f64)), i)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        if best.0 == f64::INFINITY {
            return None;
        }
        let golden = 0.5 * (5f64.sqrt() - 1.0);
        let (mut low, mut high) =
            (at((best.1 as f64 - 1.0).max(0.0)), at((best.1 as f64 + 1.0).min(GRID as f64)));
        let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
        let (mut fa, mut fb) = (value(a), value(b));
        while high - low > 1e-6 {
            if fa <= fb {
                (high, b, fb) = (b, a, fa);
                a = high - golden * (high - low);
                fa = value(a);
            } else {
                (low, a, fa) = (a, b, fb);
                b = low + golden * (high - low);
                fb = value(b);
            }
        }
        let found = 0.5 * (low + high);
        Some(if value(found) <= best.0 { found } else { at(best.1 as f64) })
    }
}

impl FittedTheta {
    /// `θ`
    fn theta(&self) -> f64 {
        1.0 / (1.0 - self.weight).max(1e-9)
    }
}

impl Predict for FittedTheta {
    fn update(&mut self, y: f64) {
        let y = if y.is_finite() { y / self.scale } else { f64::NAN };
        let adjusted = self.seasonal.as_ref().map_or(y, |s| s.remove(y, 0));
        if adjusted.is_finite() {
            self.level += self.alpha * (adjusted - self.level);
            if self.dynamic {
                self.line.add((self.n + 1) as f64, adjusted);
            }
        }
        self.n += 1;
        self.faded *= 1.0 - self.alpha;
        if let Some(seasonal) = &mut self.seasonal {
            seasonal.advance();
        }
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        let z = interval_z(level);
        let (mut smoothed, mut line, mut faded) = (self.level, self.line, self.faded);
        for (h, step) in out.iter_mut().enumerate() {
            let after = faded * (1.0 - self.alpha);
            let moved = faded * line.intercept() + (1.0 - after) / self.alpha * line.slope();
            let mean = smoothed + self.weight * moved;
            let half = z * (self.sigma2 * (1.0 + h as f64 * self.alpha * self.alpha)).sqrt();
            if self.dynamic {
                // The forecast stands in for the observation that will come.
                line.add((self.n + h + 1) as f64, mean);
            }
            smoothed += self.alpha * (mean - smoothed);
            faded = after;
            let back = |v: f64| self.seasonal.as_ref().map_or(v, |s| s.restore(v, h)) * self.scale;
            *step = computed_step(back(mean), back(mean - half), back(mean + half));
        }
    }

    fn summary(&self) -> Summary {
        let params = [
            ("alpha".to_owned(), self.alpha),
            ("theta".to_owned(), self.theta()),
            ("level".to_owned(), self.level * self.scale),
        ];
        Summary {
            model: if self.dynamic { "DynamicOptimizedTheta" } else { "Theta" }.into(),
            n: self.n,
            loglik: self.loglik,
            sigma2: Some(self.sigma2 * self.scale * self.scale).filter(|v| v.is_finite()),
            params: params.into_iter().collect(),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn theta_is_smoothing_with_half_the_slope() {
        // On a long straight line the level lags by B/α·(1 − …) and the half slope makes up for half of it.
        let y: Vec<f64> = (0..200).map(|t| 20.0 + 2.0 * t as f64).collect();
        let fitted = Theta::standard(1).fit(&y, &mut Budget::default()).unwrap();
        let path = fitted.forecast(10, 0.9);
        let slope = path[9].mean - path[8].mean;
        assert!((slope - 1.0).abs() < 0.02, "{slope}");
    }

    #[test]
    fn the_dynamic_form_follows_a_line_and_takes_a_season_off() {
        let season = [1.3, 0.8, 0.9, 1.0];
        let y: Vec<f64> = (0..60).map(|t| (50.0 + t as f64) * season[t % 4]).collect();
        let fitted = Theta::dynamic(4).fit(&y, &mut Budget::default()).unwrap();
        for (h, step) in fitted.forecast(8, 0.9).iter().enumerate() {
            let truth = (110.0 + h as f64) * season[h % 4];
            assert!((step.mean / truth - 1.0).abs() < 0.05, "{h}: {} against {truth}", step.mean);
        }
    }

    #[test]
    fn an_update_is_the_same_as_having_seen_it() {
        // The parameters differ between the fits, the recursion does not: update and feed by hand.
        let y: Vec<f64> = (0..50).map(|t| 10.0 + ((t * 7) % 11) as f64).collect();
        let mut fitted = Theta::dynamic(1).fit(&y[..40], &mut Budget::default()).unwrap();
        let mut line = fitted.line;
        let mut level = fitted.level;
        for (t, &v) in y.iter().enumerate().skip(40) {
            fitted.update(v);
            line.add((t + 1) as f64, v / fitted.scale);
            level += fitted.alpha * (v / fitted.scale - level);
        }
        assert_eq!((fitted.line, fitted.level, fitted.n), (line, level, 50));
        assert!((fitted.faded - (1.0 - fitted.alpha).powi(50)).abs() < 1e-12);
    }

    #[test]
    fn a_high_level_changes_neither_the_interval_nor_the_season() {
        let noise = |t: usize| ((t * 7919) % 101) as f64 / 10.0;
        let season = [6.0, -4.0, 0.0, -2.0];
        for theta in [Theta::standard(1), Theta::dynamic(1), Theta::standard(4), Theta::dynamic(4)] {
            let path = |level: f64| {
                let value = |t: usize| level + noise(t) + if theta.season > 1 { season[t % 4] } else { 0.0 };
                let y: Vec<f64> = (0..100).map(value).collect();
                theta.fit(&y, &mut Budget::default()).unwrap().forecast(3, 0.95)
            };
            let usual = path(1e6);
            for level in [1e8, 1e9, 1e10, 1e12] {
                for (high, usual) in path(level).iter().zip(&usual) {
                    let ratio = (high.upper - high.lower) / (usual.upper - usual.lower);
                    let moved = (high.mean - level) - (usual.mean - 1e6);
                    assert!((ratio - 1.0).abs() < 0.01, "{theta:?} at {level}: width by {ratio}");
                    assert!(moved.abs() < 0.05, "{theta:?} at {level}: mean by {moved}");
                }
            }
        }
    }
}
