//! Speed of ARIMA, AutoARIMA and GARCH, measured closely; benches/competitors.rs sets it beside that of others.
//!
//!     cargo bench -p tidecast-forecast --bench arima

mod series;

use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use std::time::Duration;
use tidecast_forecast::arima::Arima;
use tidecast_forecast::auto_arima::AutoArima;
use tidecast_forecast::garch::Garch;
use tidecast_forecast::{Budget, Fit, Predict, Step};

fn fits(c: &mut Criterion) {
    let (air, short, long) = (series::passengers(), series::arima211(), series::hourly());
    let log: Vec<f64> = air.iter().map(|v| v.ln()).collect();
    let returns = series::returns();
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
    let log: Vec<f64> = series::passengers().iter().map(|v| v.ln()).collect();
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
}

fn main() {
    let mut speed = Criterion::default().configure_from_args();
    fits(&mut speed);
    online(&mut speed);
    speed.final_summary();
}
