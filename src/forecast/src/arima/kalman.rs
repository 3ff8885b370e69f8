//! The Kalman filter with its whole covariance: what missing values ask for.
//!
//! State in Akaike's form, for a stationary process or for an integrated one whose first lags are known: element
//! `i` is the forecast of the value `i` steps on. A step is a shift, one more element from the autoregression, and the
//! innovation times the psi weights.

use super::polynomial::{Autocovariance, Sparse, degree, psi_weights};
use serde::{Deserialize, Serialize};

/// Covariance of the predicted state, in units of the innovation variance, and the gain of the last observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dense {
    ar: Sparse,
    psi: Vec<f64>,
    /// Row-major, symmetric.
    covariance: Vec<f64>,
    gain: Vec<f64>,
    row: Vec<f64>,
    /// Observations since the last gap, and whether the covariance has come back to `psi psi'`.
    since: u32,
    settled: bool,
}

/// Observations between two looks at whether the covariance has settled.
const LOOK: u32 = 8;
/// Distance from `psi psi'` that counts as none, relative.
const SETTLED: f64 = 1e-13;

impl Dense {
    /// Any model: `covariance` is that of the state before the first observation.
    pub(crate) fn new(ar: Sparse, psi: Vec<f64>, covariance: Vec<f64>) -> Self {
        let r = psi.len();
        Dense { ar, psi, covariance, gain: vec![0.0; r], row: vec![0.0; r], since: 0, settled: false }
    }

    /// A stationary process with nothing observed: `P_ij = gamma_|i-j| - sum_{k < min(i, j)} psi_k psi_{k+|i-j|}`.
    pub(crate) fn stationary(ar: &Sparse, ma: &Sparse, acov: &mut Autocovariance) -> Option<Self> {
        let r = degree(ar).max(degree(ma) + 1).max(1);
        let mut gamma = vec![0.0; r];
        if !acov.write(ar, ma, &mut gamma) {
            return None;
        }
        let mut psi = vec![0.0; r];
        psi_weights(ar, ma, &mut psi);
        let mut covariance = vec![0.0; r * r];
        for (distance, gamma) in gamma.iter().enumerate() {
            let mut value = *gamma;
            for i in 0..r - distance {
                let j = i + distance;
                covariance[i * r + j] = value;
                covariance[j * r + i] = value;
                value -= psi[i] * psi[j];
            }
        }
        Some(Dense::new(ar.clone(), psi, covariance))
    }

    /// Length of the state.
    pub(crate) fn dimension(&self) -> usize {
        self.psi.len()
    }

    /// Variance of the value to come.
    pub(crate) fn variance(&self) -> f64 {
        self.covariance[0]
    }

    /// What an innovation of the last [`Dense::observe`] adds to the shifted state, element by element.
    pub(crate) fn gain(&self) -> &[f64] {
        &self.gain
    }

    /// Takes an observation; gives the variance that its innovation had.
    pub(crate) fn observe(&mut self) -> f64 {
        let f = self.covariance[0];
        if self.settled {
            return f;
        }
        let r = self.dimension();
        // The gain is the first column after the transition, over f.
        let last: f64 = self.ar.iter().map(|&(lag, a)| a * self.covariance[(r - lag) * r]).sum();
        for i in 0..r - 1 {
            self.gain[i] = self.covariance[(i + 1) * r] / f;
        }
        self.gain[r - 1] = last / f;
        self.advance();
        for i in 0..r {
            let scaled = self.gain[i] * f;
            let row = &mut self.covariance[i * r..(i + 1) * r];
            for (slot, g) in row.iter_mut().zip(&self.gain) {
                *slot -= scaled * g;
            }
        }
        // What was observed is known: rounding may not make a variance negative.
        for i in 0..r {
            let slot = &mut self.covariance[i * r + i];
            *slot = slot.max(self.psi[i] * self.psi[i]);
        }
        self.since += 1;
        if self.since.is_multiple_of(LOOK) && self.excess() < SETTLED {
            self.settled = true;
            self.gain = self.steady_gain();
        }
        f
    }

    /// Passes over a missing value.
    pub(crate) fn skip(&mut self) {
        self.settled = false;
        self.since = 0;
        self.advance();
    }

    /// Nothing is left of the last gap: the gain stays as it is until the next.
    pub(crate) fn settled(&self) -> bool {
        self.settled
    }

    /// Variances of the forecasts 1, 2, ... steps ahead.
    pub(crate) fn variances(&self, out: &mut [f64]) {
        let r = self.dimension();
        let mut psi = self.psi.clone();
        let mut still_to_come = 0.0;
        let mut known = self.clone();
        for (k, slot) in out.iter_mut().enumerate() {
            let at = if k < r {
                k
            } else {
                known.shift();
                let next = self.ar.iter().map(|&(lag, a)| a * psi[k - lag]).sum();
                psi.push(next);
                r - 1
            };
            *slot = (known.covariance[at * r + at] + still_to_come).max(1.0);
            still_to_come += psi[k] * psi[k];
        }
    }

    /// Largest distance of an element from its steady value `psi_i psi_j`, relative to the psi weights.
    fn excess(&self) -> f64 {
        let r = self.dimension();
        let scale = self.psi.iter().fold(1.0f64, |m, p| m.max(p.abs()));
        let mut worst = 0.0f64;
        for i in 0..r {
            for j in 0..=i {
                worst = worst.max((self.covariance[i * r + j] - self.psi[i] * self.psi[j]).abs());
            }
        }
        worst / (scale * scale)
    }

    /// The steady gain: psi_1.. of the state's length.
    pub(crate) fn steady_gain(&self) -> Vec<f64> {
        let r = self.dimension();
        let mut gain: Vec<f64> = self.psi[1..].to_vec();
        // psi_r has no moving-average term, for the state is longer than that.
        gain.push(self.ar.iter().map(|&(lag, a)| a * self.psi[r - lag]).sum());
        gain
    }

    /// `T P T' + psi psi'`.
    fn advance(&mut self) {
        self.shift();
        let r = self.dimension();
        for i in 0..r {
            let a = self.psi[i];
            for (slot, b) in self.covariance[i * r..(i + 1) * r].iter_mut().zip(&self.psi) {
                *slot += a * b;
            }
        }
    }

    /// `T P T'`: the covariance of the same knowledge one step on, without new innovations.
    fn shift(&mut self) {
        let r = self.dimension();
        // Covariances of the new last element with the old state.
        self.row.fill(0.0);
        for &(lag, a) in &self.ar {
            let from = (r - lag) * r;
            for (slot, p) in self.row.iter_mut().zip(&self.covariance[from..from + r]) {
                *slot += a * p;
            }
        }
        let corner: f64 = self.ar.iter().map(|&(lag, a)| a * self.row[r - lag]).sum();
        for i in 0..r - 1 {
            self.covariance.copy_within((i + 1) * r + 1..(i + 2) * r, i * r);
            self.covariance[i * r + r - 1] = self.row[i + 1];
        }
        let last = (r - 1) * r;
        self.covariance[last..last + r - 1].copy_from_slice(&self.row[1..]);
        self.covariance[last + r - 1] = corner;
    }
}
