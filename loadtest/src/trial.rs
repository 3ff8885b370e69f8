//! One worker and one stream that is made to be trouble: disordered, poisoned, or with a broker that goes away.

use crate::process::{resident_mb, signal};
use crate::topics::{Inlet, each};
use crate::verdict::{Check, check};
use crate::worker::{self, WINDOWED, counted};
use crate::workload::{LATENESS_MS, PARTITIONS, SOURCES};
use anyhow::{Context, Result, bail};
use rdkafka::message::{Headers, Message};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidecast_tests::Kafka;
use tidecast_tests::oracle::Seeded;
use tidecast_tests::poison::{Poison, corpus};
use tokio::time::sleep;

/// After the last event, everything has to be done within this.
const SETTLE: Duration = Duration::from_secs(120);

/// What the stream is like.
#[derive(Clone, Copy)]
pub struct Trial {
    /// Good events.
    pub events: u64,
    /// Events a second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Every so many good events a broken one.
    pub poison_every: Option<u64>,
    /// Events come in any order that lateness allows.
    pub disorder: bool,
    /// The broker stands still: after so many seconds, for so many.
    pub broker_away: Option<(u64, u64)>,
}

/// What came of it.
pub struct Outcome {
    /// The windows.
    pub found: Check,
    /// Events that the ledger has as taken.
    pub windowed: u64,
    /// Events that had to be.
    pub events: u64,
    /// Broken records sent.
    pub poison: u64,
    /// Of these, in the dead-letter topic with a reason that fits and their origin.
    pub told: u64,
    /// Partitions started again.
    pub restarts: u64,
    /// Resident megabytes before the broker went, and at most until all was caught up.
    pub resident_mb: (f64, f64),
    /// Seconds from the broker's return until nothing waited.
    pub caught_up: f64,
}

/// Runs one.
pub async fn run(kafka: &Kafka, trial: Trial) -> Result<Outcome> {
    let setup = worker::worker("trial", kafka, 1_000);
    let (input, output) = (setup.topic("events"), setup.topic("aggregates"));
    kafka.create(&input, PARTITIONS).await;
    kafka.create(&output, PARTITIONS).await;
    let mut worker = setup.start().await;
    let begun = Instant::now();
    let producing = std::thread::spawn({
        let inlet = Inlet::new(kafka, &input, 5)?;
        move || produce(&inlet, trial)
    });
    let (mut resident, mut caught_up) = ((0.0, 0.0), 0.0);
    if let Some((after, span)) = trial.broker_away {
        let rate = trial.rate.context("a broker that goes away needs a rate")?;
        sleep(Duration::from_secs(after)).await;
        let pid = kafka.pid().context("the broker is not ours to stop")?;
        resident.0 = resident_mb(worker.pid(), "VmRSS");
        signal(pid, "STOP");
        sleep(Duration::from_secs(span)).await;
        signal(pid, "CONT");
        let back = Instant::now();
        loop {
            resident.1 = f64::max(resident.1, resident_mb(worker.pid(), "VmRSS"));
            let taken = counted([&worker], WINDOWED, &input).await;
            let due = ((begun.elapsed().as_secs_f64() * rate as f64) as u64).min(trial.events);
            // What is sent within half a second is on its way in any case.
            if taken + rate / 2 >= due {
                caught_up = back.elapsed().as_secs_f64();
                break;
            }
            if back.elapsed() > SETTLE {
                bail!("{taken} of {due} events {SETTLE:?} after the broker was back");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    let poison = producing.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    let events = trial.events + SOURCES;
    let settled = Instant::now();
    while settled.elapsed() < SETTLE {
        let dead_lettered = counted([&worker], "events_dead_lettered_total", &input).await;
        if (counted([&worker], WINDOWED, &input).await, dead_lettered) == (events, poison) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let restarts = worker.metric("partition_restarts_total", &[]).await.unwrap_or(0.0) as u64;
    let windowed = counted([&worker], WINDOWED, &input).await;
    // Everything that it has said is committed once it has ended.
    worker.terminate(Duration::from_secs(20)).await;
    let (found, told) = tokio::task::block_in_place(|| -> Result<_> {
        let found = check(kafka, &output, trial.events, 1_000, 1_000)?;
        let told = if poison > 0 { dead_letters(kafka, &setup.topic("dlq"), &input)? } else { 0 };
        Ok((found, told))
    })?;
    Ok(Outcome { found, windowed, events, poison, told, restarts, resident_mb: resident, caught_up })
}

/// Events that are in any order among themselves, at most: less than lateness allows.
fn stretch(trial: Trial) -> u64 {
    if trial.disorder { LATENESS_MS as u64 * 20 / 2 } else { 1 }
}

/// Sends the stream; returns how many broken records were in it.
fn produce(inlet: &Inlet, trial: Trial) -> Result<u64> {
    let start = Instant::now();
    let (broken, mut poison, mut sent) = (corpus(), 0, 0_u64);
    let mut random = Seeded::new(11);
    let mut line = Vec::with_capacity(160);
    let stretch = stretch(trial);
    let mut first = 0;
    while first < trial.events {
        let mut numbers: Vec<u64> = (first..(first + stretch).min(trial.events)).collect();
        if trial.disorder {
            for at in (1..numbers.len()).rev() {
                numbers.swap(at, random.below(at as u64 + 1) as usize);
            }
        }
        first += stretch;
        for number in numbers {
            inlet.reading(number, &mut line)?;
            sent += 1;
            if trial.poison_every.is_some_and(|every| sent.is_multiple_of(every)) {
                let Poison { bytes, .. } = &broken[poison as usize % broken.len()];
                inlet.send_any(&poison.to_string(), (poison % PARTITIONS as u64) as i32, bytes.as_deref())?;
                poison += 1;
            }
            if let Some(rate) = trial.rate.filter(|_| sent.is_multiple_of(512)) {
                let due = start + Duration::from_secs_f64(sent as f64 / rate as f64);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    }
    inlet.close_windows(trial.events)?;
    Ok(poison)
}

/// Broken records that are there once, with a reason that fits and where they came from.
fn dead_letters(kafka: &Kafka, dlq: &str, input: &str) -> Result<u64> {
    let broken = corpus();
    let mut seen = BTreeMap::new();
    each(kafka, dlq, |message| {
        let header = |name: &str| {
            let found = message.headers()?.iter().find(|header| header.key == name)?;
            std::str::from_utf8(found.value?).ok().map(str::to_owned)
        };
        let number = message.key().and_then(|key| std::str::from_utf8(key).ok()?.parse::<u64>().ok());
        let Some(number) = number else { return Ok(()) };
        let poison = &broken[number as usize % broken.len()];
        let fits = header("reason").is_some_and(|reason| poison.reasons.contains(&reason.as_str()))
            && header("topic").as_deref() == Some(input)
            && header("partition") == Some((number % PARTITIONS as u64).to_string())
            && header("offset").is_some()
            && message.payload().unwrap_or_default() == poison.bytes.as_deref().unwrap_or_default();
        *seen.entry(number).or_insert(0) += if fits { 1 } else { 2 };
        Ok(())
    })?;
    Ok(seen.values().filter(|times| **times == 1).count() as u64)
}
