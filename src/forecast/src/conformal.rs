//! Intervals that cover what they say: online conformal calibration per horizon, around any family.
//!
//! For a few horizons the errors of past forecasts are measured in the model's own standard deviations at that horizon.
//! Their mean square, fading so that a changed variance is followed, says how far off the model's own interval is;
//! adaptive conformal inference (Gibbs and Candès 2021) then moves the quantile: after a miss the interval
//! widens, after a hit it narrows a little, so that long-run coverage is the level asked for whatever the series
//! does. Horizons between the kept ones are interpolated.

use crate::grain::Grain;
use crate::quantile::{ROUNDING, interval_z};
use crate::{Budget, Fit, FitError, Fitted, Predict, Spec, Step};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// One-step errors kept, for scores and inspection.
const KEPT: usize = 128;
/// Longest horizon that is calibrated by itself; beyond, as there.
const HORIZON_MAX: usize = 256;
/// Weight left to the past by one error, what the model says of itself counts for, and by how much it is believed to
/// be too sure; chosen, with [`HISTORY`] and [`GAIN`], on the even-placed M3 monthly and M4 hourly series.
const FADE: f64 = 0.95;
const PRIOR: f64 = 12.0;
const PRIOR_SCALE: f64 = 1.05;
/// What an error on the history counts for where errors on the stream will follow: it is that of a model fitted to half of
/// what the model on the stream knows, and too large by that.
const HISTORY: f64 = 0.25;
/// Errors on the history are no more than so many times the model's own, in the mean: past that they tell of a change that the
/// older half did not know of, and the whole model does.
const HISTORY_SCALE_MAX: f64 = 1.25;
/// An error counts for no more than so many times the current scale: an outlier or two are no change of variance. Of more in a
/// row each counts for the square of what the one before could, for they are one.
const CLIP: f64 = 4.0;
/// Weight left to the past by each of these: it was of something else.
const CHANGED: f64 = 0.8;
/// Outliers in a row from which nothing is cut any more: the last bound is 10^19 times the scale.
const ROW: u32 = 6;
/// Standard normal units that a miss adds, times the level; a hit takes off the rest of it.
const GAIN: f64 = 0.05;
const SHIFT: std::ops::RangeInclusive<f64> = -0.5..=1.5;
/// The level at which a model's own interval is one standard deviation to each side.
pub const ONE_SIGMA: f64 = 0.682_689_492_137_085_9;
/// Standardised errors are cut here. A model that claims no error at all is measured in units of rounding: what comes after a
/// constant is that many of them.
const LARGEST: f64 = 1e18;

/// What a calibration has learnt by a moment, the forecasts under way and the single errors apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Learnt(Vec<Measured>);

/// Calibration state of one model: bounded, a pure function of forecasts and observations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    level: f64,
    horizons: Vec<Calibrated>,
    /// Absolute standardised one-step errors, newest last.
    errors: VecDeque<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Calibrated {
    horizon: usize,
    /// Forecasts (mean, standard deviation) made for observations to come, oldest first.
    pending: VecDeque<(f64, f64)>,
    measured: Measured,
}

/// What the errors at one horizon have shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// Fading sum of squared standardised errors, and of their weights.
    squares: f64,
    weight: f64,
    /// Shift of the quantile, in standard normal units: positive is wider.
    shift: f64,
}

impl Conformal {
    /// For forecasts of `horizon` steps whose intervals shall cover `level` (in (0, 1)).
    pub fn new(horizon: usize, level: f64) -> Conformal {
        let mut kept: Vec<usize> = (0..8).map(|i| 1 << i).take_while(|h| *h < horizon).collect();
        kept.push(horizon.clamp(1, HORIZON_MAX));
        kept.dedup();
        let horizons = kept
            .into_iter()
            .map(|horizon| Calibrated { horizon, pending: VecDeque::new(), measured: Measured::new() })
            .collect();
        Conformal { level, horizons, errors: VecDeque::new() }
    }

