//! The seasonal unit-root test of Osborn, Chui, Smith and Birchenhall (1988, "Seasonality and the order of integration
//! for consumption"), in the form that R's forecast package has it (`ocsb.test`, version 8.20).
//!
//! With `w = ΔΔₘ y` and `φ(B)` an autoregression of `w` of a few lags, the regression is
//!
//! ```text
//! w[t] = a₁ w[t−1] + … + aₚ w[t−p] + β₁ φ(B)Δₘ y[t−1] + β₂ φ(B)Δ y[t−m] + e[t]
//! ```
//!
//! `β₂ = 0` where a seasonal unit root is there. The statistic is the t value of `β₂`; above the critical value, the
//! root is not rejected and the series is differenced.

use crate::decompose::interpolate;
use crate::regression::solve_positive;

/// Most lags that are tried.
const LAGS_MAX: usize = 3;

/// What the test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ocsb {
    /// The t value of `β₂`.
    pub statistic: f64,
    /// Its 5 % point: above it the unit root stays.
    pub critical: f64,
    /// Lags in the regression.
    pub lags: usize,
}

impl Ocsb {
    /// Whether the series asks for a seasonal difference.
    pub fn has_unit_root(&self) -> bool {
        self.statistic > self.critical
    }
}

/// 5 % point of the statistic for a season of `m`: a curve through simulated ones, that of `ocsb.test`.
pub fn critical_value(m: usize) -> f64 {
    let log = (m as f64).ln() - 0.765_645_1;
    -0.293_741_1 * (-0.285_085_3 * log - 0.059_836_44 * log * log).exp() - 1.652_202
}

/// The test with as many lags as Akaike's criterion says, as `nsdiffs(test = "ocsb")` asks for them. There, of one to
/// three lags the best is found and one fewer is taken; so it is here, for the same series to get the same differences.
///
/// `None` where the regression has no solution: too short, or a season that repeats without an error.
pub fn test(y: &[f64], m: usize) -> Option<Ocsb> {
    let series = Series::of(y, m)?;
    let criteria = (1..=LAGS_MAX).filter_map(|lags| Some((series.regress(lags, LAGS_MAX)?.aic, lags)));
    let (_, best) = criteria.filter(|(aic, _)| aic.is_finite()).min_by(|a, b| a.0.total_cmp(&b.0))?;
    series.result(best - 1)
}

/// The test with so many lags.
pub fn test_with(y: &[f64], m: usize, lags: usize) -> Option<Ocsb> {
    Series::of(y, m)?.result(lags)
}

/// A series without gaps and in units of its own size.
struct Series {
    y: Vec<f64>,
    m: usize,
}

struct Regressed {
    t_value: f64,
    aic: f64,
}

impl Series {
    fn of(y: &[f64], m: usize) -> Option<Series> {
        let y = interpolate(y);
        let size = y.iter().fold(0.0f64, |s, v| s.max(v.abs()));
        let usable = m > 1 && size > 0.0 && size.is_finite();
        usable.then(|| Series { y: y.into_iter().map(|v| v / size).collect(), m })
    }

    fn result(&self, lags: usize) -> Option<Ocsb> {
        let statistic = self.regress(lags, lags)?.t_value;
        statistic.is_finite().then(|| Ocsb { statistic, critical: critical_value(self.m), lags })
    }

    /// `Δ`, `Δₘ` and `ΔΔₘ` at `t`.
    fn step(&self, t: usize) -> f64 {
        self.y[t] - self.y[t - 1]
    }

    fn season(&self, t: usize) -> f64 {
        self.y[t] - self.y[t - self.m]
    }

    fn both(&self, t: usize) -> f64 {
        self.season(t) - self.season(t - 1)
    }

    /// The regression with `lags` on the observations that are left where `most` are taken off the start.
    fn regress(&self, lags: usize, most: usize) -> Option<Regressed> {
        let m = self.m;
        let rows = m + 1 + most..self.y.len();
        if rows.len() < lags + 3 {
            return None;
        }
        let w: Vec<f64> = rows.clone().map(|t| self.both(t)).collect();
        let mut columns: Vec<Vec<f64>> =
            (1..=lags).map(|k| rows.clone().map(|t| self.both(t - k)).collect()).collect();
        let phi = crate::regression::least_squares(&columns, &w)?.0;
        let filtered = |of: &dyn Fn(usize) -> f64, t: usize| {
            of(t) - phi.iter().zip(1..).map(|(phi, k)| phi * of(t - k)).sum::<f64>()
        };
        columns.push(rows.clone().map(|t| filtered(&|t| self.season(t), t - 1)).collect());
        columns.push(rows.clone().map(|t| filtered(&|t| self.step(t), t - m)).collect());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let gram: Vec<f64> = columns.iter().flat_map(|a| columns.iter().map(|b| dot(a, b))).collect();
        let right: Vec<f64> = columns.iter().map(|c| dot(c, &w)).collect();
        let solved = solve_positive(&gram, &right)?;
        let residual = |(i, w): (usize, &f64)| {
            w - columns.iter().zip(&solved.x).map(|(c, beta)| beta * c[i]).sum::<f64>()
        };
        let squares: f64 = w.iter().enumerate().map(residual).map(|e| e * e).sum();
        let (n, k) = (rows.len() as f64, columns.len() as f64);
        let variance = squares / (n - k);
        let (beta, inverse) = (solved.x.last()?, solved.inverse_diagonal.last()?);
        Some(Regressed {
            t_value: beta / (variance * inverse).sqrt(),
            // Up to a constant, which is the same for every number of lags.
            aic: n * (squares / n).ln() + 2.0 * k,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_that_wanders_has_a_unit_root_and_one_that_stays_has_none() {
        let noise = |t: usize| {
            let mixed = (t as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let follows = |part: f64| {
            let mut y: Vec<f64> = (0..12).map(noise).collect();
            for t in 12..240 {
                y.push(part * y[t - 12] + noise(t));
            }
            y
        };
        let (stays, wanders) = (follows(0.3), follows(1.0));
        assert!(!test(&stays, 12).unwrap().has_unit_root());
        assert!(test(&wanders, 12).unwrap().has_unit_root());
    }

    #[test]
    fn what_has_no_answer_has_none() {
        let season = |t: usize| [1.0, 5.0, 2.0, 4.0][t % 4];
        let exact: Vec<f64> = (0..40).map(season).collect();
        assert_eq!(test(&exact, 4), None);
        assert_eq!(test(&exact[..8], 4), None);
        assert_eq!(test(&[], 12), None);
        assert_eq!(test(&[f64::NAN; 60], 12), None);
        assert_eq!(test(&exact, 1), None);
        assert_eq!(
            test(&[1e308, -1e308, 3.0, f64::INFINITY].repeat(20), 2).filter(|o| o.statistic.is_nan()),
            None
        );
    }
}
