//! Intermittent demand: many zeros, some demands.
//!
//! Croston (1972) smooths the sizes of demands and the gaps between them; Syntetos and Boylan (2005) take its bias off
//! by the factor `1 − α/2` ([`CrostonSba`]). Teunter, Syntetos and Babai (2011) smooth the probability of a demand
//! at each observation instead of the gaps, so that the forecast fades when demand ends ([`Tsb`]).

use crate::quantile::{interval_z, ordered_step};
use crate::{Budget, Fit, FitError, Predict, Step, Summary};
use serde::{Deserialize, Serialize};

/// Croston's method with the Syntetos-Boylan correction; smoothing 0.1 as in the literature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrostonSba;

/// Teunter-Syntetos-Babai; both smoothing parameters are chosen by squared error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tsb;

const ALPHA: f64 = 0.1;
/// Tried for sizes and for probabilities by [`Tsb`].
const GRID: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5];

/// Either method, fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedCroston {
    tsb: bool,
    /// Smoothing of sizes, and of gaps or probabilities.
    alpha: f64,
    beta: f64,
    /// Smoothed size of a demand.
    size: f64,
    /// Smoothed gap (Croston) or probability (TSB).
    rate: f64,
    /// Smoothed squared deviation of sizes.
    spread: f64,
    /// Observations since the last demand, that one not counted.
    since: f64,
    n: usize,
}

impl FittedCroston {
    /// From the first demand on; `None` where there is none.
    fn start(tsb: bool, alpha: f64, beta: f64, y: &[f64]) -> Option<FittedCroston> {
        let known = || y.iter().filter(|v| v.is_finite());
        let demands: Vec<f64> = known().copied().filter(|v| *v != 0.0).collect();
        let first = *demands.first()?;
        let probability = demands.len() as f64 / known().count() as f64;
        let largest = demands.iter().fold(0.0_f64, |s, v| s.max(v.abs()));
        let mean = demands.iter().map(|v| v / demands.len() as f64).sum::<f64>();
        let spread =
            demands.iter().map(|v| ((v - mean) / largest).powi(2) / demands.len() as f64).sum::<f64>();
        let rate = if tsb { probability } else { 1.0 / probability };
        // In units of the largest demand squared this cannot overflow; it is brought back where it is used.
        let spread = spread.sqrt() * largest;
        Some(FittedCroston { tsb, alpha, beta, size: first, rate, spread, since: 0.0, n: 0 })
    }

    fn mean(&self) -> f64 {
        if self.tsb { self.size * self.rate } else { (1.0 - 0.5 * self.beta) * self.size / self.rate }
    }

    fn probability(&self) -> f64 {
        if self.tsb { self.rate } else { 1.0 / self.rate.max(1.0) }
    }

    /// Standard deviation of one observation: a demand that comes or not, of a size that varies.
    fn sigma(&self) -> f64 {
        let p = self.probability().clamp(0.0, 1.0);
        let largest = self.size.abs().max(self.spread).max(1e-300);
        let (size, spread) = (self.size / largest, self.spread / largest);
        (p * spread * spread + p * (1.0 - p) * size * size).sqrt() * largest
    }
}

impl Fit for CrostonSba {
    type Fitted = FittedCroston;

    fn needed(&self) -> usize {
        2
    }

    fn fit(&self, y: &[f64], _budget: &mut Budget) -> Result<FittedCroston, FitError> {
        fit("CrostonSBA", false, ALPHA, ALPHA, y)
    }
}

impl Fit for Tsb {
    type Fitted = FittedCroston;

    fn needed(&self) -> usize {
        2
    }

    fn fit(&self, y: &[f64], _budget: &mut Budget) -> Result<FittedCroston, FitError> {
        let scale = crate::ets::series_scale(y);
        let mut best = (f64::INFINITY, ALPHA, ALPHA);
        for alpha in GRID {
            for beta in GRID {
                let Some(mut model) = FittedCroston::start(true, alpha, beta, y) else { break };
                let mut sum = 0.0;
                for &v in y {
                    if v.is_finite() {
                        sum += ((v - model.mean()) / scale).powi(2);
                    }
                    model.update(v);
                }
                if sum < best.0 {
                    best = (sum, alpha, beta);
                }
            }
        }
        fit("TSB", true, best.1, best.2, y)
    }
}

