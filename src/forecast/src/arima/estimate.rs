//! Maximum likelihood: several starts, a search on the exact likelihood, standard errors from its curvature.

use super::likelihood::{Columns, Evaluation, Workspace};
use super::polynomial::Sparse;
use super::shape::Shape;
use super::starts::{apart, is_stationary, probes, scattered, starts};
use crate::optimize::{Minimum, Stop, bfgs, bfgs_while};
use crate::{Budget, FitError};

/// Searches carried to the end, from the best starts.
const SEARCHES: usize = 3;
/// Searches begun from places around the best end, and how much worse such a place may be, in log-likelihood.
const PROBES: usize = 4;
const WORTH: f64 = 6.0;
/// Where there is reason to expect more optima than the usual two or three: places scattered over all parameters, so many
/// for each, and searches begun from the best of them.
const SCATTERED: usize = 12;
const AGAIN: usize = 4;
/// A point as near as [`SAME`] to an end and no more than this above it, in log-likelihood, is on its way there.
const NEAR: f64 = 0.05;
/// Partial autocorrelations nearer than this lead to the same optimum.
const SAME: f64 = 0.05;
/// A likelihood of more steps than this is searched from fewer places.
const HEAVY: usize = 60_000;
/// From this many lags on, a conditional likelihood is so much cheaper than the exact one that starts are refined on it.
const LONG: usize = 8;

/// Past this an unconstrained parameter is on the boundary (a partial autocorrelation of 0.995), and this is inside.
const BOUNDARY: f64 = 3.0;
const INSIDE: f64 = 1.8;

const ROUGH: Stop = Stop { gradient: 0.3, decrease: 3e-2, iterations: 25 };
const SEARCH: Stop = Stop { gradient: 1e-2, decrease: 3e-4, iterations: 100 };
const POLISH: Stop = Stop { gradient: 1e-5, decrease: 1e-8, iterations: 100 };

/// As [`POLISH`] where an evaluation is dear: forward differences will do, for the likelihood is sharp.
const FINISH: Stop = Stop { gradient: 1e-3, decrease: 1e-6, iterations: 100 };

/// A long series makes the likelihood sharp and its rounding coarse: both in proportion.
fn eased(stop: Stop, n: usize) -> Stop {
    let ease = 1.0 + n as f64 / 1000.0;
    Stop { gradient: stop.gradient * ease, decrease: stop.decrease * ease, ..stop }
}

/// Parameters that maximise the likelihood, in units of the columns given.
#[derive(Debug, Clone)]
pub(crate) struct Estimate {
    pub natural: Vec<f64>,
    /// Standard errors of `natural`, `NaN` where the likelihood is not curved.
    pub errors: Vec<f64>,
    pub at: Evaluation,
}

/// A likelihood as a function of unconstrained parameters.
pub(crate) struct Objective<'a> {
    pub shape: &'a Shape,
    pub of: &'a Columns,
    pub work: Workspace,
    natural: Vec<f64>,
    ar: Sparse,
    ma: Sparse,
}

impl<'a> Objective<'a> {
    pub(crate) fn new(shape: &'a Shape, of: &'a Columns) -> Self {
        let natural = vec![0.0; shape.count()];
        Objective { shape, of, work: Workspace::default(), natural, ar: Sparse::new(), ma: Sparse::new() }
    }

    fn set(&mut self, free: &[f64]) {
        self.shape.constrain(free, &mut self.natural);
        self.shape.expand(&self.natural, &mut self.ar, &mut self.ma);
    }

    pub(crate) fn exact(&mut self, free: &[f64]) -> f64 {
        self.set(free);
        self.work.objective(self.of, &self.ar, &self.ma)
    }

    pub(crate) fn conditional(&mut self, free: &[f64]) -> f64 {
        self.set(free);
        self.work.conditional(self.of, &self.ar, &self.ma)
    }

    /// The exact likelihood at parameters as they are, invertible or not.
    pub(crate) fn at(&mut self, natural: &[f64]) -> Option<Evaluation> {
        self.shape.expand(natural, &mut self.ar, &mut self.ma);
        self.work.exact(self.of, &self.ar, &self.ma)
    }
}

/// How thorough a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// All starts and standard errors.
    Full,
    /// Fewer searches and no standard errors: a model that is one of many tried.
    Quick,
}

