//! `forecast`, `backtest` and `detect` over files, as a shell sees them: what is printed where, figures that others have
//! computed too, order, missing values, and answers as they come. What is refused: `command_line_refusals`.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tidecast_tests::process::binary;
use tidecast_tests::shell::{AIR, Ended, air, long, on, with_header};

fn close(found: &Value, expected: f64, tolerance: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} within {tolerance}");
}

/// Log-likelihoods and parameters are those of statsmodels 0.14 with simple differencing, and of R's arima.
#[test]
fn likelihoods_and_parameters_are_those_of_other_programs() {
    let forecast = |model: &str, log: bool| {
        let mut arguments = vec!["forecast", "air.csv", "--model", model, "--format", "json"];
        arguments.extend(log.then_some("--log"));
        let ended = on("air.csv", &air(), &arguments);
        ended.well();
        let objects = ended.objects();
        assert_eq!(objects.len(), 1);
        objects[0].clone()
    };
    let airline = forecast("ARIMA(0,1,1)(0,1,1)12", true);
    close(&airline["loglik"], 244.69649, 1e-4);
    close(&airline["params"]["ma.L1"], -0.4018, 1e-3);
    close(&airline["params"]["ma.S.L12"], -0.5569, 1e-3);
    let loglik = airline["loglik"].as_f64().unwrap();
    // Three parameters with the variance; 131 differences are seen.
    close(&airline["aic"], 6.0 - 2.0 * loglik, 1e-9);
    close(&airline["bic"], 3.0 * 131_f64.ln() - 2.0 * loglik, 1e-9);
    assert_eq!((&airline["n"], &airline["unique_id"]), (&Value::from(144), &Value::from("air")));
    let full = forecast("SARIMA(1,1,1)(1,1,1)[12]", true);
    close(&full["loglik"], 245.15189, 1e-4);
    let names: Vec<&String> = full["params"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["ar.L1", "ar.S.L12", "ma.L1", "ma.S.L12"]);
    close(&forecast("ARIMA(2,1,1)", false)["loglik"], -685.16901, 1e-4);
}

