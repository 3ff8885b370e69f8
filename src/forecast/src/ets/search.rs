//! Maximum likelihood by a quasi-Newton search (BFGS) on unconstrained coordinates.

use super::recursion::{self, Constants, Pass, States, Trace};
use super::start::{Start, start};
use super::{Component, Error, Ets, Found};
use crate::Budget;

/// The likelihood of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Gaussian log-likelihood in scaled units, with the variance concentrated out.
    pub loglik: f64,
    /// Sum of squared (relative) errors.
    pub sum_squares: f64,
    /// `Σ ln|ŷ|` of multiplicative errors, else 0.
    pub sum_log: f64,
    /// Observations not missing.
    pub count: usize,
}

const ALPHA: (f64, f64) = (1e-4, 0.9999);
const PHI: (f64, f64) = (0.8, 0.98);
const STEPS_MAX: usize = 200;
/// A smoothing coordinate beyond this is on its bound, and this is inside.
const BOUND: f64 = 5.0;
const INSIDE: f64 = 1.5;

/// Weights of a Gaussian prior on the unconstrained coordinates, in observations' worth: it keeps the initial growth
/// near the line through the first observations, and smoothing near usual values. Short series otherwise fit their
/// first few values rather than what comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// On smoothing of level and season, and on damping, each around where the search begins.
    pub smoothing: f64,
    /// On smoothing of the trend, around a tenth of the level's, and on the initial growth.
    pub trend: f64,
}

/// Where the trend's smoothing begins, as a share of the level's, and the season's, as a share of what the level leaves.
const USUAL_SHARE: f64 = 0.1;
/// Other shares for the trend. One that follows its series closely is an optimum of its own: at a small share the
/// likelihood is so flat that no search leaves it.
const TREND_SHARES: [f64; 3] = [0.5, 0.95, 0.01];
/// Other shares for the season.
const SEASON_SHARES: [f64; 1] = [0.6];

/// Searches from the best of a few places; `None` if the likelihood is finite at none of them.
pub fn fit(ets: &Ets, y: &[f64], prior: Option<Prior>, budget: &mut Budget) -> Option<Found> {
    let mut problem = Problem::new(ets, y, prior);
    let mut begin = problem.starts((USUAL_SHARE, USUAL_SHARE), 2, budget);
    if problem.prior.is_empty() {
        // A prior draws towards the usual shares; without one each of the others has its chance.
        let trend = ets.trend != Component::None;
        let season = ets.seasonal != Component::None;
        for share in TREND_SHARES.into_iter().filter(|_| trend) {
            begin.extend(problem.starts((share, USUAL_SHARE), 1, budget));
        }
        for share in SEASON_SHARES.into_iter().filter(|_| season) {
            begin.extend(problem.starts((USUAL_SHARE, share), 1, budget));
        }
    }
    let mut best: Option<(f64, Vec<f64>)> = None;
    for (f, x) in begin {
        let found = minimise(&mut problem, f, x, budget);
        if best.as_ref().is_none_or(|b| found.0 < b.0) {
            best = Some(found);
        }
    }
    let (value, mut x) = best?;
    if problem.prior.is_empty()
        && let Some(inside) = problem.inside(&x)
        && let Some(f) = problem.value(&inside, budget)
    {
        let found = minimise(&mut problem, f, inside, budget);
        if found.0 < value {
            x = found.1;
        }
    }
    let (constants, mut states) = problem.decode(&x);
    let pass = recursion::run(ets, &constants, &mut states, y, None)?;
    Some((constants, states, evaluation(&pass)))
}

fn evaluation(pass: &Pass) -> Evaluation {
    let n = pass.count as f64;
    let variance = (pass.sum_squares / n).max(1e-300);
    let loglik = -0.5 * n * ((2.0 * std::f64::consts::PI * variance).ln() + 1.0) - pass.sum_log;
    Evaluation { loglik, sum_squares: pass.sum_squares, sum_log: pass.sum_log, count: pass.count }
}

/// The objective `ln(SSE/n + floor) + (2/n) Σ ln ŷ` in unconstrained coordinates.
struct Problem<'a> {
    ets: Ets,
    y: &'a [f64],
    start: Start,
    trace: Vec<Trace>,
    states: States,
    /// Keeps the objective bounded on a series that the model explains exactly.
    floor: f64,
    /// Where the prior is centred and how heavy it is, a pair for each coordinate; empty without one.
    prior: Vec<(f64, f64)>,
}

