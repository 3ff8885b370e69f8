//! The likelihood of GARCH and its search.

use super::Garch;
use crate::optimize::{Minimum, Stop, bfgs, bfgs_while};
use crate::regression::solve_positive;
use crate::{Budget, FitError};
use statrs::function::gamma::ln_gamma;

/// Weight of the exponential mean that stands for what was before the sample, and how much of the sample it sees.
const DECAY: f64 = 0.94;
const SEEN: usize = 75;
/// Persistence stays below one by this.
const STATIONARY: f64 = 1.0 - 1e-8;
/// Degrees of freedom of Student's t stay between these.
const NU: (f64, f64) = (2.05, 500.0);

const SEARCH: Stop = Stop { gradient: 1e-2, decrease: 1e-4, iterations: 100 };
const POLISH: Stop = Stop { gradient: 1e-4, decrease: 1e-8, iterations: 60 };

/// A series centred and in units of its own size.
pub(super) struct Sample {
    values: Vec<f64>,
    mean: f64,
    /// Standard deviation; 0 where the series does not vary.
    scale: f64,
    backcast: f64,
    observed: usize,
    /// Places of missing values.
    missing: Vec<usize>,
    lags: usize,
}

/// What estimation found, in units of the series.
pub(super) struct Estimate {
    pub natural: Vec<f64>,
    pub errors: Vec<f64>,
    /// `NaN` where the series does not vary.
    pub loglik: f64,
    /// Squared error and variance before the sample.
    pub backcast: f64,
}

impl Sample {
    pub(super) fn new(y: &[f64], p: usize, q: usize) -> Self {
        let present = || y.iter().filter(|v| !v.is_nan());
        let observed = present().count();
        let n = observed as f64;
        // By parts of the largest: sums of values near the largest double are no doubles.
        let unit = present().fold(0.0f64, |m, v| m.max(v.abs())).max(f64::MIN_POSITIVE);
        let mean = present().map(|v| v / unit).sum::<f64>() / n;
        let sd = (present().map(|v| (v / unit - mean) * (v / unit - mean)).sum::<f64>() / n).sqrt();
        let scale = if sd > 1e-13 { sd } else { 0.0 };
        let values: Vec<f64> = y.iter().map(|v| (v / unit - mean) / scale.max(f64::MIN_POSITIVE)).collect();
        let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
        for v in values.iter().take(SEEN) {
            if !v.is_nan() {
                sum += weight * v * v;
                weights += weight;
            }
            weight *= DECAY;
        }
        let backcast = if weights > 0.0 && sum > 0.0 { sum / weights } else { 1.0 };
        let missing = (0..y.len()).filter(|&t| y[t].is_nan()).collect();
        Sample { values, mean: mean * unit, scale: scale * unit, backcast, observed, missing, lags: p.max(q) }
    }
}

/// Memory of the recursion: squares and variances, those before the sample first.
struct Likelihood<'a> {
    of: &'a Garch,
    sample: &'a Sample,
    squares: Vec<f64>,
    variances: Vec<f64>,
    natural: Vec<f64>,
}

impl<'a> Likelihood<'a> {
    fn new(of: &'a Garch, sample: &'a Sample) -> Self {
        let room = sample.values.len() + sample.lags;
        let natural = vec![0.0; of.parameters()];
        Likelihood { of, sample, squares: vec![0.0; room], variances: vec![0.0; room], natural }
    }

