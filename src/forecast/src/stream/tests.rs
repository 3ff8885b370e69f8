//! What a model on a stream promises.

use super::*;
use crate::conformal::tests::noise;
use crate::ets::Ets;

/// A season of 8 with a little deterministic noise.
fn value(t: u64) -> f64 {
    let noise = ((t.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407)) >> 33) % 1000;
    100.0 + 10.0 * (t as f64 * std::f64::consts::PI / 4.0).sin() + noise as f64 / 200.0
}

fn config(spec: &str, history: u64) -> StreamConfig {
    StreamConfig {
        spec: spec.parse().unwrap(),
        season: 8,
        horizon: 5,
        level: 0.95,
        anomaly_threshold: 0.8,
        history: (0..history).map(value).collect(),
        seed: 7,
    }
}

fn same(a: &StreamModel, b: &StreamModel) -> bool {
    a.encode() == b.encode()
}

#[test]
fn a_model_without_history_warms_up_says_so_and_goes_live() {
    let mut model = StreamModel::new(config("SeasonalNaive", 0));
    assert_eq!(model.state(), State::WarmingUp { observations: 0, needed: 9 });
    assert_eq!(model.forecast(5, 0.95), None);
    for t in 0..9 {
        assert!(model.observe(value(t)).predicted.is_none());
    }
    assert_eq!(model.state(), State::Fitting);
    assert!(model.needs_fit_before_next());
    model.install(model.take_fit().unwrap().run());
    assert_eq!(model.state(), State::Live);
    let observed = model.observe(value(9));
    assert_eq!((observed.index, observed.predicted), (9, Some(value(1))));
    assert!(observed.score.unwrap().score < 0.8);
}

#[test]
fn a_cheap_family_with_history_is_live_at_once() {
    let model = StreamModel::new(config("SeasonalNaive", 40));
    assert_eq!(model.state(), State::Live);
    assert_eq!(model.forecast(5, 0.95).unwrap().len(), 5);
}

#[test]
fn when_a_fit_is_installed_changes_nothing() {
    let mut prompt = StreamModel::new(config("ETS", 40));
    let mut lazy = prompt.clone();
    let mut late: Option<FitJob> = lazy.take_fit();
    prompt.install(prompt.take_fit().unwrap().run());
    let mut refits = 0;
    for t in 40..900 {
        if lazy.needs_fit_before_next()
            && let Some(job) = late.take()
        {
            lazy.install(job.run());
        }
        if let Some(job) = prompt.observe(value(t)).fit {
            refits += 1;
            prompt.install(job.run());
        }
        late = lazy.observe(value(t)).fit.or(late);
        assert!(same(&prompt, &lazy), "after {t}");
    }
    assert!(refits >= 3, "{refits} refits");
}

#[test]
fn a_fit_that_is_asked_for_is_in_place_before_the_next_observation() {
    let mut model = StreamModel::new(config("ETS", 40));
    let parameters = |model: &StreamModel| model.summary().map(|summary| summary.params);
    model.refit();
    assert_eq!(parameters(&model), None, "the first fit is still to come, and comes when it would");
    for t in 40..55 {
        model.observe(value(t));
    }
    let first = parameters(&model);
    assert!(first.is_some() && model.take_fit().is_none());
    model.refit();
    model.refit();
    assert_eq!((model.state(), parameters(&model)), (State::Live, first.clone()));
    let mut lazy = model.clone();
    model.install(model.take_fit().expect("a job").run());
    model.observe(value(55));
    lazy.observe(value(55));
    assert_ne!(parameters(&model), first, "another fit, of fifty-five");
    assert!(model.take_fit().is_none() && same(&model, &lazy));
}

#[test]
fn nobody_installing_anything_gives_the_same_bits() {
    let mut careful = StreamModel::new(config("ETS", 0));
    let mut careless = careful.clone();
    for t in 0..400 {
        let seen = careful.observe(value(t));
        if let Some(job) = seen.fit {
            careful.install(job.run());
        }
        let other = careless.observe(value(t));
        assert_eq!((seen.predicted, seen.score), (other.predicted, other.score), "at {t}");
    }
}

#[test]
fn restoring_gives_the_same_bits_also_in_the_middle_of_a_fit() {
    let mut model = StreamModel::new(config("ETS", 20));
    let mut restored = model.clone();
    for t in 20..300 {
        restored = StreamModel::decode(&restored.encode()).unwrap();
        let a = model.observe(value(t));
        let b = restored.observe(value(t));
        assert_eq!((a.predicted, a.score), (b.predicted, b.score), "at {t}");
        assert!(same(&model, &restored));
    }
    assert_eq!(model.forecast(9, 0.8), restored.forecast(9, 0.8));
}

#[test]
fn damaged_records_are_refused_and_never_panic() {
    let bytes = StreamModel::new(config("ETS", 60)).encode();
    assert_eq!(StreamModel::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(StreamModel::decode(&[9, 1, 2]), Err(DecodeError::Version { found: 9 }));
    for cut in 1..bytes.len() {
        assert!(StreamModel::decode(&bytes[..cut]).is_err());
    }
    for at in 1..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x5a;
        if let Ok(mut model) = StreamModel::decode(&bytes) {
            for t in 0..30 {
                model.observe(value(t));
            }
            model.forecast(5, 0.95);
        }
    }
}

