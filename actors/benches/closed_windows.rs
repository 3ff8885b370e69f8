//! Nanoseconds to write one closed window. Run with `cargo bench -p tidecast-actors --bench closed_windows`.
#![allow(missing_docs)] // the macros below make public items

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tidecast_actors::closed_window::WindowWriter;
use tidecast_event::EventTime;
use tidecast_window::{Closed, Group, SeriesSpec};

/// A thousand windows of one field and ten values each, given to `write` one by one; the time that took.
fn windows(write: &mut dyn FnMut(&Closed<'_>)) -> Duration {
    let mut group = Group::new(vec![SeriesSpec::tumbling("by_source", 1_000_000)]).unwrap();
    for at in 0..10_000_u64 {
        let who = group.intern(&format!("sensor_{:04}", at % 1_000), "sensor_data");
        let (time, value) = (EventTime(at as i64 * 50), 50.0 + (at * 7_919 % 1_000) as f64 * 0.01);
        group.observe(0, who, time, [("value", value)].into_iter(), time, &mut |_| {});
    }
    let mut took = Duration::ZERO;
    group.close_idle(&mut { u64::MAX }, &mut |closed| {
        let begun = Instant::now();
        write(&closed);
        took += begun.elapsed();
    });
    took
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("closed window to key and JSON");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("serde, by way of the aggregate", |b| {
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    windows(&mut |closed| {
                        let aggregate = closed.to_aggregate();
                        let key = Bytes::from(format!("{}:{}", aggregate.series, aggregate.key));
                        black_box((key, Bytes::from(serde_json::to_vec(&aggregate).unwrap())));
                    })
                })
                .sum()
        });
    });
    let mut writer = WindowWriter::default();
    group.bench_function("straight into a buffer used again", |b| {
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    windows(&mut |closed| {
                        black_box((writer.key(closed), writer.json(closed)));
                    })
                })
                .sum()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).without_plots();
    targets = write
}
criterion_main!(benches);
