//! The recursion of every exponential smoothing model, its likelihood, and the likelihood's gradient.
//!
//! With level `l`, growth `b` and season `s` before the step, `q = l ⊕ φb`, forecast `ŷ = q ⊕ s`, and with `p` the
//! observation without its season: `l' = q + α(p − q)`, `b' = φb + β(p − q)` (divided by `l` where the trend
//! multiplies) and `s' = s + γ(y ⊖ q − s)`. The states do not depend on how errors enter; only the likelihood does.

use super::{Component, Error, Ets};
use serde::{Deserialize, Serialize};

/// Smoothing parameters. Those of absent components are 0, and `phi` is 1 without damping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Constants {
    /// Of the level.
    pub alpha: f64,
    /// Of the trend.
    pub beta: f64,
    /// Of the season.
    pub gamma: f64,
    /// Damping of the trend.
    pub phi: f64,
}

/// Level, growth and seasonal states. `next` is the place in `season` of the observation to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct States {
    /// Level.
    pub level: f64,
    /// Growth a step: a difference, or a ratio where the trend multiplies.
    pub growth: f64,
    /// One value a place of the season; empty without a season.
    pub season: Vec<f64>,
    /// Index into `season` of the next observation.
    pub next: usize,
}

/// Trend or season codes of the monomorphised loops.
const NONE: u8 = 0;
const ADD: u8 = 1;
const MUL: u8 = 2;

/// What one pass over a history gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Sum of squared errors (relative ones where errors multiply).
    pub sum_squares: f64,
    /// `Σ ln|ŷ|` where errors multiply, else 0.
    pub sum_log: f64,
    /// Observations that were not missing.
    pub count: usize,
}

/// One remembered step, for the adjoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace {
    level: f64,
    growth: f64,
    season: f64,
}

/// Gradient of an objective `f(sum_squares, sum_log)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// By the smoothing parameters.
    pub constants: Constants,
    /// By the initial states.
    pub states: States,
}

macro_rules! dispatch {
    ($ets:expr, $function:ident ( $($argument:expr),* )) => {{
        let code = |c: Component| match c {
            Component::None => NONE,
            Component::Additive => ADD,
            Component::Multiplicative => MUL,
        };
        let multiplies = $ets.error == Error::Multiplicative;
        match (code($ets.trend), code($ets.seasonal), multiplies) {
            (NONE, NONE, false) => $function::<NONE, NONE, false>($($argument),*),
            (NONE, NONE, true) => $function::<NONE, NONE, true>($($argument),*),
            (NONE, ADD, false) => $function::<NONE, ADD, false>($($argument),*),
            (NONE, ADD, true) => $function::<NONE, ADD, true>($($argument),*),
            (NONE, _, false) => $function::<NONE, MUL, false>($($argument),*),
            (NONE, _, true) => $function::<NONE, MUL, true>($($argument),*),
            (ADD, NONE, false) => $function::<ADD, NONE, false>($($argument),*),
            (ADD, NONE, true) => $function::<ADD, NONE, true>($($argument),*),
            (ADD, ADD, false) => $function::<ADD, ADD, false>($($argument),*),
            (ADD, ADD, true) => $function::<ADD, ADD, true>($($argument),*),
            (ADD, _, false) => $function::<ADD, MUL, false>($($argument),*),
            (ADD, _, true) => $function::<ADD, MUL, true>($($argument),*),
            (_, NONE, false) => $function::<MUL, NONE, false>($($argument),*),
            (_, NONE, true) => $function::<MUL, NONE, true>($($argument),*),
            (_, ADD, false) => $function::<MUL, ADD, false>($($argument),*),
            (_, ADD, true) => $function::<MUL, ADD, true>($($argument),*),
            (_, _, false) => $function::<MUL, MUL, false>($($argument),*),
            (_, _, true) => $function::<MUL, MUL, true>($($argument),*),
        }
    }};
}

/// Runs the filter over `y` (NaN: missing) from `states`, which it moves to the end. Remembers the way in `trace`
/// where one is given. `None` where a forecast stopped being a number, or fell to zero under multiplicative errors.
pub fn run(
    ets: &Ets,
    c: &Constants,
    states: &mut States,
    y: &[f64],
    trace: Option<&mut Vec<Trace>>,
) -> Option<Pass> {
    match trace {
        Some(trace) => {
            trace.clear();
            trace.reserve(y.len());
            dispatch!(ets, forward_traced(c, states, y, trace))
        }
        None => dispatch!(ets, forward_plain(c, states, y)),
    }
}

/// The gradient of `f`, given `df/d sum_squares` and `df/d sum_log` of the traced pass over the same `y`.
/// `end` is where that pass left the states.
pub fn gradient(
    ets: &Ets,
    c: &Constants,
    end: &States,
    y: &[f64],
    trace: &[Trace],
    by: (f64, f64),
) -> Gradient {
    dispatch!(ets, backward(c, end, y, trace, by))
}