#[test]
fn the_path_goes_on_in_the_calendar_of_the_file_and_logarithms_come_back() {
    let file = with_header(&long("air"));
    let arguments = [
        "forecast",
        "long.csv",
        "--model",
        "ARIMA(0,1,1)(0,1,1)12",
        "--log",
        "--horizon",
        "14",
        "--format",
        "json",
    ];
    let ended = on("long.csv", &file, &arguments);
    ended.well();
    let object = &ended.objects()[0];
    let path = object["path"].as_array().unwrap();
    let times: Vec<&str> = path.iter().map(|step| step["ds"].as_str().unwrap()).collect();
    assert_eq!((times[0], times[1], times[13]), ("1961-01-01", "1961-02-01", "1962-02-01"));
    assert_eq!(
        path.iter().map(|s| s["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=14).collect::<Vec<_>>()
    );
    // The published forecasts of the airline model (Box and Jenkins; R's predict gives 6.110186 and 6.053775).
    close(&path[0]["mean"], 6.110186_f64.exp(), 0.05);
    close(&path[1]["mean"], 6.053775_f64.exp(), 0.05);
    for step in path {
        let of = |name: &str| step[name].as_f64().unwrap();
        let middle = (of("lower") * of("upper")).sqrt();
        assert!((middle / of("mean") - 1.0).abs() < 1e-9, "medians are the middle of logarithms: {step}");
    }
    // A whole number stays one, and a single column counts on.
    let ended = on("air.csv", &air(), &["forecast", "air.csv", "--horizon", "1", "--format", "json"]);
    assert_eq!(ended.objects()[0]["path"][0]["ds"], 145);
}

#[test]
fn rows_are_put_in_order_and_series_stay_in_the_files() {
    let sorted = [long("b"), long("a")].concat();
    // Any order that mixes the two: rows are taken in steps of 101, which has no factor in common with 288.
    let mixed: Vec<String> = (0..sorted.len()).map(|i| sorted[i * 101 % sorted.len()].clone()).collect();
    let arguments = ["forecast", "x.csv", "--model", "ETS(M,Ad,M)", "--season", "12", "--format", "json"];
    let ids = |ended: &Ended| -> Vec<String> {
        ended.objects().iter().map(|o| o["unique_id"].as_str().unwrap().to_owned()).collect()
    };
    let (one, other) =
        (on("x.csv", &with_header(&sorted), &arguments), on("x.csv", &with_header(&mixed), &arguments));
    assert_eq!(
        (ids(&one), ids(&other)),
        (vec!["b".into(), "a".into()], vec!["b".to_string(), "a".to_string()])
    );
    assert_eq!(one.well(), other.well(), "the order of rows changes nothing");
}

#[test]
fn missing_observations_are_taken_by_every_family() {
    let mut rows = long("air");
    for (gap, text) in [(20, ""), (21, "NaN"), (70, "nan"), (71, "")] {
        rows[gap] = format!("{}{text}", rows[gap].strip_suffix(&AIR[gap].to_string()).unwrap());
    }
    let file = with_header(&rows);
    for model in [
        "ARIMA(0,1,1)(0,1,1)12",
        "AutoARIMA",
        "ETS",
        "AutoETS",
        "Theta",
        "DynamicOptimizedTheta",
        "GARCH(1,1)",
        "SeasonalNaive",
        "Ensemble",
    ] {
        let ended = on(
            "x.csv",
            &file,
            &["forecast", "x.csv", "--model", model, "--season", "12", "--format", "json"],
        );
        ended.well();
        let object = &ended.objects()[0];
        assert_eq!(object["n"], 144, "{model}: observations given, missing ones among them");
        assert_eq!(object["path"].as_array().unwrap().len(), 12, "{model}");
    }
}

/// A season counts steps of the calendar and not rows: with months left out, the same file with empty cells in their places.
#[test]
fn steps_that_no_row_has_are_missing_observations_and_told() {
    let mut rows = long("air");
    for gap in [20, 21, 70] {
        let whole = rows[gap].strip_suffix(&AIR[gap].to_string()).unwrap().to_owned();
        rows[gap] = whole;
    }
    let empty = with_header(&rows);
    for gap in [70, 21, 20] {
        rows.remove(gap);
    }
    let left_out = with_header(&rows);
    let told = "tidecast: 3 steps of \"air\" are not in the file and taken as missing\n";
    for command in [
        &["forecast", "x.csv", "--model", "ARIMA(0,1,1)(0,1,1)12", "--format", "csv"][..],
        &["backtest", "x.csv", "--models", "Theta", "--season", "12", "--format", "csv"],
    ] {
        let (whole, short) = (on("x.csv", &empty, command), on("x.csv", &left_out, command));
        assert_eq!((short.code, short.err.as_str()), (Some(0), told));
        let figures = |out: &str| -> Vec<String> {
            // The seconds of a backtest are of the clock.
            out.lines().map(|line| line.split(',').take(6).collect::<Vec<_>>().join(",")).collect()
        };
        assert_eq!(figures(whole.well()), figures(&short.out));
    }
    let far = b"ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n2204-01-04,4\n";
    let ended = on("x.csv", far, &["forecast", "x.csv"]);
    let why = ended.refused(1);
    assert!(why.contains("2204-01-04") && why.contains("steps more than the 4 rows"), "{why}");
}

#[test]
fn one_series_that_fails_says_why_and_the_others_go_on() {
    let mut rows = long("good");
    rows.extend(["bad,1949-01-01,many".to_owned(), "short,1949-01-01,3".to_owned()]);
    let arguments = ["forecast", "x.csv", "--model", "ARIMA(2,1,1)", "--format", "json"];
    let ended = on("x.csv", &with_header(&rows), &arguments);
    ended.well();
    let objects = ended.objects();
    assert_eq!(objects.len(), 3);
    assert!(objects[0]["error"].is_null() && objects[0]["path"].is_array());
    let error = objects[1]["error"].as_str().unwrap();
    assert!(error.contains("line 146") && error.contains("many"), "{error}");
    assert!(objects[2]["error"].as_str().unwrap().contains("at least"), "{}", objects[2]);
    assert_eq!(objects[1].as_object().unwrap().len(), 2, "unique_id and error alone");
    // In CSV, rows are for forecasts, and one line for the rest.
    let ended = on(
        "x.csv",
        &with_header(&rows),
        &["forecast", "x.csv", "--model", "ARIMA(2,1,1)", "--format", "csv"],
    );
    assert_eq!(
        (ended.code, ended.out.lines().count(), ended.err.lines().count()),
        (Some(0), 13, 1),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("2 of 3") && ended.err.contains("line 146"), "{}", ended.err);
    // None succeeded: the objects are printed all the same.
    let ended = on("x.csv", b"unique_id,ds,y\nbad,1,x\n", &arguments);
    ended.refused(1);
    assert!(ended.objects()[0]["error"].is_string());
}

#[test]
fn terms_and_levels_do_what_they_say() {
    let json = |more: &[&str]| {
        let ended = on(
            "air.csv",
            &air(),
            &[&["forecast", "air.csv", "--format", "json", "--horizon", "24"], more].concat(),
        );
        ended.well();
        ended.objects()[0].clone()
    };
    let has = |object: &Value, name: &str| object["params"].as_object().unwrap().contains_key(name);
    assert!(has(&json(&["--model", "ARIMA(1,0,0)"]), "mean"));
    assert!(!has(&json(&["--model", "ARIMA(1,0,0)", "--no-mean"]), "mean"));
    let (plain, drift) = (json(&["--model", "ARIMA(0,1,1)"]), json(&["--model", "ARIMA(0,1,1)", "--drift"]));
    assert!(!has(&plain, "mean") && !has(&plain, "drift") && has(&drift, "drift"));
    // A random walk with drift grows by the mean change.
    let walk = json(&["--model", "ARIMA(0,1,0)", "--drift"]);
    close(&walk["path"][23]["mean"], 432.0 + 24.0 * (432.0 - 112.0) / 143.0, 1e-6);
    let width = |object: &Value| {
        let step = &object["path"][5];
        step["upper"].as_f64().unwrap() - step["lower"].as_f64().unwrap()
    };
    // Normal intervals: 80 % and 95 % are 1.2816 and 1.9600 standard deviations wide to each side.
    let (narrow, wide) = (
        json(&["--model", "ARIMA(0,1,1)", "--level", "80"]),
        json(&["--model", "ARIMA(0,1,1)", "--level", "95"]),
    );
    assert!((width(&wide) / width(&narrow) - 1.959_964 / 1.281_552).abs() < 1e-4);
    let calibrated = json(&["--model", "ARIMA(0,1,1)", "--conformal"]);
    assert_eq!(calibrated["path"][5]["mean"], plain["path"][5]["mean"]);
    assert!((width(&calibrated) / width(&plain) - 1.0).abs() > 1e-3);
}

#[test]
fn tables_and_csv_say_the_same_as_json() {
    let run = |format: &str| {
        let ended = on(
            "air.csv",
            &air(),
            &["forecast", "air.csv", "--season", "12", "--horizon", "3", "--format", format],
        );
        ended.well();
        ended
    };
    let (json, csv, table) = (run("json"), run("csv"), run("table"));
    let path = json.objects()[0]["path"].clone();
    let lines: Vec<&str> = csv.out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "unique_id,step,ds,mean,lower,upper"));
    for (line, step) in lines[1..].iter().zip(path.as_array().unwrap()) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(
            (cells[0], cells[1], cells[2]),
            ("air", &*step["step"].to_string(), &*step["ds"].to_string())
        );
        close(&step["mean"], cells[3].parse().unwrap(), 1e-9);
        close(&step["upper"], cells[5].parse().unwrap(), 1e-9);
        assert!(table.out.contains(&cells[3][..6]), "{} has no {}", table.out, cells[3]);
    }
}

