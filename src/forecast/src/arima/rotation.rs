//! The rotation of [`super::likelihood`] for one column without gaps: what a search evaluates a thousand times.

use super::likelihood::{NEGLIGIBLE, tail};
use super::polynomial::Sparse;

/// Memory that evaluations go over again.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rotation {
    gain: Vec<f64>,
    l: Vec<f64>,
    /// Forecasts ahead of the present, innovations behind it.
    x: Vec<f64>,
}

/// Sum of squared innovations, each over its variance, and the sum of the logarithms of those variances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums {
    pub squares: f64,
    pub log_det: f64,
}

/// A product of variances, its logarithm taken only when it leaves the range of a double.
struct Product {
    log: f64,
    value: f64,
}

impl Product {
    #[inline]
    fn take(&mut self, f: f64) {
        self.value *= f;
        if !(1e-100..1e100).contains(&self.value) {
            self.log += self.value.ln();
            self.value = 1.0;
        }
    }
}

impl Rotation {
    /// Runs over `w`; `gamma` holds the autocovariances of lags 0 to `r`, the length of the state.
    pub(crate) fn run(&mut self, w: &[f64], gamma: &[f64], ar: &Sparse, ma: &Sparse) -> Option<Sums> {
        let (n, r) = (w.len(), gamma.len() - 1);
        self.gain.clear();
        self.gain.extend(gamma[1..].iter().map(|g| g / gamma[0]));
        // Past the first r elements both windows are written before they are read.
        self.x.resize((n + r).max(self.x.len()), 0.0);
        self.l.resize((n + r).max(self.l.len()), 0.0);
        self.x[..r].fill(0.0);
        self.l[..r].copy_from_slice(&self.gain);

        let mut f = gamma[0];
        let mut squares = 0.0;
        let mut product = Product { log: 0.0, value: 1.0 };
        let mut settled = usize::MAX;
        for t in 0..n {
            if t >= settled {
                let rest = innovations(w, &mut self.x, t, ar, ma);
                let log_det = product.log + product.value.ln() + (n - t) as f64 * f.ln();
                return Some(Sums { squares: squares + rest / f, log_det });
            }
            let len = r.min(n - 1 - t);
            let turning = settled == usize::MAX;
            if t + r < n {
                self.x[t + r] = tail(&self.x, t + r, ar);
                if turning {
                    self.l[t + r] = tail(&self.l, t + r, ar);
                }
            }
            let v = w[t] - self.x[t];
            self.x[t] = v;
            squares += v * v / f;
            product.take(f);
            let x = &mut self.x[t + 1..t + 1 + len];
            let gain = &mut self.gain[..len];
            let rho = self.l[t];
            if !turning || rho == 0.0 {
                for (x, g) in x.iter_mut().zip(&*gain) {
                    *x += *g * v;
                }
            } else {
                let keep = 1.0 - rho * rho;
                if !(keep > 0.0) {
                    return None;
                }
                let scale = 1.0 / keep;
                let turn = rho * scale;
                let l = &mut self.l[t + 1..t + 1 + len];
                for ((x, g), l) in x.iter_mut().zip(gain).zip(l) {
                    let (old, u) = (*g, *l);
                    *x += old * v;
                    *g = scale * old - turn * u;
                    *l = scale * u - turn * old;
                }
                f *= keep;
            }
            if turning
                && rho.abs() < NEGLIGIBLE
                && self.l[t + 1..t + 1 + len].iter().all(|l| l.abs() < NEGLIGIBLE)
            {
                settled = t + 1 + r;
            }
        }
        Some(Sums { squares, log_det: product.log + product.value.ln() })
    }
}

/// Innovations from `from` on by the difference equation, into `v`; gives the sum of their squares.
fn innovations(w: &[f64], v: &mut [f64], from: usize, ar: &Sparse, ma: &Sparse) -> f64 {
    let mut sum = 0.0;
    for t in from..w.len() {
        let mut e = w[t];
        for &(lag, a) in ar {
            e -= a * w[t - lag];
        }
        for &(lag, b) in ma {
            e -= b * v[t - lag];
        }
        v[t] = e;
        sum += e * e;
    }
    sum
}