    /// Takes the observation that came: judges the forecasts made for it.
    pub fn observe(&mut self, y: f64) {
        self.learn(y, 1.0);
    }

    /// As [`Conformal::observe`], for an observation that counts for a part of one.
    fn learn(&mut self, y: f64, part: f64) {
        let z = interval_z(self.level);
        let clip = CLIP.powi(1 << self.outliers_in_a_row().saturating_sub(1));
        for kept in &mut self.horizons {
            if kept.pending.len() < kept.horizon {
                continue;
            }
            let Some((mean, sigma)) = kept.pending.pop_front() else { continue };
            if y.is_finite() {
                let error = standardised(y, mean, sigma).abs();
                kept.measured.judge(error, self.level, z, part, clip);
                if kept.horizon == 1 {
                    if self.errors.len() == KEPT {
                        self.errors.pop_front();
                    }
                    self.errors.push_back(error as f32);
                }
            }
        }
    }

    /// How many of the newest one-step errors are past what one of them may count for; no more than [`ROW`] are told.
    fn outliers_in_a_row(&self) -> u32 {
        let scale = self.horizons.first().map_or(1.0, |kept| kept.measured.scale());
        let outlying = |error: &&f32| f64::from(**error) > CLIP * scale;
        self.errors.iter().rev().take(ROW as usize).take_while(outlying).count() as u32
    }

    /// Takes the path that was forecast after that observation; steps carry one-standard-deviation intervals
    /// (level [`ONE_SIGMA`]). A path shorter than a kept horizon leaves that horizon out.
    pub fn expect(&mut self, path: &[Step]) {
        for kept in &mut self.horizons {
            if let Some(step) = path.get(kept.horizon - 1) {
                kept.pending.push_back((step.mean, unit_of(step)));
            }
        }
    }

    /// How many of the model's own standard deviations the interval at `horizon` (from 1) reaches, at `level`.
    pub fn reach(&self, horizon: usize, level: f64) -> f64 {
        self.reach_of(horizon, interval_z(level))
    }

    /// As [`Conformal::reach`], for the interval that reaches `z` standard deviations where the model is right.
    fn reach_of(&self, horizon: usize, z: f64) -> f64 {
        let at = self.horizons.partition_point(|kept| kept.horizon < horizon);
        match (at.checked_sub(1).map(|i| &self.horizons[i]), self.horizons.get(at)) {
            (_, Some(next)) if next.horizon == horizon => next.measured.reach(z),
            (Some(before), Some(after)) => {
                let part = (horizon - before.horizon) as f64 / (after.horizon - before.horizon) as f64;
                before.measured.reach(z) * (1.0 - part) + after.measured.reach(z) * part
            }
            (Some(last), None) => last.measured.reach(z),
            (None, Some(first)) => first.measured.reach(z),
            (None, None) => z,
        }
    }

    /// Turns a path of one-standard-deviation steps into calibrated intervals at `level`.
    pub fn widen(&self, path: &mut [Step], level: f64) {
        let z = interval_z(level);
        for (i, step) in path.iter_mut().enumerate() {
            let half = self.reach_of(i + 1, z) * unit_of(step);
            *step = crate::quantile::ordered_step(step.mean, step.mean - half, step.mean + half);
        }
    }

    /// Absolute standardised errors of the one-step forecasts, oldest first.
    pub fn one_step_errors(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        self.errors.iter().copied()
    }

    /// Writes down what has been learnt.
    pub fn learnt(&self, into: &mut Learnt) {
        into.0.clear();
        into.0.extend(self.horizons.iter().map(|kept| kept.measured));
    }

    /// Forgets what was learnt since then, and the newest `errors` of the one-step errors.
    pub fn go_back(&mut self, to: &Learnt, errors: usize) {
        for (kept, measured) in self.horizons.iter_mut().zip(&to.0) {
            kept.measured = *measured;
        }
        self.errors.truncate(self.errors.len().saturating_sub(errors));
    }

    /// Drops forecasts of observations to come, as when the model that made them is replaced.
    pub fn forget_pending(&mut self) {
        self.horizons.iter_mut().for_each(|kept| kept.pending.clear());
    }

