//! Whether a fit left structure behind.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::gamma_ur;

/// Ljung and Box's test of no autocorrelation (1978).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LjungBox {
    /// `n (n + 2) sum r_k^2 / (n - k)`.
    pub statistic: f64,
    /// Degrees of freedom: lags less fitted parameters.
    pub degrees: usize,
    /// Probability of a statistic at least so large were there no autocorrelation.
    pub p_value: f64,
}

/// Tests `residuals` (missing ones as `NaN`) up to `lags`; `parameters` counts the ARMA parameters that were fitted.
///
/// `None` with no lag to test, fewer residuals than lags, or residuals that do not vary.
pub fn ljung_box(residuals: &[f64], lags: usize, parameters: usize) -> Option<LjungBox> {
    let present: Vec<f64> = residuals.iter().copied().filter(|v| v.is_finite()).collect();
    let n = present.len();
    if lags == 0 || n <= lags {
        return None;
    }
    let mean = present.iter().sum::<f64>() / n as f64;
    // Gaps keep their place and count for nothing.
    let centred: Vec<f64> = residuals
        .iter()
        .skip_while(|v| !v.is_finite())
        .map(|v| if v.is_finite() { v - mean } else { 0.0 })
        .collect();
    let total: f64 = centred.iter().map(|v| v * v).sum();
    if !(total > 0.0) {
        return None;
    }
    let statistic = (1..=lags)
        .map(|k| {
            let r = centred.iter().zip(centred.iter().skip(k)).map(|(a, b)| a * b).sum::<f64>() / total;
            r * r / (n - k) as f64
        })
        .sum::<f64>()
        * (n * (n + 2)) as f64;
    let degrees = lags.saturating_sub(parameters).max(1);
    Some(LjungBox {
        statistic,
        degrees,
        p_value: gamma_ur(degrees as f64 / 2.0, statistic.max(1e-300) / 2.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_structure_and_alternating_digits_of_pi_are_not() {
        let trend: Vec<f64> = (0..50).map(f64::from).collect();
        assert!(ljung_box(&trend, 5, 0).unwrap().p_value < 1e-10);
        let digits =
            [3., 1., 4., 1., 5., 9., 2., 6., 5., 3., 5., 8., 9., 7., 9., 3., 2., 3., 8., 4., 6., 2., 6., 4.];
        // statsmodels 0.14.6: acorr_ljungbox(digits, lags=[3]).
        let test = ljung_box(&digits, 3, 0).unwrap();
        assert!(test.p_value > 0.05, "{test:?}");
        assert_eq!(ljung_box(&[1.0; 20], 3, 0), None);
    }
}
