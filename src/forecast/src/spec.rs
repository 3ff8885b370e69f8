//! What a user names: a model by the names of the contract, parsed, fitted, and used without knowing its family.

use crate::arima::{Arima, FittedArima};
use crate::auto_arima::{AutoArima, SeasonalTest};
use crate::auto_ets::{self, AutoEts};
use crate::croston::{CrostonSba, FittedCroston, Tsb};
use crate::ensemble::{Combination, Ensemble, FittedEnsemble};
use crate::ets::{Component, Error, Ets, FittedEts};
use crate::garch::{FittedGarch, Garch};
use crate::mstl::{FittedMstl, Mstl};
use crate::seasonal_naive::{Drift, FittedDrift, FittedSeasonalNaive, SeasonalNaive};
use crate::theta::{FittedTheta, Theta};
use crate::{Budget, Fit, FitError, Predict, Step, Summary};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A model by name. Families that know of a season carry it; 1 is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Spec {
    /// ARIMA, SARIMA and SARIMAX.
    Arima(Arima),
    /// ARIMA with orders chosen by AICc, and what decides on a seasonal difference.
    AutoArima { season: usize, test: SeasonalTest },
    /// One exponential smoothing model.
    Ets(Ets),
    /// Exponential smoothing chosen by AICc.
    AutoEts { season: usize },
    /// The Theta method.
    Theta { season: usize },
    /// Theta with its parameters fitted and its line updated at each observation.
    DynamicOptimizedTheta { season: usize },
    /// Conditional variance.
    Garch { p: usize, q: usize, student: bool },
    /// The values of one season ago.
    SeasonalNaive { season: usize },
    /// The last value.
    Naive,
    /// The last value and the average change.
    Drift,
    /// AutoARIMA (the season taken off first), AutoETS and both Thetas combined.
    Ensemble { season: usize, combination: Combination },
    /// Croston's method with the Syntetos-Boylan correction, for intermittent demand.
    CrostonSba,
    /// The Teunter-Syntetos-Babai method, for intermittent demand that may end.
    Tsb,
    /// Several seasons taken off first, then a model without one.
    Mstl { seasons: Vec<usize>, inner: Box<Spec> },
}

/// A fitted model of any family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Fitted {
    Arima(Box<FittedArima>),
    Ets(Box<FittedEts>),
    SeasonalNaive(FittedSeasonalNaive),
    Drift(FittedDrift),
    Theta(Box<FittedTheta>),
    Croston(Box<FittedCroston>),
    Garch(Box<FittedGarch>),
    Mstl(Box<FittedMstl>),
    Ensemble(Box<FittedEnsemble>),
}

/// Calls a method on whatever family is inside.
macro_rules! each {
    ($fitted:expr, $inner:ident => $call:expr) => {
        match $fitted {
            Fitted::Arima($inner) => $call,
            Fitted::Ets($inner) => $call,
            Fitted::SeasonalNaive($inner) => $call,
            Fitted::Drift($inner) => $call,
            Fitted::Theta($inner) => $call,
            Fitted::Croston($inner) => $call,
            Fitted::Garch($inner) => $call,
            Fitted::Mstl($inner) => $call,
            Fitted::Ensemble($inner) => $call,
        }
    };
}

impl Predict for Fitted {
    fn update(&mut self, y: f64) {
        each!(self, inner => inner.update(y));
    }

    fn forecast_into(&self, level: f64, out: &mut [Step]) {
        each!(self, inner => inner.forecast_into(level, out));
    }

    fn summary(&self) -> Summary {
        each!(self, inner => inner.summary())
    }
}

impl Fitted {
    /// As [`Predict::update`], with what the exogenous series were at this observation. Families without regressors
    /// leave them aside.
    pub fn update_with(&mut self, y: f64, regressors: &[f64]) {
        match self {
            Fitted::Arima(arima) if arima.regressors() == regressors.len() => {
                arima.update_with(y, regressors)
            }
            other => other.update(y),
        }
    }
}

impl Fit for Spec {
    type Fitted = Fitted;

