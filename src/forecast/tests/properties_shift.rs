//! A level says nothing of what moves on it: forecasts of a series moved by 1e6, 1e9, 1e12 or 1e15 are moved by as much, as far
//! as doubles of that size can tell.

use tidecast_forecast::{Budget, Fit, Predict, Spec};

fn normal(mut state: u64) -> impl FnMut() -> f64 {
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

/// Noise, an autoregression, a walk and a season, in eighths: at 1e15 a double is a multiple of an eighth, so that moving
/// them rounds nothing.
fn series() -> Vec<(&'static str, Vec<f64>)> {
    let mut noise = normal(3);
    let eighth = |v: f64| (8.0 * v).round() / 8.0;
    let white: Vec<f64> = (0..120).map(|_| eighth(noise())).collect();
    let (mut a, mut w) = (0.0, 0.0);
    let persistent: Vec<f64> = (0..120)
        .map(|_| {
            a = 0.7 * a + noise();
            eighth(a)
        })
        .collect();
    let walk: Vec<f64> = (0..120)
        .map(|_| {
            w += noise();
            eighth(w)
        })
        .collect();
    let wave = |t: u32| 6.0 * (f64::from(t % 12) * std::f64::consts::TAU / 12.0).sin();
    let season: Vec<f64> = (0..120).map(|t| eighth(wave(t) + noise())).collect();
    vec![("noise", white), ("persistent", persistent), ("walk", walk), ("season", season)]
}

/// Parts of an interval's width that the forecast may be off by up to 1e12, and at 1e15, where a double is a multiple of an
/// eighth of the standard deviation and two differences of levels add up what each step rounds.
const TOLERANCE: f64 = 0.02;
const AT_THE_END: f64 = 0.15;
const AT_THE_END_TWICE_DIFFERENCED: f64 = 0.35;

#[test]
fn a_level_changes_nothing() {
    for name in [
        "ARIMA(0,0,0)",
        "ARIMA(1,0,1)",
        "ARIMA(0,1,1)",
        "ARIMA(0,1,1)(0,1,1)12",
        "AutoARIMA",
        "ETS(A,N,N)",
        "ETS(A,Ad,A)",
        "AutoETS",
        "Theta",
        "DynamicOptimizedTheta",
        "SeasonalNaive",
        "Naive",
        "Drift",
    ] {
        let spec: Spec = name.parse().unwrap();
        let spec = spec.with_season(12);
        for (kind, y) in series() {
            let path = |level: f64| {
                let moved: Vec<f64> = y.iter().map(|v| v + level).collect();
                spec.fit(&moved, &mut Budget::default()).unwrap().forecast(6, 0.95)
            };
            // Above zero too, and with a mean: the same models are there to choose from.
            let usual = path(1e3);
            for level in [1e6, 1e9, 1e12, 1e15] {
                let tolerance = match name {
                    _ if level < 1e15 => TOLERANCE,
                    "ARIMA(0,1,1)(0,1,1)12" => AT_THE_END_TWICE_DIFFERENCED,
                    _ => AT_THE_END,
                };
                for (a, b) in usual.iter().zip(&path(level)) {
                    let (before, after) = (a.upper - a.lower, b.upper - b.lower);
                    let moved = (b.mean - level) - (a.mean - 1e3);
                    assert!(
                        moved.abs() <= tolerance * before && (after - before).abs() <= tolerance * before,
                        "{name} of {kind} at {level:e}: {a:?} and {b:?}"
                    );
                }
            }
        }
    }
}

/// What does not move at all is a constant on every level, and what rounding leaves of one is no signal.
#[test]
fn a_constant_is_one_on_every_level() {
    for level in [0.1, 1e6 + 0.1, 1e15] {
        for model in ["ARIMA(1,0,0)", "ARIMA(0,1,1)", "AutoARIMA"] {
            let spec: Spec = model.parse().unwrap();
            let last =
                |at: usize| if at.is_multiple_of(2) { level } else { level * (1.0 + f64::EPSILON / 2.0) };
            for y in [vec![level; 40], (0..40).map(last).collect()] {
                let step = spec.fit(&y, &mut Budget::default()).unwrap().forecast(3, 0.95)[2];
                let off = (step.mean - level).abs().max(step.upper - step.lower);
                assert!(off <= 32.0 * f64::EPSILON * level, "{model} at {level}: {step:?}");
            }
        }
    }
}
