//! Nanoseconds for one event. Run with `cargo bench -p tidecast-event --bench decode`.

#![allow(missing_docs)] // the macros below make public items

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tidecast_event::{Decoder, EventTime};

const NOW: EventTime = EventTime(1_768_564_300_000_000);
const DAY_MICROS: i64 = 86_400_000_000;

fn decode(c: &mut Criterion) {
    let flat = br#"{"source":"sensor_0001","type":"sensor_data","timestamp":1768564232.665,"data":{"value":51.3,"unit":"celsius"},"metadata":{"x":1}}"#;
    let rfc3339 = br#"{"source":"sensor_0001","type":"sensor_data","timestamp":"2026-01-16T11:50:32.665Z","data":{"value":51.3},"metadata":{"x":1}}"#;
    let nested = br#"{"id": "c9f1", "source": "JFK/B6", "type": "departure", "timestamp": 1768564232, "data": {"origin": "JFK", "dest": "BUF", "delay": {"dep": 13.0, "arr": -4}, "distance": 301, "cancelled": false, "legs": [1, 2, 3]}, "metadata": {"gate": "5\u00e9", "note": "late \"again\""}}"#;
    let mut packed = Vec::new();
    let value: serde_json::Value = serde_json::from_slice(flat).unwrap();
    rmp_serde::encode::write(&mut packed, &value).unwrap();

    let mut group = c.benchmark_group("decode");
    for (name, bytes) in [
        ("json, flat", &flat[..]),
        ("json, RFC 3339", &rfc3339[..]),
        ("json, nested, escapes", &nested[..]),
        ("messagepack", &packed[..]),
    ] {
        let mut decoder = Decoder::new();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("{name}, {} bytes", bytes.len()), |b| {
            b.iter(|| {
                let event = decoder.decode(black_box(bytes), NOW, DAY_MICROS).unwrap();
                black_box((event.time(), event.numbers().map(|(_, value)| value).sum::<f64>()))
            });
        });
    }
    group.bench_function("serde_json::Value, flat, for comparison", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(flat)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