    fn needed(&self) -> usize {
        match self {
            Spec::Ets(ets) => ets.needed(),
            Spec::SeasonalNaive { season } => SeasonalNaive { season: *season }.needed(),
            Spec::Naive => SeasonalNaive { season: 1 }.needed(),
            Spec::Drift => Drift.needed(),
            Spec::AutoEts { season } => match self.seasonal_auto_ets() {
                Some(mstl) => mstl.needed(),
                None => AutoEts { season: *season }.needed().max(2 * season),
            },
            Spec::Theta { season } => Theta::standard(*season).needed().max(2 * season),
            Spec::DynamicOptimizedTheta { season } => Theta::dynamic(*season).needed().max(2 * season),
            Spec::Ensemble { season, .. } => 10.max(2 * season),
            Spec::CrostonSba => CrostonSba.needed(),
            Spec::Tsb => Tsb.needed(),
            Spec::Mstl { seasons, inner } => Mstl { seasons: seasons.clone(), inner: inner.clone() }.needed(),
            Spec::Arima(arima) => arima.needed(),
            Spec::AutoArima { season, .. } => AutoArima::new(*season).needed().max(2 * season),
            Spec::Garch { p, q, student } => garch(*p, *q, *student).needed(),
        }
    }

    fn fit(&self, y: &[f64], budget: &mut Budget) -> Result<Fitted, FitError> {
        match self {
            Spec::Arima(arima) => Ok(Fitted::Arima(Box::new(arima.fit(y, budget)?))),
            Spec::AutoArima { season, test } => {
                let auto = AutoArima { seasonal_test: *test, ..AutoArima::new(*season) };
                Ok(Fitted::Arima(Box::new(auto.fit(y, budget)?)))
            }
            Spec::Ets(ets) => Ok(Fitted::Ets(Box::new(ets.fit(y, budget)?))),
            Spec::SeasonalNaive { season } => {
                Ok(Fitted::SeasonalNaive(SeasonalNaive { season: *season }.fit(y, budget)?))
            }
            Spec::Naive => Ok(Fitted::SeasonalNaive(SeasonalNaive { season: 1 }.fit(y, budget)?)),
            Spec::Drift => Ok(Fitted::Drift(Drift.fit(y, budget)?)),
            Spec::AutoEts { season } => match self.seasonal_auto_ets() {
                Some(mstl) => Ok(Fitted::Mstl(Box::new(mstl.fit(y, budget)?))),
                None => Ok(Fitted::Ets(Box::new(AutoEts { season: *season }.fit(y, budget)?))),
            },
            Spec::Theta { season } => Ok(Fitted::Theta(Box::new(Theta::standard(*season).fit(y, budget)?))),
            Spec::DynamicOptimizedTheta { season } => {
                Ok(Fitted::Theta(Box::new(Theta::dynamic(*season).fit(y, budget)?)))
            }
            Spec::CrostonSba => Ok(Fitted::Croston(Box::new(CrostonSba.fit(y, budget)?))),
            Spec::Tsb => Ok(Fitted::Croston(Box::new(Tsb.fit(y, budget)?))),
            Spec::Mstl { seasons, inner } => {
                let mstl = Mstl { seasons: seasons.clone(), inner: inner.clone() };
                Ok(Fitted::Mstl(Box::new(mstl.fit(y, budget)?)))
            }
            Spec::Ensemble { season, combination } => {
                let ensemble = Ensemble { members: members(*season), combination: *combination };
                Ok(Fitted::Ensemble(Box::new(ensemble.fit(y, budget)?)))
            }
            Spec::Garch { p, q, student } => {
                Ok(Fitted::Garch(Box::new(garch(*p, *q, *student).fit(y, budget)?)))
            }
        }
    }
}

fn auto_arima(season: usize) -> Spec {
    Spec::AutoArima { season, test: SeasonalTest::default() }
}

fn garch(p: usize, q: usize, student: bool) -> Garch {
    let garch = Garch::new(p, q);
    if student { garch.student() } else { garch }
}

/// What an ensemble is made of, for a season. Beside the others, AutoARIMA with the season taken off first does better
/// than with seasonal orders of its own (on the even-placed series of M3), and costs a tenth.
fn members(season: usize) -> Vec<Spec> {
    let arima = match season {
        0 | 1 => auto_arima(season),
        _ => Spec::Mstl { seasons: vec![season], inner: remainder() },
    };
    vec![arima, Spec::AutoEts { season }, Spec::DynamicOptimizedTheta { season }, Spec::Theta { season }]
}

impl Spec {
    /// AutoETS with a season too long for its states to be fitted one by one: the season is taken off first.
    fn seasonal_auto_ets(&self) -> Option<Mstl> {
        match self {
            Spec::AutoEts { season } if *season > auto_ets::SEASON_MAX => {
                Some(Mstl { seasons: vec![*season], inner: Box::new(Spec::AutoEts { season: 1 }) })
            }
            _ => None,
        }
    }

