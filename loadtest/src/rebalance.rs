//! Members that come and go under load: how long each partition is silent, those that move and those that stay, and whether
//! every window is right afterwards.

use crate::table::{print, quantile, short};
use crate::topics::{Inlet, outlet};
use crate::verdict::{Check, check};
use crate::worker::{self, WINDOWED, counted};
use crate::workload::{PARTITIONS, SOURCES};
use anyhow::{Result, bail};
use clap::Args;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidecast_tests::{Kafka, Setup, Tidecast};
use tokio::time::sleep;

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// Events a second.
    #[arg(long, default_value_t = 20_000)]
    pub rate: u64,
    /// Members that come and go: each makes two rebalances.
    #[arg(long, default_value_t = 10)]
    pub members: u64,
    /// Without warm standby.
    #[arg(long)]
    pub cold: bool,
}

/// Windows close this often: what a partition says without a rebalance.
const WINDOW_MS: i64 = 100;
/// A rebalance is over by then, and the silence that it made is known.
const AFTER: Duration = Duration::from_secs(4);
/// The same where a member was killed: the group waits for its session.
const AFTER_KILL: Duration = Duration::from_secs(11);
/// After the last event, windows may take so long.
const SETTLE: Duration = Duration::from_secs(60);

/// When each input partition's windows were seen, in order.
type Heard = Arc<Mutex<Vec<Vec<Instant>>>>;

/// One member that came or went.
struct Change {
    kind: &'static str,
    at: Instant,
    until: Instant,
    moved: BTreeSet<i32>,
}

/// A process and the folder that it has its state in, which goes with it.
struct Member {
    process: Tidecast,
    _setup: Setup,
}

struct Group<'k> {
    kafka: &'k Kafka,
    name: String,
    input: String,
    output: String,
    standby: bool,
    /// Where all of them find snapshots.
    shared: tempfile::TempDir,
}

impl Group<'_> {
    async fn member(&self) -> Member {
        let setup = worker::member("member", self.kafka, &self.name, WINDOW_MS).with(&format!(
            r#"
            [state]
            standby = {}
            shared = "file://{}"
            snapshot_interval_seconds = 2
            "#,
            self.standby,
            self.shared.path().display()
        ));
        Member { process: setup.start().await, _setup: setup }
    }

    /// The partitions that a member has now.
    async fn owned(&self, member: &Tidecast) -> BTreeSet<i32> {
        let Some(metrics) = member.try_get(member.ports().admin, "/metrics").await else {
            return BTreeSet::new();
        };
        let of = |line: &str| {
            let rest = line.strip_prefix("events_in_total{")?;
            if !rest.contains(&self.input) {
                return None;
            }
            rest.split("partition=\"").nth(1)?.split('"').next()?.parse().ok()
        };
        metrics.text.lines().filter_map(of).collect()
    }
}

/// What came of it.
pub struct Outcome {
    /// The windows.
    pub found: Check,
    /// Events sent.
    pub events: u64,
    /// Members that came or went.
    pub rebalances: usize,
    /// The longest that any partition was silent, milliseconds.
    pub silence_ms: f64,
    rows: Vec<Vec<String>>,
}

/// Runs and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    println!("{} events a second, standby {}", options.rate, !options.cold);
    let Outcome { found, events, rows, .. } = measure(kafka, options).await?;
    print(&["longest silence", "times", "p50 ms", "p99 ms", "max ms"], &rows);
    println!("{} events, {} windows, exact: {found}", short(events as f64), found.windows);
    if found.is_exact() { Ok(()) } else { bail!("what came out is not exact") }
}

