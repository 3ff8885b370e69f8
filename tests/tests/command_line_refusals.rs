//! `forecast`, `backtest` and `detect` on what cannot be used: exit statuses, the one line that says why, files that no program
//! should have written, and readers that go away.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tidecast_tests::process::binary;
use tidecast_tests::shell::{air, on, with_header};

#[test]
fn wrong_usage_is_2_and_names_what_is_allowed() {
    let cases: &[(&[&str], &str)] = &[
        (&["forecast"], "<FILE>"),
        (&["forecast", "air.csv", "--model", "Oracle"], "AutoARIMA"),
        (&["forecast", "air.csv", "--model", "ARIMA(2,1)"], "ARIMA(p,d,q)"),
        (&["forecast", "air.csv", "--level", "100"], "below 100"),
        (&["forecast", "air.csv", "--level", "-1"], "--level"),
        (&["forecast", "air.csv", "--horizon", "0"], "--horizon"),
        (&["forecast", "air.csv", "--season", "1.5"], "--season"),
        (&["forecast", "air.csv", "--format", "xml"], "json"),
        (&["forecast", "air.csv", "--model", "Theta", "--drift"], "--drift"),
        (&["backtest", "air.csv", "--models", "Theta,Oracle"], "Oracle"),
        (&["forecast", "air.csv", "--model", "GARCH(0,1)"], "above 0"),
        (&["forecast", "air.csv", "--model", "MSTL(12,12)"], "differ"),
        (&["backtest", "air.csv", "--windows", "0"], "--windows"),
        (&["generate", "--kafka", "localhost:1", "--rate", "nan"], "--rate"),
        (&["generate", "--kafka", "localhost:1", "--duration", "-1"], "--duration"),
        (&["generate", "--kafka", "localhost:1", "--topic", "bad topic!"], "--topic"),
        (&["detect", "air.csv", "--threshold", "2"], "0 to 1"),
        (&["replay"], "--from-dlq"),
        (&["rules", "test", "--event", "e.json"], "--rule"),
        (&["prophesy"], "prophesy"),
    ];
    for (arguments, told) in cases {
        let ended = on("air.csv", &air(), arguments);
        assert!(ended.refused(2).contains(told), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

#[test]
fn help_teaches_each_command() {
    for (command, told) in [
        ("forecast", "unique_id,ds,y"),
        ("backtest", "--windows"),
        ("detect", "--threshold"),
        ("replay", "--from-dlq"),
        ("rules", "test"),
    ] {
        let ended = on("x", b"", &[command, "--help"]);
        assert!(ended.well().contains(told), "{}", ended.out);
    }
}

#[test]
fn input_that_cannot_be_used_is_1_and_one_line() {
    let cases: &[(&[u8], &str, &str)] = &[
        // (file, what forecast says, what detect says)
        (b"", "empty", "empty"),
        (b"\n\n\n", "empty", "empty"),
        (b"\xef\xbb\xbf", "empty", "empty"),
        (b"\xff\xfe1\0\n\0", "UTF-16", "UTF-16"),
        (b"y\n", "no rows", "\"timestamp\""),
        (b"unique_id,ds,y\n", "no rows", "\"timestamp\""),
        (b"timestamp,value\n", "unique_id, ds and y", "no row has a number"),
        (b"timestamp,value\n1,x\n2,\n", "unique_id, ds and y", "no row has a number"),
        (b"timestamp,value\n1,\"2\n", "unique_id, ds and y", "never closed"),
        (b"id;date;value\n1;2;3\n", "id;date;value", "id;date;value"),
        (b"{\"a\": 1}\n", "no rows", "\"timestamp\""),
        (b"one two three\nfour five\n", "not a number", "\"timestamp\""),
        (b"\0\0\0\0\0\n\0\0\n", "not a number", "\"timestamp\""),
        (b"1\n2,3\n", "line 2", "\"timestamp\""),
        (b"ds,y\n1,1,5\n", "line 2", "\"timestamp\""),
        (b"ds,y,y\n1,1,5\n", "two columns", "\"timestamp\""),
        (b"ds,y\n1,1\n2,1e400\n3,1\n", "line 3", "\"timestamp\""),
        (b"timestamp,value\n1,2,5\n", "unique_id, ds and y", "line 2"),
        (b"5\n", "at least", "\"timestamp\""),
        (b"NaN\nNaN\nNaN\n", "at least", "\"timestamp\""),
        (b"unique_id,ds,y\na,1,2\na,1,3\na,1,4\n", "more than once", "\"timestamp\""),
    ];
    for (file, forecast, detect) in cases {
        let model = ["forecast", "x.csv", "--model", "ETS(A,A,N)"];
        let text = String::from_utf8_lossy(file).into_owned();
        for (arguments, told) in
            [(&model[..], forecast), (&["backtest", "x.csv"], &""), (&["detect", "x.csv"], detect)]
        {
            let ended = on("x.csv", file, arguments);
            assert!(ended.refused(1).contains(told), "{arguments:?} on {text:?}: {}", ended.err);
        }
    }
    for command in ["forecast", "backtest", "detect"] {
        assert!(on("x", b"", &[command, "absent.csv"]).refused(1).contains("absent.csv"));
        assert!(on("x", b"", &[command, "."]).refused(1).contains("folder"));
    }
}

/// Series and files that nobody draws in a book: an ordered finite path or one clear error, and soon.
#[test]
fn ugly_files_are_survived() {
    let column =
        |value: &dyn Fn(usize) -> String, n: usize| (0..n).map(|t| value(t) + "\n").collect::<String>();
    let wave = |t: usize| ((t * 7919) % 101) as f64 / 10.0;
    let files: Vec<(&str, String)> = vec![
        ("constant", column(&|_| "7".into(), 60)),
        ("zeros", column(&|_| "0".into(), 60)),
        ("two values", column(&|t| (t % 2).to_string(), 60)),
        ("gaps", column(&|t| if t % 3 == 0 { "\"\"".into() } else { wave(t).to_string() }, 90)),
        ("infinities", column(&|t| if t == 30 { "inf".into() } else { wave(t).to_string() }, 60)),
        ("huge", column(&|t| format!("{}e300", 1.0 + wave(t)), 60)),
        ("beyond a double", column(&|t| format!("{}e400", 1.0 + wave(t)), 60)),
        ("tiny", column(&|t| format!("{}e-310", 1.0 + wave(t)), 60)),
        ("growth", column(&|t| 3.0_f64.powi(t as i32).to_string(), 60)),
        ("step", column(&|t| if t < 40 { "1".into() } else { "1e9".into() }, 60)),
        ("carriage returns", column(&|t| wave(t).to_string(), 60).replace('\n', "\r")),
        ("mark and crlf", format!("\u{feff}\"y\"\r\n{}", column(&|t| format!("\"{}\"\r", wave(t)), 60))),
        ("spaces", column(&|t| format!("  {}\t", wave(t)), 60)),
        (
            "long ids",
            format!("unique_id,ds,y\n{}", column(&|t| format!("{},{t},{}", "x".repeat(5_000), wave(t)), 40)),
        ),
        (
            "quoted ids",
            format!("unique_id,ds,y\n{}", column(&|t| format!("\"a,\"\"b\"\"\nc\",{t},{}", wave(t)), 40)),
        ),
        (
            "ragged",
            format!("unique_id,ds,y\n{}", column(&|t| format!("a,{t},{}{}", wave(t), ",".repeat(t % 4)), 40)),
        ),
        ("no ids", format!("unique_id,ds,y\n{}", column(&|t| format!(",{t},{}", wave(t)), 40))),
        (
            "far times",
            format!("ds,y\n{}", column(&|t| format!("{},{}", i64::MAX - 40 + t as i64, wave(t)), 40)),
        ),
        ("no logarithm", column(&|t| (wave(t) - 5.0).to_string(), 60)),
    ];
    let started = Instant::now();
    for (name, text) in &files {
        for model in ["AutoETS", "ARIMA(1,1,1)", "Theta", "AutoARIMA"] {
            let ended = on(
                "x.csv",
                text.as_bytes(),
                &["forecast", "x.csv", "--model", model, "--season", "12", "--format", "json"],
            );
            let what = format!("{model} on {name}: {}{}", ended.err, ended.out);
            assert!(matches!(ended.code, Some(0 | 1)) && !ended.err.contains("panicked"), "{what}");
            for object in ended.objects() {
                assert!(
                    object["error"].is_string() || object["path"].as_array().is_some_and(|p| p.len() == 12),
                    "{what}"
                );
                for step in object["path"].as_array().into_iter().flatten() {
                    let of = |name: &str| step[name].as_f64().unwrap_or_else(|| panic!("{what}"));
                    assert!(of("lower") <= of("mean") && of("mean") <= of("upper"), "{what}");
                }
            }
        }
        let backtest = on(
            "x.csv",
            text.as_bytes(),
            &["backtest", "x.csv", "--models", "Naive,Theta", "--format", "json"],
        );
        assert!(
            matches!(backtest.code, Some(0 | 1)) && !backtest.err.contains("panicked"),
            "{name}: {}",
            backtest.err
        );
        let detect = on("x.csv", format!("timestamp,value\n{text}").as_bytes(), &["detect", "x.csv"]);
        assert!(
            matches!(detect.code, Some(0 | 1)) && !detect.err.contains("panicked"),
            "{name}: {}",
            detect.err
        );
    }
    assert!(started.elapsed() < Duration::from_secs(300), "{:?}", started.elapsed());
}

#[test]
fn two_hundred_thousand_rows_are_read_fitted_and_scored() {
    let rows: String =
        (0..200_000).map(|t| format!("{t},{}\n", 100 + (t * 7919) % 1009 + 10 * (t % 24))).collect();
    let started = Instant::now();
    let file = format!("ds,y\n{rows}");
    let ended = on("x.csv", file.as_bytes(), &["forecast", "x.csv", "--season", "24", "--format", "json"]);
    ended.well();
    let object = &ended.objects()[0];
    assert_eq!((&object["n"], &object["path"][0]["ds"]), (&Value::from(200_000), &Value::from(200_000)));
    let ended = on("x.csv", format!("timestamp,value\n{rows}").as_bytes(), &["detect", "x.csv"]);
    assert_eq!(ended.well().lines().count(), 200_001);
    // Seconds on an idle machine; the bound is for one that is not.
    assert!(started.elapsed() < Duration::from_secs(200), "{:?}", started.elapsed());
}

#[test]
fn a_script_that_cannot_be_written_is_told_in_one_line() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let output = Command::new(binary()).args(["completions", "bash"]).stdout(full).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<String> =
        (0..300).flat_map(|s| (0..40).map(move |t| format!("s{s},{t},{}", (s * t) % 17))).collect();
    std::fs::write(folder.path().join("long.csv"), with_header(&rows)).unwrap();
    let scored: String = (0..50_000).map(|t| format!("{t},{}\n", (t * 7919) % 101)).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("timestamp,value\n{scored}")).unwrap();
    for arguments in
        [&["forecast", "long.csv", "--horizon", "100", "--format", "json"][..], &["detect", "rows.csv"]]
    {
        let mut child = Command::new(binary())
            .args(arguments)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!first.is_empty() && output.status.success(), "{arguments:?}: {:?}", output.status);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
    }
}
