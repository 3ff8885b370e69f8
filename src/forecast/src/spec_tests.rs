//! Names read and written, fits dispatched.

use super::*;

#[test]
fn names_are_read_as_they_are_written() {
    for text in [
        "ARIMA(2,1,1)",
        "ARIMA(0,1,1)(0,1,1)12",
        "AutoARIMA",
        "AutoARIMA(ocsb)",
        "ETS(M,Ad,M)",
        "AutoETS",
        "Theta",
        "DynamicOptimizedTheta",
        "GARCH(1,1)",
        "GARCH(1,1)t",
        "SeasonalNaive",
        "Naive",
        "Drift",
        "Ensemble",
        "CrostonSBA",
        "TSB",
        "MSTL",
        "MSTL(24,168)",
        "Ensemble(accuracy)",
    ] {
        assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
    }
    assert_eq!(
        "sarima( 1,1,1)(1,1,1)[7]".parse::<Spec>().unwrap(),
        Spec::from_parts("SARIMA", Some([1, 1, 1]), Some([1, 1, 1, 7]), None).unwrap()
    );
}

#[test]
fn what_no_model_has_is_refused_in_words() {
    for text in [
        "",
        "Prophet",
        "ARIMA",
        "AutoARIMA(kpss)",
        "ARIMA(1,1)",
        "ARIMA(1,1,1)(1,1,1)",
        "ARIMA(1,9,1)",
        "ETS(N,N,N)",
        "Theta)3",
        "GARCH(0,1)",
        "MSTL(0)",
        "MSTL(1)",
        "MSTL(12,12)",
    ] {
        let said = text.parse::<Spec>().unwrap_err().to_string();
        assert!(said.len() > 20, "{text}: {said}");
    }
    assert!(Spec::from_parts("SARIMA", Some([1, 1, 1]), None, None).is_err());
}

#[test]
fn a_season_reaches_the_families_that_take_one() {
    let ets = "ETS".parse::<Spec>().unwrap().with_season(12);
    assert_eq!(ets.to_string(), "ETS(A,Ad,A)");
    assert_eq!(ets.season(), 12);
    assert_eq!("ETS(A,Ad,N)".parse::<Spec>().unwrap().with_season(12).to_string(), "ETS(A,Ad,N)");
    assert_eq!(Spec::from_parts("SeasonalNaive", None, None, Some(7)).unwrap().season(), 7);
}