/// Runs.
pub async fn measure(kafka: &Kafka, options: &Options) -> Result<Outcome> {
    let name = tidecast_tests::kafka::unique("rebalance");
    let (input, output) = (format!("{name}.events"), format!("{name}.aggregates"));
    kafka.create(&input, PARTITIONS).await;
    kafka.create(&output, PARTITIONS).await;
    let shared = tempfile::tempdir()?;
    let group = Group { kafka, name, input, output, standby: !options.cold, shared };
    let stay = [group.member().await, group.member().await];
    let stop = Arc::new(AtomicBool::new(false));
    let producing = std::thread::spawn({
        let (inlet, stop, rate) = (Inlet::new(kafka, &group.input, 0)?, stop.clone(), options.rate);
        move || produce(&inlet, rate, &stop)
    });
    let heard: Heard = Arc::new(Mutex::new(vec![Vec::new(); PARTITIONS as usize]));
    let (ended, listening) = (Arc::new(AtomicBool::new(false)), heard.clone());
    let listener = {
        let consumer = outlet(kafka, &group.output, true, Offset::Beginning)?;
        let ended = ended.clone();
        std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                let source = message.key().and_then(|key| std::str::from_utf8(key).ok());
                let source = source.and_then(|key| key.rsplit('_').next()?.parse::<i32>().ok());
                let Some(source) = source else { continue };
                let mut heard = listening.lock().unwrap_or_else(PoisonError::into_inner);
                heard[(source % PARTITIONS) as usize].push(Instant::now());
            }
        })
    };
    // The group settles, and the windows that lateness holds back begin to close.
    sleep(Duration::from_secs(12)).await;
    let calm_from = Instant::now();
    sleep(Duration::from_secs(8)).await;
    let calm = Change { kind: "none", at: calm_from, until: Instant::now(), moved: BTreeSet::new() };

    let mut changes = Vec::new();
    for number in 0..options.members {
        let at = Instant::now();
        let mut guest = group.member().await;
        sleep(AFTER).await;
        let taken = group.owned(&guest.process).await;
        changes.push(Change { kind: "joins", at, until: Instant::now(), moved: taken.clone() });
        let at = Instant::now();
        let kind = if number % 3 == 2 {
            guest.process.kill();
            sleep(AFTER_KILL).await;
            "killed"
        } else {
            guest.process.terminate(Duration::from_secs(20)).await;
            sleep(AFTER).await;
            "leaves"
        };
        changes.push(Change { kind, at, until: Instant::now(), moved: taken });
    }
    stop.store(true, Ordering::Release);
    let events = producing.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    settled(&stay, &group, events + SOURCES).await?;
    ended.store(true, Ordering::Release);
    listener.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let everywhere = changes.iter().flat_map(|change| heard.iter().map(|heard| silence(heard, change)));
    let silence_ms = everywhere.fold(0.0, f64::max);
    let rows = rows(&calm, &changes, &heard);
    let found = tokio::task::block_in_place(|| check(kafka, &group.output, events, WINDOW_MS, WINDOW_MS))?;
    Ok(Outcome { found, events, rebalances: changes.len(), silence_ms, rows })
}

/// Sends until it is told to stop; returns how many readings that were.
fn produce(inlet: &Inlet, rate: u64, stop: &AtomicBool) -> Result<u64> {
    let start = Instant::now();
    let mut line = Vec::with_capacity(160);
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        inlet.reading(number, &mut line)?;
        number += 1;
        if number % 64 == 0 {
            let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    inlet.close_windows(number)?;
    Ok(number)
}

/// Waits until those that stay have every event in their ledger.
async fn settled(stay: &[Member], group: &Group<'_>, events: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let windowed = counted(stay.iter().map(|member| &member.process), WINDOWED, &group.input).await;
        if windowed == events {
            sleep(Duration::from_secs(1)).await;
            return Ok(());
        }
        if start.elapsed() > SETTLE {
            bail!("the ledger has {windowed} of {events} events");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The longest time within a change in which nothing of a partition was seen, milliseconds.
fn silence(heard: &[Instant], change: &Change) -> f64 {
    let within: Vec<Instant> =
        heard.iter().copied().filter(|at| *at >= change.at && *at <= change.until).collect();
    let mut edges = vec![change.at];
    edges.extend(within);
    edges.push(change.until);
    let longest = edges.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    longest.as_secs_f64() * 1e3
}

fn rows(calm: &Change, changes: &[Change], heard: &[Vec<Instant>]) -> Vec<Vec<String>> {
    let row = |what: &str, count: usize, mut silences: Vec<f64>| {
        silences.sort_by(f64::total_cmp);
        let at = |share| format!("{:.0}", quantile(&silences, share));
        vec![what.to_owned(), count.to_string(), at(0.5), at(0.99), at(1.0)]
    };
    let of = |changes: &[&Change], wanted: &dyn Fn(&Change, i32) -> bool| -> Vec<f64> {
        let pairs = changes.iter().flat_map(|change| (0..PARTITIONS).map(move |number| (*change, number)));
        pairs
            .filter(|(change, number)| wanted(change, *number))
            .map(|(change, number)| silence(&heard[number as usize], change))
            .collect()
    };
    let mut rows = vec![row("no change", 1, of(&[calm], &|_, _| true))];
    for kind in ["joins", "leaves", "killed"] {
        let these: Vec<&Change> = changes.iter().filter(|change| change.kind == kind).collect();
        if these.is_empty() {
            continue;
        }
        let moved = of(&these, &|change, number| change.moved.contains(&number));
        let stayed = of(&these, &|change, number| !change.moved.contains(&number));
        rows.push(row(&format!("a member {kind}: partitions that move"), these.len(), moved));
        rows.push(row(&format!("a member {kind}: partitions that stay"), these.len(), stayed));
    }
    rows
}