#[test]
fn a_spike_scores_high_and_the_next_ordinary_value_does_not() {
    let mut model = StreamModel::new(config("ETS", 120));
    for t in 120..200 {
        let score = model.observe(value(t)).score.unwrap();
        assert!(score.score < 0.8, "{t}: {}", score.message);
    }
    let spike = model.observe(value(200) + 60.0).score.unwrap();
    assert!(spike.score >= 0.95, "{}", spike.message);
    assert!(spike.expected[1] < value(200) + 60.0);
    assert!(model.observe(f64::NAN).score.is_none());
}

#[test]
fn a_live_model_is_small() {
    let mut model = StreamModel::new(StreamConfig { season: 1, horizon: 12, ..config("ETS", 300) });
    for t in 300..400 {
        model.observe(value(t));
    }
    assert!(std::mem::size_of::<StreamModel>() <= 1024, "{}", std::mem::size_of::<StreamModel>());
    assert!(model.encode().len() <= 6 * 1024, "{}", model.encode().len());
    assert!(matches!(model.spec(), Spec::Ets(Ets { period: 1, .. })));
}

#[test]
fn an_exogenous_series_explains_what_it_explains() {
    let weather = |t: u64| ((t * 31) % 17) as f64;
    let config = StreamConfig {
        spec: "ARIMA(1,0,0)".parse().unwrap(),
        season: 1,
        history: vec![],
        ..config("ETS", 0)
    };
    let mut model = StreamModel::with_exogenous(config, &[], 1);
    for t in 0..200 {
        model.observe_with(50.0 + 3.0 * weather(t) + (value(t) - 100.0) / 50.0, &[weather(t)]);
        model = StreamModel::decode(&model.encode()).unwrap();
    }
    let summary = model.summary().unwrap();
    assert!((summary.params["x1"] - 3.0).abs() < 0.05, "{:?}", summary.params);
}

#[test]
fn an_exogenous_series_that_says_nothing_yet_is_left_out_until_it_does() {
    let weather = |t: u64| ((t * 31) % 17) as f64;
    let config = StreamConfig {
        spec: "ARIMA(1,0,0)".parse().unwrap(),
        season: 1,
        // Nothing is known of the weather of these.
        history: (0..60).map(value).collect(),
        ..config("ETS", 0)
    };
    let mut model = StreamModel::with_exogenous(config, &[], 2);
    if let Some(job) = model.take_fit() {
        model.install(job.run());
    }
    assert_eq!(model.state(), State::Live, "{:?}", model.failure());
    assert!(model.forecast(3, 0.95).is_some());
    for t in 60..400 {
        // The first never varies.
        model.observe_with(value(t) + 3.0 * weather(t), &[5.0, weather(t)]);
        model = StreamModel::decode(&model.encode()).unwrap();
    }
    let params = model.summary().unwrap().params;
    assert!((params["x2"] - 3.0).abs() < 0.1 && !params.contains_key("x1"), "{params:?}");
}

/// Standard normal noise around 100, and around 150 from `shift` on.
fn shifted(t: u64, shift: u64) -> f64 {
    crate::conformal::tests::noise(t) + if t < shift { 100.0 } else { 150.0 }
}

#[test]
fn a_shift_of_the_level_hides_no_anomaly_once_the_model_is_fitted_to_it() {
    for family in ["AutoETS", "AutoARIMA", "ETS", "Theta"] {
        let mut model = StreamModel::new(StreamConfig { season: 1, ..config(family, 0) });
        let (mut calm, mut after) = (0.0, 0.0);
        let mut told = Vec::new();
        for t in 0..700 {
            let spike = if [560, 600, 660].contains(&t) { 12.0 } else { 0.0 };
            let observed = model.observe(shifted(t, 500) + spike);
            let width = observed.expected.map_or(0.0, |[lower, upper]| upper - lower);
            match t {
                499 => calm = width,
                560 => after = width,
                _ => {}
            }
            if spike > 0.0 {
                told.push(observed.score.unwrap().score);
            }
        }
        assert!(after < 2.5 * calm, "{family}: {after} wide after the shift, {calm} before");
        assert!(told.iter().all(|score| *score >= 0.7), "{family}: {told:?}");
    }
}

#[test]
fn a_record_of_the_version_before_is_read() {
    let mut model = StreamModel::new(config("ETS", 40));
    (40..60).for_each(|t| drop(model.observe(value(t))));
    let mut older = vec![3];
    older.extend(bincode::serde::encode_to_vec(&model, bincode::config::standard()).unwrap());
    let restored = StreamModel::decode(&older).unwrap();
    assert_eq!(restored.forecast(5, 0.95), model.forecast(5, 0.95));
    model.before = Before::default();
    assert!(same(&restored, &model));
    assert!(StreamModel::decode(&older[..older.len() - 1]).is_err());
}