    /// Whether a decoded calibration could have been written by this code.
    pub(crate) fn is_consistent(&self) -> bool {
        let whole = |kept: &Calibrated| {
            (1..=HORIZON_MAX).contains(&kept.horizon)
                && kept.pending.len() <= kept.horizon
                && kept.measured.is_consistent()
        };
        self.errors.len() <= KEPT
            && self.errors.iter().all(|e| e.is_finite())
            && !self.horizons.is_empty()
            && self.horizons.iter().all(whole)
            && self.level > 0.0
            && self.level < 1.0
    }

    /// After a refit from a model that claimed no error at all, in whose standard deviations nothing could be measured: begins
    /// anew, with what the new model's one-step `errors` of the newest observations say, in its own.
    pub fn begin_anew(&mut self, errors: &[f64]) {
        self.errors.clear();
        self.forget_pending();
        let z = interval_z(self.level);
        for kept in &mut self.horizons {
            kept.measured = Measured::new();
            errors.iter().for_each(|error| kept.measured.judge(error.abs(), self.level, z, 1.0, CLIP));
        }
        self.errors.extend(errors.iter().map(|error| error.abs() as f32));
    }

    /// Cuts what was measured to so many of the model's own standard deviations, in the mean.
    fn limit(&mut self, most: f64) {
        let first = self.horizons.first().map_or(0.0, |kept| kept.measured.scale());
        for kept in &mut self.horizons {
            let measured = &mut kept.measured;
            measured.squares = measured.squares.min(most * most * measured.weight);
        }
        if first > most {
            let ratio = most / first;
            self.errors.iter_mut().for_each(|error| *error = (f64::from(*error) * ratio) as f32);
        }
    }

    /// After a refit: what was measured in the old model's standard deviations is measured in the new one's.
    pub fn rescale(&mut self, old_sigma: f64, new_sigma: f64) {
        if old_sigma == 0.0 && new_sigma > 0.0 {
            return self.begin_anew(&[]);
        }
        let ratio = old_sigma / new_sigma;
        if ratio.is_finite() && ratio > 0.0 {
            for kept in &mut self.horizons {
                kept.measured.squares =
                    (kept.measured.squares * ratio * ratio).clamp(1e-12, LARGEST * LARGEST);
                // Their errors are still to come.
                kept.pending.iter_mut().for_each(|(_, unit)| *unit /= ratio);
            }
            self.errors.iter_mut().for_each(|e| *e = (f64::from(*e) * ratio).min(LARGEST) as f32);
        }
    }
}

impl Measured {
    /// What a model says of itself, believed for a start.
    fn new() -> Measured {
        Measured { squares: PRIOR * PRIOR_SCALE * PRIOR_SCALE, weight: PRIOR, shift: 0.0 }
    }

    /// An error, which counts for no more than `clip` times the scale.
    fn judge(&mut self, error: f64, level: f64, z: f64, part: f64, clip: f64) {
        let missed = error > self.reach(z);
        let step = if missed { level } else { level - 1.0 };
        self.shift = (self.shift + GAIN * part * step).clamp(*SHIFT.start(), *SHIFT.end());
        let counted = error.min(clip * self.scale());
        let fade = if clip > CLIP { CHANGED } else { FADE };
        let left = 1.0 - (1.0 - fade) * part;
        self.squares = left * self.squares + part * counted * counted;
        self.weight = left * self.weight + part;
    }

    /// Root mean square of the errors, in the model's own standard deviations.
    fn scale(&self) -> f64 {
        (self.squares / self.weight).sqrt().max(1e-6)
    }

    /// Whether it could have been written by this code.
    fn is_consistent(&self) -> bool {
        self.weight > 0.0 && (self.squares / self.weight).is_finite() && SHIFT.contains(&self.shift)
    }

    fn reach(&self, z: f64) -> f64 {
        // A level far from the calibrated one is shifted in proportion, so that levels stay in order.
        (z + self.shift * z / 1.96).max(0.2 * z) * self.scale()
    }
}