/// Maximises the likelihood of `shape` on `of`. `earlier`: natural parameters of a fit to a similar history.
pub(crate) fn estimate(
    shape: &Shape,
    of: &Columns,
    earlier: Option<&[f64]>,
    effort: Effort,
    budget: &mut Budget,
) -> Result<Estimate, FitError> {
    let mut objective = Objective::new(shape, of);
    let failed = |reason: &str| FitError::Numerical { family: "ARIMA", reason: reason.into() };
    if shape.count() == 0 {
        budget.evaluations = budget.evaluations.saturating_sub(1);
        let at = objective.at(&[]).ok_or_else(|| failed("the regressors are collinear once differenced"))?;
        return Ok(Estimate { natural: Vec::new(), errors: Vec::new(), at });
    }
    let mut candidates: Vec<Minimum> = Vec::new();
    let mut begin: Vec<Vec<f64>> = Vec::new();
    if let Some(natural) = earlier {
        begin.push(shape.free(natural, 0.01));
    }
    begin.extend(starts(shape, of));
    let lags = usize::from(shape.p.max(shape.q))
        + usize::from(shape.seasonal_p.max(shape.seasonal_q)) * shape.season();
    for x in begin {
        if budget.evaluations == 0 {
            budget.exhausted = true;
            break;
        }
        if lags >= LONG && effort == Effort::Full {
            let rough = bfgs(&mut |u| objective.conditional(u), x.clone(), eased(ROUGH, of.len()), budget);
            let x: Vec<f64> = rough.x.iter().map(|u| u.clamp(-2.0, 2.0)).collect();
            let value = objective.exact(&x);
            candidates.push(Minimum { x, value, ..rough });
        }
        let value = objective.exact(&x);
        candidates.push(Minimum { x, value, inverse: Vec::new() });
        budget.evaluations = budget.evaluations.saturating_sub(2);
    }
    // Each missing value costs about what the rest costs, up to a whole covariance.
    let gaps = 1 + (of.len() - of.observed).min(lags);
    let long = of.len().saturating_mul(lags).saturating_mul(gaps) > HEAVY;
    let (searches, probed) = match effort {
        Effort::Full if long => (1, 0),
        Effort::Full => (SEARCHES, PROBES),
        Effort::Quick if long => (1, 0),
        // Second optima are a matter of mixed models.
        Effort::Quick => (2, usize::from(shape.p.min(shape.q) > 0)),
    };
    let mut ends = Vec::new();
    search(&mut objective, candidates, searches, f64::INFINITY, &mut ends, budget);
    let mut search_from =
        |places: Vec<Vec<f64>>, searches, worth, ends: &mut Vec<Minimum>, budget: &mut Budget| {
            budget.evaluations = budget.evaluations.saturating_sub(places.len() as u64);
            let valued = |x: Vec<f64>| Minimum { value: objective.exact(&x), x, inverse: Vec::new() };
            let candidates = places.into_iter().map(valued).collect();
            search(&mut objective, candidates, searches, worth, ends, budget);
        };
    if probed > 0 && !ends.is_empty() {
        search_from(probes(shape, &ends[0].x), probed, WORTH, &mut ends, budget);
    }
    // Two mixed polynomials of order two, five parameters, or gaps: on such likelihoods the searches above were seen to end
    // up to nine below the best.
    let many = shape.p.min(shape.q) > 1 || shape.count() > 4 || (of.observed < of.len() && shape.count() > 1);
    if effort == Effort::Full && !long && many && !ends.is_empty() {
        let places = scattered(shape, &ends[0].x, SCATTERED * shape.count());
        search_from(places, AGAIN, f64::INFINITY, &mut ends, budget);
    }
    let best = ends.into_iter().next().ok_or_else(|| failed("the likelihood is not finite at any start"))?;
    let best = if effort == Effort::Full && !budget.exhausted {
        let finish = eased(if long { FINISH } else { POLISH }, of.len());
        let polished = bfgs_while(&mut |u| objective.exact(u), best, finish, &|_| true, budget);
        if long { polished } else { released(&mut objective, polished, finish, budget) }
    } else {
        best
    };
    let mut natural = vec![0.0; shape.count()];
    shape.constrain(&best.x, &mut natural);
    let at = objective.at(&natural).ok_or_else(|| failed("the likelihood is not finite at its optimum"))?;
    let errors = match effort {
        Effort::Full => standard_errors(&mut objective, &natural, at.loglik, budget),
        Effort::Quick => vec![f64::NAN; natural.len()],
    };
    Ok(Estimate { natural, errors, at })
}