/// Measures recomputed here from their definitions, for the forecast that anybody can make.
#[test]
fn a_backtest_holds_out_the_last_steps_and_measures_by_definition() {
    let (history, actual) = AIR.split_at(AIR.len() - 18);
    let naive = |h: usize| f64::from(history[history.len() - 12 + h % 12]);
    let errors: Vec<f64> = (0..18).map(|h| f64::from(actual[h]) - naive(h)).collect();
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let changes: Vec<f64> =
        (12..history.len()).map(|t| f64::from(history[t]) - f64::from(history[t - 12])).collect();
    let smape = mean(&mut (0..18).map(|h| 200.0 * errors[h].abs() / (f64::from(actual[h]) + naive(h))));
    let mase = mean(&mut errors.iter().map(|e| e.abs())) / mean(&mut changes.iter().map(|c| c.abs()));
    let rmsse = (mean(&mut errors.iter().map(|e| e * e)) / mean(&mut changes.iter().map(|c| c * c))).sqrt();
    let arguments =
        "backtest x.csv --models SeasonalNaive,ARIMA(0,1,1)(0,1,1)12 --horizon 18 --season 12 --format json";
    let mut rows = long("air");
    rows.push("short,1949-01-01,3".to_owned());
    let ended = on("x.csv", &with_header(&rows), &arguments.split(' ').collect::<Vec<_>>());
    ended.well();
    let report = ended.objects()[0]["models"].clone();
    let seasonal = &report["SeasonalNaive"];
    close(&seasonal["smape"], smape, 1e-9);
    close(&seasonal["mase"], mase, 1e-9);
    close(&seasonal["rmsse"], rmsse, 1e-9);
    assert_eq!((&seasonal["series"], &seasonal["failed"]), (&Value::from(1), &Value::from(1)));
    for report in report.as_object().unwrap().values() {
        let names: Vec<&String> = report.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["smape", "mase", "rmsse", "coverage", "mean_width", "seconds", "series", "failed"]
        );
        assert!((0.0..=1.0).contains(&report["coverage"].as_f64().unwrap()));
        assert!(report["mean_width"].as_f64().unwrap() > 0.0 && report["seconds"].as_f64().unwrap() >= 0.0);
    }
    let airline = report["ARIMA(0,1,1)(0,1,1)12"]["mase"].as_f64().unwrap();
    assert!(airline < mase, "{airline}");
    let ended = on("x.csv", b"1\n2\n3\n", &["backtest", "x.csv", "--models", "Naive"]);
    assert!(ended.refused(1).contains("shorten --horizon"), "{}", ended.err);
}

