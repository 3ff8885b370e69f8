//! What a fit of exponential smoothing promises.

use super::*;
use crate::Predict;

pub(crate) const AIR: [f64; 144] = [
    112., 118., 132., 129., 121., 135., 148., 148., 136., 119., 104., 118., 115., 126., 141., 135., 125.,
    149., 170., 170., 158., 133., 114., 140., 145., 150., 178., 163., 172., 178., 199., 199., 184., 162.,
    146., 166., 171., 180., 193., 181., 183., 218., 230., 242., 209., 191., 172., 194., 196., 196., 236.,
    235., 229., 243., 264., 272., 237., 211., 180., 201., 204., 188., 235., 227., 234., 264., 302., 293.,
    259., 229., 203., 229., 242., 233., 267., 269., 270., 315., 364., 347., 312., 274., 237., 278., 284.,
    277., 317., 313., 318., 374., 413., 405., 355., 306., 271., 306., 315., 301., 356., 348., 355., 422.,
    465., 467., 404., 347., 305., 336., 340., 318., 362., 348., 363., 435., 491., 505., 404., 359., 310.,
    337., 360., 342., 406., 396., 420., 472., 548., 559., 463., 407., 362., 405., 417., 391., 419., 461.,
    472., 535., 622., 606., 508., 461., 390., 432.,
];

#[test]
fn update_is_the_filter_from_scratch() {
    let ets = Ets {
        error: Error::Multiplicative,
        damped: false,
        seasonal: Component::Multiplicative,
        ..Ets::additive(12)
    };
    let mut whole = ets.fit(&AIR[..120], &mut Budget::default()).unwrap();
    let mut states = whole.states.clone();
    let scaled: Vec<f64> = AIR[120..].iter().map(|v| v / whole.scale).collect();
    recursion::run(&ets, &whole.constants, &mut states, &scaled, None).unwrap();
    AIR[120..].iter().for_each(|&v| whole.update(v));
    assert_eq!(states, whole.states);
}

#[test]
fn scaling_the_series_scales_the_forecast_and_nothing_else() {
    for seasonal in [Component::None, Component::Additive] {
        let ets = Ets { seasonal, ..Ets::additive(12) };
        let tenfold: Vec<f64> = AIR.iter().map(|v| v * 1024.0).collect();
        let a = ets.fit(&AIR, &mut Budget::default()).unwrap().forecast(6, 0.9);
        let b = ets.fit(&tenfold, &mut Budget::default()).unwrap().forecast(6, 0.9);
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((a.mean * 1024.0, a.lower * 1024.0, a.upper * 1024.0), (b.mean, b.lower, b.upper));
        }
    }
}

#[test]
fn a_budget_that_runs_out_is_said_and_still_gives_a_forecast() {
    let mut budget = Budget { evaluations: 12, exhausted: false };
    let fitted = Ets::additive(12).fit(&AIR, &mut budget).unwrap();
    assert!(budget.exhausted && fitted.summary().budget_exhausted);
    assert!(fitted.forecast(3, 0.95).iter().all(|s| s.lower < s.mean && s.mean < s.upper));
}

/// A wave with a little noise, which a trend that moves with every error follows closely. Log-likelihoods are those that
/// statsmodels 0.14 finds.
#[test]
fn a_trend_that_follows_closely_is_found_where_a_slow_one_is_an_optimum_too() {
    let noise = |t: usize| ((t * 7919) % 101) as f64 / 101.0 - 0.5;
    let wave = |period: f64, n: usize| -> Vec<f64> {
        let turn = std::f64::consts::TAU / period;
        (0..n).map(|t| 100.0 + 10.0 * (t as f64 * turn).sin() + 0.6 * noise(t)).collect()
    };
    for (error, damped, period, n, known) in [
        (Error::Additive, false, 13.0, 90, -175.197),
        (Error::Additive, true, 9.0, 90, -230.114),
        (Error::Multiplicative, false, 11.0, 120, -271.326),
    ] {
        let ets = Ets { error, damped, ..Ets::additive(1) };
        let summary = ets.fit(&wave(period, n), &mut Budget::default()).unwrap().summary();
        let loglik = summary.loglik.unwrap();
        assert!(loglik > known - 0.01, "{}: {loglik}, not {known}: {:?}", ets.name(), summary.params);
    }
}

#[test]
fn intervals_of_relative_errors_do_not_shrink_on_a_high_level() {
    let noise = |t: usize| ((t * 7919) % 101) as f64 / 10.0;
    for trend in [Component::None, Component::Additive] {
        let ets = Ets { error: Error::Multiplicative, trend, damped: false, ..Ets::additive(1) };
        let width = |level: f64| {
            let y: Vec<f64> = (0..100).map(|t| level + noise(t)).collect();
            let step = ets.fit(&y, &mut Budget::default()).unwrap().forecast(5, 0.95)[4];
            step.upper - step.lower
        };
        let usual = width(1e6);
        for level in [1e9, 1e10, 1e12] {
            let ratio = width(level) / usual;
            assert!((ratio - 1.0).abs() < 0.01, "{} at {level}: {ratio}", ets.name());
        }
    }
}
