//! Many models: one for each key, all of whose windows close at the same moment, once a second.

use crate::latency::Closings;
use crate::process::{cpu_seconds, resident_mb};
use crate::table::{print, quantile};
use crate::topics::{Inlet, outlet};
use crate::workload::PARTITIONS;
use anyhow::{Result, bail};
use clap::Args;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;
use std::time::{Duration, Instant};
use tidecast_tests::{Kafka, Setup};

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// Models, one for each key.
    #[arg(long, default_value_t = 10_000)]
    pub models: u64,
    /// Seconds to run, a window and a forecast for each model in each.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Seconds at the beginning that are not counted: models are made and warm up.
    #[arg(long, default_value_t = 30)]
    pub warm_up: u64,
    /// The family.
    #[arg(long, default_value = "SeasonalNaive")]
    pub model_type: String,
}

#[derive(Deserialize)]
struct Forecast {
    model_id: String,
    timestamp: String,
}

struct Came {
    model: String,
    second: i64,
    at: Instant,
}

/// Runs and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    let setup = Setup::new("models", kafka).with(&format!(
        r#"
        [kafka]
        exactly_once = false
        [topics]
        partitions = {PARTITIONS}
        [[series]]
        name = "readings"
        key = "source"
        window = {{ kind = "tumbling", size = "1s" }}
        lateness = "0s"
        [[models]]
        model_id = "m"
        model_type = "{}"
        series = "readings:*"
        field = "value.avg"
        horizon = 12
        "#,
        options.model_type
    ));
    let mut tidecast = setup.start().await;
    let base_mb = resident_mb(tidecast.pid(), "VmRSS");
    let (closings, stop) = (Closings::default(), Arc::new(AtomicBool::new(false)));
    let consumer = outlet(kafka, &setup.topic("predictions"), false, Offset::Beginning)?;
    let until = stop.clone();
    let reader = spawn(move || {
        // Read when the run is over: this runs beside what it measures.
        let mut all: Vec<(Box<[u8]>, Instant)> = Vec::new();
        while !until.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
            all.push((message.payload().unwrap_or_default().into(), Instant::now()));
        }
        all
    });
    let cpu = cpu_seconds(tidecast.pid());
    let start = Instant::now();
    let first = tokio::task::block_in_place(|| pace(kafka, &setup.topic("events"), options, &closings))?;
    let busy = (cpu_seconds(tidecast.pid()) - cpu) / start.elapsed().as_secs_f64();
    tokio::time::timeout(Duration::from_secs(2), std::future::pending::<()>()).await.ok();
    let (now_mb, peak_mb) = (resident_mb(tidecast.pid(), "VmRSS"), resident_mb(tidecast.pid(), "VmHWM"));
    stop.store(true, Ordering::Relaxed);
    let Ok(all) = tokio::task::block_in_place(|| reader.join()) else {
        bail!("the reader of forecasts died")
    };
    tidecast.terminate(Duration::from_secs(20)).await;
    let read = |(payload, at): &(Box<[u8]>, Instant)| {
        let forecast: Forecast = serde_json::from_slice(payload).ok()?;
        let time = chrono::DateTime::parse_from_rfc3339(&forecast.timestamp).ok()?;
        Some(Came { model: forecast.model_id, second: time.timestamp(), at: *at })
    };
    let all: Vec<Came> = all.iter().filter_map(read).collect();

    let counted_from = first + options.warm_up as i64;
    let models: HashSet<&str> = all.iter().map(|f| f.model.as_str()).collect();
    let counted: Vec<&Came> = all.iter().filter(|f| f.second > counted_from).collect();
    // A forecast bears the end of its window, in whose second its partition's watermark arrived there.
    let waited = |f: &&&Came| {
        let source: u64 = f.model.rsplit('_').next()?.parse().ok()?;
        let closed = closings.since((source % PARTITIONS as u64) as i32, f.second)?;
        Some(f.at.saturating_duration_since(closed).as_secs_f64() * 1e3)
    };
    let mut waits: Vec<f64> = counted.iter().filter_map(|f| waited(&f)).collect();
    waits.sort_by(f64::total_cmp);
    let cell = |share| format!("{:.1}", quantile(&waits, share));
    let expected = options.models * options.seconds.saturating_sub(options.warm_up + 1);
    print(
        &[
            "models",
            "forecasts counted",
            "of expected",
            "p50 ms",
            "p99 ms",
            "max ms",
            "MB before",
            "MB now",
            "peak MB",
            "cores",
        ],
        &[vec![
            models.len().to_string(),
            waits.len().to_string(),
            expected.to_string(),
            cell(0.5),
            cell(0.99),
            cell(1.0),
            format!("{base_mb:.0}"),
            format!("{now_mb:.0}"),
            format!("{peak_mb:.0}"),
            format!("{busy:.2}"),
        ]],
    );
    if models.len() as u64 != options.models {
        bail!("{} models of {} forecast", models.len(), options.models);
    }
    Ok(())
}

/// Between two lots of events: a producer that woke for each would cost more than what it measures.
const PACE: Duration = Duration::from_millis(10);

/// One event for each key in each second, evenly; returns the first second.
fn pace(kafka: &Kafka, topic: &str, options: &Options, closings: &Closings) -> Result<i64> {
    let inlet = Inlet::new(kafka, topic, 0)?;
    let first = chrono::Utc::now().timestamp();
    let start = Instant::now();
    for second in 0..options.seconds {
        for source in 0..options.models {
            let due = Duration::from_nanos(second * 1_000_000_000 + source * 1_000_000_000 / options.models);
            let now = start.elapsed();
            if now < due {
                std::thread::sleep((due - now).max(PACE));
            }
            let (at, partition) = (first + second as i64, (source % PARTITIONS as u64) as i32);
            closings.note(partition, at);
            let value = 50 + (source + second * 7) % 40;
            let key = format!("sensor_{source:05}");
            let event =
                format!(r#"{{"source":"{key}","type":"t","timestamp":{at},"data":{{"value":{value}}}}}"#);
            inlet.send(&key, partition, event.as_bytes())?;
        }
    }
    inlet.finish()?;
    Ok(first)
}