    /// Log-likelihood, negative, at natural parameters in units of the sample.
    fn at(&mut self, natural: &[f64]) -> f64 {
        let (p, q) = (self.of.p, self.of.q);
        let (alpha, rest) = natural[2..].split_at(p);
        self.recursion(natural[0], natural[1], alpha, &rest[..q]);
        let m = self.sample.lags;
        let (squares, variances) = (&self.squares[m..], &self.variances[m..]);
        let n = self.sample.observed as f64;
        let missing = || self.sample.missing.iter().map(|&t| variances[t].ln()).sum::<f64>();
        let log_variance = log_sum(variances.iter().copied()) - missing();
        let value = if self.of.student {
            let nu = rest[q];
            let spread = 1.0 / (nu - 2.0);
            // A missing value stands there with its variance as its square.
            let gaps = self.sample.missing.len() as f64 * (1.0 + spread).ln();
            let tail = log_sum(squares.iter().zip(variances).map(|(e2, s2)| 1.0 + e2 / s2 * spread)) - gaps;
            let constant = ln_gamma(0.5 * (nu + 1.0))
                - ln_gamma(0.5 * nu)
                - 0.5 * (std::f64::consts::PI * (nu - 2.0)).ln();
            -n * constant + 0.5 * log_variance + 0.5 * (nu + 1.0) * tail
        } else {
            let quadratic: f64 = squares.iter().zip(variances).map(|(e2, s2)| e2 / s2).sum();
            let gaps = self.sample.missing.len() as f64;
            0.5 * (n * (2.0 * std::f64::consts::PI).ln() + log_variance + quadratic - gaps)
        };
        if value.is_finite() { value } else { f64::INFINITY }
    }

    /// Squared errors and variances along the sample.
    fn recursion(&mut self, mu: f64, omega: f64, alpha: &[f64], beta: &[f64]) {
        let m = self.sample.lags;
        self.squares[..m].fill(self.sample.backcast);
        self.variances[..m].fill(self.sample.backcast);
        if let (&[alpha], &[beta]) = (alpha, beta) {
            // By far the most used, and all of its memory is two numbers.
            let (mut e2, mut s2) = (self.sample.backcast, self.sample.backcast);
            let out = self.squares[m..].iter_mut().zip(&mut self.variances[m..]);
            for (y, (square, variance)) in self.sample.values.iter().zip(out) {
                s2 = omega + alpha * e2 + beta * s2;
                e2 = if y.is_nan() { s2 } else { (y - mu) * (y - mu) };
                (*square, *variance) = (e2, s2);
            }
            return;
        }
        for (t, y) in self.sample.values.iter().enumerate() {
            let at = t + m;
            let lagged = |of: &[f64], by: &[f64]| -> f64 {
                by.iter().zip(of[at - by.len()..at].iter().rev()).map(|(a, v)| a * v).sum()
            };
            let s2 = omega + lagged(&self.squares, alpha) + lagged(&self.variances, beta);
            self.variances[at] = s2;
            self.squares[at] = if y.is_nan() { s2 } else { (y - mu) * (y - mu) };
        }
    }

    fn free(&mut self, free: &[f64]) -> f64 {
        let mut natural = std::mem::take(&mut self.natural);
        constrain(self.of, free, &mut natural);
        let value = self.at(&natural);
        self.natural = natural;
        value
    }
}

/// The sum of logarithms, as logarithms of products of sixteen: values of a sample are within a few powers of ten.
fn log_sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut product, mut count) = (0.0, 1.0f64, 0);
    for v in values {
        product *= v;
        count += 1;
        if count == 16 {
            sum += product.ln();
            (product, count) = (1.0, 0);
        }
    }
    sum + product.ln()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Unconstrained: mean; log of the long-run variance; logit of the persistence; logits of the shares of the lags
/// against the first; log of the degrees of freedom above two.
fn constrain(of: &Garch, free: &[f64], out: &mut [f64]) {
    let lags = of.p + of.q;
    let persistence = logistic(free[2]) * STATIONARY;
    let weights = || std::iter::once(1.0).chain(free[3..2 + lags].iter().map(|w| w.clamp(-30.0, 30.0).exp()));
    let total: f64 = weights().sum();
    out[0] = free[0];
    out[1] = free[1].clamp(-60.0, 60.0).exp() * (1.0 - persistence);
    for (slot, w) in out[2..].iter_mut().zip(weights()) {
        *slot = persistence * w / total;
    }
    if of.student {
        out[2 + lags] = (2.0 + free[2 + lags].clamp(-10.0, 10.0).exp()).clamp(NU.0, NU.1);
    }
}

