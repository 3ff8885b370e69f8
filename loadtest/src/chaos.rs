//! Exactly once while things fail: workers of one group read a stream that is produced meanwhile; they are killed, ended,
//! added, frozen until the group has expelled them, starved, cut off from the network, and the broker stands still now and
//! then. In the end every window is compared with one computed apart, and the ledger must add up to what was sent.

use crate::network::Network;
use crate::process::{resident_mb, signal};
use crate::table::{print, short};
use crate::topics::{Ends, Inlet};
use crate::verdict::{Check, check};
use crate::worker::{self, WINDOWED, counted};
use crate::workload::{PARTITIONS, SOURCES};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidecast_tests::oracle::Seeded;
use tidecast_tests::{Kafka, Setup, Tidecast};
use tokio::time::{sleep, sleep_until};

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// Events a second.
    #[arg(long, default_value_t = 50_000)]
    pub rate: u64,
    /// How long events are sent and things fail, seconds.
    #[arg(long, default_value_t = 120)]
    pub seconds: u64,
    /// Workers.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Between two faults, milliseconds on average.
    #[arg(long, default_value_t = 2_000)]
    pub every_ms: u64,
    /// Only kills, of no more than one worker at a time.
    #[arg(long)]
    pub only_kills: bool,
    /// Workers without lasting names (`group_instance_id`): the group waits for the session of each that is killed.
    #[arg(long)]
    pub nameless: bool,
    /// Each worker has a network of its own (a network namespace), from which it is cut off at times. Needs root.
    #[arg(long)]
    pub networks: bool,
    /// Chooses faults and their moments.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// After the last event, windows may take so long: an expelled member's session, a transaction's time.
const SETTLE: Duration = Duration::from_secs(120);

/// One worker, whatever life it is in.
struct Worker {
    setup: Setup,
    arguments: Vec<String>,
    process: Option<Tidecast>,
    back_at: Instant,
    trouble: Option<(Trouble, Instant)>,
    network: Option<Network>,
}

/// What a worker suffers for a while without being ended.
#[derive(Clone, Copy)]
enum Trouble {
    /// It does not run. Where that lasts longer than its session, it comes back as a zombie.
    Frozen,
    /// It runs a fifth of the time.
    Starved,
    /// Nothing that it sends or is sent arrives.
    CutOff,
}

impl Worker {
    fn start(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.process = Some(self.setup.spawn(&arguments));
    }

    fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            signal(process.pid(), name);
        }
    }

    /// Begins what it suffers.
    fn suffer(&mut self, trouble: Trouble, span: Duration) -> Result<()> {
        match trouble {
            Trouble::Frozen => self.signal("STOP"),
            Trouble::Starved => {}
            Trouble::CutOff => self.network.as_ref().context("a worker with a network of its own")?.cut()?,
        }
        self.trouble = Some((trouble, Instant::now() + span));
        Ok(())
    }

    /// Ends it.
    fn recover(&mut self) -> Result<()> {
        if let Some((Trouble::CutOff, _)) = self.trouble.take()
            && let Some(network) = &self.network
        {
            network.mend()?;
        }
        self.signal("CONT");
        Ok(())
    }

    /// What has to be done at each look: what it suffers ends, and one that has ended by itself (as one that was expelled
    /// with a lasting name does) is started again, as its supervisor would.
    fn look(&mut self, number: u64, now: Instant) -> Result<()> {
        match self.trouble {
            Some((_, until)) if now >= until => self.recover()?,
            Some((Trouble::Starved, _)) => {
                self.signal(if number.is_multiple_of(5) { "CONT" } else { "STOP" })
            }
            _ => {}
        }
        if self.process.as_ref().is_some_and(|process| !process.is_running()) {
            self.process = None;
            self.back_at = now;
        }
        if self.process.is_none() && now >= self.back_at {
            self.start();
        }
        Ok(())
    }
}

/// How often something was done to somebody.
#[derive(Default)]
pub struct Faults {
    /// kill -9.
    pub kills: u64,
    ends: u64,
    frozen: u64,
    starved: u64,
    cut_off: u64,
    broker_stops: u64,
}

/// What came of it.
pub struct Outcome {
    /// What failed on purpose.
    pub faults: Faults,
    /// The windows.
    pub found: Check,
    settled: Settled,
    /// Events sent.
    pub events: u64,
    peak_mb: f64,
    silence: Silence,
}

impl Outcome {
    /// Every window is right, and the ledger has every event.
    pub fn is_exact(&self) -> bool {
        self.found.is_exact() && self.settled.windowed == self.events
    }

