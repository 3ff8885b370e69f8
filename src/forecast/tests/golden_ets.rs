//! Exponential smoothing and Theta against statsmodels 0.14.6 on AirPassengers (golden/ets.json, made by golden/ets.py).

use serde::Deserialize;
use tidecast_forecast::ets::recursion::{Constants, States, run};
use tidecast_forecast::theta::Theta;
use tidecast_forecast::{Budget, Fit, Predict, Spec};

#[derive(Deserialize)]
struct Golden {
    series: Vec<f64>,
    ets: Vec<Model>,
    theta: ThetaValues,
}

#[derive(Deserialize)]
struct Model {
    model: String,
    alpha: f64,
    beta: f64,
    gamma: f64,
    phi: f64,
    level: f64,
    growth: f64,
    season: Vec<f64>,
    loglik: f64,
    forecast: Vec<f64>,
    #[serde(default)]
    lower: Vec<f64>,
    #[serde(default)]
    upper: Vec<f64>,
}

#[derive(Deserialize)]
struct ThetaValues {
    forecast: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/ets.json")).unwrap()
}

fn spec(name: &str) -> tidecast_forecast::ets::Ets {
    match name.parse::<Spec>().unwrap().with_season(12) {
        Spec::Ets(ets) => ets,
        other => panic!("{other} is no exponential smoothing"),
    }
}

#[test]
fn the_likelihood_at_given_parameters_is_exact() {
    let golden = golden();
    for m in &golden.ets {
        let constants = Constants { alpha: m.alpha, beta: m.beta, gamma: m.gamma, phi: m.phi };
        let mut states = States { level: m.level, growth: m.growth, season: m.season.clone(), next: 0 };
        let pass = run(&spec(&m.model), &constants, &mut states, &golden.series, None).unwrap();
        let n = golden.series.len() as f64;
        let loglik =
            -0.5 * n * ((2.0 * std::f64::consts::PI * pass.sum_squares / n).ln() + 1.0) - pass.sum_log;
        // statsmodels moves a multiplicative season by γe over the level after the observation, where the model has the
        // level and trend before it (with its formula the values agree to 1e-8), hence the slack.
        let tolerance = if m.model.ends_with("M)") { 2e-4 } else { 1e-6 };
        assert!((loglik - m.loglik).abs() < tolerance, "{}: {loglik} against {}", m.model, m.loglik);
    }
}

/// statsmodels stops its search early on some models, so ours may be higher; it must not be lower by more than 0.3.
/// The seasonal initial states of statsmodels have one degree of freedom more (no fixed sum), which the level takes up.
#[test]
fn fits_are_as_likely_as_those_of_statsmodels_and_forecast_alike() {
    let golden = golden();
    for m in &golden.ets {
        let fitted = spec(&m.model).fit(&golden.series, &mut Budget::default()).unwrap();
        let summary = fitted.summary();
        let loglik = summary.loglik.unwrap();
        assert!(loglik > m.loglik - 0.3, "{}: {loglik} against {}", m.model, m.loglik);
        if loglik < m.loglik + 0.3 {
            for (h, (step, theirs)) in fitted.forecast(12, 0.95).iter().zip(&m.forecast).enumerate() {
                assert!(
                    (step.mean / theirs - 1.0).abs() < 0.02,
                    "{} step {h}: {} {theirs}",
                    m.model,
                    step.mean
                );
            }
        }
    }
}

/// The shape of the intervals of additive models: their growth with the horizon, which does not depend on how each
/// side divides its sum of squares. Within 3 %, as the parameters differ a little.
#[test]
fn analytic_intervals_grow_as_those_of_statsmodels() {
    let golden = golden();
    let mut compared = 0;
    for m in golden.ets.iter().filter(|m| !m.lower.is_empty()) {
        let fitted = spec(&m.model).fit(&golden.series, &mut Budget::default()).unwrap();
        if (fitted.summary().loglik.unwrap() - m.loglik).abs() > 0.3 {
            continue;
        }
        compared += 1;
        let path = fitted.forecast(12, 0.95);
        let ours = |h: usize| (path[h].upper - path[h].lower) / (path[0].upper - path[0].lower);
        let theirs = |h: usize| (m.upper[h] - m.lower[h]) / (m.upper[0] - m.lower[0]);
        for h in 1..12 {
            assert!(
                (ours(h) / theirs(h) - 1.0).abs() < 0.03,
                "{} step {h}: {} {}",
                m.model,
                ours(h),
                theirs(h)
            );
        }
    }
    assert!(compared >= 2, "only {compared} models to compare");
}

/// statsmodels' Theta smooths with a level started at the first value and no bound on α; ours solves for the level and
/// keeps α within the bounds of Fiorucci et al. Forecasts agree within 3 %.
#[test]
fn theta_forecasts_as_statsmodels_does() {
    let golden = golden();
    let fitted = Theta::standard(12).fit(&golden.series, &mut Budget::default()).unwrap();
    for (h, (step, theirs)) in fitted.forecast(12, 0.95).iter().zip(&golden.theta.forecast).enumerate() {
        assert!((step.mean / theirs - 1.0).abs() < 0.03, "step {h}: {} against {theirs}", step.mean);
    }
}
