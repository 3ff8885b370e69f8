//! What must hold of ARIMA for every series.

use proptest::prelude::*;
use tidecast_forecast::arima::{Arima, FittedArima};
use tidecast_forecast::{Budget, Fit, Predict};

/// Models with parameters that are stationary and invertible, some close to the boundary.
fn model() -> impl Strategy<Value = (Arima, Vec<f64>)> {
    let coefficient = || -0.97..0.97f64;
    prop_oneof![
        (coefficient(), coefficient()).prop_map(|(a, b)| (Arima::new(1, 0, 1), vec![a, b])),
        (coefficient(), coefficient())
            .prop_map(|(a, b)| (Arima::new(0, 1, 1).seasonal(0, 1, 1, 4), vec![a, b])),
        (coefficient(), coefficient(), coefficient(), coefficient())
            .prop_map(|(a, b, c, d)| (Arima::new(1, 1, 1).seasonal(1, 1, 1, 6), vec![a, b, c, d])),
        (coefficient(), coefficient()).prop_map(|(a, b)| (Arima::new(1, 2, 1).without_mean(), vec![a, b])),
        (coefficient(), coefficient())
            .prop_map(|(a, b)| (Arima::new(1, 1, 0).with_drift().seasonal(0, 0, 1, 4), vec![a, b])),
    ]
}

/// Values, about one in ten of them missing, more than any of the models needs.
fn series() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![9 => -100.0..100.0f64, 1 => Just(f64::NAN)];
    (prop::collection::vec(-100.0..100.0f64, 40), prop::collection::vec(value, 30..60)).prop_map(
        |(mut a, b)| {
            a.extend(b);
            a
        },
    )
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-7 * scale
}

fn same(a: &FittedArima, b: &FittedArima, why: &str) -> Result<(), TestCaseError> {
    // Each has concentrated its own variance out; what is compared is the filter.
    let relative = |of: &FittedArima| of.one_step().1 / of.innovation_sd();
    prop_assert!(close(relative(a), relative(b), relative(a)), "{}: {} {}", why, relative(a), relative(b));
    for (x, y) in a.forecast(15, 0.9).iter().zip(&b.forecast(15, 0.9)) {
        prop_assert!(close(x.mean, y.mean, 100.0 + x.mean.abs()), "{}: {:?} {:?}", why, x, y);
        let width = |s: &tidecast_forecast::Step, of: &FittedArima| (s.upper - s.lower) / of.innovation_sd();
        prop_assert!(close(width(x, a), width(y, b), width(x, a)), "{}: {:?} {:?}", why, x, y);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn updates_are_the_filter_from_the_start((model, arma) in model(), y in series(), cut in 40usize..70) {
        // The regression coefficients depend on the sample: take the same ones, by updating over the same history.
        let without = Arima { mean: false, drift: false, ..model };
        let cut = cut.min(y.len());
        let mut updated = without.with_parameters(&y[..cut], &[], &arma).unwrap();
        for v in &y[cut..] {
            updated.update(*v);
        }
        let whole = without.with_parameters(&y, &[], &arma).unwrap();
        same(&updated, &whole, "updated against whole")?;
    }

    #[test]
    fn a_missing_value_is_no_news_and_a_value_as_expected_moves_no_forecast((model, arma) in model(), y in series()) {
        let before = model.with_parameters(&y, &[], &arma).unwrap();
        let ahead = before.forecast(8, 0.9);
        let (mut missed, mut expected) = (before.clone(), before.clone());
        missed.update(f64::NAN);
        expected.update(before.one_step().0);
        for (h, step) in missed.forecast(7, 0.9).iter().enumerate() {
            prop_assert!(close(step.mean, ahead[h + 1].mean, 100.0 + step.mean.abs()));
            // Knowing less never narrows an interval, and not knowing keeps it as it was.
            let width = |s: &tidecast_forecast::Step| s.upper - s.lower;
            prop_assert!((width(step) / width(&ahead[h + 1]) - 1.0).abs() < 1e-6, "{} {:?} {:?}", h, step, ahead[h + 1]);
        }
        for (h, step) in expected.forecast(7, 0.9).iter().enumerate() {
            prop_assert!(close(step.mean, ahead[h + 1].mean, 100.0 + step.mean.abs()));
            prop_assert!(step.upper - step.lower <= (ahead[h + 1].upper - ahead[h + 1].lower) * (1.0 + 1e-9));
        }
    }

    #[test]
    fn a_change_of_units_changes_units_alone((model, arma) in model(), y in series(), power in -20i32..20) {
        // Powers of two round nothing.
        let unit = 2f64.powi(power);
        let scaled: Vec<f64> = y.iter().map(|v| v * unit).collect();
        let (a, b) = (model.with_parameters(&y, &[], &arma).unwrap(), model.with_parameters(&scaled, &[], &arma).unwrap());
        for (x, y) in a.forecast(10, 0.95).iter().zip(&b.forecast(10, 0.95)) {
            for (x, y) in [(x.mean, y.mean), (x.lower, y.lower), (x.upper, y.upper)] {
                prop_assert!(close(x, y / unit, 100.0 + x.abs()), "{} {}", x, y / unit);
            }
        }
        let observed = model.log_likelihood(&y, &[], &arma, None).unwrap().unwrap();
        let other = model.log_likelihood(&scaled, &[], &arma, None).unwrap().unwrap();
        let n = ((observed - other) / unit.ln()).round();
        prop_assert!(power == 0 || (observed - n * unit.ln() - other).abs() < 1e-6);
    }

    #[test]
    fn intervals_are_ordered_nested_and_widen_with_nothing_known(
        (model, arma) in model(), y in series(), level in 0.01..0.99f64,
    ) {
        let fitted = model.with_parameters(&y, &[], &arma).unwrap();
        let (inner, outer) = (fitted.forecast(40, level), fitted.forecast(40, 0.5 + 0.5 * level));
        let mut last = 0.0;
        for (a, b) in inner.iter().zip(&outer) {
            prop_assert!(b.lower <= a.lower && a.lower <= a.mean && a.mean <= a.upper && a.upper <= b.upper);
            prop_assert!(a.mean == b.mean);
            prop_assert!(b.upper - b.lower > last * (1.0 - 1e-9) || model.order.1 + model.seasonal_order.1 > 0);
            last = b.upper - b.lower;
        }
    }

    #[test]
    fn a_state_restored_goes_on_with_the_same_bits((model, arma) in model(), y in series(), next in -50.0..50.0f64) {
        let mut kept = model.with_parameters(&y, &[], &arma).unwrap();
        let config = bincode::config::standard();
        let bytes = bincode::serde::encode_to_vec(&kept, config).unwrap();
        let (mut restored, read): (FittedArima, usize) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
        prop_assert_eq!(read, bytes.len());
        for v in [next, f64::NAN, next + 1.0] {
            kept.update(v);
            restored.update(v);
            let bits = |of: &FittedArima| of.forecast(9, 0.95).iter().map(|s| (s.mean.to_bits(), s.upper.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(&kept), bits(&restored));
        }
    }

    #[test]
    fn a_fit_is_at_least_as_likely_as_any_other_point((model, arma) in model(), y in series()) {
        let fitted = model.fit(&y, &mut Budget::default()).unwrap();
        let there = model.log_likelihood(&y, &[], &arma, None).unwrap().unwrap();
        let best = fitted.summary().loglik.unwrap();
        prop_assert!(best >= there - 1e-6, "{} at {:?} under {} at {:?}", best, fitted.arma(), there, arma);
    }
}