/// The one-step forecast from `states`.
pub fn one_step(ets: &Ets, c: &Constants, states: &States) -> f64 {
    let season = states.season.get(states.next).copied().unwrap_or(0.0);
    let q = match ets.trend {
        Component::None => states.level,
        Component::Additive => states.level + c.phi * states.growth,
        Component::Multiplicative => states.level * states.growth.powf(c.phi),
    };
    match ets.seasonal {
        Component::None => q,
        Component::Additive => q + season,
        Component::Multiplicative => q * season,
    }
}

fn forward_plain<const T: u8, const S: u8, const E: bool>(
    c: &Constants,
    states: &mut States,
    y: &[f64],
) -> Option<Pass> {
    forward::<T, S, E>(c, states, y, |_| {})
}

fn forward_traced<const T: u8, const S: u8, const E: bool>(
    c: &Constants,
    states: &mut States,
    y: &[f64],
    trace: &mut Vec<Trace>,
) -> Option<Pass> {
    forward::<T, S, E>(c, states, y, |step| trace.push(step))
}

#[inline(always)]
fn forward<const T: u8, const S: u8, const E: bool>(
    c: &Constants,
    states: &mut States,
    y: &[f64],
    mut remember: impl FnMut(Trace),
) -> Option<Pass> {
    let Constants { alpha, beta, gamma, phi } = *c;
    let (mut level, mut growth, mut next) = (states.level, states.growth, states.next);
    let season = &mut states.season;
    let (mut sum_squares, mut sum_log, mut product, mut count) = (0.0, 0.0, 1.0_f64, 0usize);
    for &v in y {
        let s = if S == NONE { 0.0 } else { season[next] };
        remember(Trace { level, growth, season: s });
        let faded = if T == MUL { growth.powf(phi) } else { phi * growth };
        let q = if T == NONE {
            level
        } else if T == ADD {
            level + faded
        } else {
            level * faded
        };
        let hat = if S == NONE {
            q
        } else if S == ADD {
            q + s
        } else {
            q * s
        };
        // Written so that NaN fails too.
        if !(hat.abs() < 1e150 && (!E || hat > 1e-100)) {
            return None;
        }
        let mut gain = 0.0;
        let mut season_gain = 0.0;
        if v.is_finite() {
            let e = v - hat;
            if E {
                let relative = e / hat;
                sum_squares += relative * relative;
                product *= hat;
                if !(1e-100..1e100).contains(&product) {
                    sum_log += product.ln();
                    product = 1.0;
                }
            } else {
                sum_squares += e * e;
            }
            count += 1;
            gain = if S == MUL { v / s - q } else { e };
            season_gain = if S == MUL { v / q - s } else { e };
        }
        let old = level;
        level = q + alpha * gain;
        if T == ADD {
            growth = faded + beta * gain;
        } else if T == MUL {
            growth = faded + beta * gain / old;
        }
        if S != NONE {
            season[next] = s + gamma * season_gain;
            next = if next + 1 == season.len() { 0 } else { next + 1 };
        }
    }
    sum_log += product.ln();
    (states.level, states.growth, states.next) = (level, growth, next);
    sum_squares.is_finite().then_some(Pass { sum_squares, sum_log: if E { sum_log } else { 0.0 }, count })
}

