//! How finely a series is measured: no forecast of a count is surer than the count's own steps.

use crate::Step;
use crate::quantile::ordered_step;
use serde::{Deserialize, Serialize};

/// The step between values that a series can take: 1 for counts, nearly nothing for measurements. The least change seen,
/// once enough were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Grain {
    last: Option<f64>,
    least: f64,
    changes: u32,
}

impl Grain {
    /// Changes before the least of them is taken for the step: of a series that jumps twice it says nothing.
    const CHANGES: u32 = 8;

    /// Of a series as it is known so far.
    pub fn of(values: &[f64]) -> Grain {
        let mut grain = Grain::default();
        values.iter().for_each(|y| grain.observe(*y));
        grain
    }

    /// Takes the next observation; one that is missing says nothing.
    pub fn observe(&mut self, y: f64) {
        if !y.is_finite() {
            return;
        }
        let change = self.last.replace(y).map_or(0.0, |last| (y - last).abs());
        if change > 0.0 && change.is_finite() {
            self.least = if self.changes == 0 { change } else { self.least.min(change) };
            self.changes = self.changes.saturating_add(1);
        }
    }

    /// The step; 0 while it is not known.
    pub fn step(&self) -> f64 {
        if self.changes < Self::CHANGES { 0.0 } else { self.least }
    }

    /// Variance of what rounding to the step takes away, uniform within it (Sheppard 1898): no forecast of such a
    /// series is surer than this. 0 while the step is not known.
    pub fn variance(&self) -> f64 {
        self.step() * self.step() / 12.0
    }

    /// An interval that is calibrated on errors of mostly nothing shrinks to nothing: it reaches half a step at least,
    /// to where the next value begins.
    pub fn widen(&self, path: &mut [Step]) {
        let half = 0.5 * self.step();
        for step in
            path.iter_mut().filter(|step| step.upper - step.mean < half || step.mean - step.lower < half)
        {
            let (lower, upper) = (step.lower.min(step.mean - half), step.upper.max(step.mean + half));
            *step = ordered_step(step.mean, lower, upper);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Grain;

    #[test]
    fn counts_have_a_step_of_one_and_measurements_next_to_none() {
        let counts: Vec<f64> = (0..40).map(|t| f64::from(t * t % 5)).collect();
        assert_eq!(Grain::of(&counts).variance(), 1.0 / 12.0);
        let measured: Vec<f64> = (0..400).map(|t| (f64::from(t) * 1.7).sin() * 10.0).collect();
        assert!(Grain::of(&measured).variance() < 1e-3, "{:?}", Grain::of(&measured));
    }

    #[test]
    fn a_series_that_hardly_changes_says_nothing_of_its_step() {
        let mut values = vec![100.0; 50];
        values[20] = 5_000.0;
        values[30] = f64::NAN;
        assert_eq!(Grain::of(&values).variance(), 0.0);
    }
}
