//! GARCH against arch 8.0.0 (`golden/garch.py` says how the values were made).
//!
//! Tolerances: fitted log-likelihoods no more than 1e-4 below arch's (its optimiser stops where it stops); parameters
//! within 5 % of a standard error, standard errors within 5 %, variances and value at risk within 0.5 %.

use serde_json::Value;
use tidecast_forecast::garch::Garch;
use tidecast_forecast::{Budget, Fit, FitError, Predict};

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn cases() -> Vec<(String, Vec<f64>, Garch, Value)> {
    let all: Value = serde_json::from_str(include_str!("golden/garch.json")).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    cases
        .iter()
        .map(|c| {
            let order = |key: &str| c[key].as_u64().unwrap() as usize;
            let model = Garch { p: order("p"), q: order("q"), student: c["student"].as_bool().unwrap() };
            (c["name"].as_str().unwrap().to_owned(), numbers(&c["series"]), model, c.clone())
        })
        .collect()
}

#[test]
fn fits_are_those_of_arch() {
    for (name, y, model, golden) in cases() {
        let fitted = model.fit(&y, &mut Budget::default()).unwrap();
        let summary = fitted.summary();
        let (mine, theirs) = (summary.loglik.unwrap(), golden["loglik"].as_f64().unwrap());
        assert!(mine > theirs - 1e-4, "{name}: {mine} against {theirs}");
        if mine > theirs + 1e-3 {
            continue; // a better optimum than theirs
        }
        for (parameter, value) in &summary.params {
            let theirs = golden["params"][parameter].as_f64().unwrap();
            let error = golden["errors"][parameter].as_f64().unwrap();
            let interior = parameter == "mu" || theirs > 1e-4;
            let slack = if interior { 0.05 * error } else { 1e-3 };
            assert!((value - theirs).abs() < slack, "{name} {parameter}: {value} against {theirs} ({error})");
            // With a parameter on its bound arch still inverts the whole matrix.
            if golden["params"].as_object().unwrap().values().all(|v| v.as_f64().unwrap().abs() > 1e-4) {
                let mine = summary.std_errors[parameter];
                assert!(
                    (mine / error - 1.0).abs() < 0.05,
                    "{name} {parameter}: error {mine} against {error}"
                );
            }
        }
        for (h, (mine, theirs)) in
            fitted.variance_path(10).iter().zip(numbers(&golden["variances"])).enumerate()
        {
            assert!((mine / theirs - 1.0).abs() < 5e-3, "{name} step {h}: {mine} against {theirs}");
        }
        let (mine, theirs) =
            (fitted.value_at_risk(0.01, 1), golden["value_at_risk_1_percent"].as_f64().unwrap());
        assert!((mine / theirs - 1.0).abs() < 5e-3, "{name}: value at risk {mine} against {theirs}");
    }
}

#[test]
fn an_update_is_the_recursion_over_the_whole_history() {
    let (_, y, model, _) = cases().remove(0);
    let fitted = model.fit(&y, &mut Budget::default()).unwrap();
    let p = fitted.summary().params;
    let (mean, sd) = fitted.one_step();
    assert_eq!(mean, p["mu"]);
    let mut updated = fitted.clone();
    updated.update(mean + 3.0);
    let by_hand = p["omega"] + p["alpha[1]"] * 9.0 + p["beta[1]"] * sd * sd;
    assert!((updated.one_step().1.powi(2) - by_hand).abs() < 1e-12);
    let mut missed = fitted.clone();
    missed.update(f64::NAN);
    let expected = fitted.variance_path(2)[1];
    assert!((missed.one_step().1.powi(2) - expected).abs() < 1e-12, "a missing value is no news");
}

#[test]
fn ugly_series_get_an_interval_or_an_error() {
    let noise: Vec<f64> = (0..200).map(|t| ((t * t * 7919) % 1013) as f64 / 1013.0 - 0.5).collect();
    let with = |row: usize, value: f64| {
        let mut y = noise.clone();
        y[row] = value;
        y
    };
    let cases = [
        (vec![5.0; 50], "a constant"),
        (vec![0.0; 50], "zeros"),
        ((0..50).map(|t| f64::from(t % 2)).collect(), "two values"),
        ((0..50).map(f64::from).collect(), "a line"),
        (with(20, f64::NAN), "a gap"),
        (with(0, f64::NAN), "a gap at the start"),
        (with(20, 1e300), "one value of 1e300"),
        (noise.iter().map(|v| v * 1e300).collect(), "all huge"),
        (noise.iter().map(|v| v * 1e-160).collect(), "all tiny"),
        ((0..20_000).map(|t| noise[t % 200]).collect(), "long"),
    ];
    for (y, why) in cases {
        for model in [Garch::new(1, 1), Garch::new(2, 2).student(), Garch::new(1, 0)] {
            let Ok(mut fitted) = model.fit(&y, &mut Budget::default()) else { continue };
            for next in [f64::NAN, 1e300, 0.0, f64::INFINITY] {
                fitted.update(next);
                for s in fitted.forecast(20, 0.95) {
                    assert!(
                        s.lower <= s.mean && s.mean <= s.upper && s.lower.is_finite() && s.upper.is_finite(),
                        "{why}: {s:?}"
                    );
                }
            }
        }
    }
    let refused = |y: &[f64]| Garch::new(1, 1).fit(y, &mut Budget::default()).unwrap_err();
    assert!(matches!(refused(&with(3, f64::INFINITY)), FitError::Specification(_)));
    assert!(matches!(refused(&[1.0, 2.0]), FitError::TooShort { got: 2, .. }));
    assert!(Garch::new(0, 1).fit(&noise, &mut Budget::default()).is_err());
}

#[test]
fn a_budget_is_kept_and_its_end_is_told() {
    let (_, y, model, _) = cases().remove(0);
    let mut budget = Budget { evaluations: 30, exhausted: false };
    assert!(model.fit(&y, &mut budget).unwrap().summary().budget_exhausted && budget.exhausted);
}
