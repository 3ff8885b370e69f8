//! ARIMA against statsmodels 0.14.6 (`golden/arima.py` says how the values were made).
//!
//! Tolerances: 1e-6 absolute on log-likelihoods at fixed parameters (the two filters stop moving their gains at
//! different points); 1e-4 below the best of statsmodels' optimisers on fitted ones; 1e-5 relative on forecasts, for
//! statsmodels starts the levels from a large variance instead of from the first values.

use serde_json::Value;
use tidecast_forecast::arima::{Arima, ljung_box};
use tidecast_forecast::{Budget, Fit, Predict};

struct Case {
    name: String,
    y: Vec<f64>,
    regressors: Vec<Vec<f64>>,
    model: Arima,
    value: Value,
}

impl Case {
    fn number(&self, key: &str) -> f64 {
        self.value[key].as_f64().unwrap()
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        numbers(&self.value[key])
    }
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn cases() -> Vec<Case> {
    let all: Value = serde_json::from_str(include_str!("golden/arima.json")).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    cases
        .iter()
        .map(|value| {
            let order = |key: &str| numbers(&value[key]).iter().map(|v| *v as usize).collect::<Vec<_>>();
            let (o, s) = (order("order"), order("seasonal_order"));
            let mut model = Arima::new(o[0], o[1], o[2]);
            if s[3] > 0 {
                model = model.seasonal(s[0], s[1], s[2], s[3]);
            }
            if !value["mean"].as_bool().unwrap() {
                model = model.without_mean();
            }
            let regressors =
                if value["regressor"].is_null() { vec![] } else { vec![numbers(&value["regressor"])] };
            let name = value["name"].as_str().unwrap().to_owned();
            Case { name, y: numbers(&value["series"]), regressors, model, value: value.clone() }
        })
        .collect()
}

#[test]
fn likelihoods_at_fixed_parameters_are_those_of_statsmodels() {
    for case in cases() {
        let fixed = case.numbers("fixed");
        let at =
            |sigma2| case.model.log_likelihood(&case.y, &case.regressors, &fixed, sigma2).unwrap().unwrap();
        let sigma2 = case.number("sigma2_fixed");
        for (mine, theirs) in [
            (at(None), case.number("loglik_fixed")),
            (at(Some(sigma2)), case.number("loglik_fixed")),
            (at(Some(2.0 * sigma2)), case.number("loglik_fixed_double_sigma2")),
        ] {
            assert!((mine - theirs).abs() < 1e-6, "{}: {mine} against {theirs}", case.name);
        }
    }
}

#[test]
fn fitted_likelihoods_reach_those_of_statsmodels() {
    for case in cases() {
        let fitted = case.model.fit_with(&case.y, &case.regressors, &mut Budget::default()).unwrap();
        let summary = fitted.summary();
        let (mine, theirs) = (summary.loglik.unwrap(), case.number("loglik_fitted"));
        assert!(mine > theirs - 1e-4, "{}: {mine} against {theirs}", case.name);
        // Where both are at the same optimum the rest agrees too.
        if (mine - theirs).abs() < 1e-5 {
            assert!((summary.aic.unwrap() - case.number("aic_fitted")).abs() < 1e-4, "{}", case.name);
            // Statsmodels counts missing values as observations in the sample size; we do not.
            if case.y.iter().all(|v| !v.is_nan()) {
                assert!((summary.bic.unwrap() - case.number("bic_fitted")).abs() < 1e-4, "{}", case.name);
                assert!((summary.aicc.unwrap() - case.number("aicc_fitted")).abs() < 1e-4, "{}", case.name);
            }
            for (name, value) in &summary.params {
                if name == "mean" {
                    continue; // theirs is an intercept
                }
                let theirs = case.value["params_fitted"][name].as_f64().unwrap();
                // A moving average on the unit circle has no standard error.
                let error = summary.std_errors.get(name).copied().unwrap_or(0.1);
                assert!(
                    (value - theirs).abs() < 0.01 * error,
                    "{} {name}: {value} against {theirs}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn standard_errors_are_those_of_the_observed_information() {
    let all = cases();
    for name in ["airline ARIMA(2,1,1)", "log airline model", "log airline, all four", "ARMA without mean"] {
        let case = all.iter().find(|c| c.name == name).unwrap();
        let summary = case.model.fit(&case.y, &mut Budget::default()).unwrap().summary();
        for (name, error) in &summary.std_errors {
            let theirs = case.value["errors_fitted"][name].as_f64().unwrap();
            assert!((error / theirs - 1.0).abs() < 0.02, "{} {name}: {error} against {theirs}", case.name);
        }
    }
}

#[test]
fn forecasts_at_fixed_parameters_are_those_of_statsmodels() {
    for case in cases() {
        let fixed = case.numbers("fixed");
        let fitted = case.model.with_parameters(&case.y, &case.regressors, &fixed).unwrap();
        let path = fitted.forecast(15, 0.95);
        let (means, sds) = (case.numbers("forecast_mean"), case.numbers("forecast_sd"));
        let (mean, sd) = fitted.one_step();
        assert!(
            (mean - path[0].mean).abs() < 1e-9 * sd && (sd - sds[0]).abs() < 1e-3 * sd,
            "{}: {sd}",
            case.name
        );
        for (h, step) in path.iter().enumerate() {
            let sd = (step.upper - step.lower) / (2.0 * 1.959963984540054);
            assert!((step.mean - means[h]).abs() < 1e-3 * sds[h], "{} {h}: {step:?} {}", case.name, means[h]);
            assert!((sd / sds[h] - 1.0).abs() < 1e-3, "{} step {h}: {sd} against {}", case.name, sds[h]);
        }
    }
}

#[test]
fn the_airline_figures_that_everyone_quotes() {
    let case = cases().remove(2);
    let fit = |model: Arima| model.fit(&case.y, &mut Budget::default()).unwrap().summary();
    let airline = fit(Arima::new(0, 1, 1).seasonal(0, 1, 1, 12));
    assert!((airline.loglik.unwrap() - 244.69649).abs() < 1e-5);
    assert!(
        (airline.params["ma.L1"] + 0.4018).abs() < 1e-4 && (airline.params["ma.S.L12"] + 0.5569).abs() < 1e-4
    );
    let four = fit(Arima::new(1, 1, 1).seasonal(1, 1, 1, 12));
    assert!((four.loglik.unwrap() - 245.15189).abs() < 1e-5);
    assert_eq!(four.params.keys().collect::<Vec<_>>(), ["ar.L1", "ar.S.L12", "ma.L1", "ma.S.L12"]);
}

#[test]
fn the_airline_model_leaves_no_autocorrelation_and_a_random_walk_does() {
    let case = cases().remove(1);
    let test = |model: Arima| {
        let fitted = model.fit(&case.y, &mut Budget::default()).unwrap();
        let errors: Vec<f64> = fitted.innovations(&case.y, &[]).iter().map(|(e, sd)| e / sd).collect();
        assert_eq!(errors.len(), case.y.len());
        ljung_box(&errors, 24, fitted.arma().len()).unwrap().p_value
    };
    assert!(test(case.model) > 0.05);
    assert!(test(Arima::new(0, 1, 0)) < 1e-6);
}