impl Learnt {
    /// Root mean square of the one-step errors, in the model's own standard deviations.
    pub fn scale(&self) -> f64 {
        self.0.first().map_or(1.0, Measured::scale)
    }

    /// Whether it could have been written by this code, for that calibration.
    pub(crate) fn is_consistent(&self, of: &Conformal) -> bool {
        (self.0.is_empty() || self.0.len() == of.horizons.len()) && self.0.iter().all(Measured::is_consistent)
    }
}

/// Fits `spec` to `y` and forecasts with intervals calibrated on the history's own newer part.
pub fn forecast(spec: &Spec, y: &[f64], horizon: usize, level: f64) -> Result<(Fitted, Vec<Step>), FitError> {
    let fitted = spec.fit(y, &mut Budget::default())?;
    let mut path = fitted.forecast(horizon.max(1), ONE_SIGMA);
    calibrate_by(spec, y, horizon.max(1), level, 1.0, path.first()).widen(&mut path, level);
    Ok((fitted, path))
}

/// Measures honest errors where the history is long enough: a model fitted to its older part runs through the newer
/// part as it would have live. They count for little: a stream brings its own. `fitted` is the model of the whole history, in
/// whose standard deviations they are told; without one (of a model with regressors, which are not looked at here) they stay
/// in those of the model that made them.
pub fn calibrate(spec: &Spec, y: &[f64], horizon: usize, level: f64, fitted: Option<&Fitted>) -> Conformal {
    let next = fitted.map(|fitted| {
        let mut path = fitted.forecast(1, ONE_SIGMA);
        add_variance(&mut path, Grain::of(y).variance());
        path[0]
    });
    calibrate_by(spec, y, horizon, level, HISTORY, next.as_ref())
}

/// As [`calibrate`], each error counting for `part` of one; `next` is the step after the history, one standard deviation to
/// each side, of the model that the calibration is for.
fn calibrate_by(
    spec: &Spec,
    y: &[f64],
    horizon: usize,
    level: f64,
    part: f64,
    next: Option<&Step>,
) -> Conformal {
    let mut conformal = Conformal::new(horizon, level);
    let split = spec.needed().max(y.len() / 2);
    if y.len() < split + 8 {
        return conformal;
    }
    let (older, newer) = y.split_at(split);
    if let Ok(mut fitted) = spec.fit(older, &mut Budget::default()) {
        // No step past the longest horizon kept is looked at.
        let mut path = vec![Step { mean: 0.0, lower: 0.0, upper: 0.0 }; horizon.min(HORIZON_MAX)];
        let mut grain = Grain::of(older);
        fitted.forecast_into(ONE_SIGMA, &mut path);
        add_variance(&mut path, grain.variance());
        conformal.expect(&path);
        for &y in newer {
            conformal.learn(y, part);
            fitted.update(y);
            grain.observe(y);
            fitted.forecast_into(ONE_SIGMA, &mut path);
            add_variance(&mut path, grain.variance());
            conformal.expect(&path);
        }
        // Forecasts of what has not come yet belong to the model that is discarded here, and so does its standard deviation: of
        // a history whose variance or level has changed since, the whole one's is another.
        conformal.forget_pending();
        if let (Some(old), Some(new)) = (path.first(), next) {
            if claims_no_error(old) || claims_no_error(new) {
                conformal.begin_anew(&[]);
            } else {
                conformal.rescale(unit_of(old), unit_of(new));
            }
        }
        conformal.limit(HISTORY_SCALE_MAX);
    }
    conformal
}

/// Adds an independent variance to each one-standard-deviation step of a path.
pub fn add_variance(path: &mut [Step], variance: f64) {
    for step in path {
        let sigma = sigma_of(step);
        // Below a millionth it does not change a digit that anybody sees, and most series have next to none.
        if variance > 1e-6 * sigma * sigma {
            let wider = sigma.hypot(variance.sqrt());
            *step = crate::quantile::ordered_step(step.mean, step.mean - wider, step.mean + wider);
        }
    }
}