fn fit(family: &'static str, tsb: bool, alpha: f64, beta: f64, y: &[f64]) -> Result<FittedCroston, FitError> {
    let got = y.iter().filter(|v| v.is_finite()).count();
    if got < 2 {
        return Err(FitError::TooShort { family, needed: 2, got });
    }
    // Nothing but zeros: the forecast is zero until a demand comes.
    let nothing = FittedCroston { tsb, alpha, beta, size: 0.0, rate: 1.0, spread: 0.0, since: 0.0, n: 0 };
    let mut model = FittedCroston::start(tsb, alpha, beta, y).unwrap_or(nothing);
    y.iter().for_each(|&v| model.update(v));
    Ok(model)
}

impl Predict for FittedCroston {
    fn update(&mut self, y: f64) {
        self.n += 1;
        if !y.is_finite() {
            return;
        }
        let demand = y != 0.0;
        if demand {
            let off = (y - self.size).abs();
            self.spread += self.alpha * (off - self.spread);
            self.size += self.alpha * (y - self.size);
        }
        if self.tsb {
            let came = if demand { 1.0 } else { 0.0 };
            self.rate += self.beta * (came - self.rate);
        } else if demand {
            self.rate += self.beta * (self.since + 1.0 - self.rate);
            self.since = 0.0;
        } else {
            self.since += 1.0;
        }
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        let mean = self.mean();
        let half = interval_z(level) * self.sigma();
        // Demand that is never negative is not forecast to be.
        let floor = if self.size >= 0.0 { 0.0 } else { f64::MIN };
        out.fill(ordered_step(mean, (mean - half).max(floor), mean + half));
    }

    fn summary(&self) -> Summary {
        let rate = if self.tsb { "probability" } else { "interval" };
        let params = [("alpha", self.alpha), ("beta", self.beta), ("size", self.size), (rate, self.rate)];
        Summary {
            model: if self.tsb { "TSB" } else { "CrostonSBA" }.into(),
            n: self.n,
            params: params.into_iter().map(|(name, v)| (name.to_owned(), v)).collect(),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_demand_of_six_every_third_time_is_two_a_step_less_the_correction() {
        let y: Vec<f64> = (0..300).map(|t| if t % 3 == 2 { 6.0 } else { 0.0 }).collect();
        let step = CrostonSba.fit(&y, &mut Budget::default()).unwrap().forecast(1, 0.9)[0];
        assert!((step.mean - 2.0 * 0.95).abs() < 1e-6, "{}", step.mean);
        assert_eq!(step.lower, 0.0);
    }

    #[test]
    fn tsb_fades_when_demand_ends_and_croston_does_not() {
        let mut y: Vec<f64> = (0..100).map(|t| if t % 4 == 0 { 8.0 } else { 0.0 }).collect();
        let before = Tsb.fit(&y, &mut Budget::default()).unwrap();
        let mut tsb = before.clone();
        let mut croston = CrostonSba.fit(&y, &mut Budget::default()).unwrap();
        let unmoved = croston.mean();
        y.clear();
        for _ in 0..100 {
            tsb.update(0.0);
            croston.update(0.0);
        }
        assert!(tsb.mean() < 0.2 * before.mean());
        assert_eq!(croston.mean(), unmoved);
    }

    #[test]
    fn nothing_but_zeros_is_forecast_as_zero() {
        for step in
            [CrostonSba.fit(&[0.0; 9], &mut Budget::default()), Tsb.fit(&[0.0; 9], &mut Budget::default())]
        {
            assert_eq!(step.unwrap().forecast(1, 0.9)[0], Step { mean: 0.0, lower: 0.0, upper: 0.0 });
        }
    }
}