/// Searches from the best `count` of `candidates` that are not near one another nor near an end already reached; the
/// ends are kept best first. Candidates worse than the best end by more than `worth` are left.
fn search(
    objective: &mut Objective<'_>,
    mut candidates: Vec<Minimum>,
    count: usize,
    worth: f64,
    ends: &mut Vec<Minimum>,
    budget: &mut Budget,
) {
    candidates.retain(|c| c.value.is_finite());
    candidates.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut begun: Vec<Vec<f64>> = ends.iter().map(|e| e.x.clone()).collect();
    let mut done = 0;
    for candidate in candidates {
        let best = ends.first().map_or(f64::INFINITY, |e| e.value);
        if done == count || (budget.exhausted && !ends.is_empty()) || candidate.value > best + worth {
            break;
        }
        if begun.iter().any(|x| apart(x, &candidate.x) < SAME) {
            continue;
        }
        begun.push(candidate.x.clone());
        // A search that comes to where another ended has nothing to add.
        let new = |at: &Minimum| !ends.iter().any(|e| at.value < e.value + NEAR && apart(&at.x, &e.x) < SAME);
        let stop = eased(SEARCH, objective.of.len());
        let end = bfgs_while(&mut |u| objective.exact(u), candidate, stop, &new, budget);
        ends.push(end);
        ends.sort_by(|a, b| a.value.total_cmp(&b.value));
        done += 1;
    }
}

/// On the boundary of invertibility the likelihood is flat and a search stops where it came upon it: once more from
/// just inside.
fn released(objective: &mut Objective<'_>, at: Minimum, finish: Stop, budget: &mut Budget) -> Minimum {
    if at.x.iter().all(|u| u.abs() < BOUNDARY) {
        return at;
    }
    let x = at.x.iter().map(|u| if u.abs() < BOUNDARY { *u } else { INSIDE * u.signum() }).collect();
    let inside = bfgs(&mut |u| objective.exact(u), x, finish, budget);
    if inside.value < at.value { inside } else { at }
}

/// Square roots of the diagonal of the inverse observed information, the innovation variance concentrated out (which
/// leaves that block as it is).
fn standard_errors(
    objective: &mut Objective<'_>,
    natural: &[f64],
    loglik: f64,
    budget: &mut Budget,
) -> Vec<f64> {
    let k = natural.len();
    let nothing = vec![f64::NAN; k];
    let cost = (k * (k + 1)) as u64;
    if budget.evaluations < cost {
        return nothing;
    }
    budget.evaluations -= cost;
    let shape = *objective.shape;
    let mut value = |x: &[f64]| {
        let [ar, _, seasonal_ar, _] = shape.split(x);
        if is_stationary(ar) && is_stationary(seasonal_ar) {
            objective.at(x).map_or(f64::NAN, |e| -e.loglik)
        } else {
            f64::NAN
        }
    };
    // Half the fourth root of what is lost to rounding, in parameters of order one.
    let h = 2e-4;
    let mut x = natural.to_vec();
    let mut moved = |i: usize, j: usize, by: f64| {
        x.copy_from_slice(natural);
        x[i] += by;
        if i != j {
            x[j] += by;
        }
        value(&x)
    };
    let mut hessian = vec![0.0; k * k];
    let mut straight = vec![0.0; k];
    for i in 0..k {
        straight[i] = moved(i, i, h) + moved(i, i, -h) + 2.0 * loglik;
        hessian[i * k + i] = straight[i] / (h * h);
    }
    for i in 0..k {
        for j in 0..i {
            let along = moved(i, j, h) + moved(i, j, -h) + 2.0 * loglik;
            hessian[i * k + j] = (along - straight[i] - straight[j]) / (2.0 * h * h);
        }
    }
    if hessian.iter().any(|h| !h.is_finite()) {
        return nothing;
    }
    match crate::regression::solve_positive(&hessian, &vec![0.0; k]) {
        Some(solved) => solved.inverse_diagonal.iter().map(|v| v.sqrt()).collect(),
        None => nothing,
    }
}

#[cfg(test)]
mod tests {
    use crate::arima::Arima;
    use crate::{Budget, Fit, Predict};

    /// The log-likelihoods are the best that statsmodels 0.14 finds.
    #[test]
    fn mixed_models_of_higher_order_end_in_the_best_of_their_optima() {
        let y: Vec<f64> = crate::ets::tests::AIR.iter().map(|v| v.ln()).collect();
        let model = Arima::new(2, 0, 2).seasonal(1, 0, 1, 12);
        let found = model.fit(&y, &mut Budget::default()).unwrap().summary();
        assert!(found.loglik.unwrap() > 254.19, "{found:?}");
    }

    /// Its differences are of alternating signs and beyond the largest double.
    #[test]
    fn a_path_that_is_no_number_is_an_error_and_not_zero() {
        let y: Vec<f64> = (0..60).map(|t| if t % 2 == 0 { 1.7e308 } else { -1.7e308 }).collect();
        let model = Arima::new(1, 1, 1).seasonal(1, 1, 1, 12);
        let error = model.fit(&y, &mut Budget::default()).unwrap_err().to_string();
        assert!(error.contains("rescale"), "{error}");
    }
}
