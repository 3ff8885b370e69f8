//! What a live model remembers of its own past forecasts: how right they were, and whether something changed.

use crate::conformal::{Conformal, Learnt};
use serde::{Deserialize, Serialize};

/// Weight left to the past after one observation.
const FADE: f64 = 0.99;

/// Fading sums of absolute errors and of absolute values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    error: f64,
    size: f64,
    count: u64,
}

impl Accuracy {
    /// Takes an observation and the forecast of it.
    pub fn observe(&mut self, y: f64, predicted: f64) {
        // Halves, so that the difference of two huge values stays finite.
        self.error = FADE * self.error + (1.0 - FADE) * (0.5 * y - 0.5 * predicted).abs();
        self.size = FADE * self.size + (1.0 - FADE) * (0.5 * y).abs();
        self.count += 1;
    }

    /// In [0, 1]; `None` before the first observation.
    pub fn value(&self) -> Option<f64> {
        if self.count == 0 {
            None
        } else if self.error == 0.0 {
            Some(1.0)
        } else {
            Some((1.0 - self.error / self.size).clamp(0.0, 1.0)).filter(|v| v.is_finite()).or(Some(0.0))
        }
    }
}

/// Two-sided CUSUM of standardised errors and of their squares (Page 1954; Montgomery, *Statistical Quality
/// Control*, chapter 9): finds a lasting change of level or of variance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    up: f64,
    down: f64,
    wide: f64,
}

/// A lasting change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Of the level: errors lean to one side.
    Level,
    /// Of the variance.
    Variance,
}

impl Cusum {
    /// Half the shift that is worth finding, in standard deviations.
    const SLACK: f64 = 0.5;
    /// Decision interval: about one false alarm in 10,000 observations of a well-specified model.
    const LIMIT: f64 = 10.0;

    /// No error since the last one that leant the other way leans to either side.
    pub fn is_level(&self) -> bool {
        self.up == 0.0 && self.down == 0.0
    }

    /// Takes a standardised error; tells when a change is found, and the test starts anew.
    pub fn observe(&mut self, error: f64) -> Option<Change> {
        // One wild value is an anomaly, not a change: it counts for no more than this.
        let e = error.clamp(-3.0, 3.0);
        self.up = (self.up + e - Self::SLACK).max(0.0);
        self.down = (self.down - e - Self::SLACK).max(0.0);
        self.wide = (self.wide + (e * e - 1.0) / 2.0 - Self::SLACK).max(0.0);
        let changed = if self.up > Self::LIMIT || self.down > Self::LIMIT {
            Change::Level
        } else if self.wide > 2.0 * Self::LIMIT {
            Change::Variance
        } else {
            return None;
        };
        *self = Cusum::default();
        Some(changed)
    }
}

/// How a model stood before its errors began to lean to one side. Errors between a change of level and the refit to it tell
/// of the change, not of how good the new model's forecasts are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    learnt: Learnt,
    /// The model's standard deviation of one step then.
    sigma: f64,
    /// Errors since.
    since: usize,
    /// The change was found: nothing is taken over until the model is fitted anew.
    shifted: bool,
}

impl Before {
    /// Errors that may lie between what is gone back to and a refit.
    const SINCE_MAX: usize = 160;
    /// Errors that a new model has to show, and which part of them may be past three times what they were before.
    const SHOWN: usize = 4;
    const WRONG: f64 = 0.25;

    /// An error is about to be learnt from, of a forecast with that standard deviation.
    pub fn follow(&mut self, cusum: &Cusum, conformal: &Conformal, sigma: f64) {
        if !self.shifted && cusum.is_level() {
            conformal.learnt(&mut self.learnt);
            (self.sigma, self.since) = (sigma, 0);
        }
        self.since += 1;
    }

    /// A change of level was found.
    pub fn shifted(&mut self) {
        self.shifted = true;
    }

    /// The model is fitted anew and its standard deviation is `sigma`; `errors` are its own of what came after the history
    /// it was fitted to, in its standard deviations. Where a shift came between and these are as small as before it, the
    /// calibration goes back to then: true.
    pub fn settle(&mut self, conformal: &mut Conformal, sigma: f64, errors: &[f64]) -> bool {
        let before = std::mem::take(self);
        if !before.shifted || before.since > Self::SINCE_MAX || errors.len() < Self::SHOWN {
            return false;
        }
        let usual = before.learnt.scale() * before.sigma / sigma;
        let wrong = errors.iter().filter(|error| error.abs() > 3.0 * usual).count();
        if !usual.is_finite() || wrong as f64 > Self::WRONG * errors.len() as f64 {
            return false;
        }
        conformal.go_back(&before.learnt, before.since);
        conformal.rescale(before.sigma, sigma);
        true
    }

    /// Whether it could have been written by this code, beside that calibration.
    pub fn is_consistent(&self, conformal: &Conformal) -> bool {
        self.sigma >= 0.0 && self.sigma.is_finite() && self.learnt.is_consistent(conformal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_one_less_the_share_that_was_wrong() {
        let mut accuracy = Accuracy::default();
        assert_eq!(accuracy.value(), None);
        accuracy.observe(100.0, 92.0);
        assert!((accuracy.value().unwrap() - 0.92).abs() < 1e-12);
        accuracy.observe(1e300, -1e308);
        assert_eq!(accuracy.value(), Some(0.0));
    }

    #[test]
    fn a_lasting_shift_is_found_and_one_spike_is_not() {
        let mut cusum = Cusum::default();
        let calm = |t: u32| ((t * 37) % 11) as f64 / 5.0 - 1.0;
        assert!((0..2_000).all(|t| cusum.observe(calm(t)).is_none()));
        assert_eq!(cusum.observe(1e6), None);
        assert!((0..50).all(|t| cusum.observe(calm(t)).is_none()));
        assert_eq!((0..20).find_map(|t| cusum.observe(calm(t) + 2.0)), Some(Change::Level));
        assert_eq!((0..20).find_map(|t| cusum.observe(calm(t) * 4.0)), Some(Change::Variance));
    }
}