impl<'a> Problem<'a> {
    fn new(ets: &Ets, y: &'a [f64], prior: Option<Prior>) -> Self {
        let start = start(ets, y);
        let states = start.states.clone();
        let floor = (1e-6 * start.unit).powi(2).max(1e-30);
        let prior = prior.map_or(Vec::new(), |prior| prior_of(ets, prior, y.len()));
        Problem { ets: *ets, y, start, trace: Vec::new(), states, floor, prior }
    }

    /// The best `count` of a few smoothing levels, with these shares of trend and season, and the objective there.
    fn starts(&mut self, shares: (f64, f64), count: usize, budget: &mut Budget) -> Vec<(f64, Vec<f64>)> {
        let mut found: Vec<(f64, Vec<f64>)> = [0.1, 0.35, 0.8]
            .iter()
            .filter_map(|&alpha| {
                let x = self.origin(alpha, shares);
                self.value(&x, budget).map(|f| (f, x))
            })
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.truncate(count);
        found
    }

    fn origin(&self, alpha: f64, (trend, season): (f64, f64)) -> Vec<f64> {
        let mut x = vec![unsquash(alpha, ALPHA)];
        if self.ets.trend != Component::None {
            x.push(unsquash(trend, (0.0, 1.0)));
        }
        if self.ets.damped {
            x.push(unsquash(0.96, PHI));
        }
        if self.ets.seasonal != Component::None {
            x.push(unsquash(season, (0.0, 1.0)));
        }
        x.resize(self.ets.free_parameters(), 0.0);
        x
    }

    /// `x` with the smoothing parameters that ended on a bound just inside it, where there is one: on a bound the slope
    /// vanishes, and a search that came upon one of them too early stops there.
    fn inside(&self, x: &[f64]) -> Option<Vec<f64>> {
        let trend = usize::from(self.ets.trend != Component::None);
        let season = usize::from(self.ets.seasonal != Component::None);
        let smoothing = 1 + trend + usize::from(self.ets.damped) + season;
        if x[..smoothing].iter().all(|v| v.abs() < BOUND) {
            return None;
        }
        let moved = |(i, v): (usize, &f64)| if i < smoothing { v.clamp(-INSIDE, INSIDE) } else { *v };
        Some(x.iter().enumerate().map(moved).collect())
    }

    /// Units of the coordinates of growth and season.
    fn units(&self) -> (f64, f64) {
        let relative = self.start.unit / self.start.states.level.abs().max(self.start.unit);
        let growth = if self.ets.trend == Component::Multiplicative { relative } else { self.start.unit };
        let season = if self.ets.seasonal == Component::Multiplicative { relative } else { self.start.unit };
        (0.2 * growth, season)
    }

    fn decode_into(&self, x: &[f64], states: &mut States) -> Constants {
        let mut at = x.iter();
        let mut take = || at.next().copied().unwrap_or(0.0);
        let alpha = squash(take(), ALPHA);
        let (mut beta, mut phi, mut gamma) = (0.0, 1.0, 0.0);
        if self.ets.trend != Component::None {
            beta = alpha * squash(take(), (0.0, 1.0));
        }
        if self.ets.damped {
            phi = squash(take(), PHI);
        }
        if self.ets.seasonal != Component::None {
            gamma = (1.0 - alpha) * squash(take(), (0.0, 1.0));
        }
        let (growth_unit, season_unit) = self.units();
        let first = &self.start.states;
        states.level = first.level + self.start.unit * take();
        states.growth = first.growth;
        if self.ets.trend != Component::None {
            states.growth += growth_unit * take();
        }
        states.next = 0;
        states.season.clone_from(&first.season);
        let m = states.season.len();
        if m > 0 {
            let mut moved = 0.0;
            for s in &mut states.season[..m - 1] {
                let by = season_unit * take();
                *s += by;
                moved += by;
            }
            states.season[m - 1] -= moved;
        }
        Constants { alpha, beta, gamma, phi }
    }

    fn decode(&self, x: &[f64]) -> (Constants, States) {
        let mut states = self.start.states.clone();
        let constants = self.decode_into(x, &mut states);
        (constants, states)
    }

    fn legal(&self, states: &States) -> bool {
        (self.ets.trend != Component::Multiplicative || states.growth > 0.05)
            && (self.ets.seasonal != Component::Multiplicative || states.season.iter().all(|s| *s > 1e-4))
    }