    /// As [`Fit::fit`], with exogenous series, each as long as `y` and without missing values.
    pub fn fit_with(
        &self,
        y: &[f64],
        regressors: &[Vec<f64>],
        budget: &mut Budget,
    ) -> Result<Fitted, FitError> {
        match self {
            _ if regressors.is_empty() => self.fit(y, budget),
            Spec::Arima(arima) => Ok(Fitted::Arima(Box::new(arima.fit_with(y, regressors, budget)?))),
            other => Err(refuse(format!("{other} takes no exogenous series: use SARIMAX or leave them out"))),
        }
    }

    /// From the fields of a model definition: `model_type`, `order`, `seasonal_order` (P, D, Q, m), and the season
    /// for families that take one. `model_type` may also be a whole specification such as `ARIMA(2,1,1)`.
    pub fn from_parts(
        model_type: &str,
        order: Option<[usize; 3]>,
        seasonal_order: Option<[usize; 4]>,
        season: Option<usize>,
    ) -> Result<Spec, FitError> {
        let upper = model_type.trim().to_ascii_uppercase();
        let arima = matches!(upper.as_str(), "ARIMA" | "SARIMA" | "SARIMAX");
        let spec = if arima {
            let Some([p, d, q]) = order else {
                return Err(refuse(format!("{model_type} needs an order [p, d, q], or use AutoARIMA")));
            };
            if upper != "ARIMA" && seasonal_order.is_none() && upper == "SARIMA" {
                return Err(refuse("SARIMA needs a seasonal_order [P, D, Q, m]".into()));
            }
            let [sp, sd, sq, m] = seasonal_order.unwrap_or([0, 0, 0, 1]);
            Spec::Arima(Arima::new(p, d, q).seasonal(sp, sd, sq, m))
        } else if upper == "GARCH" {
            let (p, q) = order.map_or((1, 1), |[p, _, q]| (p, q));
            Spec::Garch { p, q, student: false }
        } else {
            model_type.parse()?
        };
        let season = season.or(seasonal_order.map(|s| s[3]));
        spec.with_season(season.unwrap_or(1)).checked()
    }

    /// The same model with `season` where it takes one and has none of its own.
    pub fn with_season(mut self, season: usize) -> Spec {
        let period = season.max(1);
        match &mut self {
            Spec::AutoArima { season, .. }
            | Spec::AutoEts { season }
            | Spec::Theta { season }
            | Spec::DynamicOptimizedTheta { season }
            | Spec::SeasonalNaive { season }
            | Spec::Ensemble { season, .. }
                if *season <= 1 =>
            {
                *season = period;
            }
            // Plain `ETS` follows the season; one spelt out keeps the terms it was spelt with.
            Spec::Ets(ets) if ets.period == 0 => *ets = Ets::additive(period),
            Spec::Ets(ets) if ets.period == 1 => ets.period = period,
            Spec::Mstl { seasons, .. } if seasons.is_empty() && period > 1 => seasons.push(period),
            _ => {}
        }
        self
    }

    /// The season of the model; 1 without one, the longest of several.
    pub fn season(&self) -> usize {
        match self {
            Spec::Arima(arima) => arima.season.max(1),
            Spec::AutoArima { season, .. }
            | Spec::AutoEts { season }
            | Spec::Theta { season }
            | Spec::DynamicOptimizedTheta { season }
            | Spec::SeasonalNaive { season }
            | Spec::Ensemble { season, .. } => *season,
            Spec::Ets(ets) => ets.season_len().max(1),
            Spec::Mstl { seasons, .. } => seasons.iter().copied().max().unwrap_or(1),
            _ => 1,
        }
    }

    /// Observations after which every season begins anew together; of seasons that rarely do, the longest.
    pub fn cycle(&self) -> usize {
        const CYCLE_MAX: usize = 20_000;
        let Spec::Mstl { seasons, .. } = self else { return self.season() };
        let common = seasons.iter().try_fold(1_usize, |common, season| {
            let (mut a, mut b) = (common, (*season).max(1));
            while b > 0 {
                (a, b) = (b, a % b);
            }
            Some(common / a * (*season).max(1)).filter(|common| *common <= CYCLE_MAX)
        });
        common.unwrap_or_else(|| self.season())
    }