/// Half hours with a day, noise, and a spike.
fn half_hours(count: usize, spike: usize) -> String {
    let mut text = "timestamp,value\n".to_owned();
    for t in 0..count {
        let (day, minute) = (t / 48, t % 48 * 30);
        let noise = ((t * 7919) % 1009) as f64 / 1009.0;
        let value = if t == spike { 300.0 } else { 50.0 + 20.0 * (minute as f64 / 229.0).sin() + noise };
        text += &format!("2026-01-{:02} {:02}:{:02}:00,{value:.3}\n", day + 1, minute / 60, minute % 60);
    }
    text
}

#[test]
fn a_row_is_scored_by_the_rows_before_it_alone() {
    let text = half_hours(1_200, 900);
    let ended = on("x.csv", text.as_bytes(), &["detect", "x.csv"]);
    let whole: Vec<&str> = ended.well().lines().collect();
    assert_eq!((whole.len(), whole[0]), (1_201, "timestamp,value,anomaly_score,is_anomaly"));
    let spike: Vec<&str> = whole[901].split(',').collect();
    assert_eq!((spike[1], spike[3]), ("300.000", "true"));
    assert!(spike[2].parse::<f64>().unwrap() >= 0.8);
    for (given, row) in text.lines().zip(&whole) {
        assert!(row.starts_with(given), "{row} does not begin with {given}");
    }
    // What comes later is changed, and then left out.
    let lines: Vec<&str> = text.lines().collect();
    let changed: String = lines
        .iter()
        .enumerate()
        .map(|(at, line)| if at > 901 { format!("{},{at}\n", &line[..19]) } else { format!("{line}\n") })
        .collect();
    for other in [changed, lines[..=901].join("\n")] {
        let ended = on("x.csv", other.as_bytes(), &["detect", "x.csv"]);
        assert_eq!(ended.well().lines().take(902).collect::<Vec<_>>(), whole[..902]);
    }
}

#[test]
fn rows_are_answered_as_they_come() {
    let mut child = Command::new(binary())
        .args(["detect", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all(b"timestamp,value\n").unwrap();
    for t in 0..50 {
        input.write_all(format!("{t},5\n").as_bytes()).unwrap();
        input.flush().unwrap();
        if t == 0 {
            assert_eq!(answers.next().unwrap().unwrap(), "timestamp,value,anomaly_score,is_anomaly");
        }
        assert_eq!(answers.next().unwrap().unwrap(), format!("{t},5,0.000000,false"));
    }
    drop(input);
    assert!(answers.next().is_none() && child.wait().unwrap().success());
}
