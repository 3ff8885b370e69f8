//! Every family on series that no textbook shows: a finite ordered interval or one clear error, and never long.

use std::time::{Duration, Instant};
use tidecast_forecast::backtest::Backtest;
use tidecast_forecast::stream::{StreamConfig, StreamModel};
use tidecast_forecast::{Budget, Fit, Predict, Spec, Step, conformal};

const FAMILIES: [&str; 20] = [
    "AutoARIMA",
    "GARCH(1,1)",
    "ETS",
    "ETS(A,N,N)",
    "ETS(M,N,N)",
    "ETS(M,Ad,M)",
    "ETS(M,M,M)",
    "ETS(A,Md,A)",
    "ETS(A,A,M)",
    "AutoETS",
    "Theta",
    "DynamicOptimizedTheta",
    "SeasonalNaive",
    "Naive",
    "Drift",
    "CrostonSBA",
    "TSB",
    "MSTL(4,12)",
    "Ensemble",
    "Ensemble(accuracy)",
];

fn ugly() -> Vec<(&'static str, Vec<f64>)> {
    let noise = |t: usize| ((t * 7919) % 104_729) as f64 / 104_729.0;
    let series = |n: usize, value: &dyn Fn(usize) -> f64| (0..n).map(value).collect::<Vec<f64>>();
    vec![
        ("empty", vec![]),
        ("one", vec![3.0]),
        ("two", vec![3.0, 4.0]),
        ("five", vec![3.0, 4.0, 1.0, 2.0, 9.0]),
        ("constant", vec![7.0; 60]),
        ("zeros", vec![0.0; 60]),
        ("two values", series(60, &|t| if t % 7 < 3 { 1.0 } else { -1.0 })),
        ("gaps", series(80, &|t| if t % 3 == 0 { f64::NAN } else { 5.0 + noise(t) })),
        ("all missing", vec![f64::NAN; 40]),
        ("mostly missing", series(60, &|t| if t % 20 == 0 { 1.0 + noise(t) } else { f64::NAN })),
        ("infinities", series(60, &|t| if t == 30 { f64::INFINITY } else { noise(t) })),
        ("huge", series(60, &|t| 1e300 * (1.0 + noise(t)))),
        ("huge both ways", series(60, &|t| if t % 2 == 0 { 1e308 } else { -1e308 })),
        ("huge once", series(60, &|t| if t == 40 { 1e300 } else { 1.0 + noise(t) })),
        ("tiny", series(60, &|t| 1e-300 * (1.0 + noise(t)))),
        ("denormal", series(60, &|t| 5e-324 * (t % 3) as f64)),
        ("a step", series(60, &|t| if t < 40 { 1.0 } else { 1e6 })),
        ("a line", series(60, &|t| t as f64)),
        ("growth", series(60, &|t| 3.0_f64.powi(t as i32))),
        ("near zero", series(60, &|t| if t % 2 == 0 { 1e-12 } else { 1.0 })),
        ("large level", series(60, &|t| 1e12 + noise(t))),
        ("spikes", series(120, &|t| if t % 17 == 0 { 1e4 } else { 0.0 })),
        ("negative", series(60, &|t| -50.0 - noise(t))),
    ]
}

fn check(what: &str, path: &[Step]) {
    for (h, s) in path.iter().enumerate() {
        let whole = s.lower.is_finite() && s.upper.is_finite() && s.lower <= s.mean && s.mean <= s.upper;
        assert!(whole, "{what} step {h}: {s:?}");
    }
}

#[test]
fn every_family_gives_an_ordered_path_or_one_clear_error() {
    for (name, y) in ugly() {
        for family in FAMILIES {
            for season in [1, 12, 500] {
                // A long season makes no difference to families that are slow to choose.
                if season == 500 && matches!(family, "AutoARIMA" | "Ensemble(accuracy)") {
                    continue;
                }
                let spec: Spec = family.parse::<Spec>().unwrap().with_season(season);
                let what = format!("{family} season {season} on {name}");
                match spec.fit(&y, &mut Budget::default()) {
                    Ok(mut fitted) => {
                        check(&what, &fitted.forecast(20, 0.95));
                        check(&what, &fitted.forecast(3, 0.999));
                        for v in [f64::NAN, 1e300, 0.0, f64::NEG_INFINITY, -1e300, 1.0, 1.0] {
                            fitted.update(v);
                        }
                        check(&format!("{what}, updated"), &fitted.forecast(20, 0.5));
                        fitted.summary();
                    }
                    Err(error) => assert!(error.to_string().len() > 20, "{what}: {error}"),
                }
            }
        }
    }
}

#[test]
fn calibrated_forecasts_and_backtests_of_ugly_series_keep_their_promises() {
    let backtest = Backtest { horizon: 5, season: 12, windows: 2, level: 0.9, conformal: true };
    for (name, y) in ugly() {
        for family in ["ETS", "Theta", "SeasonalNaive", "TSB"] {
            let spec: Spec = family.parse::<Spec>().unwrap().with_season(12);
            if let Ok((_, path)) = conformal::forecast(&spec, &y, 7, 0.9) {
                check(&format!("{family} on {name}"), &path);
            }
            let report = backtest.run(&spec, &y, &|| 0.0).report();
            assert_eq!(report.series + report.failed, 1, "{family} on {name}");
            assert!(
                report.smape.is_none_or(|v| (0.0..=200.0).contains(&v)),
                "{family} on {name}: {report:?}"
            );
        }
    }
}

#[test]
fn a_stream_of_ugly_values_never_stops_the_model() {
    for (name, y) in ugly() {
        for family in ["ETS", "Theta", "SeasonalNaive", "CrostonSBA", "ARIMA(1,1,1)"] {
            let mut model = StreamModel::new(StreamConfig {
                spec: family.parse().unwrap(),
                season: 6,
                horizon: 4,
                level: 0.95,
                anomaly_threshold: 0.8,
                history: y.clone(),
                seed: 1,
            });
            for t in 0..100 {
                let value = y.get(t % y.len().max(1)).copied().unwrap_or(1.0);
                let observed = model.observe(value);
                if let Some(score) = observed.score {
                    assert!((0.0..=1.0).contains(&score.score), "{family} on {name}: {score:?}");
                    assert!(score.expected[0] <= score.expected[1], "{family} on {name}: {score:?}");
                }
                assert!(model.accuracy().is_none_or(|a| (0.0..=1.0).contains(&a)));
                check(&format!("{family} on {name}"), &model.forecast(4, 0.95).unwrap_or_default());
            }
            assert_eq!(StreamModel::decode(&model.encode()).unwrap().encode(), model.encode());
        }
    }
}

#[test]
fn two_hundred_thousand_rows_are_fitted_within_the_budget() {
    let y: Vec<f64> =
        (0..200_000).map(|t| 100.0 + ((t * 7919) % 1009) as f64 / 100.0 + (t % 24) as f64).collect();
    for family in ["ETS", "Theta", "DynamicOptimizedTheta", "SeasonalNaive", "TSB", "MSTL"] {
        let started = Instant::now();
        let spec: Spec = family.parse::<Spec>().unwrap().with_season(24);
        check(family, &spec.fit(&y, &mut Budget::default()).unwrap().forecast(24, 0.95));
        // Seconds on an idle machine; the bound is for one that is not.
        assert!(started.elapsed() < Duration::from_secs(300), "{family} took {:?}", started.elapsed());
    }
}
