//! Widths of forecast intervals.
//!
//! Additive errors with an additive or no trend and season: exact (class 1). Multiplicative errors with an additive
//! or no trend: exact without or with an additive season (class 2), and the approximation of Hyndman et al. (2008,
//! section 6.4.3) with a multiplicative season (class 3). Everything else is simulated, from a fixed seed.

use super::fitted::FittedEts;
use super::recursion::{self, States};
use super::{Component, Error};
use crate::Step;
use crate::quantile::{interval_z, ordered_step, sorted_quantile};

/// Paths drawn where no formula exists.
const PATHS: usize = 2_000;

/// Fills `out` with mean and interval. Everything inside is in scaled units; `scale` brings it back.
pub fn fill(fitted: &FittedEts, level: f64, out: &mut [Step]) {
    let ets = &fitted.ets;
    let additive_states = ets.trend != Component::Multiplicative && ets.seasonal != Component::Multiplicative;
    if ets.error == Error::Additive && additive_states {
        exact(fitted, level, out);
    } else if ets.error == Error::Multiplicative && ets.trend != Component::Multiplicative {
        relative(fitted, level, out);
    } else {
        simulated(fitted, level, out);
    }
}

/// `c_j = α + β(φ + … + φ^j) + γ[j is a multiple of the period]`, for j = 1, 2, …; `sum_phi` is the running sum.
fn response(fitted: &FittedEts, j: usize, sum_phi: f64, with_season: bool) -> f64 {
    let m = fitted.ets.season_len();
    let season = if with_season && m > 0 && j.is_multiple_of(m) { fitted.constants.gamma } else { 0.0 };
    fitted.constants.alpha + fitted.constants.beta * sum_phi + season
}

fn exact(fitted: &FittedEts, level: f64, out: &mut [Step]) {
    let z = interval_z(level);
    let phi = fitted.constants.phi;
    let (mut variance, mut power, mut sum_phi) = (fitted.sigma2, 1.0, 0.0);
    let mut means = fitted.path();
    for (i, step) in out.iter_mut().enumerate() {
        let mean = means.next_mean();
        let half = z * variance.sqrt();
        *step = fitted.unscaled(mean, mean - half, mean + half);
        power *= phi;
        sum_phi += power;
        let c = response(fitted, i + 1, sum_phi, true);
        variance += fitted.sigma2 * c * c;
    }
}

fn relative(fitted: &FittedEts, level: f64, out: &mut [Step]) {
    let z = interval_z(level);
    let multiplicative_season = fitted.ets.seasonal == Component::Multiplicative;
    let (phi, sigma2) = (fitted.constants.phi, fitted.sigma2);
    let m = fitted.ets.season_len().max(1);
    // Squared responses c_j², and θ_h, the second moment of the forecast without the next error. The variance is what the
    // second moment has above the squared mean, and kept apart from it throughout: on a high level a difference of the
    // two would be lost to rounding.
    let mut responses = Vec::with_capacity(out.len());
    let mut theta = Vec::with_capacity(out.len());
    let (mut power, mut sum_phi) = (1.0, 0.0);
    let mut means = fitted.path();
    for (i, step) in out.iter_mut().enumerate() {
        let (mean, season) = means.next_parts();
        let base = if multiplicative_season { mean / season } else { mean };
        let past: f64 = responses.iter().zip(theta.iter().rev()).map(|(c, t): (&f64, &f64)| c * t).sum();
        let above = sigma2 * past;
        theta.push(base * base + above);
        let mut log_growth = sigma2.ln_1p();
        if multiplicative_season {
            let gamma = fitted.constants.gamma;
            log_growth += (i / m) as f64 * (gamma * gamma * sigma2).ln_1p();
        }
        let growth = log_growth.exp_m1();
        let mut variance = base * base * growth + above * (1.0 + growth);
        if multiplicative_season {
            variance *= season * season;
        }
        let half = z * variance.sqrt();
        *step = fitted.unscaled(mean, mean - half, mean + half);
        power *= phi;
        sum_phi += power;
        let c = response(fitted, i + 1, sum_phi, !multiplicative_season);
        responses.push(c * c);
    }
}

fn simulated(fitted: &FittedEts, level: f64, out: &mut [Step]) {
    let horizon = out.len();
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let mut drawn = vec![0.0; horizon * PATHS];
    let sigma = fitted.sigma2.sqrt();
    for path in 0..PATHS {
        let mut states = fitted.states.clone();
        for h in 0..horizon {
            let hat = recursion::one_step(&fitted.ets, &fitted.constants, &states);
            let e = sigma * noise.next();
            let v =
                if fitted.ets.error == Error::Multiplicative { hat * (1.0 + e).max(1e-3) } else { hat + e };
            drawn[h * PATHS + path] = v;
            step_states(fitted, &mut states, v);
        }
    }
    let mut means = fitted.path();
    for (h, step) in out.iter_mut().enumerate() {
        let mean = means.next_mean();
        let column = &mut drawn[h * PATHS..(h + 1) * PATHS];
        column.retain_finite_or(mean);
        column.sort_by(f64::total_cmp);
        let lower = sorted_quantile(column, 0.5 - 0.5 * level);
        let upper = sorted_quantile(column, 0.5 + 0.5 * level);
        *step = fitted.unscaled(mean, lower, upper);
    }
}

/// Moves `states` past the observation `v`; where that gives no number they stay.
pub fn step_states(fitted: &FittedEts, states: &mut States, v: f64) {
    let before = (states.level, states.growth);
    let place = states.next;
    let season = states.season.get(place).copied();
    let moved = recursion::run(&fitted.ets, &fitted.constants, states, &[v], None);
    let whole = states.level.is_finite() && states.growth.is_finite();
    let season_whole = states
        .season
        .get(place)
        .is_none_or(|s| s.is_finite() && (fitted.ets.seasonal != Component::Multiplicative || *s > 1e-6));
    if moved.is_none() || !whole || !season_whole {
        (states.level, states.growth) = before;
        if let Some(season) = season {
            states.season[place] = season;
            states.next = (place + 1) % states.season.len();
        }
    }
}

trait Finite {
    fn retain_finite_or(&mut self, otherwise: f64);
}

impl Finite for [f64] {
    fn retain_finite_or(&mut self, otherwise: f64) {
        self.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = otherwise);
    }
}

/// Standard normal noise: xorshift (Marsaglia 2003) through the normal quantile function.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        crate::quantile::normal_quantile(((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
    }
}

impl FittedEts {
    /// A step in units of the series.
    fn unscaled(&self, mean: f64, lower: f64, upper: f64) -> Step {
        ordered_step(mean * self.scale, lower * self.scale, upper * self.scale)
    }
}