    fn objective(&self, pass: &Pass, x: &[f64]) -> f64 {
        let n = pass.count as f64;
        let prior: f64 = self.prior.iter().zip(x).map(|((at, weight), v)| weight * (v - at).powi(2)).sum();
        (pass.sum_squares / n + self.floor).ln() + 2.0 / n * pass.sum_log + prior
    }

    fn value(&mut self, x: &[f64], budget: &mut Budget) -> Option<f64> {
        spend(budget)?;
        let mut states =
            std::mem::replace(&mut self.states, States { level: 0.0, growth: 0.0, season: vec![], next: 0 });
        let constants = self.decode_into(x, &mut states);
        let pass = if self.legal(&states) {
            recursion::run(&self.ets, &constants, &mut states, self.y, None)
        } else {
            None
        };
        self.states = states;
        pass.map(|p| self.objective(&p, x)).filter(|f| f.is_finite())
    }

    /// Value and gradient, the latter into `g`.
    fn gradient(&mut self, x: &[f64], g: &mut [f64], budget: &mut Budget) -> Option<f64> {
        spend(budget)?;
        let (constants, mut states) = self.decode(x);
        if !self.legal(&states) {
            return None;
        }
        let pass = recursion::run(&self.ets, &constants, &mut states, self.y, Some(&mut self.trace))?;
        let n = pass.count as f64;
        let by = (1.0 / (pass.sum_squares + n * self.floor), 2.0 / n);
        let by = (by.0, if self.ets.error == Error::Multiplicative { by.1 } else { 0.0 });
        let raw = recursion::gradient(&self.ets, &constants, &states, self.y, &self.trace, by);
        let (growth_unit, season_unit) = self.units();
        let mut at = 0;
        let mut put = |v: f64| {
            g[at] = v;
            at += 1;
        };
        // Chain rule: β and γ live inside bounds that move with α.
        let Constants { alpha, beta, gamma, phi } = constants;
        let by_alpha = raw.constants.alpha + raw.constants.beta * beta / alpha
            - raw.constants.gamma * gamma / (1.0 - alpha);
        put(by_alpha * slope(alpha, ALPHA));
        if self.ets.trend != Component::None {
            put(raw.constants.beta * alpha * slope(beta / alpha, (0.0, 1.0)));
        }
        if self.ets.damped {
            put(raw.constants.phi * slope(phi, PHI));
        }
        if self.ets.seasonal != Component::None {
            put(raw.constants.gamma * (1.0 - alpha) * slope(gamma / (1.0 - alpha), (0.0, 1.0)));
        }
        put(raw.states.level * self.start.unit);
        if self.ets.trend != Component::None {
            put(raw.states.growth * growth_unit);
        }
        if let Some((last, others)) = raw.states.season.split_last() {
            others.iter().for_each(|s| put((s - last) * season_unit));
        }
        for ((at, weight), (g, v)) in self.prior.iter().zip(g.iter_mut().zip(x)) {
            *g += 2.0 * weight * (v - at);
        }
        let f = self.objective(&pass, x);
        (f.is_finite() && g.iter().all(|v| v.is_finite())).then_some(f)
    }
}

/// Centre and weight of the prior of each coordinate, in the order of `Problem::decode_into`.
fn prior_of(ets: &Ets, prior: Prior, n: usize) -> Vec<(f64, f64)> {
    let (smoothing, trend) = (prior.smoothing / n as f64, prior.trend / n as f64);
    let mut pairs = vec![(unsquash(0.3, ALPHA), smoothing)];
    if ets.trend != Component::None {
        pairs.push((unsquash(0.1, (0.0, 1.0)), trend));
    }
    if ets.damped {
        pairs.push((unsquash(0.9, PHI), smoothing));
    }
    if ets.seasonal != Component::None {
        pairs.push((unsquash(0.1, (0.0, 1.0)), smoothing));
    }
    pairs.push((0.0, 0.0));
    if ets.trend != Component::None {
        pairs.push((0.0, trend));
    }
    pairs.resize(ets.free_parameters(), (0.0, 0.0));
    pairs
}

