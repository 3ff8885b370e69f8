//! The OCSB test against R 4.2.2 with forecast 8.20, on R's own series (`golden/ocsb.json`, made by `golden/ocsb.R`).

use serde_json::Value;
use tidecast_forecast::auto_arima::{SeasonalTest, ocsb};

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Both solve the same regressions: 1e-9 of the statistic is what is left to rounding.
#[test]
fn statistics_lags_and_differences_are_those_of_r() {
    let all: Value = serde_json::from_str(include_str!("golden/ocsb.json")).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    let same = |mine: f64, theirs: f64| (mine - theirs).abs() <= 1e-9 * theirs.abs();
    for case in cases {
        let (y, m) = (numbers(&case["series"]), case["m"].as_u64().unwrap() as usize);
        for (lags, theirs) in numbers(&case["fixed"]).into_iter().enumerate() {
            let mine = ocsb::test_with(&y, m, lags).unwrap().statistic;
            assert!(same(mine, theirs), "{} with {lags} lags: {mine} against {theirs}", case["name"]);
        }
        let found = ocsb::test(&y, m).unwrap();
        let (statistic, critical) = (numbers(&case["aic"])[0], numbers(&case["critical"])[0]);
        assert!(same(found.statistic, statistic), "{}: {found:?} against {statistic}", case["name"]);
        assert!(same(found.critical, critical), "{}: {found:?} against {critical}", case["name"]);
        assert_eq!(found.lags as u64, case["lags"].as_u64().unwrap(), "{}", case["name"]);
        let differences = SeasonalTest::Ocsb.differences(&y, m) as u64;
        assert_eq!(differences, case["nsdiffs"].as_u64().unwrap(), "{}", case["name"]);
    }
}
