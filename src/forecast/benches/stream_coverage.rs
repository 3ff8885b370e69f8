//! Coverage and width of 95 % intervals on rolling one-step streams: each series is fed to a stream model one value at
//! a time, refits included, after a first half that is its history.
//!
//!     TIDECAST_BENCH_DATA=DATA cargo bench -p tidecast-forecast --bench stream_coverage -- m3-monthly ETS,AutoETS
//!
//! "own" is the model's own interval for the same observations, "calibrated" what a stream publishes. Widths are
//! averages over series of the mean width over the mean absolute value of the series.

use std::time::Instant;
use tidecast_forecast::Spec;
use tidecast_forecast::stream::{StreamConfig, StreamModel};

const LEVEL: f64 = 0.95;

fn main() {
    let Ok(folder) = std::env::var("TIDECAST_BENCH_DATA") else {
        println!(
            "stream_coverage: TIDECAST_BENCH_DATA names no folder of series; see benches/export_data.py"
        );
        return;
    };
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let sets = arguments.first().map_or(vec!["m3-monthly", "m4-hourly"], |set| vec![set.as_str()]);
    let models = arguments.get(1).map_or("SeasonalNaive,ETS,DynamicOptimizedTheta,AutoETS", String::as_str);
    for set in sets {
        let (file, group) = set.split_once('-').unwrap_or((set, ""));
        let file = if file == "m4" { set } else { file };
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{file}.csv")) else {
            println!("stream_coverage: {folder}/{file}.csv is missing; see benches/export_data.py");
            continue;
        };
        let series: Vec<(usize, Vec<f64>)> = text.lines().filter_map(|line| read(line, group)).collect();
        println!("{set}: {} series", series.len());
        println!(
            "{:24} {:>10} {:>8} {:>8} {:>8} {:>8} {:>9}",
            "model", "part", "own", "width", "calibr.", "width", "us/value"
        );
        for model in models.split(',') {
            match model.parse() {
                Ok(spec) => run(&series, model, &spec),
                Err(error) => println!("{model:24} {error}"),
            }
        }
    }
}

fn read(line: &str, wanted: &str) -> Option<(usize, Vec<f64>)> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[_, group, season, train, test] = &fields[..] else { return None };
    let values: Vec<f64> =
        [train, test].iter().flat_map(|p| p.split(' ')).filter_map(|v| v.parse().ok()).collect();
    (group == wanted).then_some((season.parse().ok()?, values))
}

/// Hits and widths of one series' own and calibrated intervals.
#[derive(Clone, Copy, Default)]
struct Score {
    hits: [f64; 2],
    width: [f64; 2],
    count: f64,
    seconds: f64,
}

fn run(series: &[(usize, Vec<f64>)], name: &str, spec: &Spec) {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let scores: Vec<(usize, Score)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|w| {
                scope.spawn(move || {
                    (w..series.len())
                        .step_by(workers)
                        .map(|i| (i, stream(&series[i], spec)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().expect("a worker has no panic")).collect()
    });
    for (part, wanted) in [("chosen on", Some(0)), ("held out", Some(1)), ("whole", None)] {
        let chosen = || scores.iter().filter(|(i, s)| s.count > 0.0 && wanted.is_none_or(|w| i % 2 == w));
        let n = chosen().count() as f64;
        let mean = |value: &dyn Fn(&Score) -> f64| chosen().map(|(_, s)| value(s)).sum::<f64>() / n;
        let micros =
            1e6 * chosen().map(|(_, s)| s.seconds).sum::<f64>() / chosen().map(|(_, s)| s.count).sum::<f64>();
        println!(
            "{name:24} {part:>10} {:>8.4} {:>8.4} {:>8.4} {:>8.4} {micros:>9.1}",
            mean(&|s| s.hits[0] / s.count),
            mean(&|s| s.width[0] / s.count),
            mean(&|s| s.hits[1] / s.count),
            mean(&|s| s.width[1] / s.count),
        );
    }
}

fn stream((season, values): &(usize, Vec<f64>), spec: &Spec) -> Score {
    let (history, live) = values.split_at(values.len() / 2);
    let size = values.iter().map(|v| v.abs()).sum::<f64>() / values.len() as f64;
    let mut model = StreamModel::new(StreamConfig {
        spec: spec.clone(),
        season: *season,
        horizon: 1,
        level: LEVEL,
        anomaly_threshold: 0.8,
        history: history.to_vec(),
        seed: 1,
    });
    if let Some(job) = model.take_fit() {
        model.install(job.run());
    }
    let mut score = Score::default();
    for &y in live {
        let paths = [model.forecast_uncalibrated(1, LEVEL), model.forecast(1, LEVEL)];
        for (i, path) in paths.iter().flatten().enumerate() {
            score.hits[i] += if (path[0].lower..=path[0].upper).contains(&y) { 1.0 } else { 0.0 };
            score.width[i] += (path[0].upper - path[0].lower) / size;
        }
        score.count += if paths[0].is_some() { 1.0 } else { 0.0 };
        let started = Instant::now();
        let job = model.observe(y).fit;
        score.seconds += started.elapsed().as_secs_f64();
        if let Some(job) = job {
            model.install(job.run());
        }
    }
    score
}