/// BFGS with a backtracking line search; stops where a step no longer gains, or the budget is used up.
fn minimise(problem: &mut Problem<'_>, f: f64, x: Vec<f64>, budget: &mut Budget) -> (f64, Vec<f64>) {
    let n = x.len();
    let (mut f, mut x) = (f, x);
    let mut g = vec![0.0; n];
    if problem.gradient(&x, &mut g, budget).is_none() {
        return (f, x);
    }
    let mut inverse = identity(n);
    let (mut direction, mut trial, mut g_new) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let (mut fresh, mut small) = (true, 0);
    for _ in 0..STEPS_MAX {
        for (i, d) in direction.iter_mut().enumerate() {
            *d = -inverse[i * n..(i + 1) * n].iter().zip(&g).map(|(h, g)| h * g).sum::<f64>();
        }
        let mut downhill: f64 = direction.iter().zip(&g).map(|(d, g)| d * g).sum();
        if downhill >= 0.0 || !downhill.is_finite() {
            if fresh {
                break;
            }
            inverse = identity(n);
            fresh = true;
            continue;
        }
        // A coordinate moves by at most 2 at a time: further, the squashed parameters are flat.
        let largest = direction.iter().fold(0.0_f64, |s, d| s.max(d.abs()));
        if largest > 2.0 {
            direction.iter_mut().for_each(|d| *d *= 2.0 / largest);
            downhill *= 2.0 / largest;
        }
        let mut step = 1.0;
        let mut accepted = None;
        for _ in 0..25 {
            for i in 0..n {
                trial[i] = x[i] + step * direction[i];
            }
            if let Some(value) = problem.gradient(&trial, &mut g_new, budget)
                && value <= f + 1e-4 * step * downhill
            {
                accepted = Some(value);
                break;
            }
            step *= 0.4;
            if budget.exhausted {
                break;
            }
        }
        let Some(value) = accepted else {
            if fresh || budget.exhausted {
                break;
            }
            inverse = identity(n);
            fresh = true;
            continue;
        };
        update_inverse(&mut inverse, &x, &trial, &g, &g_new, fresh);
        fresh = false;
        let gained = f - value;
        std::mem::swap(&mut x, &mut trial);
        std::mem::swap(&mut g, &mut g_new);
        f = value;
        // A choice among models needs no more digits than the criterion it is made by.
        let enough = if problem.prior.is_empty() { 1e-8 } else { 1e-5 };
        small = if gained < enough { small + 1 } else { 0 };
        if small >= 2 || budget.exhausted {
            break;
        }
    }
    (f, x)
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect()
}

/// The BFGS update of the inverse Hessian, skipped where the curvature along the step is not positive.
fn update_inverse(inverse: &mut [f64], x: &[f64], x_new: &[f64], g: &[f64], g_new: &[f64], first: bool) {
    let n = x.len();
    let s: Vec<f64> = x_new.iter().zip(x).map(|(a, b)| a - b).collect();
    let d: Vec<f64> = g_new.iter().zip(g).map(|(a, b)| a - b).collect();
    let sd: f64 = s.iter().zip(&d).map(|(a, b)| a * b).sum();
    let dd: f64 = d.iter().map(|v| v * v).sum();
    if sd <= 1e-12 * dd.sqrt() || sd <= 0.0 {
        return;
    }
    if first {
        inverse.iter_mut().for_each(|v| *v *= sd / dd);
    }
    let hd: Vec<f64> =
        (0..n).map(|i| inverse[i * n..(i + 1) * n].iter().zip(&d).map(|(h, d)| h * d).sum()).collect();
    let dhd: f64 = hd.iter().zip(&d).map(|(a, b)| a * b).sum();
    let outer = (1.0 + dhd / sd) / sd;
    for i in 0..n {
        for j in 0..n {
            inverse[i * n + j] += outer * s[i] * s[j] - (hd[i] * s[j] + s[i] * hd[j]) / sd;
        }
    }
}

fn spend(budget: &mut Budget) -> Option<()> {
    if budget.evaluations == 0 {
        budget.exhausted = true;
        return None;
    }
    budget.evaluations -= 1;
    Some(())
}

/// The logistic curve between bounds.
fn squash(x: f64, (low, high): (f64, f64)) -> f64 {
    low + (high - low) / (1.0 + (-x).exp())
}

fn unsquash(v: f64, (low, high): (f64, f64)) -> f64 {
    let p = (v - low) / (high - low);
    (p / (1.0 - p)).ln()
}

/// Derivative of [`squash`] where its value is `v`.
fn slope(v: f64, (low, high): (f64, f64)) -> f64 {
    (v - low) * (high - v) / (high - low)
}
