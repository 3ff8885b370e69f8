//! Intervals that cover what they say: online conformal calibration per horizon, around any family.
//!
//! For a few horizons the errors of past forecasts, in units of the model's own standard deviation at that horizon,
//! are kept; the interval's half-width is their quantile. The quantile's level follows adaptive conformal inference
//! (Gibbs and Candès 2021): after a miss the interval widens, after a hit it narrows a little, so that long-run
//! coverage is the level asked for whatever the series does. Horizons between the kept ones are interpolated.

use crate::quantile::{interval_z, normal_quantile};
use crate::{Budget, Fit, FitError, Fitted, Predict, Spec, Step};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Errors kept for the first horizon, and for each other one.
const KEPT_FIRST: usize = 128;
const KEPT: usize = 64;
/// The level at which a model's own interval is one standard deviation to each side.
pub const ONE_SIGMA: f64 = 0.682_689_492_137_085_9;
/// Standardised errors are cut here: nothing is learnt from the size of what is beyond.
const LARGEST: f64 = 1e6;

/// Calibration state of one model: bounded, a pure function of forecasts and observations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    level: f64,
    horizons: Vec<Calibrated>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Calibrated {
    horizon: usize,
    /// Forecasts (mean, standard deviation) made for observations to come, oldest first.
    pending: VecDeque<(f64, f64)>,
    /// Absolute standardised errors, newest last.
    errors: VecDeque<f32>,
    /// Shift of the quantile's level, in standard normal units: positive is wider.
    shift: f64,
}

impl Conformal {
    /// For forecasts of `horizon` steps whose intervals shall cover `level` (in (0, 1)).
    pub fn new(horizon: usize, level: f64) -> Conformal {
        let mut kept: Vec<usize> = (0..8).map(|i| 1 << i).take_while(|h| *h < horizon).collect();
        kept.push(horizon.clamp(1, 256));
        kept.dedup();
        let horizons = kept
            .into_iter()
            .map(|horizon| Calibrated {
                horizon,
                pending: VecDeque::new(),
                errors: VecDeque::new(),
                shift: 0.0,
            })
            .collect();
        Conformal { level, horizons }
    }

    /// Takes the observation that came: judges the forecasts made for it.
    pub fn observe(&mut self, y: f64) {
        for kept in &mut self.horizons {
            if kept.pending.len() < kept.horizon {
                continue;
            }
            let Some((mean, sigma)) = kept.pending.pop_front() else { continue };
            if y.is_finite() {
                let error = standardised(y, mean, sigma).abs();
                kept.judge(error, self.level);
            }
        }
    }

    /// Takes the path that was forecast after that observation; steps carry one-standard-deviation intervals
    /// (level [`ONE_SIGMA`]). A path shorter than a kept horizon leaves that horizon out.
    pub fn expect(&mut self, path: &[Step]) {
        for kept in &mut self.horizons {
            if let Some(step) = path.get(kept.horizon - 1) {
                kept.pending.push_back((step.mean, sigma_of(step)));
            }
        }
    }

    /// How many of the model's own standard deviations the interval at `horizon` (from 1) reaches, at `level`.
    pub fn reach(&self, horizon: usize, level: f64) -> f64 {
        let z = interval_z(level);
        let at = self.horizons.partition_point(|kept| kept.horizon < horizon);
        let ratio = |kept: &Calibrated| kept.reach(level) / z;
        match (at.checked_sub(1).map(|i| &self.horizons[i]), self.horizons.get(at)) {
            (_, Some(next)) if next.horizon == horizon => next.reach(level),
            (Some(before), Some(after)) => {
                let part = (horizon - before.horizon) as f64 / (after.horizon - before.horizon) as f64;
                z * (ratio(before) * (1.0 - part) + ratio(after) * part)
            }
            (Some(last), None) => last.reach(level),
            (None, Some(first)) => first.reach(level),
            (None, None) => z,
        }
    }

    /// Turns a path of one-standard-deviation steps into calibrated intervals at `level`.
    pub fn widen(&self, path: &mut [Step], level: f64) {
        for (i, step) in path.iter_mut().enumerate() {
            let half = self.reach(i + 1, level) * sigma_of(step);
            *step = crate::quantile::ordered_step(step.mean, step.mean - half, step.mean + half);
        }
    }

    /// Absolute standardised errors of the one-step forecasts, oldest first.
    pub fn one_step_errors(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        self.horizons[0].errors.iter().copied()
    }

    /// Drops forecasts of observations to come, as when the model that made them is replaced.
    pub fn forget_pending(&mut self) {
        self.horizons.iter_mut().for_each(|kept| kept.pending.clear());
    }

