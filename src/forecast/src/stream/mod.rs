//! A model's life on a stream: warm-up, fit, an update for each observation, refits, calibrated intervals, scores.
//!
//! Everything here is a pure function of the observations and the configuration. A fit is work that the caller may do
//! elsewhere ([`FitJob`] is `Send` and owns its bounded history), but it takes effect at one fixed observation,
//! so whoever replays the observations gets the same bits however long the fit took. [`StreamModel::observe`] keeps
//! that even if the caller never installs an outcome: it then runs the fit itself, late and in place.
//!
//! Refits come after fixed numbers of observations (the gap grows with the history until it is full) and after a
//! change of level or variance that a CUSUM test on the standardised errors finds (Page 1954).

mod codec;
mod exogenous;
mod fit_job;
mod refit;
mod track;

pub use codec::DecodeError;
pub use fit_job::{FitJob, FitOutcome};

use crate::anomaly::{self, AnomalyScore};
use crate::conformal::{self, Conformal, ONE_SIGMA, claims_no_error, standardised, unit_of};
use crate::grain::Grain;
use crate::{Fit, Fitted, Predict, Spec, Step, Summary};
use exogenous::Exogenous;
use refit::Asked;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use track::{Accuracy, Before, Change, Cusum};

/// Observations between asking for a refit and its effect: time for a pool to run it while the stream goes on.
const REFIT_LAG: u64 = 8;
/// Least history kept, in observations; four seasons where that is more.
const HISTORY_MIN: usize = 256;
/// Most history kept.
const HISTORY_MAX: usize = 20_000;

/// What a model is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamConfig {
    /// Which model.
    pub spec: Spec,
    /// Observations in a season for families that take one and do not name their own; 1 is none.
    pub season: usize,
    /// Steps of the published path, at least 1.
    pub horizon: usize,
    /// Level of the intervals, in (0, 1).
    pub level: f64,
    /// Score from which an observation is an anomaly, in [0, 1].
    pub anomaly_threshold: f64,
    /// Observations known beforehand, oldest first, `NaN` where missing. Only the newest are kept.
    pub history: Vec<f64>,
    /// For families that draw random numbers.
    pub seed: u64,
}

/// Where a model is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Too few observations to fit.
    WarmingUp {
        /// Observations so far.
        observations: u64,
        /// Observations at which the first fit is tried.
        needed: u64,
    },
    /// The first fit is asked for and not installed yet.
    Fitting,
    /// Forecasting.
    Live,
}

/// What one observation gave.
#[derive(Debug)]
pub struct Observed {
    /// Which observation this was, counted from 0, history included.
    pub index: u64,
    /// The forecast of it that was made before it was seen.
    pub predicted: Option<f64>,
    /// The calibrated interval of that forecast.
    pub expected: Option<[f64; 2]>,
    /// It, judged against that forecast; `None` for a missing value or before the model is live.
    pub score: Option<AnomalyScore>,
    /// A fit to run and install before observation [`FitJob::effective_at`].
    pub fit: Option<FitJob>,
}

/// A model on a stream. Its size is bounded by its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamModel {
    spec: Spec,
    horizon: usize,
    level: f64,
    anomaly_threshold: f64,
    seed: u64,
    /// Observations so far, history included.
    observations: u64,
    /// Newest observations, `NaN` where missing; enough to rebuild a fit that was asked for.
    recent: VecDeque<f64>,
    exogenous: Exogenous,
    grain: Grain,
    fitted: Option<Fitted>,
    /// The one-step forecast of the next observation, one standard deviation to each side.
    next: Option<Step>,
    conformal: Conformal,
    cusum: Cusum,
    /// A record of its own behind this one, for older ones end here.
    #[serde(skip)]
    before: Before,
    accuracy: Accuracy,
    /// Count at which the next refit is asked for.
    refit_at: u64,
    asked: Option<Asked>,
    /// An outcome handed in before its time. Not part of the record: a restored model asks for the same fit again,
    /// so that the record, too, is a function of the observations alone.
    #[serde(skip)]
    waiting: Option<Box<FitOutcome>>,
    failure: Option<String>,
}

