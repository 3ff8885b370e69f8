//! How soon: events at a fixed rate carry the clock's time; for each window, from the sending of the event that moved its
//! partition's watermark past the window's end to the arrival of its aggregate at a reader and at a WebSocket client.

use crate::process::{cpu_seconds, resident_mb};
use crate::table::{print, quantile};
use crate::topics::{Inlet, outlet};
use crate::workload::{LATENESS_MS, PARTITIONS, Reading};
use anyhow::Result;
use clap::Args;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidecast_tests::{Kafka, Setup};

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// Events a second.
    #[arg(long, default_value_t = 20_000)]
    pub rate: u64,
    /// Seconds to send.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Seconds at the beginning that are not counted.
    #[arg(long, default_value_t = 15)]
    pub warm_up: u64,
    /// Without transactions.
    #[arg(long)]
    pub at_least_once: bool,
}

const SIZE_MS: i64 = 1_000;

/// When the event was sent that moved a partition's watermark past the second given (epoch seconds).
#[derive(Clone, Default)]
pub(crate) struct Closings(Arc<Mutex<HashMap<(i32, i64), Instant>>>);

impl Closings {
    pub(crate) fn note(&self, partition: i32, second: i64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((partition, second)).or_insert_with(Instant::now);
    }

    pub(crate) fn since(&self, partition: i32, second: i64) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(partition, second)).copied()
    }
}

/// Of these events it is noted when they were sent and when a plain consumer had them: what Kafka itself takes.
const NOTED: u64 = 100;

/// When the noted events were sent, in their order.
type Sent = Arc<Mutex<Vec<Instant>>>;

/// What came, and when; read when all is over, for a reader that is busy with one is late for the next.
type Arrivals = Arc<Mutex<Vec<(Vec<u8>, Instant)>>>;

#[derive(Deserialize)]
struct Aggregate {
    key: String,
    window_end: f64,
}

#[derive(Deserialize)]
struct Update {
    data: Aggregate,
}

impl Aggregate {
    fn place(&self) -> Option<(i32, i64)> {
        let source: u64 = self.key.strip_prefix("sensor_")?.parse().ok()?;
        Some((Reading { source, behind_ms: 0, hundredths: 0 }.partition(), self.window_end as i64))
    }
}

