//! Nanoseconds for one event and bytes for one key. Run with `cargo bench -p tidecast-window`.
#![allow(missing_docs)] // the macros below make public items

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tidecast_event::EventTime;
use tidecast_window::{Group, SeriesSpec, WindowKind};

const SECOND: i64 = 1_000_000;

/// Events of 1,000 keys, 100 µs apart, one in fifty of them up to a second late.
struct Stream {
    keys: Vec<String>,
    seed: u64,
    now: i64,
}

impl Stream {
    fn new(keys: usize) -> Self {
        let keys = (0..keys).map(|at| format!("sensor_{at:04}")).collect();
        Stream { keys, seed: 7, now: 1_768_564_232 * SECOND }
    }

    #[inline]
    fn next(&mut self) -> (usize, i64, f64) {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.seed >> 33;
        self.now += 100;
        let back = if random.is_multiple_of(50) { (random / 50 % 1_000_000) as i64 } else { 0 };
        (random as usize % self.keys.len(), self.now - back, 50.0 + (random % 1_000) as f64 * 0.01)
    }
}

fn observe(c: &mut Criterion) {
    let hopping = WindowKind::Hopping { size_micros: 10 * SECOND, advance_micros: SECOND };
    let tumbling = SeriesSpec::tumbling("tumbling", SECOND);
    let mut group = c.benchmark_group("observe");
    group.throughput(Throughput::Elements(1));
    for (name, specs) in [
        ("tumbling 1 s", vec![tumbling.clone()]),
        ("hopping 10 s by 1 s", vec![SeriesSpec { window: hopping, ..tumbling.clone() }]),
        ("tumbling 1 s without percentiles", vec![SeriesSpec { percentiles: false, ..tumbling.clone() }]),
        (
            "two series",
            vec![
                tumbling.clone(),
                SeriesSpec { name: "minutes".into(), ..SeriesSpec::tumbling("", 60 * SECOND) },
            ],
        ),
    ] {
        let mut windows = Group::new(specs).unwrap();
        let series = windows.specs().len();
        let mut stream = Stream::new(1_000);
        let mut newest = EventTime::MIN;
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                let mut closed = 0u64;
                let begun = Instant::now();
                for _ in 0..times {
                    let (key, time, value) = stream.next();
                    let time = EventTime(time);
                    newest = newest.max(time);
                    let who = windows.intern(&stream.keys[key], "sensor_data");
                    let mut sink = |window: tidecast_window::Closed<'_>| closed += window.count;
                    for at in 0..series {
                        let numbers = [("value", value)].into_iter();
                        windows.observe(at, who, time, numbers, newest, &mut sink);
                    }
                    windows.advance(newest, &mut sink);
                }
                black_box(closed);
                begun.elapsed()
            });
        });
    }
    group.finish();
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) * 1024
}

/// Ten million keys with one open window and one value each.
fn memory(_: &mut Criterion) {
    if std::env::var_os("TIDECAST_BENCH_MEMORY").is_none() {
        println!("memory of 10,000,000 keys: set TIDECAST_BENCH_MEMORY=1 to measure (1 GB)");
        return;
    }
    let mut windows = Group::new(vec![SeriesSpec::tumbling("s", 3_600 * SECOND)]).unwrap();
    let before = resident();
    let begun = Instant::now();
    let keys = 10_000_000;
    let mut key = String::new();
    let mut slowest = Duration::ZERO;
    for at in 0..keys {
        use std::fmt::Write;
        key.clear();
        write!(key, "sensor_{at:07}").unwrap();
        let one = Instant::now();
        let who = windows.intern(&key, "t");
        windows.count(who);
        if at % 500_000 == 0 {
            windows.take_counts(|_, _| ());
        }
        windows.observe(0, who, EventTime(1), [("value", 1.5)].into_iter(), EventTime(1), &mut |_| {});
        slowest = slowest.max(one.elapsed());
    }
    let bytes = resident() - before;
    println!(
        "memory of {keys} keys of 14 bytes: {} MB, {} bytes a key, {:?}, slowest {slowest:?}",
        bytes / 1_000_000,
        bytes / keys,
        begun.elapsed()
    );
    let begun = Instant::now();
    let mut state = Vec::new();
    windows.encode(&mut state);
    println!("its state: {} MB, encoded in {:?}", state.len() / 1_000_000, begun.elapsed());
    let begun = Instant::now();
    let specs = windows.specs().cloned().collect();
    drop(windows);
    let mut windows = Group::decode(specs, &state).unwrap();
    println!("decoded in {:?}", begun.elapsed());
    let begun = Instant::now();
    let mut closed = 0;
    windows.advance(EventTime(7_200 * SECOND), &mut |_| closed += 1);
    println!("{closed} windows closed in {:?}", begun.elapsed());
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).without_plots();
    targets = memory, observe
}
criterion_main!(benches);