impl StreamModel {
    /// A model that has seen `config.history`. A family that is cheap to fit is live at once if that suffices; for
    /// another, [`StreamModel::take_fit`] gives the job of its first fit.
    pub fn new(config: StreamConfig) -> StreamModel {
        StreamModel::with_exogenous(config, &[], 0)
    }

    /// As [`StreamModel::new`], for a model that also sees `count` exogenous series. `known` holds their values beside
    /// `config.history`, observation by observation; where it is shorter, the first values it has stand in.
    /// What is not known (`NaN`, or a history without any) is carried forward, and 0 before anything was known.
    pub fn with_exogenous(config: StreamConfig, known: &[Vec<f64>], count: usize) -> StreamModel {
        let StreamConfig { spec, season, horizon, level, anomaly_threshold, history, seed } = config;
        let spec = spec.with_season(season);
        let horizon = horizon.clamp(1, 10_000);
        let level = if level > 0.0 && level < 1.0 { level } else { 0.95 };
        let mut model = StreamModel {
            conformal: Conformal::new(horizon, level),
            spec,
            horizon,
            level,
            anomaly_threshold,
            seed,
            observations: history.len() as u64,
            recent: VecDeque::new(),
            exogenous: Exogenous::new(count),
            grain: Grain::of(&history),
            fitted: None,
            next: None,
            cusum: Cusum::default(),
            before: Before::default(),
            accuracy: Accuracy::default(),
            refit_at: 0,
            asked: None,
            waiting: None,
            failure: None,
        };
        let keep = model.kept();
        let from = history.len().saturating_sub(keep);
        model.recent.extend(history[from..].iter().map(|v| if v.is_finite() { *v } else { f64::NAN }));
        let skipped = history.len() - known.len().min(history.len());
        for t in 0..history.len() {
            let values = known.get(t.saturating_sub(skipped)).map_or(&[][..], Vec::as_slice);
            model.exogenous.push(values, keep);
        }
        model.refit_at = model.spec.needed() as u64;
        model.ask_if_due();
        if model.spec.is_cheap() {
            model.begin_if_due();
        }
        model
    }

    /// Where the model is in its life.
    pub fn state(&self) -> State {
        if self.fitted.is_some() {
            State::Live
        } else if self.asked.is_some() {
            State::Fitting
        } else {
            State::WarmingUp {
                observations: self.observations,
                needed: self.refit_at.max(self.observations + 1),
            }
        }
    }

    /// Takes the next observation (`NaN` or infinite: missing).
    pub fn observe(&mut self, y: f64) -> Observed {
        self.observe_with(y, &[])
    }

    /// As [`StreamModel::observe`], with the values that the exogenous series have beside it, in their order; one
    /// that is missing keeps its last value. The forecast that `y` is judged against was made without them.
    pub fn observe_with(&mut self, y: f64, exogenous: &[f64]) -> Observed {
        let y = if y.is_finite() { y } else { f64::NAN };
        // Before a first fit no forecast was made, so that it may still be of this observation.
        if self.fitted.is_none() {
            self.begin_if_due();
        }
        let due = self.take_due();
        let index = self.observations;
        let predicted = self.next.map(|step| step.mean);
        let expected = self.next.map(|step| self.expected(&step));
        let judged = self.next.zip(expected).filter(|_| y.is_finite());
        let score = judged.map(|(step, expected)| self.judge(y, &step, expected));
        self.observations += 1;
        if self.recent.len() == self.kept() {
            self.recent.pop_front();
        }
        if self.recent.len() == self.recent.capacity() {
            // By an eighth and not doubled: there may be ten thousand of these.
            self.recent.reserve_exact((self.recent.len() / 8).max(8).min(self.kept()));
        }
        self.recent.push_back(y);
        self.grain.observe(y);
        self.exogenous.push(exogenous, self.kept());
        let path = if self.fitted.is_some() { self.advance(y) } else { Vec::new() };
        // A refit comes after it: what is judged is the forecast that was made, by the model that made it.
        let replaced = due.is_some_and(|(asked, outcome)| self.activate(asked, outcome));
        if !replaced {
            self.conformal.expect(&path);
        }
        let fit = if self.ask_if_due() { self.take_fit() } else { None };
        Observed { index, predicted, expected, score, fit }
    }