/// Runs and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    let setup = Setup::new("latency", kafka).with(&format!(
        r#"
        [kafka]
        exactly_once = {}
        [topics]
        partitions = {PARTITIONS}
        [[series]]
        name = "readings"
        key = "source"
        window = {{ kind = "tumbling", size = "{SIZE_MS}ms" }}
        lateness = "{LATENESS_MS}ms"
        "#,
        !options.at_least_once
    ));
    let mut tidecast = setup.start().await;
    let (closings, stop) = (Closings::default(), Arc::new(AtomicBool::new(false)));
    let (on_topic, ahead, on_socket) = (Arrivals::default(), Arrivals::default(), Arrivals::default());
    let mut readers = Vec::new();
    for (arrivals, committed) in [(&on_topic, true), (&ahead, false)] {
        readers.push(watch(kafka, &setup.topic("aggregates"), committed, arrivals.clone(), stop.clone())?);
    }
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&[], &["aggregation"]).await;
    let (frames, until) = (on_socket.clone(), stop.clone());
    let client = tokio::spawn(async move {
        while !until.load(Ordering::Relaxed) {
            if let Some(text) = socket.next_text(Duration::from_millis(100)).await {
                let came = (text.as_bytes().to_vec(), Instant::now());
                frames.lock().unwrap_or_else(PoisonError::into_inner).push(came);
            }
        }
    });
    let cpu = cpu_seconds(tidecast.pid());
    let (sent, plain) = (Sent::default(), Arc::<Mutex<Vec<(usize, Instant)>>>::default());
    readers.push(watch_events(kafka, &setup.topic("events"), plain.clone(), stop.clone())?);
    let late_by =
        tokio::task::block_in_place(|| pace(kafka, &setup.topic("events"), options, &closings, &sent))?;
    let cpu = cpu_seconds(tidecast.pid()) - cpu;
    // The last windows are on their way; idle partitions close what is left, which is not counted.
    tokio::time::timeout(Duration::from_secs(2), std::future::pending::<()>()).await.ok();
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        tokio::task::block_in_place(|| reader.join()).ok();
    }
    client.await.ok();
    let first = now_ms() / 1000 - (options.seconds + 2 - options.warm_up.min(options.seconds)) as i64;
    let row = |name: &str, mut waits: Vec<f64>| {
        waits.sort_by(f64::total_cmp);
        let cell = |share| format!("{:.1}", quantile(&waits, share));
        let quantiles = [0.5, 0.95, 0.99, 0.999, 1.0].map(cell);
        [name.to_string(), waits.len().to_string()].into_iter().chain(quantiles).collect::<Vec<_>>()
    };
    let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    let plain = std::mem::take(&mut *plain.lock().unwrap_or_else(PoisonError::into_inner));
    let from = (options.warm_up * options.rate / NOTED) as usize;
    let counted = plain.iter().filter(|(place, _)| *place >= from);
    let alone = counted.filter_map(|(place, at)| Some(at.saturating_duration_since(*sent.get(*place)?)));
    let mut rows =
        vec![row("an event itself, by a consumer", alone.map(|wait| wait.as_secs_f64() * 1e3).collect())];
    let closed =
        [("topic, read committed", on_topic), ("topic, read ahead", ahead), ("WebSocket frame", on_socket)]
            .map(|(name, arrivals)| {
                let mut waits = Vec::new();
                for (json, at) in arrivals.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    let update = serde_json::from_slice::<Update>(json).map(|update| update.data);
                    let aggregate = update.or_else(|_| serde_json::from_slice::<Aggregate>(json));
                    let place = aggregate.ok().and_then(|aggregate| aggregate.place());
                    if let Some((partition, end)) = place
                        && let Some(closed) =
                            closings.since(partition, end).filter(|_| end + LATENESS_MS / 1000 >= first)
                    {
                        waits.push(at.saturating_duration_since(closed).as_secs_f64() * 1e3);
                    }
                }
                row(name, waits)
            });
    rows.extend(closed);
    println!(
        "{} events/s for {} s, {}; {:.0} % of a core, {:.0} MB; the pacer was late by {:.1} ms at most",
        options.rate,
        options.seconds,
        if options.at_least_once { "at least once" } else { "exactly once" },
        cpu / options.seconds as f64 * 100.0,
        resident_mb(tidecast.pid(), "VmRSS"),
        late_by
    );
    print(&["from its cause to", "counted", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms"], &rows);
    tidecast.terminate(Duration::from_secs(20)).await;
    Ok(())
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn watch(
    kafka: &Kafka,
    topic: &str,
    committed: bool,
    arrivals: Arrivals,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let consumer = outlet(kafka, topic, committed, Offset::End)?;
    Ok(spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
            let came = (message.payload().unwrap_or_default().to_vec(), Instant::now());
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(came);
        }
    }))
}

/// Reads the events as anybody would.
fn watch_events(
    kafka: &Kafka,
    topic: &str,
    arrivals: Arc<Mutex<Vec<(usize, Instant)>>>,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let consumer = outlet(kafka, topic, false, Offset::End)?;
    // As `Reading::write` begins.
    let number = |event: &[u8]| std::str::from_utf8(event.get(9..16)?).ok()?.parse::<u64>().ok();
    Ok(spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
            if let Some(number) = number(message.payload().unwrap_or_default()).filter(|n| n % NOTED == 0) {
                let place = (number / NOTED) as usize;
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((place, Instant::now()));
            }
        }
    }))
}

/// Between two lots of events, as a producer gathers them that lingers as long as Kafka's own does by default. Not left to a
/// linger: see [`Inlet::new`].
const PACE: Duration = Duration::from_millis(5);

/// Sends at the rate asked for; returns by how many ms it was ever late.
fn pace(kafka: &Kafka, topic: &str, options: &Options, closings: &Closings, sent: &Sent) -> Result<f64> {
    let inlet = Inlet::new(kafka, topic, 0)?;
    let (start, start_ms) = (Instant::now(), now_ms());
    let (mut line, mut late_by) = (Vec::with_capacity(160), 0f64);
    for number in 0..options.rate * options.seconds {
        let due = Duration::from_nanos(number * 1_000_000_000 / options.rate);
        let now = start.elapsed();
        if now < due {
            std::thread::sleep((due - now).max(PACE));
        } else {
            late_by = late_by.max((now - due).saturating_sub(PACE).as_secs_f64() * 1e3);
        }
        let reading = Reading::number(number);
        let stream_ms = start_ms + due.as_millis() as i64;
        if reading.behind_ms == 0 {
            // The watermark now stands at this second, less the lateness.
            closings.note(reading.partition(), (stream_ms - LATENESS_MS).div_euclid(1000));
        }
        reading.write(number, "sensor_data", stream_ms - reading.behind_ms, &mut line);
        if number.is_multiple_of(NOTED) {
            sent.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        }
        inlet.send(&reading.key(), reading.partition(), &line)?;
    }
    inlet.finish()?;
    Ok(late_by)
}
