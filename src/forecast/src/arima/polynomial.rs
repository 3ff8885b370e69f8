//! Lag polynomials: reparametrisation, expansion of seasonal products, autocovariances and psi weights.

/// A polynomial `1 - a_1 B - ... ` (autoregressive) or `1 + b_1 B + ...` (moving average) with few terms that are
/// not zero: pairs of (lag, coefficient), the constant left out, lags ascending.
pub(crate) type Sparse = Vec<(usize, f64)>;

/// Partial autocorrelations in (-1, 1) to the coefficients of a stationary autoregression (Durbin-Levinson; Jones
/// 1980). In place.
pub(crate) fn stationary_from_partial(x: &mut [f64]) {
    for k in 1..x.len() {
        let last = x[k];
        let (mut i, mut j) = (0, k - 1);
        while i < j {
            let (a, b) = (x[i], x[j]);
            x[i] = a - last * b;
            x[j] = b - last * a;
            i += 1;
            j -= 1;
        }
        if i == j {
            x[i] -= last * x[i];
        }
    }
}

/// The inverse of [`stationary_from_partial`]; `false` (and `x` spoiled) where the autoregression is not stationary.
pub(crate) fn partial_from_stationary(x: &mut [f64]) -> bool {
    for k in (0..x.len()).rev() {
        let last = x[k];
        if !(last.abs() < 1.0) {
            return false;
        }
        let scale = 1.0 / (1.0 - last * last);
        let (mut i, mut j) = (0, k.wrapping_sub(1));
        if k > 0 {
            while i < j {
                let (a, b) = (x[i], x[j]);
                x[i] = (a + last * b) * scale;
                x[j] = (b + last * a) * scale;
                i += 1;
                j -= 1;
            }
            if i == j {
                x[i] *= (1.0 + last) * scale;
            }
        }
    }
    true
}

/// The product of an ordinary and a seasonal polynomial. `sign` is -1 for autoregressions (`1 - a B`), whose result
/// has the same convention, and +1 for moving averages.
pub(crate) fn product(ordinary: &[f64], seasonal: &[f64], season: usize, sign: f64, out: &mut Sparse) {
    out.clear();
    if seasonal.is_empty() {
        out.extend(ordinary.iter().enumerate().filter(|(_, a)| **a != 0.0).map(|(i, &a)| (i + 1, a)));
        return;
    }
    for (big, &c) in std::iter::once(&sign).chain(seasonal).enumerate() {
        for (small, &a) in std::iter::once(&sign).chain(ordinary).enumerate() {
            let (lag, value) = (big * season + small, sign * a * c);
            if lag == 0 || value == 0.0 {
                continue;
            }
            // A season shorter than the ordinary order makes lags meet.
            match out.iter_mut().find(|(l, _)| *l == lag) {
                Some((_, sum)) => *sum += value,
                None => out.push((lag, value)),
            }
        }
    }
    out.sort_unstable_by_key(|&(lag, _)| lag);
}

/// The highest lag, 0 for the constant.
pub(crate) fn degree(of: &Sparse) -> usize {
    of.last().map_or(0, |&(lag, _)| lag)
}

/// Writes the weights psi_0 = 1, psi_1, ... of `ma(B) / ar(B)`.
pub(crate) fn psi_weights(ar: &Sparse, ma: &Sparse, out: &mut [f64]) {
    out.fill(0.0);
    for &(lag, b) in ma {
        if let Some(slot) = out.get_mut(lag) {
            *slot = b;
        }
    }
    if let Some(first) = out.first_mut() {
        *first = 1.0;
    }
    for k in 1..out.len() {
        let mut sum = out[k];
        for &(lag, a) in ar.iter().take_while(|(lag, _)| *lag <= k) {
            sum += a * out[k - lag];
        }
        out[k] = sum;
    }
}

/// Autocovariances of a stationary ARMA process with unit innovation variance, and the memory that the computation
/// goes over again and again while a likelihood is searched.
#[derive(Debug, Default, Clone)]
pub(crate) struct Autocovariance {
    dense: Vec<f64>,
    lower: Vec<f64>,
    pure: Vec<f64>,
    moving: Vec<(usize, f64)>,
}

