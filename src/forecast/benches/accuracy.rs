//! sMAPE, MASE, RMSSE, coverage and speed of the families on the M3 and M4 competitions' series.
//!
//!     python export_data.py DATA M4_DIRECTORY       # once, see there
//!     TIDECAST_BENCH_DATA=DATA cargo bench -p tidecast-forecast --bench accuracy -- m3 AutoETS,Theta
//!
//! Arguments: data set (m3, m4-hourly, m4-weekly) and models; all of both without. Series at even places were used
//! to choose among methods, those at odd places were not: each half is printed by itself, and the whole.

use std::collections::BTreeMap;
use std::time::Instant;
use tidecast_forecast::Spec;
use tidecast_forecast::backtest::{Backtest, Report, Tally};

struct Series {
    group: String,
    season: usize,
    values: Vec<f64>,
    horizon: usize,
}

const SETS: [&str; 3] = ["m3", "m4-hourly", "m4-weekly"];
const MODELS: &str = "SeasonalNaive,Theta,DynamicOptimizedTheta,AutoETS,AutoARIMA,Ensemble";

fn main() {
    let Ok(folder) = std::env::var("TIDECAST_BENCH_DATA") else {
        println!("accuracy: TIDECAST_BENCH_DATA names no folder of series; see benches/export_data.py");
        return;
    };
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let sets = arguments.first().map_or(SETS.to_vec(), |set| vec![set.as_str()]);
    let models = arguments.get(1).map_or(MODELS, String::as_str);
    for set in sets {
        let path = format!("{folder}/{set}.csv");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("accuracy: {path} is missing; see benches/export_data.py");
            continue;
        };
        let series: Vec<Series> = text.lines().filter_map(read).collect();
        println!("{set}: {} series", series.len());
        println!(
            "{:24} {:>10} {:>7} {:>7} {:>7} {:>9} {:>12} {:>8} {:>6}",
            "model", "part", "sMAPE", "MASE", "RMSSE", "coverage", "width", "seconds", "failed"
        );
        for model in split(models) {
            run(&series, &model);
        }
    }
}

/// Commas inside brackets belong to a model's name.
fn split(models: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    for c in models.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match names.last_mut() {
            Some(_) if c == ',' && depth == 0 => names.push(String::new()),
            Some(name) => name.push(c),
            None => {}
        }
    }
    names
}

fn read(line: &str) -> Option<Series> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[_, group, season, train, test] = &fields[..] else { return None };
    let numbers = |text: &str| text.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>().ok();
    let (mut values, test) = (numbers(train)?, numbers(test)?);
    let horizon = test.len();
    values.extend(test);
    Some(Series { group: group.into(), season: season.parse().ok()?, values, horizon })
}

fn run(series: &[Series], model: &str) {
    let spec: Spec = match model.parse() {
        Ok(spec) => spec,
        Err(error) => return println!("{model:24} {error}"),
    };
    let conformal = std::env::var("TIDECAST_BENCH_CONFORMAL").is_ok();
    let started = Instant::now();
    let one = |s: &Series| {
        let backtest = Backtest { horizon: s.horizon, season: s.season, windows: 1, level: 0.95, conformal };
        backtest.run(&spec.clone().with_season(s.season), &s.values, &|| started.elapsed().as_secs_f64())
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<(usize, Tally)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|w| {
                let one = &one;
                scope.spawn(move || {
                    (w..series.len()).step_by(workers).map(|i| (i, one(&series[i]))).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().expect("a worker has no panic")).collect()
    });
    let mut parts: BTreeMap<String, Tally> = BTreeMap::new();
    for (i, tally) in &tallies {
        let half = if i % 2 == 0 { "chosen on" } else { "held out" };
        for part in [half, &series[*i].group, "whole"] {
            parts.entry(part.to_owned()).or_default().merge(tally);
        }
    }
    for (part, tally) in parts {
        print_report(model, &part, &tally.report());
    }
    println!("{model:24} wall {:.1} s on {workers} threads", started.elapsed().as_secs_f64());
}

fn print_report(model: &str, part: &str, report: &Report) {
    let show = |v: Option<f64>, digits: usize| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
    println!(
        "{model:24} {part:>10} {:>7} {:>7} {:>7} {:>9} {:>12} {:>8.2} {:>6}",
        show(report.smape, 3),
        show(report.mase, 3),
        show(report.rmsse, 3),
        show(report.coverage, 4),
        show(report.mean_width, 1),
        report.seconds,
        report.failed
    );
}