    /// The job of the fit that is under way, if its outcome is not here yet. It can be asked for again, for instance
    /// after a restart: every time it is the same job.
    pub fn take_fit(&self) -> Option<FitJob> {
        let asked = self.asked.filter(|_| self.waiting.is_none())?;
        // Observations after the asking are not part of it.
        let since = (self.observations - asked.after) as usize;
        let end = self.recent.len() - since;
        let from = end.saturating_sub(self.history_max());
        Some(FitJob {
            spec: self.spec.clone(),
            history: self.recent.range(from..end).copied().collect(),
            exogenous: self.exogenous.columns(from, end),
            effective_at: asked.effective_at,
            calibrate: self.fitted.is_none().then_some((self.horizon, self.level)),
        })
    }

    /// Hands in what a job gave. It takes effect before its observation, not earlier; an outcome that was not asked
    /// for is dropped.
    pub fn install(&mut self, outcome: FitOutcome) {
        if self.asked.is_some_and(|asked| asked.effective_at == outcome.effective_at) {
            self.waiting = Some(Box::new(outcome));
            // A first fit is asked for with nothing to wait for: forecasts may start before the next observation.
            if self.fitted.is_none() {
                self.begin_if_due();
            }
        }
    }

    /// Whether the next observation needs an outcome that is not here: wait for it, or [`StreamModel::observe`] will
    /// run the fit itself.
    pub fn needs_fit_before_next(&self) -> bool {
        self.waiting.is_none() && self.asked.is_some_and(|asked| asked.effective_at <= self.observations)
    }

    /// The next `horizon` steps with intervals at `level`, calibrated on the model's own past errors; `None` before
    /// the model is live.
    pub fn forecast(&self, horizon: usize, level: f64) -> Option<Vec<Step>> {
        let fitted = self.fitted.as_ref()?;
        let mut path = fitted.forecast(horizon, ONE_SIGMA);
        conformal::add_variance(&mut path, self.grain.variance());
        self.calibrate(&mut path, level);
        Some(path)
    }

    /// As [`StreamModel::forecast`] with the model's own intervals, not calibrated.
    pub fn forecast_uncalibrated(&self, horizon: usize, level: f64) -> Option<Vec<Step>> {
        Some(self.fitted.as_ref()?.forecast(horizon, level))
    }

    /// `max(0, 1 − Σw|y − ŷ| / Σw|y|)` over the model's own one-step forecasts, the weight `w` of each fading by 1 %
    /// an observation: 1 is exact, 0.92 is wrong by 8 % of the level on average. `None` before the first.
    pub fn accuracy(&self) -> Option<f64> {
        self.accuracy.value()
    }

    /// Parameters and criteria of the fit in use; `x1`, `x2`, ... are the exogenous series by their places.
    pub fn summary(&self) -> Option<Summary> {
        let mut summary = self.fitted.as_ref().map(Predict::summary)?;
        // The fit counts those that it has.
        for (nth, place) in self.exogenous.used().iter().enumerate().rev() {
            for of in [&mut summary.params, &mut summary.std_errors] {
                if let Some(value) = of.remove(&format!("x{}", nth + 1)) {
                    of.insert(format!("x{}", place + 1), value);
                }
            }
        }
        Some(summary)
    }

    /// What the configuration named, with its season.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Observations so far, history included.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    /// Observations at which the first fit is (or was) possible.
    pub fn needed(&self) -> u64 {
        self.spec.needed() as u64
    }

