//! Seasonal series of which values are missing are forecast about as well as whole ones.

use tidecast_forecast::backtest::Backtest;
use tidecast_forecast::{Budget, Fit, Predict, Spec};

/// Uniform noise in [0, 1), the same for each seed.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A weekly season of 100 around 500, and noise of about one.
fn weekly(seed: u64) -> Vec<f64> {
    let mut noise = noise(seed);
    (0..140)
        .map(|t| 500.0 + 100.0 * (f64::from(t) * std::f64::consts::TAU / 7.0).sin() + 3.4 * (noise() - 0.5))
        .collect()
}

/// This share of the values taken out, none of the last `kept`.
fn with_gaps(y: &[f64], share: f64, kept: usize) -> Vec<f64> {
    let mut noise = noise(99);
    let left = |(t, v): (usize, &f64)| if noise() < share && t + kept < y.len() { f64::NAN } else { *v };
    y.iter().enumerate().map(left).collect()
}

#[test]
fn a_fifth_missing_does_not_lose_the_season() {
    let backtest = Backtest { horizon: 7, season: 7, windows: 2, level: 0.9, conformal: false };
    for family in ["MSTL", "Theta", "DynamicOptimizedTheta", "Ensemble", "AutoETS", "AutoARIMA"] {
        let spec: Spec = family.parse::<Spec>().unwrap().with_season(7);
        let rmse = |y: &[f64]| backtest.run(&spec, y, &|| 0.0).report().rmsse.unwrap();
        let each: Vec<(f64, f64)> = (1..=6)
            .map(|seed| {
                let whole = weekly(seed);
                let gaps = with_gaps(&whole, 0.2, 14);
                assert!(gaps.iter().filter(|v| v.is_nan()).count() > 15);
                (rmse(&whole), rmse(&gaps))
            })
            .collect();
        let worse = each.iter().filter(|(of_whole, of_gaps)| *of_gaps > 1.5 * of_whole).count();
        assert_eq!(worse, 0, "{family}: {each:?}");
    }
}

/// The multiplicative season too, and more seasons than one.
#[test]
fn factors_and_two_seasons_survive_gaps() {
    let growing: Vec<f64> = (0..120)
        .map(|t| (100.0 + t as f64) * (1.0 + 0.4 * (t as f64 * std::f64::consts::TAU / 12.0).sin()))
        .collect();
    let gaps = with_gaps(&growing, 0.2, 12);
    for family in ["Theta", "MSTL", "ETS(M,A,M)"] {
        let spec: Spec = family.parse::<Spec>().unwrap().with_season(12);
        let path = spec.fit(&gaps[..108], &mut Budget::default()).unwrap().forecast(12, 0.95);
        for (step, y) in path.iter().zip(&growing[108..]) {
            assert!((step.mean / y - 1.0).abs() < 0.1, "{family}: {} for {y}", step.mean);
        }
    }
    let hourly: Vec<f64> = (0..24 * 7 * 5)
        .map(|t| {
            let day = (t % 24) as f64 * std::f64::consts::TAU / 24.0;
            let weekend = if t % 168 < 120 { 30.0 } else { 0.0 };
            200.0 + 50.0 * day.sin() + weekend
        })
        .collect();
    let gaps = with_gaps(&hourly, 0.2, 168);
    let spec: Spec = "MSTL(24,168)".parse().unwrap();
    let path = spec.fit(&gaps[..672], &mut Budget::default()).unwrap().forecast(168, 0.95);
    let worst = path.iter().zip(&hourly[672..]).map(|(step, y)| (step.mean - y).abs()).fold(0.0, f64::max);
    assert!(worst < 20.0, "{worst}");
}
