//! ARIMA with orders chosen by AICc: the stepwise search of Hyndman and Khandakar (2008).
//!
//! Differences first: a seasonal one where the season is strong, or where the OCSB test finds a unit root
//! ([`SeasonalTest`]), ordinary ones by the KPSS test ([`unit_root`]). Then
//! from four models outwards, one or two orders at a time, as long as AICc falls. A model that is tried starts from
//! the best so far; the one chosen is fitted again with every start. Models with a root near the unit circle are
//! left out: such a root is a difference, or over-differencing, in disguise.

#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must fail the test, not pass it")]

pub mod ocsb;
pub mod unit_root;

use crate::arima::{Arima, Effort, FittedArima, Found, Problem, Shape, is_stationary};
use crate::{Budget, Fit, FitError};
use serde::{Deserialize, Serialize};

/// Roots closer to the unit circle than this factor are refused.
const CIRCLE: f64 = 1.01;
/// The same for a seasonal autoregression, in seasons: nearer it is a second seasonal difference, with a moving average that
/// undoes the first.
const SEASONAL_CIRCLE: f64 = 1.02;
/// What a criterion has to be better by to tell anything (Burnham and Anderson 2002, section 2.6).
const SURE: f64 = 2.0;
/// Models tried at most.
const TRIED: usize = 94;

/// What decides on a seasonal difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeasonalTest {
    /// How strong the season is ([`unit_root::seasonal_strength`]).
    #[default]
    Strength,
    /// The test of a seasonal unit root ([`ocsb`]); where it has no answer, the strength.
    Ocsb,
}

/// Automatic ARIMA for a season (1: none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoArima {
    /// Observations in a season, 1 where there is none.
    pub season: usize,
    /// Highest `p` and `q`.
    pub max_order: usize,
    /// Highest `P` and `Q`.
    pub max_seasonal_order: usize,
    /// Most ordinary differences.
    pub max_d: usize,
    /// Most seasonal differences, 0 or 1.
    pub max_seasonal_d: usize,
    /// What decides on a seasonal difference.
    pub seasonal_test: SeasonalTest,
}

impl AutoArima {
    /// The usual limits: orders of 5 and 2, differences of 2 and 1.
    pub fn new(season: usize) -> Self {
        AutoArima {
            season,
            max_order: 5,
            max_seasonal_order: 2,
            max_d: 2,
            max_seasonal_d: 1,
            seasonal_test: SeasonalTest::Strength,
        }
    }
}

impl Fit for AutoArima {
    type Fitted = FittedArima;

