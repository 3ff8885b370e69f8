//! What a live model remembers of its own past forecasts: how right they were, and whether something changed.

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

impl Cusum {
    /// Half the shift that is worth finding, in standard deviations.
    const SLACK: f64 = 0.5;
    /// Decision interval: about one false alarm in 10,000 observations of a well-specified model.
    const LIMIT: f64 = 10.0;

    /// Takes a standardised error; true when a change is found, and the test starts anew.
    pub fn observe(&mut self, error: f64) -> bool {
        // One wild value is an anomaly, not a change: it counts for no more than this.
        let e = error.clamp(-3.0, 3.0);
        self.up = (self.up + e - Self::SLACK).max(0.0);
        self.down = (self.down - e - Self::SLACK).max(0.0);
        self.wide = (self.wide + (e * e - 1.0) / 2.0 - Self::SLACK).max(0.0);
        let changed = self.up > Self::LIMIT || self.down > Self::LIMIT || self.wide > 2.0 * Self::LIMIT;
        if changed {
            *self = Cusum::default();
        }
        changed
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
        assert!((0..2_000).all(|t| !cusum.observe(calm(t))));
        assert!(!cusum.observe(1e6));
        assert!((0..50).all(|t| !cusum.observe(calm(t))));
        assert!((0..20).any(|t| cusum.observe(calm(t) + 2.0)));
    }
}
