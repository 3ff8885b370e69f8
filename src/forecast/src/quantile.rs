//! Quantiles and tails of the predictive distributions: normal, Student's t, and those of a sample.

use crate::Step;

/// Standard normal quantile (Wichura 1988, algorithm AS 241, PPND16: relative error about 1e-16).
///
/// `p` in (0, 1); outside it the result is clamped to that of the nearest representable probability.
pub fn normal_quantile(p: f64) -> f64 {
    let p = p.clamp(1e-300, 1.0 - 1e-16);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-tail.ln()).sqrt();
    let z = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { ratio(r - 5.0, &FAR) };
    if q < 0.0 { -z } else { z }
}

/// Half-width in standard deviations of a central normal interval at `level` in (0, 1).
pub fn interval_z(level: f64) -> f64 {
    normal_quantile(0.5 + 0.5 * level.clamp(1e-9, 1.0 - 1e-12))
}

/// Upper tail `P(|T| >= t)` of Student's t with `nu` degrees of freedom (`nu >= 1`), two-sided.
pub fn student_tail(t: f64, nu: f64) -> f64 {
    let t2 = t * t;
    if !t2.is_finite() {
        return 0.0;
    }
    statrs::function::beta::beta_reg(0.5 * nu, 0.5, nu / (nu + t2)).clamp(0.0, 1.0)
}

/// The `p`-quantile of `sorted` (ascending, no NaN) with linear interpolation (Hyndman and Fan's type 7).
pub fn sorted_quantile(sorted: &[f64], p: f64) -> f64 {
    match sorted {
        [] => f64::NAN,
        [only] => *only,
        _ => {
            let at = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
            let low = at.floor() as usize;
            let high = (low + 1).min(sorted.len() - 1);
            sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
        }
    }
}

/// Median of the values of `values` that are finite; `NaN` without any.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut kept: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    kept.sort_by(f64::total_cmp);
    sorted_quantile(&kept, 0.5)
}

/// A step that keeps its promise whatever the arithmetic gave: finite and `lower <= mean <= upper`.
pub fn ordered_step(mean: f64, lower: f64, upper: f64) -> Step {
    let finite = |v: f64, otherwise: f64| if v.is_nan() { otherwise } else { v.clamp(f64::MIN, f64::MAX) };
    let mean = finite(mean, 0.0);
    let lower = finite(lower, mean).min(mean);
    let upper = finite(upper, mean).max(mean);
    Step { mean, lower, upper }
}

/// What arithmetic leaves of a value's last digits, as a part of it: nothing that was computed is surer than that.
pub(crate) const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// As [`ordered_step`], of a mean that was computed rather than taken over from an observation: where the model claims no
/// error, the interval has what rounding may have made of the mean.
pub fn computed_step(mean: f64, lower: f64, upper: f64) -> Step {
    let rounding = ROUNDING * mean.abs();
    ordered_step(mean, lower.min(mean - rounding), upper.max(mean + rounding))
}

/// Numerator and denominator coefficients of one piece of AS 241, highest power first.
struct Piece([f64; 8], [f64; 8]);

fn ratio(r: f64, piece: &Piece) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().fold(0.0, |sum, &a| sum * r + a);
    horner(&piece.0) / horner(&piece.1)
}

const CENTRE: Piece = Piece(
    [
        2509.0809287301227,
        33430.57558358813,
        67265.7709270087,
        45921.95393154987,
        13731.69376550946,
        1971.5909503065513,
        133.14166789178438,
        3.3871328727963665,
    ],
    [
        5226.495278852546,
        28729.085735721943,
        39307.89580009271,
        21213.794301586597,
        5394.196021424751,
        687.1870074920579,
        42.31333070160091,
        1.0,
    ],
);
const MIDDLE: Piece = Piece(
    [
        0.0007745450142783414,
        0.022723844989269184,
        0.2417807251774506,
        1.2704582524523684,
        3.6478483247632045,
        5.769497221460691,
        4.630337846156546,
        1.4234371107496835,
    ],
    [
        1.0507500716444169e-09,
        0.0005475938084995345,
        0.015198666563616457,
        0.14810397642748008,
        0.6897673349851,
        1.6763848301838038,
        2.053191626637759,
        1.0,
    ],
);
const FAR: Piece = Piece(
    [
        2.0103343992922881e-07,
        2.7115555687434876e-05,
        0.0012426609473880784,
        0.026532189526576124,
        0.29656057182850487,
        1.7848265399172913,
        5.463784911164114,
        6.657904643501103,
    ],
    [
        2.0442631033899397e-15,
        1.421511758316446e-07,
        1.8463183175100548e-05,
        0.0007868691311456133,
        0.014875361290850615,
        0.1369298809227358,
        0.599832206555888,
        1.0,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_agree_with_published_values() {
        // R 4.2: qnorm, all 16 digits.
        for (p, z) in [
            (0.975, 1.959963984540054),
            (0.95, 1.6448536269514722),
            (0.5, 0.0),
            (0.025, -1.959963984540054),
            (1e-10, -6.361340902404056),
            (0.999, 3.090232306167813),
            (1e-20, -9.262340089798408),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-9, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn student_tails_agree_with_published_values() {
        // R 4.2: 2 * pt(-t, nu).
        for (t, nu, tail) in [(2.0, 5.0, 0.1019395), (3.0, 3.0, 0.05766888), (0.0, 4.0, 1.0)] {
            assert!((student_tail(t, nu) - tail).abs() < 1e-6, "{t} {nu}: {}", student_tail(t, nu));
        }
    }

    #[test]
    fn a_step_is_ordered_and_finite_whatever_went_in() {
        for (m, l, u) in [(f64::NAN, 1.0, 2.0), (f64::INFINITY, f64::NEG_INFINITY, f64::NAN), (1.0, 2.0, 0.0)]
        {
            let s = ordered_step(m, l, u);
            assert!(s.lower <= s.mean && s.mean <= s.upper && s.lower.is_finite() && s.upper.is_finite());
        }
    }
}