    /// With fewer there is no telling noise from a level, and the models that have one are not among the candidates.
    fn needed(&self) -> usize {
        10
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<FittedArima, FitError> {
        let n = y.iter().filter(|v| !v.is_nan()).count();
        if n < self.needed() {
            return Err(FitError::TooShort { family: "AutoARIMA", needed: self.needed(), got: n });
        }
        // What it is made of says which value is at fault.
        Problem::new(&Arima::new(0, 0, 0), y, &[])?;
        let from = y.iter().position(|v| !v.is_nan()).unwrap_or(0);
        let known = &y[from..];
        let season = if self.season > 1 && n > self.season { self.season } else { 1 };
        let seasonal_d = match self.max_seasonal_d {
            0 => 0,
            _ => self.seasonal_test.differences(known, season),
        };
        let level = crate::difference::Differencing { d: 0, seasonal_d, season };
        let d = unit_root::further_differences(known, level, self.max_d);
        let mut last = FitError::TooShort { family: "AutoARIMA", needed: self.needed(), got: n };
        for (d, seasonal_d) in [(d, seasonal_d), (d, 0), (0, 0)] {
            match self.fit_differenced(y, n, (d, seasonal_d), season, budget) {
                Ok(fitted) => return Ok(fitted),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl AutoArima {
    /// The best model with so many differences, or with one less where the likelihood takes one back: a moving average with
    /// its root on the circle is what a difference too many leaves, and all that the search may have instead is a long
    /// autoregression. The test of level asks for one too many about once in twenty. Not below one difference, where a model
    /// with one less has no slope.
    fn fit_differenced(
        &self,
        y: &[f64],
        observed: usize,
        (d, seasonal_d): (usize, usize),
        season: usize,
        budget: &mut Budget,
    ) -> Result<FittedArima, FitError> {
        let mut search = Search::new(self, y, observed, (d, seasonal_d), season);
        search.look_around(budget);
        if d > 0 && d + seasonal_d > 1 && search.undoes_a_difference() {
            let mut less = Search::new(self, y, observed, (d - 1, seasonal_d), season);
            less.look_around(budget);
            if let Ok(fitted) = less.finish(budget) {
                return Ok(fitted);
            }
        }
        search.finish(budget)
    }
}

impl SeasonalTest {
    /// Seasonal differences that `y` asks for, with a season of `m`: 0 or 1.
    pub fn differences(self, y: &[f64], m: usize) -> usize {
        let ocsb = match self {
            SeasonalTest::Strength => None,
            SeasonalTest::Ocsb => ocsb::test(y, m),
        };
        ocsb.map_or_else(|| unit_root::seasonal_differences(y, m), |found| usize::from(found.has_unit_root()))
    }
}

/// Orders that a search moves among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Orders {
    p: usize,
    q: usize,
    seasonal_p: usize,
    seasonal_q: usize,
    constant: bool,
}

struct Trial {
    orders: Orders,
    aicc: f64,
    found: Found,
}

struct Search<'a> {
    y: &'a [f64],
    observed: usize,
    d: usize,
    seasonal_d: usize,
    season: usize,
    max_order: usize,
    max_seasonal_order: usize,
    /// Without and with the constant; `None` where there is none to have or the series is too short.
    problems: [Option<Problem>; 2],
    tried: Vec<Orders>,
    best: Option<Trial>,
    /// Criterion of the best model left out for the root of its ordinary moving average.
    undoing: f64,
}

impl<'a> Search<'a> {
    fn new(
        of: &AutoArima,
        y: &'a [f64],
        observed: usize,
        (d, seasonal_d): (usize, usize),
        season: usize,
    ) -> Self {
        let max_seasonal = if season > 1 { of.max_seasonal_order.min(observed / 3 / season) } else { 0 };
        let mut search = Search {
            y,
            observed,
            d,
            seasonal_d,
            season,
            max_order: of.max_order.min(observed / 3),
            max_seasonal_order: max_seasonal,
            problems: [None, None],
            tried: Vec::new(),
            best: None,
            undoing: f64::INFINITY,
        };
        for constant in [false, true] {
            if !constant || d + seasonal_d <= 1 {
                let plain = Orders { p: 0, q: 0, seasonal_p: 0, seasonal_q: 0, constant };
                search.problems[usize::from(constant)] = Problem::new(&search.model(plain), y, &[]).ok();
            }
        }
        search
    }

    fn model(&self, of: Orders) -> Arima {
        let mut model = Arima::new(of.p, self.d, of.q);
        if of.seasonal_p + of.seasonal_q + self.seasonal_d > 0 {
            model = model.seasonal(of.seasonal_p, self.seasonal_d, of.seasonal_q, self.season);
        }
        model.mean = of.constant && self.d + self.seasonal_d == 0;
        model.drift = of.constant && self.d + self.seasonal_d == 1;
        model
    }

    fn look_around(&mut self, budget: &mut Budget) {
        let constant = self.problems[1].is_some();
        let begin = |p: usize, q: usize, seasonal_p: usize, seasonal_q: usize| Orders {
            p: p.min(self.max_order),
            q: q.min(self.max_order),
            seasonal_p: seasonal_p.min(self.max_seasonal_order),
            seasonal_q: seasonal_q.min(self.max_seasonal_order),
            constant,
        };
        let first = [begin(2, 2, 1, 1), begin(0, 0, 0, 0), begin(1, 0, 1, 0), begin(0, 1, 0, 1)];
        for orders in first.into_iter().chain([Orders { constant: false, ..begin(0, 0, 0, 0) }]) {
            self.consider(orders, budget);
        }
        while let Some(from) = self.best.as_ref().map(|b| b.orders) {
            let better = neighbours(from)
                .into_iter()
                .any(|orders| self.tried.len() < TRIED && !budget.exhausted && self.consider(orders, budget));
            if !better {
                break;
            }
        }
    }

    /// Whether a model that is better than the best was left out for a moving average that undoes a difference.
    fn undoes_a_difference(&self) -> bool {
        self.best.as_ref().is_none_or(|best| self.undoing < best.aicc - SURE) && self.undoing.is_finite()
    }

    /// Tries a model; true where it is the best so far.
    fn consider(&mut self, orders: Orders, budget: &mut Budget) -> bool {
        let within = orders.p.max(orders.q) <= self.max_order
            && orders.seasonal_p.max(orders.seasonal_q) <= self.max_seasonal_order;
        if !within || self.tried.contains(&orders) {
            return false;
        }
        self.tried.push(orders);
        let model = self.model(orders);
        let Some(problem) = &self.problems[usize::from(orders.constant)] else { return false };
        let (Ok(shape), true) = (model.shape(), model.needed() <= self.observed) else { return false };
        let earlier = self.best.as_ref().map(|best| carried(best, orders));
        let Ok(found) = problem.estimate(&shape, earlier.as_deref(), Effort::Quick, budget) else {
            return false;
        };
        let aicc = self.aicc(&model, &found);
        let best = self.best.as_ref().map_or(f64::INFINITY, |b| b.aicc);
        if !(aicc < best) {
            return false;
        }
        let [ar, ma, seasonal_ar, seasonal_ma] = far_from_circle(&shape, &found.natural);
        if !(ar && ma && seasonal_ar && seasonal_ma) {
            if ar && !ma && has_root_of_one(shape.split(&found.natural)[1]) {
                self.undoing = self.undoing.min(aicc);
            }
            return false;
        }
        self.best = Some(Trial { orders, aicc, found });
        true
    }

    /// Corrected Akaike criterion. A series without anything left to explain has the best there is.
    fn aicc(&self, model: &Arima, found: &Found) -> f64 {
        let (n, k) = (found.observed as f64, model.parameters() as f64);
        if found.sd == 0.0 {
            return k - f64::MAX;
        }
        if n <= k + 1.0 {
            return f64::INFINITY;
        }
        -2.0 * found.loglik + 2.0 * k * n / (n - k - 1.0)
    }

    /// The chosen model, fitted from every start; as it was found where those lead to a root near the circle.
    fn finish(&mut self, budget: &mut Budget) -> Result<FittedArima, FitError> {
        let none = || FitError::Numerical { family: "AutoARIMA", reason: "no model could be fitted".into() };
        let best = self.best.take().ok_or_else(none)?;
        let model = self.model(best.orders);
        let shape = model.shape()?;
        let problem = self.problems[usize::from(best.orders.constant)].as_ref().ok_or_else(none)?;
        let again = problem.estimate(&shape, Some(&best.found.natural), Effort::Full, budget);
        let found = match again {
            Ok(found) if far_from_circle(&shape, &found.natural) == [true; 4] => found,
            _ => best.found,
        };
        FittedArima::assemble(&model, shape, found, self.y, &[], budget.exhausted).finite()
    }
}

/// Whether each polynomial has no root within its circle, in the lag operator that it is a polynomial of: in one observation
/// the root of a season of `m` is the `m`-th root of that, and near the circle whatever the parameter.
fn far_from_circle(shape: &Shape, natural: &[f64]) -> [bool; 4] {
    let [ar, ma, seasonal_ar, seasonal_ma] = shape.split(natural);
    let blocks = [
        (ar, 1.0, CIRCLE),
        (ma, -1.0, CIRCLE),
        (seasonal_ar, 1.0, SEASONAL_CIRCLE),
        (seasonal_ma, -1.0, CIRCLE),
    ];
    blocks.map(|(block, sign, circle)| {
        let grown: Vec<f64> =
            block.iter().enumerate().map(|(i, x)| sign * x * circle.powi(i as i32 + 1)).collect();
        is_stationary(&grown)
    })
}

/// Whether an invertible moving average has a root between one and [`CIRCLE`], that of a difference: it is 1 at 0, and has
/// changed its sign there.
fn has_root_of_one(ma: &[f64]) -> bool {
    1.0 + ma.iter().enumerate().map(|(i, x)| x * CIRCLE.powi(i as i32 + 1)).sum::<f64>() <= 0.0
}

/// The parameters of the best model so far as a start for other orders: what both have, and little for the rest.
fn carried(best: &Trial, to: Orders) -> Vec<f64> {
    let from = best.orders;
    let mut at = 0;
    let pairs =
        [(from.p, to.p), (from.q, to.q), (from.seasonal_p, to.seasonal_p), (from.seasonal_q, to.seasonal_q)];
    let mut start = Vec::new();
    for (had, wanted) in pairs {
        start.extend((0..wanted).map(|i| if i < had { best.found.natural[at + i] } else { 0.02 }));
        at += had;
    }
    start
}

/// One or two orders up or down, then the constant.
fn neighbours(of: Orders) -> Vec<Orders> {
    let step = |value: usize, by: i8| value.checked_add_signed(by.into());
    let moves: [(i8, i8); 8] = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)];
    let seasonal = moves.iter().filter_map(|&(p, q)| {
        Some(Orders { seasonal_p: step(of.seasonal_p, p)?, seasonal_q: step(of.seasonal_q, q)?, ..of })
    });
    let ordinary =
        moves.iter().filter_map(|&(p, q)| Some(Orders { p: step(of.p, p)?, q: step(of.q, q)?, ..of }));
    seasonal.chain(ordinary).chain([Orders { constant: !of.constant, ..of }]).collect()
}
