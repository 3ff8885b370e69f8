//! Series that were something else before: what a model says of the next values is of what the series is now.

use tidecast_forecast::stream::{StreamConfig, StreamModel};
use tidecast_forecast::{Spec, Step, conformal};

/// Standard normal noise of its own for each seed: the sum of twelve uniforms, less six.
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..n).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect()
}

/// Share of the next values within, and the mean width, over `series` histories of 120 values that are followed by one more;
/// the noise `e` of value `t` makes it what `value` says.
fn next_interval(model: &str, series: u64, value: impl Fn(usize, f64) -> f64) -> (f64, f64) {
    let spec: Spec = model.parse().unwrap();
    let (mut hits, mut width) = (0.0, 0.0);
    for seed in 1..=series {
        let mut y: Vec<f64> = noise(seed, 121).into_iter().enumerate().map(|(t, e)| value(t, e)).collect();
        let next = y.pop().unwrap();
        let (_, path) = conformal::forecast(&spec, &y, 1, 0.95).unwrap();
        let Step { lower, upper, .. } = path[0];
        hits += if (lower..=upper).contains(&next) { 1.0 } else { 0.0 };
        width += upper - lower;
    }
    (hits / series as f64, width / series as f64)
}

/// The interval that knows the truth is 3.92 standard deviations wide.
#[test]
fn a_variance_that_has_changed_is_the_newer_one() {
    let changed = |before: f64, after: f64| move |t, e| 50.0 + e * if t < 60 { before } else { after };
    let (coverage, width) = next_interval("ETS(A,N,N)", 200, changed(1.0, 10.0));
    assert!(coverage > 0.92 && width < 1.5 * 39.2, "wider: {coverage} {width}");
    let (coverage, width) = next_interval("ETS(A,N,N)", 200, changed(10.0, 1.0));
    assert!(coverage > 0.8 && width < 4.0 * 3.92, "narrower: {coverage} {width}");
}

#[test]
fn a_level_that_has_changed_leaves_the_interval_finite_and_of_the_noise() {
    let (coverage, width) = next_interval("ETS(A,N,N)", 100, |t, e| e + if t < 60 { 10.0 } else { 500.0 });
    // The jump itself is one error of a hundred and twenty.
    assert!(coverage > 0.9 && width < 490.0, "{coverage} {width}");
    // Before it there was no noise at all to measure errors in.
    let (coverage, width) =
        next_interval("ETS(A,N,N)", 50, |t, e| if t < 60 { 0.0 } else { 100.0 + 5.0 * e });
    assert!(coverage > 0.9 && width < 200.0, "after zeros: {coverage} {width}");
}

#[test]
fn a_stream_that_was_zero_in_its_history_tells_its_outliers() {
    let later = noise(7, 128 + 121);
    let mut history = vec![0.0; 128];
    history.extend(later[..128].iter().map(|e| 100.0 + e));
    for family in ["ETS", "AutoETS", "Theta", "ARIMA(0,1,1)"] {
        let mut model = StreamModel::new(StreamConfig {
            spec: family.parse().unwrap(),
            season: 1,
            horizon: 12,
            level: 0.95,
            anomaly_threshold: 0.8,
            history: history.clone(),
            seed: 1,
        });
        for e in &later[128..248] {
            model.observe(100.0 + e);
        }
        let observed = model.observe(130.0);
        let (score, expected) = (observed.score.unwrap(), observed.expected.unwrap());
        assert!(score.score >= 0.8, "{family}: {score:?}");
        assert!(expected[1] - expected[0] < 40.0, "{family}: {expected:?}");
    }
}