    /// The newest observations, oldest first, `NaN` where missing.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.recent.iter().copied()
    }

    /// Absolute one-step errors in standard deviations of the model, oldest first.
    pub fn recent_errors(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        self.conformal.one_step_errors()
    }

    /// Why the last fit failed, if it did. The model goes on with what it had and tries again later.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Score from which an observation is an anomaly.
    pub fn anomaly_threshold(&self) -> f64 {
        self.anomaly_threshold
    }

    fn history_max(&self) -> usize {
        (4 * self.spec.season()).clamp(HISTORY_MIN, HISTORY_MAX).max(self.spec.needed())
    }

    /// Observations kept: the history of a fit, and those that arrive while it is under way.
    fn kept(&self) -> usize {
        self.history_max() + REFIT_LAG as usize
    }

    /// The calibrated interval of a one-step forecast.
    fn expected(&self, step: &Step) -> [f64; 2] {
        let mut expected = [*step];
        self.calibrate(&mut expected, self.level);
        let [expected] = expected;
        [expected.lower, expected.upper]
    }

    /// Turns steps of one standard deviation into intervals that have covered their level.
    fn calibrate(&self, path: &mut [Step], level: f64) {
        self.conformal.widen(path, level);
        self.grain.widen(path);
    }

    fn judge(&self, y: f64, step: &Step, expected: [f64; 2]) -> AnomalyScore {
        let unit = unit_of(step);
        let error = standardised(y, step.mean, unit);
        let least = self.grain.variance().sqrt() / unit.max(f64::MIN_POSITIVE);
        let score = if claims_no_error(step) && self.is_usual(y) {
            // A model of a constant follows a spike, and is wrong when the constant is back: that is no news.
            0.0
        } else {
            anomaly::score(error, self.conformal.one_step_errors(), least.min(1.0))
        };
        anomaly::judge(y, step.mean, expected, score, self.anomaly_threshold)
    }

    /// Whether most of what is remembered is that very value.
    fn is_usual(&self, y: f64) -> bool {
        self.recent.iter().filter(|known| **known == y).count() > self.recent.len() / 2
    }

    /// Learns from the forecast of `y`, moves the fitted model past it and forecasts what comes next.
    fn advance(&mut self, y: f64) -> Vec<Step> {
        let judged = self.next.filter(|_| y.is_finite());
        if let Some(step) = &judged {
            self.before.follow(&self.cusum, &self.conformal, unit_of(step));
        }
        self.conformal.observe(y);
        if let Some(step) = judged {
            self.accuracy.observe(y, step.mean);
            let changed = self.cusum.observe(standardised(y, step.mean, unit_of(&step)));
            if changed == Some(Change::Level) {
                self.before.shifted();
            }
            // A change asks for a refit once some observations have come from after it.
            if changed.is_some() && self.asked.is_none() {
                self.refit_at = self.refit_at.min(self.observations + self.settle());
            }
        }
        let at = self.recent.len() - 1;
        if let Some(fitted) = &mut self.fitted {
            fitted.update_with(y, &self.exogenous.for_fit(at));
        }
        let before = self.next;
        let path = self.look_ahead();
        // Rounding goes with the level, and no forecast is surer than the grain once that is known.
        if let (Some(old), Some(new)) = (before, self.next)
            && claims_no_error(&old)
        {
            self.conformal.rescale(unit_of(&old), unit_of(&new));
        }
        path
    }

    /// Its forecast of the next observation, one standard deviation to each side.
    fn one_step(&self, fitted: &Fitted) -> Step {
        let mut path = [Step { mean: 0.0, lower: 0.0, upper: 0.0 }];
        fitted.forecast_into(ONE_SIGMA, &mut path);
        conformal::add_variance(&mut path, self.grain.variance());
        path[0]
    }

    /// The path from here in steps of one standard deviation, the first of which the next observation is judged by.
    fn look_ahead(&mut self) -> Vec<Step> {
        let Some(fitted) = &self.fitted else { return Vec::new() };
        let mut path = fitted.forecast(self.horizon, ONE_SIGMA);
        conformal::add_variance(&mut path, self.grain.variance());
        self.next = path.first().copied();
        path
    }

    /// Observations to wait after a change before it is worth fitting to.
    fn settle(&self) -> u64 {
        (self.spec.needed() as u64 / 2).clamp(16, 64)
    }
}

#[cfg(test)]
mod tests;