/// Each observation's `expected` and score, of a model without history.
fn watched(spec: &str, values: impl Iterator<Item = f64>) -> Vec<(f64, Option<[f64; 2]>, f64)> {
    let mut model = StreamModel::new(config(spec, 0));
    let watch = |y| {
        let observed = model.observe(y);
        (y, observed.expected, observed.score.map_or(0.0, |score| score.score))
    };
    values.map(watch).collect()
}

/// Which part of these their intervals had.
fn covered(seen: &[(f64, Option<[f64; 2]>, f64)]) -> f64 {
    let inside = |(y, expected, _): &&(f64, Option<[f64; 2]>, f64)| {
        expected.is_some_and(|[lower, upper]| lower <= *y && *y <= upper)
    };
    seen.iter().filter(inside).count() as f64 / seen.len() as f64
}

const FAMILIES: [&str; 6] =
    ["ETS", "Theta", "AutoETS", "AutoARIMA", "DynamicOptimizedTheta", "SeasonalNaive"];

/// Where the score said that it is an anomaly.
fn told(seen: &[(f64, Option<[f64; 2]>, f64)]) -> Vec<usize> {
    (0..seen.len()).filter(|at| seen[*at].2 >= 0.8).collect()
}

#[test]
fn what_begins_as_a_constant_gets_an_interval_of_its_own_size_once_it_is_none() {
    let beat = |t: u64| if t % 17 == 5 { 0.0 } else { 3.0 };
    for spec in FAMILIES {
        let seen = watched(spec, (0..300).map(|t| if t == 150 { 30.0 } else { beat(t) }));
        let width = |at: usize| seen[at].1.map_or(f64::INFINITY, |[lower, upper]| upper - lower);
        assert!(
            (40..300).all(|at| width(at) < 12.0),
            "{spec}: {:?}",
            (40..300).map(width).collect::<Vec<_>>()
        );
        assert!(told(&seen).contains(&150), "{spec}: {:?}", told(&seen));
    }
}

#[test]
fn a_constant_that_comes_back_after_a_spike_is_no_news() {
    for spec in FAMILIES {
        let seen = watched(spec, (0..300).map(|t| if t == 150 { 30.0 } else { 7.3 }));
        assert_eq!(told(&seen), [150], "{spec}");
    }
}

#[test]
fn a_constant_that_begins_to_vary_is_covered_soon_and_not_forever_too_well() {
    for spec in FAMILIES {
        for (level, from) in [(20.0, 300), (7.3, 600), (0.0, 300)] {
            let seen =
                watched(spec, (0..from + 300).map(|t| if t < from { level } else { level + noise(t) }));
            let from = from as usize;
            let (calm, soon, late) =
                (covered(&seen[20..from]), covered(&seen[from + 12..from + 40]), &seen[from + 200..]);
            let then = covered(&seen[from + 40..from + 120]);
            assert!(calm > 0.95 && soon > 0.5 && then > 0.85, "{spec} at {level}: {calm} {soon} {then}");
            let widest =
                late.iter().filter_map(|(_, expected, _)| expected.map(|[l, u]| u - l)).fold(0.0, f64::max);
            assert!(covered(late) > 0.9 && widest < 20.0, "{spec} at {level}: {} {widest}", covered(late));
        }
    }
}

#[test]
fn intervals_cover_and_spikes_are_told_however_high_the_level() {
    for spec in FAMILIES {
        for power in [0, 6, 10, 13] {
            let spike = |t: u64| if t == 450 { 50.0 } else { 0.0 };
            let seen = watched(spec, (0..460).map(|t| 10f64.powi(power) + noise(t) + spike(t)));
            assert!(covered(&seen[50..450]) > 0.9, "{spec} at 1e{power}: {}", covered(&seen[50..450]));
            assert!(told(&seen).contains(&450), "{spec} at 1e{power}: {:?}", told(&seen));
        }
    }
}

/// What is published after each observation is what the next one is judged by, also where another model takes over.
#[test]
fn every_observation_is_judged_by_the_forecast_that_was_published() {
    for spec in ["ETS", "ARIMA(1,0,0)"] {
        let mut model = StreamModel::new(config(spec, 40));
        model.install(model.take_fit().unwrap().run());
        let (mut refits, mut accuracy) = (0, Accuracy::default());
        for t in 40..400 {
            let published = model.forecast(1, 0.95).unwrap()[0];
            let parameters = model.summary().unwrap().params;
            let observed = model.observe(value(t));
            assert_eq!(observed.predicted, Some(published.mean), "{spec} at {t}");
            assert_eq!(observed.expected, Some([published.lower, published.upper]), "{spec} at {t}");
            accuracy.observe(value(t), published.mean);
            assert_eq!(model.accuracy(), accuracy.value(), "{spec} at {t}");
            refits += usize::from(model.summary().unwrap().params != parameters);
        }
        assert!(refits >= 3, "{spec}: {refits}");
    }
}