/// Half the width of a one-standard-deviation step.
pub(crate) fn sigma_of(step: &Step) -> f64 {
    0.5 * step.upper - 0.5 * step.lower
}

/// What the errors of a forecast are measured in: its standard deviation, or [`ROUNDING`] where it claims none.
pub(crate) fn unit_of(step: &Step) -> f64 {
    sigma_of(step).max(ROUNDING * step.mean.abs())
}

/// Whether a one-standard-deviation step claims no error at all: none but rounding, which is rounded itself.
pub(crate) fn claims_no_error(step: &Step) -> bool {
    sigma_of(step) <= 2.0 * ROUNDING * step.mean.abs()
}

/// `(y − mean)/unit`, finite; `unit` as [`unit_of`] gives it.
pub fn standardised(y: f64, mean: f64, unit: f64) -> f64 {
    ((y - mean) / unit.max(1e-300)).clamp(-LARGEST, LARGEST)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::quantile::normal_quantile;

    fn step(half: f64) -> Step {
        Step { mean: 0.0, lower: -half, upper: half }
    }

    /// Deterministic standard normal noise.
    pub(crate) fn noise(t: u64) -> f64 {
        let mixed = t.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        normal_quantile((((mixed ^ (mixed >> 32)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
    }

    /// Coverage and mean width over `range`, where the model says sigma is 1 and it is `sigma(t)`.
    fn run(conformal: &mut Conformal, range: std::ops::Range<u64>, sigma: impl Fn(u64) -> f64) -> (f64, f64) {
        let (mut hits, mut width, n) = (0.0, 0.0, (range.end - range.start) as f64);
        for t in range {
            let half = conformal.reach(1, 0.95);
            let y = sigma(t) * noise(t);
            hits += if y.abs() <= half { 1.0 } else { 0.0 };
            width += 2.0 * half;
            conformal.expect(&[step(1.0)]);
            conformal.observe(y);
        }
        (hits / n, width / n)
    }

    #[test]
    fn a_model_too_sure_of_itself_is_widened_to_the_level() {
        let mut conformal = Conformal::new(1, 0.95);
        run(&mut conformal, 0..200, |_| 2.5);
        let (coverage, width) = run(&mut conformal, 200..4_200, |_| 2.5);
        assert!((0.94..=0.96).contains(&coverage), "{coverage}");
        // The interval that knows the truth is 2 x 1.96 x 2.5 = 9.8 wide.
        assert!((9.0..=11.0).contains(&width), "{width}");
    }

    #[test]
    fn a_changed_variance_widens_and_then_it_comes_back() {
        let mut conformal = Conformal::new(1, 0.95);
        let (_, calm) = run(&mut conformal, 0..500, |_| 1.0);
        run(&mut conformal, 500..560, |_| 4.0);
        let (coverage, wild) = run(&mut conformal, 560..1_500, |_| 4.0);
        assert!(coverage > 0.93 && wild > 3.0 * calm, "{coverage} {wild} {calm}");
        run(&mut conformal, 1_500..1_700, |_| 1.0);
        let (_, again) = run(&mut conformal, 1_700..2_500, |_| 1.0);
        assert!(again < 1.2 * calm, "{again} {calm}");
    }

    #[test]
    fn forecasts_are_judged_at_their_own_horizon() {
        let mut conformal = Conformal::new(4, 0.9);
        for t in 0..400u64 {
            // One step ahead the model is right, four steps ahead it is wrong by far more than it says.
            let path: Vec<Step> =
                (0..4).map(|h| Step { mean: if h == 3 { 9.0 } else { 0.0 }, ..step(1.0) }).collect();
            conformal.expect(&path);
            conformal.observe(0.1 * noise(t));
        }
        assert!(conformal.reach(1, 0.9) < 1.0 && conformal.reach(4, 0.9) > 8.0);
        let between = conformal.reach(3, 0.9);
        assert!(conformal.reach(2, 0.9) < between && between < conformal.reach(4, 0.9));
    }
}
