//! Series that nobody would choose: a finite ordered interval or one clear error, never a panic, never a hang.

use tidecast_forecast::arima::{Arima, FittedArima};
use tidecast_forecast::{Budget, Fit, FitError, Predict};

fn models() -> Vec<Arima> {
    vec![
        Arima::new(0, 0, 0),
        Arima::new(1, 0, 0),
        Arima::new(2, 1, 1),
        Arima::new(1, 2, 1),
        Arima::new(1, 0, 0).with_drift(),
        Arima::new(1, 1, 1).with_drift(),
        Arima::new(0, 1, 1).seasonal(0, 1, 1, 12),
        Arima::new(1, 1, 1).seasonal(1, 1, 1, 12),
        Arima::new(1, 0, 1).seasonal(2, 0, 1, 4).without_mean(),
    ]
}

fn holds(fitted: &FittedArima, why: &str) {
    for horizon in [1, 12, 30, 200] {
        for (h, step) in fitted.forecast(horizon, 0.95).iter().enumerate() {
            let ordered = step.lower <= step.mean && step.mean <= step.upper;
            assert!(
                ordered && step.lower.is_finite() && step.upper.is_finite(),
                "{why}: step {h} is {step:?}"
            );
        }
    }
}

fn survives(y: &[f64], why: &str) {
    for model in models() {
        let why = format!("{why}, {model:?}");
        match model.fit(y, &mut Budget::default()) {
            Ok(mut fitted) => {
                holds(&fitted, &why);
                for next in [1.0, f64::NAN, f64::NAN, -1e300, f64::INFINITY, 0.0, 1e300, 5.0] {
                    fitted.update(next);
                    holds(&fitted, &format!("{why}, then {next}"));
                }
            }
            Err(error) => assert!(error.to_string().len() > 20, "{why}: {error}"),
        }
    }
}

#[test]
fn constants_zeros_and_two_values() {
    survives(&[5.0; 60], "a constant");
    survives(&[0.0; 60], "zeros");
    survives(&[1.0, 2.0], "two values");
    survives(&[], "nothing");
    survives(&(0..60).map(|t| f64::from(t % 2)).collect::<Vec<_>>(), "two values in turn");
    survives(&(0..60).map(f64::from).collect::<Vec<_>>(), "a line");
    survives(&(0..60).map(|t| f64::from(t / 30)).collect::<Vec<_>>(), "one step");
}

#[test]
fn a_constant_is_forecast_as_itself_and_a_line_as_a_line() {
    let constant = Arima::new(1, 0, 0).fit(&[5.0; 30], &mut Budget::default()).unwrap();
    assert!(
        constant.forecast(3, 0.95).iter().all(|s| s.mean == 5.0 && s.lower <= 5.0 && s.lower > 5.0 - 1e-14)
    );
    assert_eq!(constant.summary().loglik, None);
    let line: Vec<f64> = (0..30).map(|t| 3.0 + 2.0 * f64::from(t)).collect();
    let fitted = Arima::new(0, 1, 1).with_drift().fit(&line, &mut Budget::default()).unwrap();
    let last = fitted.forecast(5, 0.95)[4].mean;
    assert!((last - 71.0).abs() < 1e-9, "{last}");
}

#[test]
fn sizes_at_the_end_of_doubles() {
    for size in [1e300, 1e150, 1e-150, 1e-300] {
        let y: Vec<f64> = (0..60).map(|t| size * (1.0 + 0.3 * f64::from(t * t % 7))).collect();
        survives(&y, &format!("values of {size}"));
    }
    let mut spiked: Vec<f64> = (0..60).map(|t| f64::from(t * t % 7)).collect();
    spiked[30] = 1e300;
    survives(&spiked, "one value of 1e300");
}

#[test]
fn gaps_of_every_kind() {
    let full: Vec<f64> =
        (0..80).map(|t| f64::from(t) + 5.0 * f64::from(t % 12) + f64::from(t * t % 7)).collect();
    let with_gaps = |gap: &dyn Fn(usize) -> bool| -> Vec<f64> {
        full.iter().enumerate().map(|(t, v)| if gap(t) { f64::NAN } else { *v }).collect()
    };
    survives(&with_gaps(&|t| t < 20), "missing at the start");
    survives(&with_gaps(&|t| t > 60), "missing at the end");
    survives(&with_gaps(&|t| t % 2 == 1), "every other value missing");
    survives(&with_gaps(&|t| (30..50).contains(&t)), "a long gap");
    survives(&with_gaps(&|t| t == 3 || t == 40), "missing among the first");
    survives(&with_gaps(&|_| true), "nothing but missing");
}