/// Weights of a lag against the one before it, in squared errors and in variances: earlier lags weigh more, or, where there
/// are several, as much, or less. Near its bound at nothing the likelihood is flat in a weight, and no search comes back.
const FADES: [(f64, f64); 6] = [(0.5, 0.5), (1.0, 1.0), (0.15, 0.5), (3.0, 0.3), (0.3, 3.0), (0.02, 0.02)];
/// Ends of rough searches no further above the best than this are refined.
const WORTH: f64 = 1.0;

/// The unconstrained point of a persistence, a share of it in squared errors, and one of [`FADES`].
fn start(of: &Garch, persistence: f64, share: f64, fade: (f64, f64)) -> Vec<f64> {
    let mut free = vec![0.0, 0.0, (persistence / (1.0 - persistence)).ln()];
    let alpha = |i: usize| share * fade.0.powi(i as i32);
    let beta = |j: usize| (1.0 - share) * fade.1.powi(j as i32);
    free.extend((1..of.p).map(|i| (alpha(i) / share).ln()));
    free.extend((0..of.q).map(|j| (beta(j) / share).ln()));
    if of.student {
        free.push(6.0f64.ln());
    }
    free
}

/// Maximises the likelihood from the best of a grid.
pub(super) fn estimate(of: &Garch, sample: &Sample, budget: &mut Budget) -> Result<Estimate, FitError> {
    let k = of.parameters();
    if sample.scale == 0.0 {
        let mut natural = vec![0.0; k];
        natural[0] = sample.mean;
        if of.student {
            natural[k - 1] = NU.1;
        }
        return Ok(Estimate { natural, errors: vec![f64::NAN; k], loglik: f64::NAN, backcast: 0.0 });
    }
    let mut likelihood = Likelihood::new(of, sample);
    let shares: &[f64] = if of.q == 0 { &[1.0] } else { &[0.05, 0.1, 0.2, 0.4] };
    // One lag of each has no weights to divide.
    let fades = if of.p.max(of.q) > 1 { &FADES[..] } else { &FADES[..1] };
    let mut firsts: Vec<Minimum> = Vec::new();
    for fade in fades {
        let mut best: Option<Minimum> = None;
        for persistence in [0.3, 0.7, 0.9, 0.97] {
            for share in shares {
                if budget.evaluations == 0 {
                    budget.exhausted = true;
                    continue;
                }
                budget.evaluations -= 1;
                let x = start(of, persistence, *share, *fade);
                let value = likelihood.free(&x);
                if value.is_finite() && best.as_ref().is_none_or(|b| value < b.value) {
                    best = Some(Minimum { x, value, inverse: Vec::new() });
                }
            }
        }
        firsts.extend(best);
    }
    let failed = || FitError::Numerical {
        family: "GARCH",
        reason: "the likelihood is not finite at any start: look for values out of all proportion".into(),
    };
    let mut ends = Vec::with_capacity(firsts.len());
    for first in firsts {
        let end = bfgs(&mut |u| likelihood.free(u), first.x.clone(), SEARCH, budget);
        ends.push(if end.value <= first.value { end } else { first });
    }
    ends.sort_by(|a, b| a.value.total_cmp(&b.value));
    let least = ends.first().ok_or_else(failed)?.value;
    let mut best: Option<Minimum> = None;
    for end in ends.into_iter().take_while(|end| end.value <= least + WORTH) {
        let refined = if budget.exhausted {
            end
        } else {
            bfgs_while(&mut |u| likelihood.free(u), end, POLISH, &|_| true, budget)
        };
        if best.as_ref().is_none_or(|b| refined.value < b.value) {
            best = Some(refined);
        }
    }
    let best = best.ok_or_else(failed)?;
    let mut natural = vec![0.0; k];
    constrain(of, &best.x, &mut natural);
    let errors = standard_errors(&mut likelihood, &natural, best.value, budget);
    // Back to the units of the series.
    let s = sample.scale;
    let unit = |i: usize| match i {
        0 => s,
        1 => s * s,
        _ => 1.0,
    };
    let errors = errors.iter().enumerate().map(|(i, e)| e * unit(i)).collect();
    natural.iter_mut().enumerate().for_each(|(i, x)| *x *= unit(i));
    natural[0] += sample.mean;
    let loglik = -best.value - sample.observed as f64 * s.ln();
    if !(s * s).is_finite() || s * s == 0.0 {
        return Err(FitError::Numerical {
            family: "GARCH",
            reason: "the squares of the values are no finite numbers: rescale the series".into(),
        });
    }
    Ok(Estimate { natural, errors, loglik, backcast: sample.backcast * s * s })
}

