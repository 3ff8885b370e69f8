//! Ordinary and seasonal differencing, `(1 - B)^d (1 - B^s)^D`, and its inverse.

/// A differencing operator; `y` of length `n` becomes `w` of length `n - lost()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differencing {
    /// Ordinary differences.
    pub d: usize,
    /// Seasonal differences.
    pub seasonal_d: usize,
    /// Observations in a season; at least 1.
    pub season: usize,
}

impl Differencing {
    /// Observations at the start that have no difference.
    pub fn lost(&self) -> usize {
        self.d + self.seasonal_d * self.season
    }

    /// Coefficients `c_1..c_m` of `w_t = y_t - c_1 y_{t-1} - ... - c_m y_{t-m}`, `m = lost()`.
    pub fn coefficients(&self) -> Vec<f64> {
        let (ordinary, seasonal) = (binomial(self.d), binomial(self.seasonal_d));
        let mut c = vec![0.0; self.lost() + 1];
        for (i, &a) in ordinary.iter().enumerate() {
            for (j, &b) in seasonal.iter().enumerate() {
                c[i + j * self.season] -= a * b;
            }
        }
        c.remove(0);
        c
    }

    /// The differenced series; a missing value makes every difference that uses it missing. Empty where `y` is
    /// no longer than [`Differencing::lost`].
    pub fn apply(&self, y: &[f64]) -> Vec<f64> {
        let mut w = y.to_vec();
        let lags = std::iter::repeat_n(self.season, self.seasonal_d).chain(std::iter::repeat_n(1, self.d));
        for lag in lags {
            if w.len() <= lag {
                return Vec::new();
            }
            w = w.iter().skip(lag).zip(&w).map(|(now, then)| now - then).collect();
        }
        w
    }

    /// The series whose first values are `start` (`lost()` of them) and whose differences are `w`.
    pub fn undo(&self, start: &[f64], w: &[f64]) -> Vec<f64> {
        let c = self.coefficients();
        let m = c.len();
        assert_eq!(start.len(), m, "undoing a difference starts from exactly the values that it lost");
        let mut y = start.to_vec();
        y.reserve(w.len());
        for (t, &step) in w.iter().enumerate() {
            let level: f64 = c.iter().enumerate().map(|(j, &c)| c * y[t + m - 1 - j]).sum();
            y.push(step + level);
        }
        y
    }
}

/// Coefficients of `(1 - B)^n`, constant first.
pub(crate) fn binomial(n: usize) -> Vec<f64> {
    let mut c = vec![0.0; n + 1];
    c[0] = 1.0;
    for _ in 0..n {
        for i in (1..c.len()).rev() {
            c[i] -= c[i - 1];
        }
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn airline_differences_are_those_of_the_definition() {
        let of = Differencing { d: 1, seasonal_d: 1, season: 3 };
        let y = [1.0, 4.0, 9.0, 16.0, 25.0, 36.0];
        // w_t = (y_t - y_{t-1}) - (y_{t-3} - y_{t-4})
        assert_eq!(of.apply(&y), [(25.0 - 16.0) - (4.0 - 1.0), (36.0 - 25.0) - (9.0 - 4.0)]);
        assert_eq!(of.coefficients(), [1.0, 0.0, 1.0, -1.0]);
    }

    #[test]
    fn a_missing_value_hides_only_its_own_differences() {
        let of = Differencing { d: 1, seasonal_d: 0, season: 1 };
        let w = of.apply(&[1.0, f64::NAN, 4.0, 5.0]);
        assert!(w[0].is_nan() && w[1].is_nan());
        assert_eq!(w[2], 1.0);
    }

    proptest! {
        #[test]
        fn undoing_gives_the_series_back(
            y in prop::collection::vec(-1e3f64..1e3, 20..60), d in 0usize..3, seasonal_d in 0usize..2, season in 1usize..8,
        ) {
            let of = Differencing { d, seasonal_d, season };
            let back = of.undo(&y[..of.lost()], &of.apply(&y));
            prop_assert_eq!(back.len(), y.len());
            for (a, b) in back.iter().zip(&y) {
                // Rounding grows with the square of the length where d = 2.
                prop_assert!((a - b).abs() < 1e-6, "{} {}", a, b);
            }
        }
    }
}
