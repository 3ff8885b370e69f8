//! Minimising smooth functions of a few unconstrained parameters: BFGS with gradients by differences.

use crate::Budget;

/// When a search stops.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Largest element of the gradient.
    pub gradient: f64,
    /// Decrease of the objective in an iteration, twice in a row.
    pub decrease: f64,
    /// Iterations.
    pub iterations: usize,
}

/// Where a search ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The point.
    pub x: Vec<f64>,
    /// The objective there.
    pub value: f64,
    /// The inverse of its curvature as gathered on the way, row-major; empty where no way was gone.
    pub inverse: Vec<f64>,
}

/// Longest step in one iteration: the parameters are of order one.
const LONGEST: f64 = 1.0;

/// Gradients asked for no closer than this may come from forward differences.
const FORWARD: f64 = 1e-3;

/// Minimises `f` from `x`. Every evaluation is taken from `budget`; when it runs out the best point so far is given
/// and the budget marked. Values that are not finite are walls.
pub fn bfgs(f: &mut impl FnMut(&[f64]) -> f64, x: Vec<f64>, stop: Stop, budget: &mut Budget) -> Minimum {
    bfgs_while(f, Minimum { x, value: f64::NAN, inverse: Vec::new() }, stop, &|_| true, budget)
}

/// As [`bfgs`], for as long as `go_on` says so of the best point after an iteration, with the curvature that `start`
/// may bring along from a search on a similar function.
pub fn bfgs_while(
    f: &mut impl FnMut(&[f64]) -> f64,
    start: Minimum,
    stop: Stop,
    go_on: &dyn Fn(&Minimum) -> bool,
    budget: &mut Budget,
) -> Minimum {
    let mut best = start;
    let k = best.x.len();
    best.value = spend(f, &best.x, budget).unwrap_or(f64::INFINITY);
    if k == 0 || !best.value.is_finite() {
        return best;
    }
    let mut central = false;
    let Some(mut gradient) = slope(f, &best, central, budget) else { return best };
    let mut inverse = std::mem::take(&mut best.inverse);
    let mut fresh = inverse.len() != k * k;
    if fresh {
        inverse = identity(k, 1.0 / norm(&gradient).max(1.0));
    }
    let (mut small, mut again) = (0, false);
    for _ in 0..stop.iterations {
        if gradient.iter().all(|g| g.abs() < stop.gradient) {
            if central || stop.gradient >= FORWARD {
                break;
            }
            central = true;
            let Some(sharper) = slope(f, &best, central, budget) else { return best };
            gradient = sharper;
            continue;
        }
        let mut direction: Vec<f64> = (0..k).map(|i| -dot(&inverse[i * k..(i + 1) * k], &gradient)).collect();
        let mut downhill = dot(&direction, &gradient);
        if downhill >= 0.0 {
            inverse = identity(k, 1.0 / norm(&gradient).max(1.0));
            fresh = true;
            direction = gradient.iter().map(|g| -g * inverse[0]).collect();
            downhill = dot(&direction, &gradient);
        }
        let length = norm(&direction);
        if length > LONGEST {
            direction.iter_mut().for_each(|d| *d *= LONGEST / length);
            downhill *= LONGEST / length;
        }
        let found = match search(f, &best, &direction, downhill, budget) {
            Found::Better(next) => next,
            Found::Spent => return best,
            Found::Nothing => {
                // A forward difference is too coarse near the minimum: once more with central ones, and then
                // without the curvature that was gathered on the way.
                if !central {
                    central = true;
                    let Some(sharper) = slope(f, &best, central, budget) else { return best };
                    gradient = sharper;
                } else if !fresh {
                    inverse = identity(k, 1.0 / norm(&gradient).max(1.0));
                    fresh = true;
                } else {
                    break;
                }
                continue;
            }
        };
        let decrease = best.value - found.value;
        if !go_on(&found) {
            best = found;
            break;
        }
        let Some(next) = slope(f, &found, central, budget) else { return found };
        let step: Vec<f64> = found.x.iter().zip(&best.x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-12 * norm(&step) * norm(&change) {
            if fresh {
                inverse = identity(k, curvature / dot(&change, &change));
                fresh = false;
            }
            widen(&mut inverse, &step, &change, curvature);
        }
        best = found;
        gradient = next;
        small = if decrease < stop.decrease { small + 1 } else { 0 };
        if small >= 2 {
            if stop.gradient >= FORWARD || (central && (fresh || again)) {
                break;
            }
            // Small steps may be the fault of the curvature that was gathered: once more without it.
            again |= central;
            if central {
                inverse = identity(k, 1.0 / norm(&gradient).max(1.0));
                fresh = true;
            }
            central = true;
            small = 0;
            let Some(sharper) = slope(f, &best, central, budget) else { return best };
            gradient = sharper;
        }
    }
    best.inverse = if fresh { Vec::new() } else { inverse };
    best
}

enum Found {
    Better(Minimum),
    Nothing,
    Spent,
}

/// Backtracking with quadratic interpolation until the decrease is a fair part of what the slope promises.
fn search(
    f: &mut impl FnMut(&[f64]) -> f64,
    from: &Minimum,
    direction: &[f64],
    downhill: f64,
    budget: &mut Budget,
) -> Found {
    let mut length = 1.0;
    for _ in 0..24 {
        let x: Vec<f64> = from.x.iter().zip(direction).map(|(x, d)| x + length * d).collect();
        if x == from.x {
            return Found::Nothing;
        }
        let Some(value) = spend(f, &x, budget) else { return Found::Spent };
        if value <= from.value + 1e-4 * length * downhill {
            return Found::Better(Minimum { x, value, inverse: Vec::new() });
        }
        let shorter = if value.is_finite() {
            -0.5 * downhill * length * length / (value - from.value - downhill * length)
        } else {
            0.25 * length
        };
        length = shorter.clamp(0.1 * length, 0.5 * length);
    }
    Found::Nothing
}

/// The gradient by forward or central differences.
fn slope(
    f: &mut impl FnMut(&[f64]) -> f64,
    at: &Minimum,
    central: bool,
    budget: &mut Budget,
) -> Option<Vec<f64>> {
    let mut x = at.x.clone();
    let mut gradient = Vec::with_capacity(x.len());
    for i in 0..x.len() {
        let (here, h) = (x[i], if central { 3e-5 } else { 1e-6 } * at.x[i].abs().max(1.0));
        x[i] = here + h;
        let up = spend(f, &x, budget)?;
        let mut value = (up - at.value) / h;
        if central || !up.is_finite() {
            x[i] = here - h;
            let down = spend(f, &x, budget)?;
            value = if up.is_finite() { (up - down) / (2.0 * h) } else { (at.value - down) / h };
        }
        x[i] = here;
        gradient.push(if value.is_finite() { value } else { 0.0 });
    }
    Some(gradient)
}

fn spend(f: &mut impl FnMut(&[f64]) -> f64, x: &[f64], budget: &mut Budget) -> Option<f64> {
    if budget.evaluations == 0 {
        budget.exhausted = true;
        return None;
    }
    budget.evaluations -= 1;
    let value = f(x);
    Some(if value.is_nan() { f64::INFINITY } else { value })
}

/// The inverse Hessian update of Broyden, Fletcher, Goldfarb and Shanno.
fn widen(inverse: &mut [f64], step: &[f64], change: &[f64], curvature: f64) {
    let k = step.len();
    let product: Vec<f64> = (0..k).map(|i| dot(&inverse[i * k..(i + 1) * k], change)).collect();
    let scale = (1.0 + dot(change, &product) / curvature) / curvature;
    for i in 0..k {
        for j in 0..k {
            inverse[i * k + j] +=
                scale * step[i] * step[j] - (product[i] * step[j] + step[i] * product[j]) / curvature;
        }
    }
}

fn identity(k: usize, scale: f64) -> Vec<f64> {
    let mut m = vec![0.0; k * k];
    (0..k).for_each(|i| m[i * k + i] = scale);
    m
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { gradient: 1e-6, decrease: 1e-12, iterations: 500 };

    #[test]
    fn the_banana_is_walked_to_its_end() {
        let mut f = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let found = bfgs(&mut f, vec![-1.2, 1.0], STOP, &mut Budget::default());
        assert!((found.x[0] - 1.0).abs() < 1e-4 && (found.x[1] - 1.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn a_spent_budget_gives_the_best_so_far_and_says_so() {
        let mut calls = 0;
        let mut f = |x: &[f64]| {
            calls += 1;
            x[0] * x[0]
        };
        let mut budget = Budget { evaluations: 7, exhausted: false };
        let found = bfgs(&mut f, vec![50.0], STOP, &mut budget);
        assert!(budget.exhausted && budget.evaluations == 0 && found.value < 2500.0);
        assert_eq!(calls, 7);
    }

    #[test]
    fn walls_are_not_walked_into() {
        let mut f = |x: &[f64]| if x[0] < 0.5 { f64::INFINITY } else { x[0] };
        let found = bfgs(&mut f, vec![3.0], STOP, &mut Budget::default());
        assert!(found.value >= 0.5 && found.value < 0.51, "{found:?}");
    }
}
