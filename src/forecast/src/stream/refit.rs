//! When a model is fitted anew, and how a fit takes the place of the one before it.

use super::track::{Before, Cusum};
use super::{FitOutcome, REFIT_LAG, StreamModel};
use crate::conformal::{claims_no_error, standardised, unit_of};
use crate::{Fit, FitError};
use serde::{Deserialize, Serialize};

/// A fit under way: asked after so many observations, effective at observation `effective_at`: a first fit before it is
/// judged, a refit after, so that it is judged by the forecast that was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) after: u64,
    pub(super) effective_at: u64,
}

impl StreamModel {
    /// Asks for a new fit of what is known now, to be in place as soon as the next observation is judged. Without effect
    /// where one is under way, or where the first is still to come.
    pub fn refit(&mut self) {
        if self.fitted.is_some() && self.asked.is_none() {
            self.asked = Some(Asked { after: self.observations, effective_at: self.observations });
        }
    }

    /// Asks for a fit if its count has come. True if it did.
    pub(super) fn ask_if_due(&mut self) -> bool {
        if self.asked.is_some() || self.observations < self.refit_at {
            return false;
        }
        let lag = if self.fitted.is_some() { REFIT_LAG } else { 0 };
        self.asked = Some(Asked { after: self.observations, effective_at: self.observations + lag });
        true
    }

    /// Puts a first fit in place if it is due.
    pub(super) fn begin_if_due(&mut self) {
        if let Some((asked, outcome)) = self.take_due() {
            self.activate(asked, outcome);
        }
    }

    /// The outcome that is due, of a fit run here if nobody has brought it.
    pub(super) fn take_due(&mut self) -> Option<(Asked, FitOutcome)> {
        let asked = self.asked.filter(|asked| asked.effective_at <= self.observations)?;
        let outcome = match self.waiting.take() {
            Some(outcome) => *outcome,
            None => self.take_fit()?.run(),
        };
        Some((asked, outcome))
    }

    /// Puts an outcome in place, moved past what came since it was asked for. True if there is a new model, which then has
    /// also looked ahead.
    pub(super) fn activate(&mut self, asked: Asked, outcome: FitOutcome) -> bool {
        self.asked = None;
        let history = asked.effective_at.min(self.history_max() as u64);
        self.refit_at = asked.effective_at + (history / 2).max(self.spec.season() as u64).max(16);
        let mut fitted = match outcome.fitted {
            Ok(fitted) => fitted,
            Err(error) => {
                // Too many of the observations are missing: it is still warming up.
                self.failure = match error {
                    FitError::TooShort { .. } => None,
                    other => Some(other.to_string()),
                };
                if self.fitted.is_none() {
                    self.refit_at = self.observations + (self.spec.needed() as u64 / 4).clamp(4, 64);
                }
                return false;
            }
        };
        self.failure = None;
        self.exogenous.set_used(outcome.used);
        let since = (self.observations - asked.after) as usize;
        let mut errors = Vec::with_capacity(since);
        for at in self.recent.len() - since..self.recent.len() {
            let y = self.recent[at];
            let step = self.one_step(&fitted);
            if y.is_finite() {
                errors.push(standardised(y, step.mean, unit_of(&step)));
            }
            fitted.update_with(y, &self.exogenous.for_fit(at));
        }
        let first = self.fitted.replace(fitted).is_none();
        if first && let Some(calibration) = outcome.calibration {
            self.conformal = calibration;
        }
        // Both models' standard deviations of the same observation: that of a model may move with its level.
        let before = self.next;
        let path = self.look_ahead();
        if let (false, Some(old), Some(new)) = (first, before, self.next) {
            if claims_no_error(&old) && !claims_no_error(&new) {
                self.before = Before::default();
                self.conformal.begin_anew(&errors);
            } else if !self.before.settle(&mut self.conformal, unit_of(&new), &errors) {
                self.conformal.rescale(unit_of(&old), unit_of(&new));
            }
        }
        // The old model's path from here was never published.
        self.conformal.expect(&path);
        self.cusum = Cusum::default();
        true
    }
}