    /// Whether a fit is a handful of passes over the history, so that nobody need wait for it elsewhere.
    pub fn is_cheap(&self) -> bool {
        matches!(self, Spec::SeasonalNaive { .. } | Spec::Naive | Spec::Drift | Spec::CrostonSba | Spec::Tsb)
    }

    fn checked(self) -> Result<Spec, FitError> {
        const SEASON_MAX: usize = 10_000;
        if self.season() > SEASON_MAX {
            return Err(refuse(format!("a season of {} is too long: at most {SEASON_MAX}", self.season())));
        }
        match &self {
            Spec::Arima(arima) => {
                arima.shape()?;
            }
            Spec::Garch { p, q, .. } if *p == 0 || p.max(q) > &10 => {
                return Err(refuse(format!(
                    "{self}: the first order, of squared errors, must be above 0, and none above 10"
                )));
            }
            Spec::Mstl { seasons, .. }
                if seasons.iter().enumerate().any(|(i, m)| *m < 2 || seasons[..i].contains(m)) =>
            {
                return Err(refuse(format!("{self}: seasons must be at least 2 and differ")));
            }
            _ => {}
        }
        Ok(self)
    }
}

impl FromStr for Spec {
    type Err = FitError;

    /// `ARIMA(p,d,q)`, `ARIMA(p,d,q)(P,D,Q)m` (square brackets around m are taken too), `AutoARIMA(ocsb)`, `ETS(M,Ad,M)`,
    /// `GARCH(p,q)` (with a `t` behind it for Student-t errors), `MSTL(24,168)` and the plain names, whatever their case.
    fn from_str(text: &str) -> Result<Spec, FitError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let name_ends = text.find('(').unwrap_or(text.len());
        let (name, rest) = text.split_at(name_ends);
        let (groups, tail) = groups(rest).ok_or_else(|| unknown(&text))?;
        let numbers = |group: &str| -> Result<Vec<usize>, FitError> {
            group.split(',').map(|n| n.parse().map_err(|_| unknown(&text))).collect()
        };
        let name = name.to_ascii_lowercase();
        let spec = match (name.as_str(), groups.as_slice()) {
            ("arima" | "sarima" | "sarimax", [first, others @ ..]) => {
                let order = numbers(first)?;
                let seasonal = others.first().map(|g| numbers(g)).transpose()?.unwrap_or(vec![0, 0, 0]);
                let m = tail.trim_matches(['[', ']']);
                let m = if m.is_empty() { 1 } else { m.parse().map_err(|_| unknown(&text))? };
                let (&[p, d, q], &[sp, sd, sq], true) = (&order[..], &seasonal[..], others.len() <= 1) else {
                    return Err(unknown(&text));
                };
                return Spec::Arima(Arima::new(p, d, q).seasonal(sp, sd, sq, m)).checked();
            }
            ("ets", [group]) => Spec::Ets(ets_letters(group).ok_or_else(|| unknown(&text))?),
            ("garch", [group]) => match numbers(group)?[..] {
                [p, q] => Spec::Garch { p, q, student: tail.eq_ignore_ascii_case("t") },
                _ => return Err(unknown(&text)),
            },
            ("autoarima", [group]) => match group.to_ascii_lowercase().as_str() {
                "ocsb" => Spec::AutoArima { season: 1, test: SeasonalTest::Ocsb },
                "strength" => auto_arima(1),
                _ => return Err(unknown(&text)),
            },
            ("mstl", [group]) => Spec::Mstl { seasons: numbers(group)?, inner: remainder() },
            ("ensemble", [group]) => match group.to_ascii_lowercase().as_str() {
                "median" => Spec::Ensemble { season: 1, combination: Combination::Median },
                "accuracy" => Spec::Ensemble { season: 1, combination: Combination::Accuracy },
                _ => return Err(unknown(&text)),
            },
            ("arima" | "sarima" | "sarimax", []) => {
                return Err(refuse(format!("{text} needs its orders, as in ARIMA(2,1,1), or use AutoARIMA")));
            }
            (_, []) => plain(&name).ok_or_else(|| unknown(&text))?,
            _ => return Err(unknown(&text)),
        };
        let whole = tail.is_empty() || matches!(spec, Spec::Garch { student: true, .. });
        if whole { spec.checked() } else { Err(unknown(&text)) }
    }
}

/// The model of what is left once seasons are taken off: on M4 better than AutoETS, and slower.
fn remainder() -> Box<Spec> {
    Box::new(auto_arima(1))
}