/// Square roots of the diagonal of the inverse observed information; `NaN` for parameters on their bound.
fn standard_errors(
    likelihood: &mut Likelihood<'_>,
    natural: &[f64],
    value: f64,
    budget: &mut Budget,
) -> Vec<f64> {
    let lags = 2..2 + likelihood.of.p + likelihood.of.q;
    let inside = |i: usize| !lags.contains(&i) || natural[i] > 1e-5;
    let kept: Vec<usize> = (0..natural.len()).filter(|&i| inside(i)).collect();
    let k = kept.len();
    let mut errors = vec![f64::NAN; natural.len()];
    let cost = (k * (k + 1)) as u64;
    if budget.evaluations < cost {
        return errors;
    }
    budget.evaluations -= cost;
    let size: Vec<f64> =
        kept.iter().map(|&i| 1e-4 * if i == 0 { 1.0 } else { natural[i].abs().max(1e-3) }).collect();
    let mut moved = |i: usize, j: usize, sign: f64| {
        let mut x = natural.to_vec();
        x[kept[i]] += sign * size[i];
        if i != j {
            x[kept[j]] += sign * size[j];
        }
        likelihood.at(&x)
    };
    let mut hessian = vec![0.0; k * k];
    let straight: Vec<f64> = (0..k).map(|i| moved(i, i, 1.0) + moved(i, i, -1.0) - 2.0 * value).collect();
    for i in 0..k {
        hessian[i * k + i] = straight[i] / (size[i] * size[i]);
        for j in 0..i {
            let along = moved(i, j, 1.0) + moved(i, j, -1.0) - 2.0 * value;
            hessian[i * k + j] = (along - straight[i] - straight[j]) / (2.0 * size[i] * size[j]);
        }
    }
    if let Some(solved) = solve_positive(&hessian, &vec![0.0; k]) {
        for (&i, v) in kept.iter().zip(&solved.inverse_diagonal) {
            errors[i] = v.sqrt();
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use crate::garch::Garch;
    use crate::quantile::normal_quantile;
    use crate::{Budget, Fit, Predict};

    /// A GARCH(1,1) of deterministic noise.
    fn sample(n: u64, alpha: f64, beta: f64) -> Vec<f64> {
        let noise = |t: u64| {
            let mixed = (t + 50_001).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            normal_quantile((((mixed ^ (mixed >> 32)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
        };
        let (mut variance, mut error) = (1.0 / (1.0 - alpha - beta), 0.0);
        let step = |t| {
            variance = 0.05 + alpha * error * error + beta * variance;
            error = variance.sqrt() * noise(t);
            error
        };
        (0..n).map(step).collect()
    }

    #[test]
    fn a_lag_more_never_makes_a_fit_less_likely() {
        for (n, alpha, beta) in [(500, 0.3, 0.65), (300, 0.1, 0.85), (500, 0.1, 0.85)] {
            let y = sample(n, alpha, beta);
            let loglik =
                |p, q| Garch::new(p, q).fit(&y, &mut Budget::default()).unwrap().summary().loglik.unwrap();
            let one = loglik(1, 1);
            let (more, less) = (loglik(2, 1), loglik(1, 2));
            assert!(more > one - 1e-3 && less > one - 1e-3, "{n}: {one} {more} {less}");
            let two = loglik(2, 2);
            assert!(two > more.max(less) - 1e-3, "{n}: {two} {more} {less}");
        }
        // Where the second lag of both kinds was left at nothing this was 0.6 less.
        let y = sample(300, 0.1, 0.85);
        let fitted = Garch::new(2, 2).fit(&y, &mut Budget::default()).unwrap();
        assert!(fitted.summary().loglik.unwrap() > -498.18, "{:?}", fitted.summary());
    }
}