    /// Whether a decoded calibration could have been written by this code.
    pub(crate) fn is_consistent(&self) -> bool {
        let whole = |kept: &Calibrated| {
            kept.horizon >= 1 && kept.errors.len() <= KEPT_FIRST && kept.errors.iter().all(|e| e.is_finite())
        };
        !self.horizons.is_empty() && self.horizons.iter().all(whole) && self.level > 0.0 && self.level < 1.0
    }

    /// After a refit: what was measured in the old model's standard deviations is measured in the new one's.
    pub fn rescale(&mut self, old_sigma: f64, new_sigma: f64) {
        let ratio = old_sigma / new_sigma;
        if ratio.is_finite() && ratio > 0.0 {
            for kept in &mut self.horizons {
                kept.errors.iter_mut().for_each(|e| *e = (f64::from(*e) * ratio).min(LARGEST) as f32);
            }
        }
    }
}

impl Calibrated {
    fn judge(&mut self, error: f64, level: f64) {
        let missed = error > self.reach(level);
        // Steps in normal units, sized so that one miss moves about as much as the level's share of hits undoes.
        let step = if missed { level } else { level - 1.0 };
        self.shift = (self.shift + 0.25 * step).clamp(-0.5, 2.0);
        let kept = if self.horizon == 1 { KEPT_FIRST } else { KEPT };
        if self.errors.len() == kept {
            self.errors.pop_front();
        }
        self.errors.push_back(error as f32);
    }

    fn reach(&self, level: f64) -> f64 {
        let z = interval_z(level) + self.shift;
        let n = self.errors.len();
        if n < 8 {
            // Too little to calibrate on: the model's own width, a little wider for what is not known.
            return z.max(0.1) * (1.0 + 1.0 / (n + 4) as f64);
        }
        let mut sorted = [0f32; KEPT_FIRST];
        let sorted = &mut sorted[..n];
        for (to, from) in sorted.iter_mut().zip(&self.errors) {
            *to = *from;
        }
        sorted.sort_unstable_by(f32::total_cmp);
        // The shifted level, and beyond the sample's edge a normal tail through its upper part.
        let rank = |z: f64| {
            2.0 * statrs::distribution::ContinuousCDF::cdf(&statrs::distribution::Normal::standard(), z) - 1.0
        };
        let p = rank(z.max(0.1));
        let at = p * (n + 1) as f64;
        let value = |i: usize| f64::from(sorted[i.clamp(1, n) - 1]);
        let edge = n as f64;
        if at >= edge {
            let edge_z = normal_quantile(0.5 + 0.5 * edge / (n + 1) as f64);
            value(n) * (z / edge_z)
        } else {
            let low = at.floor();
            value(low as usize) + (value(low as usize + 1) - value(low as usize)) * (at - low)
        }
    }
}

/// Fits `spec` to `y` and forecasts with intervals calibrated on the history's own newer part.
pub fn forecast(spec: &Spec, y: &[f64], horizon: usize, level: f64) -> Result<(Fitted, Vec<Step>), FitError> {
    let fitted = spec.fit(y, &mut Budget::default())?;
    let mut path = fitted.forecast(horizon.max(1), ONE_SIGMA);
    calibrate(spec, y, horizon.max(1), level).widen(&mut path, level);
    Ok((fitted, path))
}

/// Measures honest errors where the history is long enough: a model fitted to its older part runs through the newer
/// part as it would have live.
pub fn calibrate(spec: &Spec, y: &[f64], horizon: usize, level: f64) -> Conformal {
    let mut conformal = Conformal::new(horizon, level);
    let split = spec.needed().max(y.len() / 2);
    if y.len() < split + 8 {
        return conformal;
    }
    let (older, newer) = y.split_at(split);
    if let Ok(mut fitted) = spec.fit(older, &mut Budget::default()) {
        conformal.expect(&fitted.forecast(horizon, ONE_SIGMA));
        for &y in newer {
            conformal.observe(y);
            fitted.update(y);
            conformal.expect(&fitted.forecast(horizon, ONE_SIGMA));
        }
        // Forecasts of what has not come yet belong to the model that is discarded here.
        conformal.forget_pending();
    }
    conformal
}

/// Half the width of a one-standard-deviation step.
fn sigma_of(step: &Step) -> f64 {
    0.5 * step.upper - 0.5 * step.lower
}

/// `(y − mean)/sigma`, finite: where the model claims no error at all, a billionth of the size of the values.
pub fn standardised(y: f64, mean: f64, sigma: f64) -> f64 {
    let unit = sigma.max(1e-9 * y.abs().max(mean.abs())).max(1e-300);
    ((y - mean) / unit).clamp(-LARGEST, LARGEST)
}