fn plain(name: &str) -> Option<Spec> {
    Some(match name {
        "autoarima" => auto_arima(1),
        "ets" => Spec::Ets(Ets { period: 0, ..Ets::additive(1) }),
        "autoets" => Spec::AutoEts { season: 1 },
        "theta" => Spec::Theta { season: 1 },
        "dynamicoptimizedtheta" | "dot" => Spec::DynamicOptimizedTheta { season: 1 },
        "garch" => Spec::Garch { p: 1, q: 1, student: false },
        "seasonalnaive" => Spec::SeasonalNaive { season: 1 },
        "naive" => Spec::Naive,
        "drift" => Spec::Drift,
        "ensemble" => Spec::Ensemble { season: 1, combination: Combination::Median },
        "crostonsba" | "croston" => Spec::CrostonSba,
        "tsb" => Spec::Tsb,
        "mstl" => Spec::Mstl { seasons: vec![], inner: remainder() },
        _ => return None,
    })
}

/// `(a)(b)tail` → `[a, b]`, `tail`.
fn groups(mut rest: &str) -> Option<(Vec<&str>, &str)> {
    let mut found = Vec::new();
    while let Some(inside) = rest.strip_prefix('(') {
        let (group, after) = inside.split_once(')')?;
        found.push(group);
        rest = after;
    }
    Some((found, rest))
}

fn ets_letters(group: &str) -> Option<Ets> {
    let parts: Vec<&str> = group.split(',').collect();
    let &[error, trend, seasonal] = &parts[..] else { return None };
    let component = |letter: &str| match letter {
        "N" | "n" => Some(Component::None),
        "A" | "a" => Some(Component::Additive),
        "M" | "m" => Some(Component::Multiplicative),
        _ => None,
    };
    let error = match component(error)? {
        Component::Additive => Error::Additive,
        Component::Multiplicative => Error::Multiplicative,
        Component::None => return None,
    };
    let (trend, damped) = match trend.strip_suffix(['d', 'D']) {
        Some(letter) => (component(letter)?, true),
        None => (component(trend)?, false),
    };
    Some(Ets { error, trend, damped, seasonal: component(seasonal)?, period: 1 })
}

fn refuse(message: String) -> FitError {
    FitError::Specification(message)
}

fn unknown(text: &str) -> FitError {
    refuse(format!(
        "unknown model {text:?}: use ARIMA(p,d,q), ARIMA(p,d,q)(P,D,Q)m, AutoARIMA, ETS, ETS(M,Ad,M), AutoETS, Theta, \
         DynamicOptimizedTheta, GARCH(p,q), SeasonalNaive, Naive, Drift, Ensemble, CrostonSBA, TSB or MSTL"
    ))
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Arima(arima) => {
                let ((p, d, q), (sp, sd, sq), m) = (arima.order, arima.seasonal_order, arima.season);
                write!(f, "ARIMA({p},{d},{q})")?;
                if m > 1 { write!(f, "({sp},{sd},{sq}){m}") } else { Ok(()) }
            }
            Spec::AutoArima { test: SeasonalTest::Strength, .. } => f.write_str("AutoARIMA"),
            Spec::AutoArima { test: SeasonalTest::Ocsb, .. } => f.write_str("AutoARIMA(ocsb)"),
            Spec::Ets(ets) => f.write_str(&ets.name()),
            Spec::AutoEts { .. } => f.write_str("AutoETS"),
            Spec::Theta { .. } => f.write_str("Theta"),
            Spec::DynamicOptimizedTheta { .. } => f.write_str("DynamicOptimizedTheta"),
            Spec::Garch { p, q, student } => write!(f, "GARCH({p},{q}){}", if *student { "t" } else { "" }),
            Spec::SeasonalNaive { .. } => f.write_str("SeasonalNaive"),
            Spec::Naive => f.write_str("Naive"),
            Spec::Drift => f.write_str("Drift"),
            Spec::Ensemble { combination: Combination::Median, .. } => f.write_str("Ensemble"),
            Spec::Ensemble { combination: Combination::Accuracy, .. } => f.write_str("Ensemble(accuracy)"),
            Spec::CrostonSba => f.write_str("CrostonSBA"),
            Spec::Tsb => f.write_str("TSB"),
            Spec::Mstl { seasons, .. } if seasons.is_empty() => f.write_str("MSTL"),
            Spec::Mstl { seasons, .. } => {
                let lengths: Vec<String> = seasons.iter().map(usize::to_string).collect();
                write!(f, "MSTL({})", lengths.join(","))
            }
        }
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
