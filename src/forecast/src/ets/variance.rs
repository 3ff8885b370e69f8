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

/// Quantiles of drawn paths. Two thousand of them alone are up to 4 % off, so each path also has what its errors do to a
/// model of the same smoothing in which everything adds, whose quantiles are known: the quantile taken is not the one at the
/// level but at the share of paths that are below the known one, which is exact where nothing multiplies (a control variate
/// for quantiles; Hesterberg and Nelson 1998, "Control variates for probability and quantile estimation").
fn simulated(fitted: &FittedEts, level: f64, out: &mut [Step]) {
    let horizon = out.len();
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let mut drawn = vec![0.0; horizon * PATHS];
    let sigma = fitted.sigma2.sqrt();
    let mut known = known_quantiles(fitted, level, horizon);
    let mut linear = Linear::new(fitted);
    for path in 0..PATHS {
        let mut states = fitted.states.clone();
        linear.begin();
        for h in 0..horizon {
            let hat = recursion::one_step(&fitted.ets, &fitted.constants, &states);
            let z = noise.next();
            let e = sigma * z;
            let v =
                if fitted.ets.error == Error::Multiplicative { hat * (1.0 + e).max(1e-3) } else { hat + e };
            drawn[h * PATHS + path] = v;
            step_states(fitted, &mut states, v);
            let beside = linear.next(z);
            known[h].iter_mut().for_each(|place| place.take(beside));
        }
    }
    let mut means = fitted.path();
    for (h, step) in out.iter_mut().enumerate() {
        let mean = means.next_mean();
        let column = &mut drawn[h * PATHS..(h + 1) * PATHS];
        column.retain_finite_or(mean);
        column.sort_by(f64::total_cmp);
        let [lower, upper] = known[h].each_ref().map(|place| sorted_quantile(column, place.share(PATHS)));
        *step = fitted.unscaled(mean, lower, upper);
    }
}

/// Lower and upper quantile of the model in which everything adds, step by step, in standard deviations of an error.
fn known_quantiles(fitted: &FittedEts, level: f64, horizon: usize) -> Vec<[Place; 2]> {
    let (z, phi) = (interval_z(level), fitted.constants.phi);
    let (mut variance, mut power, mut sum_phi) = (1.0_f64, 1.0, 0.0);
    (1..=horizon)
        .map(|h| {
            let reach = z * variance.sqrt();
            power *= phi;
            sum_phi += power;
            let c = response(fitted, h, sum_phi, true);
            variance += c * c;
            [Place::new(-reach), Place::new(reach)]
        })
        .collect()
}

/// Where a value is among others that come one by one.
struct Place {
    value: f64,
    below: usize,
    next_below: f64,
    next_above: f64,
}

impl Place {
    fn new(value: f64) -> Place {
        Place { value, below: 0, next_below: f64::NEG_INFINITY, next_above: f64::INFINITY }
    }

    fn take(&mut self, other: f64) {
        if other < self.value {
            self.below += 1;
            self.next_below = self.next_below.max(other);
        } else {
            self.next_above = self.next_above.min(other);
        }
    }

    /// The share of `n` others below it, interpolated as [`sorted_quantile`] does.
    fn share(&self, n: usize) -> f64 {
        if self.below == 0 || self.below == n {
            return self.below as f64 / n as f64;
        }
        let between = (self.value - self.next_below) / (self.next_above - self.next_below);
        ((self.below - 1) as f64 + between) / (n - 1) as f64
    }
}

/// What errors of standard deviation one do to a model in which everything adds.
struct Linear<'a> {
    fitted: &'a FittedEts,
    level: f64,
    growth: f64,
    season: Vec<f64>,
    next: usize,
}

impl Linear<'_> {
    fn new(fitted: &FittedEts) -> Linear<'_> {
        let season = vec![0.0; fitted.ets.season_len().max(1)];
        Linear { fitted, level: 0.0, growth: 0.0, season, next: 0 }
    }

    fn begin(&mut self) {
        (self.level, self.growth, self.next) = (0.0, 0.0, 0);
        self.season.fill(0.0);
    }

    fn next(&mut self, z: f64) -> f64 {
        let constants = &self.fitted.constants;
        self.growth *= constants.phi;
        self.level += self.growth;
        let season = &mut self.season[self.next];
        let value = self.level + *season + z;
        if self.fitted.ets.seasonal != Component::None {
            *season += constants.gamma * z;
            self.next = (self.next + 1) % self.season.len();
        }
        self.level += constants.alpha * z;
        self.growth += constants.beta * z;
        value
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ets::Ets;
    use crate::ets::tests::AIR;
    use crate::{Budget, Fit};

    fn width(step: &Step) -> f64 {
        step.upper - step.lower
    }

    fn paths(fitted: &FittedEts) -> ([Step; 30], [Step; 30]) {
        let nothing = [Step { mean: 0.0, lower: 0.0, upper: 0.0 }; 30];
        let (mut drawn, mut formula) = (nothing, nothing);
        simulated(fitted, 0.95, &mut drawn);
        fill(fitted, 0.95, &mut formula);
        (drawn, formula)
    }

    #[test]
    fn intervals_by_simulation_are_those_of_the_formula_where_there_is_one() {
        for (trend, damped, seasonal) in [
            (Component::None, false, Component::None),
            (Component::Additive, false, Component::None),
            (Component::Additive, true, Component::Additive),
        ] {
            let ets = Ets { trend, damped, seasonal, ..Ets::additive(12) };
            let fitted = ets.fit(&AIR, &mut Budget::default()).unwrap();
            let (drawn, formula) = paths(&fitted);
            for (h, (a, b)) in drawn.iter().zip(&formula).enumerate() {
                let ratio = width(a) / width(b);
                assert!((ratio - 1.0).abs() < 0.005, "{} at {}: {ratio}", ets.name(), h + 1);
            }
        }
    }

    /// Where errors and season multiply the variance is known (with a season for its first round) and the shape is not: as
    /// good as normal on a high level.
    #[test]
    fn intervals_by_simulation_are_near_the_approximation_where_something_multiplies() {
        for seasonal in [Component::None, Component::Multiplicative] {
            let ets = Ets { error: Error::Multiplicative, damped: true, seasonal, ..Ets::additive(12) };
            let fitted = ets.fit(&AIR.map(|v| 2_000.0 + v), &mut Budget::default()).unwrap();
            let (drawn, formula) = paths(&fitted);
            let known = if seasonal == Component::None { 30 } else { 12 };
            for (h, (a, b)) in drawn.iter().zip(&formula).take(known).enumerate() {
                let ratio = width(a) / width(b);
                assert!((ratio - 1.0).abs() < 0.01, "{} at {}: {ratio}", ets.name(), h + 1);
            }
        }
    }
}