/// The best fit of noise that is differenced twice has moving averages that take the differences back: roots at the unit
/// circle, beside which rounding adds up while a covariance is followed for tens of thousands of steps.
#[test]
fn noise_with_gaps_has_an_interval_as_wide_as_itself() {
    let mut seed = 7u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 200.0
    };
    for series in 0..40 {
        let y: Vec<f64> = (0..70)
            .map(|t| {
                let (value, other) = (noise(), noise());
                if [16, 55, 62 - series % 7].contains(&t) {
                    f64::NAN
                } else if other > 0.0 {
                    0.0
                } else {
                    value
                }
            })
            .collect();
        let fitted = Arima::new(1, 1, 1).seasonal(1, 1, 1, 6).fit(&y, &mut Budget::default()).unwrap();
        for step in fitted.forecast(12, 0.95) {
            let width = step.upper - step.lower;
            assert!((50.0..1_000.0).contains(&width), "series {series}: {step:?}");
        }
    }
}

#[test]
fn infinities_are_refused_by_name() {
    let mut y: Vec<f64> = (0..60).map(f64::from).collect();
    y[7] = f64::INFINITY;
    let error = Arima::new(1, 1, 1).fit(&y, &mut Budget::default()).unwrap_err();
    assert!(matches!(error, FitError::Specification(_)) && error.to_string().contains("row 8"), "{error}");
}

#[test]
fn a_season_longer_than_the_series_is_refused_by_its_need() {
    let y: Vec<f64> = (0..60).map(f64::from).collect();
    for model in [Arima::new(0, 1, 1).seasonal(0, 1, 1, 100), Arima::new(0, 0, 1).seasonal(1, 0, 0, 100)] {
        let error = model.fit(&y, &mut Budget::default()).unwrap_err();
        assert!(matches!(error, FitError::TooShort { got: 60, .. }), "{error}");
    }
    let error = Arima::new(1, 0, 0).seasonal(1, 0, 0, 1_000_000).fit(&y, &mut Budget::default()).unwrap_err();
    assert!(error.to_string().contains("shorter season"), "{error}");
    assert!(Arima::new(0, 0, 0).seasonal(1, 0, 0, usize::MAX).fit(&y, &mut Budget::default()).is_err());
}

#[test]
fn what_a_model_needs_is_enough() {
    for model in models() {
        let y: Vec<f64> = (0..model.needed()).map(|t| (t as f64 * 1.7).sin() + (t * t % 5) as f64).collect();
        let fitted = model.fit(&y, &mut Budget::default()).unwrap_or_else(|e| panic!("{model:?}: {e}"));
        holds(&fitted, "as little as is needed");
        assert!(matches!(model.fit(&y[1..], &mut Budget::default()), Err(FitError::TooShort { .. })));
    }
}

#[test]
fn a_budget_is_kept_and_its_end_is_told() {
    let y: Vec<f64> = (0..120).map(|t| (f64::from(t) * 0.7).sin() + f64::from(t * t % 11)).collect();
    let model = Arima::new(2, 1, 2).seasonal(1, 0, 1, 12);
    for evaluations in [1, 5, 40, 150] {
        let mut budget = Budget { evaluations, exhausted: false };
        let fitted = model.fit(&y, &mut budget).unwrap();
        assert!(budget.exhausted && fitted.summary().budget_exhausted, "{evaluations}");
        holds(&fitted, "a short budget");
    }
    let mut budget = Budget::default();
    assert!(!model.fit(&y, &mut budget).unwrap().summary().budget_exhausted && !budget.exhausted);
}

#[test]
fn two_hundred_thousand_rows_are_fitted() {
    let mut state = 1u64;
    let mut level = 0.0;
    let y: Vec<f64> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            level += (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5;
            level
        })
        .collect();
    let fitted = Arima::new(1, 1, 1).seasonal(0, 0, 1, 12).fit(&y, &mut Budget::default()).unwrap();
    holds(&fitted, "many rows");
}

#[test]
fn regressors_that_say_nothing_are_refused() {
    let y: Vec<f64> = (0..60).map(|t| f64::from(t * t % 7)).collect();
    let model = Arima::new(1, 1, 0);
    for (x, why) in
        [(vec![1.0; 60], "combination"), (vec![1.0; 59], "as long"), (vec![f64::NAN; 60], "finite")]
    {
        let error = model.fit_with(&y, &[x], &mut Budget::default()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}