fn backward<const T: u8, const S: u8, const E: bool>(
    c: &Constants,
    end: &States,
    y: &[f64],
    trace: &[Trace],
    by: (f64, f64),
) -> Gradient {
    let Constants { alpha, beta, gamma, phi } = *c;
    let mut dc = Constants { alpha: 0.0, beta: 0.0, gamma: 0.0, phi: 0.0 };
    // What the objective owes to each state after the step at hand; the end of the history is owed nothing.
    let (mut dl, mut db) = (0.0, 0.0);
    let mut ds = vec![0.0; end.season.len()];
    let mut place = end.next;
    for (&v, step) in y.iter().zip(trace).rev() {
        if S != NONE {
            place = if place == 0 { ds.len() - 1 } else { place - 1 };
        }
        let Trace { level, growth, season: s } = *step;
        let faded = if T == MUL { growth.powf(phi) } else { phi * growth };
        let q = if T == NONE {
            level
        } else if T == ADD {
            level + faded
        } else {
            level * faded
        };
        let (mut dq, mut dfaded, mut dlevel) = (dl, 0.0, 0.0);
        let dseason = if S == NONE { 0.0 } else { ds[place] };
        let mut dseason_before = dseason;
        if T != NONE {
            dfaded += db;
        }
        if v.is_finite() {
            let hat = if S == NONE {
                q
            } else if S == ADD {
                q + s
            } else {
                q * s
            };
            let e = v - hat;
            let gain = if S == MUL { v / s - q } else { e };
            // l' = q + α·gain, b' = faded + β·gain (/ level), s' = s + γ·season_gain
            let mut dgain = dl * alpha;
            dc.alpha += dl * gain;
            if T == ADD {
                dgain += db * beta;
                dc.beta += db * gain;
            } else if T == MUL {
                dgain += db * beta / level;
                dc.beta += db * gain / level;
                dlevel -= db * beta * gain / (level * level);
            }
            let mut dhat = if E {
                let relative = e / hat;
                by.0 * 2.0 * relative * (-v / (hat * hat)) + by.1 / hat
            } else {
                -2.0 * by.0 * e
            };
            if S == MUL {
                dc.gamma += dseason * (v / q - s);
                dseason_before -= dseason * gamma;
                dq -= dseason * gamma * v / (q * q);
                dseason_before -= dgain * v / (s * s);
                dq -= dgain;
            } else {
                if S == ADD {
                    dc.gamma += dseason * e;
                    dhat -= dseason * gamma;
                }
                dhat -= dgain;
            }
            if S == MUL {
                dq += dhat * s;
                dseason_before += dhat * q;
            } else {
                dq += dhat;
                if S == ADD {
                    dseason_before += dhat;
                }
            }
        }
        if T == NONE {
            dlevel += dq;
        } else if T == ADD {
            dlevel += dq;
            dfaded += dq;
        } else {
            dlevel += dq * faded;
            dfaded += dq * level;
        }
        if T == ADD {
            dc.phi += dfaded * growth;
            db = dfaded * phi;
        } else if T == MUL {
            dc.phi += dfaded * faded * growth.ln();
            db = dfaded * phi * faded / growth;
        }
        dl = dlevel;
        if S != NONE {
            ds[place] = dseason_before;
        }
    }
    Gradient { constants: dc, states: States { level: dl, growth: db, season: ds, next: place } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every model of the taxonomy, against central differences of its own objective.
    #[test]
    fn the_adjoint_is_the_derivative_for_every_model() {
        let y: Vec<f64> = (0..40)
            .map(|t| if t == 17 { f64::NAN } else { 3.0 + 0.05 * t as f64 + 0.4 * ((t * 5) % 7) as f64 })
            .collect();
        let (a, m, n) = (Component::Additive, Component::Multiplicative, Component::None);
        for error in [Error::Additive, Error::Multiplicative] {
            for (trend, damped) in [(n, false), (a, false), (a, true), (m, false), (m, true)] {
                for seasonal in [n, a, m] {
                    let ets = Ets { error, trend, damped, seasonal, period: 4 };
                    let constants = Constants { alpha: 0.3, beta: 0.1, gamma: 0.2, phi: 0.93 };
                    let season = match seasonal {
                        Component::None => vec![],
                        Component::Additive => vec![0.3, -0.2, 0.1, -0.2],
                        Component::Multiplicative => vec![1.1, 0.9, 1.05, 0.95],
                    };
                    let growth = if trend == m { 1.02 } else { 0.04 };
                    let states = States { level: 3.0, growth, season, next: 0 };
                    let value = |c: &Constants, s: &States| {
                        let mut s = s.clone();
                        let pass = run(&ets, c, &mut s, &y, None).unwrap();
                        pass.sum_squares.ln() + 0.05 * pass.sum_log
                    };
                    let (mut end, mut trace) = (states.clone(), Vec::new());
                    let pass = run(&ets, &constants, &mut end, &y, Some(&mut trace)).unwrap();
                    let g = gradient(&ets, &constants, &end, &y, &trace, (1.0 / pass.sum_squares, 0.05));
                    let compare =
                        |what: &str, exact: f64, nudge: &dyn Fn(&mut Constants, &mut States, f64)| {
                            let at = |h: f64| {
                                let (mut c, mut s) = (constants, states.clone());
                                nudge(&mut c, &mut s, h);
                                value(&c, &s)
                            };
                            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                            let close = (exact - numeric).abs() < 1e-6 * (1.0 + numeric.abs());
                            assert!(close, "{} {what}: {exact} against {numeric}", ets.name());
                        };
                    compare("alpha", g.constants.alpha, &|c, _, h| c.alpha += h);
                    compare("level", g.states.level, &|_, s, h| s.level += h);
                    if trend != n {
                        compare("beta", g.constants.beta, &|c, _, h| c.beta += h);
                        compare("phi", g.constants.phi, &|c, _, h| c.phi += h);
                        compare("growth", g.states.growth, &|_, s, h| s.growth += h);
                    }
                    if seasonal != n {
                        compare("gamma", g.constants.gamma, &|c, _, h| c.gamma += h);
                        for j in 0..4 {
                            compare("season", g.states.season[j], &|_, s, h| s.season[j] += h);
                        }
                    }
                }
            }
        }
    }
}
