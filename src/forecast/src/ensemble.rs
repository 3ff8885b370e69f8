//! Several models' forecasts combined into one: by the median (Petropoulos and Svetunkov 2020), or weighted by how
//! right each has been (Bates and Granger 1969).
//!
//! The combination's interval is its own: the middle of the members' half-widths, around the combined mean, and never
//! so narrow that it leaves out half of the members' means.

use crate::quantile::computed_step;
use crate::{Budget, Fit, FitError, Fitted, Predict, Spec, Step, Summary};
use serde::{Deserialize, Serialize};

/// How members are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Combination {
    /// The median of the members' forecasts.
    #[default]
    Median,
    /// Their mean, each weighted by the inverse of its recent squared error.
    Accuracy,
}

/// Members, by name, and how they are combined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The models. One that cannot be fitted is left out; at least one must be.
    pub members: Vec<Spec>,
    /// How they are combined.
    pub combination: Combination,
}

/// A fitted [`Ensemble`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedEnsemble {
    members: Vec<Member>,
    combination: Combination,
    n: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Member {
    fitted: Fitted,
    /// Fading mean of squared one-step errors, in squared units of `size`; before the first, the model's own variance.
    error: f64,
    size: f64,
}

/// Weight left to past errors after one observation.
const FADE: f64 = 0.95;

impl Fit for Ensemble {
    type Fitted = FittedEnsemble;

    fn needed(&self) -> usize {
        self.members.iter().map(Fit::needed).min().unwrap_or(1)
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<FittedEnsemble, FitError> {
        let mut members = Vec::new();
        let mut refusal = FitError::Specification("an ensemble needs at least one member".into());
        for spec in &self.members {
            match spec.fit(y, budget) {
                Ok(fitted) => members.push(Member::new(fitted)),
                Err(error) => refusal = error,
            }
        }
        if members.is_empty() {
            return Err(refusal);
        }
        Ok(FittedEnsemble { members, combination: self.combination, n: y.len() })
    }
}

impl Member {
    fn new(fitted: Fitted) -> Member {
        let step = fitted.forecast(1, crate::conformal::ONE_SIGMA)[0];
        let size = crate::conformal::sigma_of(&step).max(1e-12 * step.mean.abs()).max(1e-300);
        Member { fitted, error: 1.0, size }
    }

    fn observe(&mut self, y: f64) {
        if y.is_finite() {
            let mut next = [Step { mean: 0.0, lower: 0.0, upper: 0.0 }];
            self.fitted.forecast_into(0.5, &mut next);
            let e = ((y - next[0].mean) / self.size).clamp(-1e6, 1e6);
            self.error = FADE * self.error + (1.0 - FADE) * e * e;
        }
        self.fitted.update(y);
    }

    fn weight(&self, smallest: f64) -> f64 {
        let size = self.size / smallest;
        1.0 / (self.error.max(1e-12) * size * size)
    }
}

impl Predict for FittedEnsemble {
    fn update(&mut self, y: f64) {
        self.n += 1;
        match self.combination {
            Combination::Accuracy => self.members.iter_mut().for_each(|m| m.observe(y)),
            Combination::Median => self.members.iter_mut().for_each(|m| m.fitted.update(y)),
        }
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        let count = self.members.len();
        let paths: Vec<Vec<Step>> =
            self.members.iter().map(|m| m.fitted.forecast(out.len(), level)).collect();
        let smallest = self.members.iter().map(|m| m.size).fold(f64::INFINITY, f64::min);
        let weights: Vec<f64> = match self.combination {
            Combination::Median => vec![1.0; count],
            Combination::Accuracy => self.members.iter().map(|m| m.weight(smallest)).collect(),
        };
        let mut column = vec![(0.0, 0.0); count];
        for (h, step) in out.iter_mut().enumerate() {
            let mut combine = |value: &dyn Fn(&Step) -> f64| match self.combination {
                Combination::Median => {
                    column.iter_mut().zip(&paths).for_each(|(c, p)| *c = (value(&p[h]), 1.0));
                    median(&mut column)
                }
                Combination::Accuracy => {
                    let total: f64 = weights.iter().sum();
                    paths.iter().zip(&weights).map(|(p, w)| value(&p[h]) * (w / total)).sum()
                }
            };
            let mean = combine(&|s| s.mean);
            let below = combine(&|s| s.mean - s.lower);
            let above = combine(&|s| s.upper - s.mean);
            let apart = combine(&|s| (s.mean - mean).abs());
            *step = computed_step(mean, mean - below.max(apart), mean + above.max(apart));
        }
    }

    fn summary(&self) -> Summary {
        let names: Vec<String> = self.members.iter().map(|m| m.fitted.summary().model).collect();
        Summary { model: format!("Ensemble[{}]", names.join(", ")), n: self.n, ..Summary::default() }
    }
}

/// Median of the first parts.
fn median(column: &mut [(f64, f64)]) -> f64 {
    column.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = column.len();
    if n % 2 == 1 { column[n / 2].0 } else { 0.5 * column[n / 2 - 1].0 + 0.5 * column[n / 2].0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<Spec> {
        ["Naive", "Drift", "SeasonalNaive"].map(|name| name.parse::<Spec>().unwrap().with_season(4)).to_vec()
    }

    #[test]
    fn the_median_is_the_member_in_the_middle() {
        let y: Vec<f64> = (0..40).map(|t| t as f64 + [0.0, 5.0, -5.0, 1.0][t % 4]).collect();
        let ensemble = Ensemble { members: members(), combination: Combination::Median };
        let path = ensemble.fit(&y, &mut Budget::default()).unwrap().forecast(4, 0.9);
        for (h, step) in path.iter().enumerate() {
            let mut each: Vec<f64> = members()
                .iter()
                .map(|m| m.fit(&y, &mut Budget::default()).unwrap().forecast(4, 0.9)[h].mean)
                .collect();
            each.sort_by(f64::total_cmp);
            assert_eq!(step.mean, each[1]);
        }
    }

    #[test]
    fn the_member_that_has_been_right_is_followed() {
        let season = [0.0, 50.0, -50.0, 10.0];
        let y: Vec<f64> = (0..80).map(|t| season[t % 4] + ((t * 7) % 5) as f64).collect();
        let ensemble = Ensemble { members: members(), combination: Combination::Accuracy };
        let mut fitted = ensemble.fit(&y[..40], &mut Budget::default()).unwrap();
        y[40..].iter().for_each(|&v| fitted.update(v));
        let path = fitted.forecast(4, 0.9);
        for (h, step) in path.iter().enumerate() {
            assert!((step.mean - y[76 + h]).abs() < 3.0, "{h}: {} against {}", step.mean, y[76 + h]);
        }
    }

    #[test]
    fn a_member_that_cannot_be_fitted_is_left_out() {
        let mut members = members();
        members.push("ETS(M,N,M)".parse::<Spec>().unwrap().with_season(4));
        let y: Vec<f64> = (0..40).map(|t| (t % 4) as f64 - 1.0).collect();
        let fitted =
            Ensemble { members, combination: Combination::Median }.fit(&y, &mut Budget::default()).unwrap();
        assert_eq!(fitted.members.len(), 3);
    }
}