impl Autocovariance {
    /// Writes gamma_0.. into `out`. `false` where the autoregression is not stationary.
    ///
    /// The autoregressive part comes from the inverse Levinson recursion, O(degree^2) and stable up to the unit
    /// circle; the moving average is applied to it by its own few autocovariances.
    pub(crate) fn write(&mut self, ar: &Sparse, ma: &Sparse, out: &mut [f64]) -> bool {
        let (p, q) = (degree(ar), degree(ma));
        let top = out.len() + q;
        self.pure.clear();
        self.pure.resize(top + 1, 0.0);
        if !self.pure_autoregression(ar, p) {
            return false;
        }
        for m in p + 1..=top {
            let mut sum = 0.0;
            for &(lag, a) in ar {
                sum += a * self.pure[m - lag];
            }
            self.pure[m] = sum;
        }
        self.moving.clear();
        self.moving.push((0, 1.0 + ma.iter().map(|&(_, b)| b * b).sum::<f64>()));
        for (i, &(high, b)) in ma.iter().enumerate() {
            self.moving.push((high, b));
            for &(low, c) in &ma[..i] {
                self.moving.push((high - low, b * c));
            }
        }
        for (k, slot) in out.iter_mut().enumerate() {
            let mut sum = self.moving[0].1 * self.pure[k];
            for &(lag, c) in &self.moving[1..] {
                sum += c * (self.pure[k + lag] + self.pure[k.abs_diff(lag)]);
            }
            *slot = sum;
        }
        out.first().is_none_or(|v| v.is_finite() && *v > 0.0)
    }

    /// gamma_0..gamma_p of the autoregression alone.
    fn pure_autoregression(&mut self, ar: &Sparse, p: usize) -> bool {
        self.dense.clear();
        self.dense.resize(p, 0.0);
        for &(lag, a) in ar {
            self.dense[lag - 1] = a;
        }
        // Step down through the orders, keeping each predictor: `lower` holds orders 1..p, order m at m(m-1)/2.
        self.lower.clear();
        self.lower.resize(p * (p + 1) / 2, 0.0);
        let mut variance = 1.0;
        for m in (1..=p).rev() {
            let at = m * (m - 1) / 2;
            self.lower[at..at + m].copy_from_slice(&self.dense[..m]);
            let last = self.dense[m - 1];
            if !(last.abs() < 1.0) {
                return false;
            }
            let scale = 1.0 / (1.0 - last * last);
            variance *= scale;
            let full = &self.lower[at..at + m - 1];
            for ((slot, &a), &b) in self.dense[..m - 1].iter_mut().zip(full).zip(full.iter().rev()) {
                *slot = (a + last * b) * scale;
            }
        }
        self.pure[0] = variance;
        for m in 1..=p {
            let at = m * (m - 1) / 2;
            let predictor = &self.lower[at..at + m];
            let sum: f64 = predictor.iter().zip(self.pure[..m].iter().rev()).map(|(a, g)| a * g).sum();
            self.pure[m] = sum;
        }
        variance.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_autocorrelations_go_there_and_back() {
        let partial = [0.5, -0.7, 0.2, 0.9];
        let mut x = partial;
        stationary_from_partial(&mut x);
        assert!(partial_from_stationary(&mut x));
        for (a, b) in x.iter().zip(&partial) {
            assert!((a - b).abs() < 1e-12);
        }
        assert!(!partial_from_stationary(&mut [1.2]));
        assert!(!partial_from_stationary(&mut [0.9, 0.2]));
    }

    #[test]
    fn autocovariances_are_those_of_the_psi_weights() {
        let (mut ar, mut ma) = (Sparse::new(), Sparse::new());
        product(&[0.6, -0.2], &[0.4], 4, -1.0, &mut ar);
        product(&[0.3], &[-0.5], 4, 1.0, &mut ma);
        assert_eq!(ar.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
        let mut gamma = [0.0; 12];
        assert!(Autocovariance::default().write(&ar, &ma, &mut gamma));
        let mut psi = vec![0.0; 400];
        psi_weights(&ar, &ma, &mut psi);
        for (k, g) in gamma.iter().enumerate() {
            let sum: f64 = psi.iter().zip(&psi[k..]).map(|(a, b)| a * b).sum();
            assert!((sum - g).abs() < 1e-12, "lag {k}: {sum} {g}");
        }
    }
}
