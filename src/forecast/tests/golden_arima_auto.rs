//! AutoARIMA: what R's `auto.arima` chooses for the airline passengers (forecast 8.20, and the textbook of Hyndman and
//! Athanasopoulos), the KPSS statistic of statsmodels 0.14.6, and series that have no good answer.

use serde_json::Value;
use tidecast_forecast::arima::Arima;
use tidecast_forecast::auto_arima::{AutoArima, unit_root::kpss, unit_root::ordinary_differences};
use tidecast_forecast::{Budget, Fit, FitError, Predict};

fn passengers() -> Vec<f64> {
    let all: Value = serde_json::from_str(include_str!("golden/arima.json")).unwrap();
    all["cases"][0]["series"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn the_airline_passengers_get_the_models_that_r_gives_them() {
    let y = passengers();
    let raw = AutoArima::new(12).fit(&y, &mut Budget::default()).unwrap().summary();
    assert_eq!(raw.model, "ARIMA(2,1,1)(0,1,0)12");
    assert!(
        (raw.aicc.unwrap() - 1018.17).abs() < 0.01 && (raw.loglik.unwrap() + 504.92).abs() < 0.01,
        "{raw:?}"
    );
    let log: Vec<f64> = y.iter().map(|v| v.ln()).collect();
    let log = AutoArima::new(12).fit(&log, &mut Budget::default()).unwrap().summary();
    assert_eq!(log.model, "ARIMA(0,1,1)(0,1,1)12");
    assert!((log.aicc.unwrap() + 483.21).abs() < 0.01, "{log:?}");
}

#[test]
fn kpss_statistics_are_those_of_statsmodels() {
    let y = passengers();
    let change: Vec<f64> = y.windows(2).map(|w| w[1] - w[0]).collect();
    // kpss(y, regression="c", nlags=2): 3 sqrt(144) / 13 = 2.77 lags.
    assert!((kpss(&y) - 4.342286797114149).abs() < 1e-9, "{}", kpss(&y));
    assert!((kpss(&change) - 0.011484728338723346).abs() < 1e-9, "{}", kpss(&change));
}

/// Nearly normal, with a standard deviation of one.
fn normal(mut state: u64) -> impl FnMut() -> f64 {
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

#[test]
fn simulated_processes_are_recognised() {
    let mut noise = normal(7);
    let walk: Vec<f64> = (0..300)
        .scan(0.0, |level, _| {
            *level += noise();
            Some(*level)
        })
        .collect();
    let summary = AutoArima::new(1).fit(&walk, &mut Budget::default()).unwrap().summary();
    assert!(summary.model.contains(",1,"), "a random walk is {}", summary.model);
    let white: Vec<f64> = (0..300).map(|_| 20.0 + noise()).collect();
    let summary = AutoArima::new(1).fit(&white, &mut Budget::default()).unwrap().summary();
    assert!((summary.params["mean"] - 20.0).abs() < 0.3, "white noise is {summary:?}");
    let line: Vec<f64> = (0..300).map(|t| 2.0 * f64::from(t) + noise()).collect();
    let fitted = AutoArima::new(1).fit(&line, &mut Budget::default()).unwrap();
    let last = fitted.forecast(50, 0.95)[49].mean;
    assert!((last - 2.0 * 349.0).abs() < 10.0, "a line goes on to {last}: {:?}", fitted.summary());
}

/// Season by season, for a parameter of 0.9 is far from the circle in a polynomial of seasons, and its roots in one
/// observation are at 1.0088 of it for a season of 12 and at 1.0006 for one of 168.
#[test]
fn a_seasonal_moving_average_is_no_root_near_the_circle() {
    for (seed, season, years, big) in [(14, 12, 12, -0.9), (2, 24, 10, -0.8), (0, 168, 4, -0.5)] {
        let (mut noise, small) = (normal(seed), -0.4);
        let e: Vec<f64> = (0..season * (years + 1) + 1).map(|_| noise()).collect();
        let mut y: Vec<f64> = (0..=season).map(|_| 3.0 * noise()).collect();
        for t in season + 1..e.len() {
            let change = e[t] + small * e[t - 1] + big * (e[t - season] + small * e[t - season - 1]);
            y.push(y[t - 1] + y[t - season] - y[t - season - 1] + change);
        }
        let y = &y[season..];
        let chosen = AutoArima::new(season).fit(y, &mut Budget::default()).unwrap().summary();
        let airline = Arima::new(0, 1, 1).seasonal(0, 1, 1, season);
        let airline = airline.fit(y, &mut Budget::default()).unwrap().summary();
        assert!(
            chosen.aicc.unwrap() <= airline.aicc.unwrap() + 0.01,
            "season {season}: {} {:?} and {:?}",
            chosen.model,
            chosen.aicc,
            airline.aicc
        );
    }
}

/// Walks whose changes the test of level takes for one, as it does once in twenty. The second difference leaves a moving
/// average on the circle, and without it there is ARIMA(5,2,0), with intervals nearly three times too wide.
#[test]
fn a_difference_too_many_is_taken_back() {
    for (seed, n) in [(121, 600), (109, 1_000), (121, 1_000)] {
        let mut noise = normal(seed);
        let walk: Vec<f64> = (0..n)
            .scan(0.0, |level, _| {
                *level += noise();
                Some(*level)
            })
            .collect();
        assert_eq!(ordinary_differences(&walk, 2), 2, "this one deceives the test");
        let fitted = AutoArima::new(1).fit(&walk, &mut Budget::default()).unwrap();
        let twelfth = fitted.forecast(12, 0.95)[11];
        let width = (twelfth.upper - twelfth.lower) / (2.0 * 1.96 * 12_f64.sqrt());
        assert!((0.85..1.25).contains(&width), "{}: {width} of what it should be", fitted.summary().model);
    }
    // A slope that moves is a difference that stays.
    let (mut noise, mut slope, mut level) = (normal(5), 0.0, 0.0);
    let moving: Vec<f64> = (0..300)
        .map(|_| {
            slope += 0.3 * noise();
            level += slope + noise();
            level
        })
        .collect();
    let summary = AutoArima::new(1).fit(&moving, &mut Budget::default()).unwrap().summary();
    assert!(summary.model.contains(",2,"), "{}", summary.model);
}

#[test]
fn three_values_are_no_reason_to_forecast_zero() {
    let error = AutoArima::new(12).fit(&[100.0, 101.0, 102.0], &mut Budget::default()).unwrap_err();
    assert!(matches!(error, tidecast_forecast::FitError::TooShort { needed: 10, got: 3, .. }), "{error}");
}

#[test]
fn series_without_a_good_answer_get_one_all_the_same() {
    let gaps: Vec<f64> =
        passengers().iter().enumerate().map(|(t, v)| if t % 7 == 3 { f64::NAN } else { *v }).collect();
    let cases: Vec<(Vec<f64>, &str)> = vec![
        (vec![5.0; 40], "a constant"),
        (vec![0.0; 40], "zeros"),
        (vec![1.0, 2.0, 4.0, 3.0, 6.0, 5.0, 8.0, 6.0, 9.0, 7.0], "ten values"),
        ((0..40).map(f64::from).collect(), "a line"),
        ((0..40).map(|t| f64::from(t * t)).collect(), "a parabola"),
        ((0..40).map(|t| f64::from(t % 2)).collect(), "two values in turn"),
        ((0..40).map(|t| f64::from(t % 12)).collect(), "nothing but a season"),
        ((0..40).map(|t| 1e300 * f64::from(t * t % 7)).collect(), "huge"),
        (gaps, "gaps"),
        (passengers()[..14].to_vec(), "little more than a season"),
    ];
    for (y, why) in cases {
        let mut fitted =
            AutoArima::new(12).fit(&y, &mut Budget::default()).unwrap_or_else(|e| panic!("{why}: {e}"));
        for _ in 0..3 {
            for step in fitted.forecast(15, 0.95) {
                assert!(
                    step.lower <= step.mean
                        && step.mean <= step.upper
                        && (step.upper - step.lower).is_finite(),
                    "{why}: {step:?}"
                );
            }
            fitted.update(f64::NAN);
        }
    }
    let short = AutoArima::new(12).fit(&[1.0, f64::NAN, 2.0], &mut Budget::default());
    assert!(matches!(short, Err(FitError::TooShort { got: 2, .. })));
    assert!(AutoArima::new(12).fit(&[1.0, 2.0, f64::INFINITY, 4.0], &mut Budget::default()).is_err());
}

#[test]
fn a_budget_ends_the_search_and_is_told() {
    let mut budget = Budget { evaluations: 60, exhausted: false };
    let fitted = AutoArima::new(12).fit(&passengers(), &mut budget).unwrap();
    assert!(budget.exhausted && fitted.summary().budget_exhausted);
}