    /// In the words of a table's cell.
    pub fn ledger(&self) -> String {
        if self.settled.windowed == self.events {
            "exact".to_owned()
        } else {
            format!("{} of {}", self.settled.windowed, self.events)
        }
    }
}

/// Runs and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    println!(
        "{} events a second for {} s into {PARTITIONS} partitions, seed {}",
        options.rate, options.seconds, options.seed
    );
    let outcome = measure(kafka, options).await?;
    report(options, &outcome);
    if outcome.is_exact() { Ok(()) } else { bail!("what came out is not exact") }
}

/// Runs.
pub async fn measure(kafka: &Kafka, options: &Options) -> Result<Outcome> {
    let group = tidecast_tests::kafka::unique("chaos");
    let (input, output) = (format!("{group}.events"), format!("{group}.aggregates"));
    kafka.create(&input, PARTITIONS).await;
    kafka.create(&output, PARTITIONS).await;
    let events = options.rate * options.seconds;
    let mut workers = workers(kafka, options, &group)?;
    for worker in &mut workers {
        worker.start();
    }
    for worker in &workers {
        worker.process.as_ref().context("it was started")?.ready().await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let producing = std::thread::spawn({
        let (inlet, done, options) = (Inlet::new(kafka, &input, 5)?, done.clone(), options.clone());
        move || {
            let produced = produce(&inlet, &options, events);
            done.store(true, Ordering::Release);
            produced
        }
    });
    let ends = Ends::new(kafka, &output)?;
    let (mut faults, mut peak_mb, mut silence) = (Faults::default(), 0.0_f64, Silence::new());
    let mut random = Seeded::new(options.seed);
    let mut next_fault = Instant::now() + Duration::from_secs(3);
    let mut broker_back_at: Option<Instant> = None;
    let mut looks = 0;
    while !done.load(Ordering::Acquire) {
        looks += 1;
        sleep(Duration::from_millis(50)).await;
        let now = Instant::now();
        if let Some(at) = broker_back_at {
            if now < at {
                continue;
            }
            if let Some(pid) = kafka.pid() {
                signal(pid, "CONT");
            }
            broker_back_at = None;
        }
        silence.look(tokio::task::block_in_place(|| ends.sum())?, now);
        for worker in &mut workers {
            if let Some(process) = &worker.process {
                peak_mb = peak_mb.max(resident_mb(process.pid(), "VmHWM"));
            }
            worker.look(looks, now)?;
        }
        if now >= next_fault {
            next_fault = now + Duration::from_millis(options.every_ms / 2 + random.below(options.every_ms));
            if let Some(stopped) = fault(&mut workers, kafka, options, &mut random, &mut faults).await? {
                broker_back_at = Some(now + stopped);
            }
        }
    }
    if let (Some(_), Some(pid)) = (broker_back_at, kafka.pid()) {
        signal(pid, "CONT");
    }
    for worker in &mut workers {
        worker.recover()?;
        if worker.process.as_ref().is_none_or(|process| !process.is_running()) {
            worker.start();
        }
    }
    producing.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    let flushed = events + SOURCES;
    let settled = settle(&workers, &ends, &input, flushed).await?;
    let found = tokio::task::block_in_place(|| check(kafka, &output, events, 1_000, 1_000))?;
    for worker in &mut workers {
        if let Some(process) = &mut worker.process {
            process.terminate(Duration::from_secs(20)).await;
        }
    }
    Ok(Outcome { faults, found, settled, events: flushed, peak_mb, silence })
}

fn workers(kafka: &Kafka, options: &Options, group: &str) -> Result<Vec<Worker>> {
    let make = |number: usize| {
        let mut setup =
            worker::member("worker", kafka, group, 1_000).with("[state]\nsnapshot_interval_seconds = 5");
        let lasting = (!options.nameless).then(|| format!("kafka.group_instance_id=worker-{number}"));
        let arguments = lasting.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect();
        let mut network = None;
        if options.networks {
            let (_, kafka) = kafka.bootstrap().rsplit_once(':').context("a broker's address has a port")?;
            let own = Network::new(format!("{group}-{number}"), kafka.parse()?, setup.ports.admin)?;
            setup = setup.within(&own.command());
            network = Some(own);
        }
        Ok(Worker { setup, arguments, process: None, back_at: Instant::now(), trouble: None, network })
    };
    (0..options.workers).map(make).collect()
}

/// Sends at the rate, then what moves every watermark past all windows.
fn produce(inlet: &Inlet, options: &Options, events: u64) -> Result<()> {
    let start = Instant::now();
    let mut line = Vec::with_capacity(160);
    for number in 0..events {
        inlet.reading(number, &mut line)?;
        if number % 512 == 0 {
            let due = start + Duration::from_secs_f64(number as f64 / options.rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    inlet.close_windows(events)
}

/// Does one thing to somebody. `Some` is how long the broker stands still.
async fn fault(
    workers: &mut [Worker],
    kafka: &Kafka,
    options: &Options,
    random: &mut Seeded,
    faults: &mut Faults,
) -> Result<Option<Duration>> {
    let now = Instant::now();
    let up: Vec<usize> = (0..workers.len())
        .filter(|at| workers[*at].process.is_some() && workers[*at].trouble.is_none())
        .collect();
    let kinds = if options.networks { 13 } else { 11 };
    let kind = if options.only_kills { 0 } else { random.below(kinds) };
    if let (7, Some(broker)) = (kind, kafka.pid()) {
        faults.broker_stops += 1;
        signal(broker, "STOP");
        return Ok(Some(Duration::from_millis(500 + random.below(4_000))));
    }
    let Some(chosen) = up.get(random.below(up.len().max(1) as u64) as usize) else { return Ok(None) };
    let worker = &mut workers[*chosen];
    let span = Duration::from_millis(200 + random.below(14_000));
    match kind {
        0..=4 => {
            faults.kills += 1;
            worker.process.take().context("it is up")?.kill();
            worker.back_at = now + Duration::from_millis(random.below(1_500));
        }
        5..=6 => {
            faults.ends += 1;
            worker.process.take().context("it is up")?.terminate(Duration::from_secs(20)).await;
            worker.back_at = now + Duration::from_millis(random.below(4_000));
        }
        7..=8 => {
            faults.frozen += 1;
            worker.suffer(Trouble::Frozen, span)?;
        }
        9..=10 => {
            faults.starved += 1;
            worker.suffer(Trouble::Starved, span)?;
        }
        _ => {
            faults.cut_off += 1;
            worker.suffer(Trouble::CutOff, span)?;
        }
    }
    Ok(None)
}

/// How long nothing new was committed.
struct Silence {
    seen: i64,
    since: Instant,
    longest: Duration,
}

impl Silence {
    fn new() -> Self {
        Silence { seen: 0, since: Instant::now(), longest: Duration::ZERO }
    }

    fn look(&mut self, end: i64, now: Instant) {
        if end != self.seen {
            (self.seen, self.since) = (end, now);
        }
        self.longest = self.longest.max(now - self.since);
    }
}

#[derive(Clone, Copy)]
struct Settled {
    windowed: u64,
    took: Duration,
}

/// Waits until the ledger has every event and nothing new comes out.
async fn settle(workers: &[Worker], ends: &Ends, input: &str, events: u64) -> Result<Settled> {
    let start = Instant::now();
    let (mut end, mut quiet_since) = (0, Instant::now());
    loop {
        sleep_until((Instant::now() + Duration::from_millis(200)).into()).await;
        let mut windowed = 0;
        for process in workers.iter().filter_map(|worker| worker.process.as_ref()) {
            if process.try_get(process.ports().admin, "/health/live").await.is_some() {
                windowed += counted([process], WINDOWED, input).await;
            }
        }
        let now = tokio::task::block_in_place(|| ends.sum())?;
        if now != end {
            (end, quiet_since) = (now, Instant::now());
        }
        let complete = windowed == events && quiet_since.elapsed() > Duration::from_secs(3);
        if complete || start.elapsed() > SETTLE {
            return Ok(Settled { windowed, took: start.elapsed() });
        }
    }
}

fn report(options: &Options, outcome: &Outcome) {
    let Outcome { faults, found, settled, events, peak_mb, silence } = outcome;
    let Check { windows, missing, doubled, wrong, extra } = found;
    let of = |count: u64| count.to_string();
    print(
        &[
            "workers",
            "events",
            "killed",
            "ended",
            "frozen",
            "starved",
            "cut off",
            "broker stopped",
            "silent s",
            "peak MB",
        ],
        &[vec![
            options.workers.to_string(),
            short(*events as f64),
            of(faults.kills),
            of(faults.ends),
            of(faults.frozen),
            of(faults.starved),
            of(faults.cut_off),
            of(faults.broker_stops),
            format!("{:.1}", silence.longest.as_secs_f64()),
            format!("{peak_mb:.0}"),
        ]],
    );
    print(
        &["windows", "lost", "doubled", "wrong", "extra", "ledger", "settled after s"],
        &[vec![
            windows.to_string(),
            missing.to_string(),
            of(*doubled),
            of(*wrong),
            of(*extra),
            outcome.ledger(),
            format!("{:.1}", settled.took.as_secs_f64()),
        ]],
    );
}
