//! Which parameters a model has, in which order, and how a search sees them.

use super::polynomial::{Sparse, partial_from_stationary, product, stationary_from_partial};
use serde::{Deserialize, Serialize};

/// Partial autocorrelations stay inside this: past it the arithmetic has nothing to say.
const INSIDE: f64 = 1.0 - 1e-7;

/// The orders of a seasonal ARIMA model. Parameters are kept as `ar`, `ma`, seasonal `ar`, seasonal `ma`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub p: u16,
    pub d: u16,
    pub q: u16,
    pub seasonal_p: u16,
    pub seasonal_d: u16,
    pub seasonal_q: u16,
    pub season: u32,
}

impl Shape {
    /// ARMA parameters.
    pub(crate) fn count(&self) -> usize {
        usize::from(self.p)
            + usize::from(self.q)
            + usize::from(self.seasonal_p)
            + usize::from(self.seasonal_q)
    }

    pub(crate) fn season(&self) -> usize {
        self.season as usize
    }

    /// Splits a parameter vector: `ar`, `ma`, seasonal `ar`, seasonal `ma`.
    pub(crate) fn split<'a>(&self, all: &'a [f64]) -> [&'a [f64]; 4] {
        let (ar, rest) = all.split_at(self.p.into());
        let (ma, rest) = rest.split_at(self.q.into());
        let (seasonal_ar, rest) = rest.split_at(self.seasonal_p.into());
        [ar, ma, seasonal_ar, &rest[..self.seasonal_q.into()]]
    }

    fn blocks(&self) -> [(usize, f64); 4] {
        [(self.p, 1.0), (self.q, -1.0), (self.seasonal_p, 1.0), (self.seasonal_q, -1.0)]
            .map(|(n, sign)| (usize::from(n), sign))
    }

    /// Expands to the two polynomials of the differenced series.
    pub(crate) fn expand(&self, all: &[f64], ar: &mut Sparse, ma: &mut Sparse) {
        let [a, m, seasonal_a, seasonal_m] = self.split(all);
        product(a, seasonal_a, self.season(), -1.0, ar);
        product(m, seasonal_m, self.season(), 1.0, ma);
    }

    /// Unconstrained parameters to those of a stationary, invertible model.
    pub(crate) fn constrain(&self, free: &[f64], out: &mut [f64]) {
        for (slot, u) in out.iter_mut().zip(free) {
            *slot = u.clamp(-9.0, 9.0).tanh().clamp(-INSIDE, INSIDE);
        }
        let mut at = 0;
        for (n, sign) in self.blocks() {
            let block = &mut out[at..at + n];
            stationary_from_partial(block);
            block.iter_mut().for_each(|x| *x *= sign);
            at += n;
        }
    }

    /// The inverse of [`Shape::constrain`]; a block that is not stationary or invertible is drawn in until it is,
    /// and none begins nearer to the boundary than `margin`, where slopes vanish.
    pub(crate) fn free(&self, natural: &[f64], margin: f64) -> Vec<f64> {
        let mut free = natural.to_vec();
        let mut at = 0;
        for (n, sign) in self.blocks() {
            let block = &mut free[at..at + n];
            let mut shrink: f64 = 1.0;
            loop {
                for (i, (slot, x)) in block.iter_mut().zip(&natural[at..at + n]).enumerate() {
                    let x = if x.is_finite() { *x } else { 0.0 };
                    *slot = sign * x * shrink.powi(i as i32 + 1);
                }
                if partial_from_stationary(block) {
                    break;
                }
                shrink *= 0.9;
            }
            block.iter_mut().for_each(|x| *x = x.clamp(margin - 1.0, 1.0 - margin).atanh());
            at += n;
        }
        free
    }

    /// Names as users read them: `ar.L1`, `ma.L1`, `ar.S.L12`, `ma.S.L12`.
    pub(crate) fn names(&self) -> Vec<String> {
        let ordinary = |kind: &'static str, n: u16| (1..=n).map(move |i| format!("{kind}.L{i}"));
        let season = self.season();
        let seasonal = |kind: &'static str, n: u16| {
            (1..=usize::from(n)).map(move |i| format!("{kind}.S.L{}", i * season))
        };
        ordinary("ar", self.p)
            .chain(ordinary("ma", self.q))
            .chain(seasonal("ar", self.seasonal_p))
            .chain(seasonal("ma", self.seasonal_q))
            .collect()
    }

    /// `ARIMA(p,d,q)(P,D,Q)m`, the seasonal part only where there is one.
    pub(crate) fn title(&self) -> String {
        let Shape { p, d, q, seasonal_p, seasonal_d, seasonal_q, season } = self;
        if seasonal_p + seasonal_d + seasonal_q == 0 {
            format!("ARIMA({p},{d},{q})")
        } else {
            format!("ARIMA({p},{d},{q})({seasonal_p},{seasonal_d},{seasonal_q}){season}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIRLINE: Shape =
        Shape { p: 2, d: 1, q: 1, seasonal_p: 1, seasonal_d: 1, seasonal_q: 1, season: 12 };

    #[test]
    fn the_search_sees_every_stationary_model_once() {
        let natural = [0.5, -0.3, 0.6, 0.4, -0.8];
        let free = AIRLINE.free(&natural, 1e-6);
        let mut back = [0.0; 5];
        AIRLINE.constrain(&free, &mut back);
        for (a, b) in natural.iter().zip(&back) {
            assert!((a - b).abs() < 1e-12, "{natural:?} {back:?}");
        }
    }

    #[test]
    fn a_start_outside_is_drawn_in() {
        let free = AIRLINE.free(&[1.5, 0.4, -3.0, f64::NAN, 0.0], 0.02);
        assert!(free.iter().all(|u| u.is_finite()));
    }

    #[test]
    fn names_are_those_of_the_field() {
        assert_eq!(AIRLINE.names(), ["ar.L1", "ar.L2", "ma.L1", "ar.S.L12", "ma.S.L12"]);
        assert_eq!(AIRLINE.title(), "ARIMA(2,1,1)(1,1,1)12");
    }
}
