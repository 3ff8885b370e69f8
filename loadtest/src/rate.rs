//! How fast: a full topic is read from the start to the last window's aggregate, and every window is checked.

use crate::process::{cpu_seconds, machine_cpu_seconds, resident_mb};
use crate::table::{print, short};
use crate::topics::{Ends, Inlet};
use crate::verdict::{Check, check_of};
use crate::workload::{LATENESS_MS, PARTITIONS, SOURCES, Sensors};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::time::{Duration, Instant};
use tidecast_tests::{Kafka, Setup};

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// Events in the topic.
    #[arg(long, default_value_t = 4_000_000)]
    pub events: u64,
    /// Runs of each line; the table shows all of them.
    #[arg(long, default_value_t = 3)]
    pub runs: u32,
    /// Windows.
    #[arg(long, value_enum, default_value_t = Workload::Tumbling)]
    pub workload: Workload,
    /// Without transactions.
    #[arg(long)]
    pub at_least_once: bool,
    /// Sensors, each a key.
    #[arg(long, default_value_t = SOURCES)]
    pub keys: u64,
    /// One key has half of all events.
    #[arg(long)]
    pub hot: bool,
    /// The role `worker` alone, as where roles are apart.
    #[arg(long)]
    pub worker: bool,
    /// A topic that an earlier run filled with the same number of events, to save the filling.
    #[arg(long)]
    pub topic: Option<String>,
}

impl Options {
    fn sensors(&self) -> Sensors {
        Sensors { count: self.keys, one_is_hot: self.hot }
    }
}

/// Which windows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Workload {
    /// One second.
    Tumbling,
    /// Ten seconds every second.
    Hopping,
    /// One hour: every sensor that there is has an open window.
    Hourly,
}

impl Workload {
    fn size_and_advance_ms(self) -> (i64, i64) {
        match self {
            Workload::Tumbling => (1_000, 1_000),
            Workload::Hopping => (10_000, 1_000),
            Workload::Hourly => (3_600_000, 3_600_000),
        }
    }
}

/// The last aggregate may be this long after the one before it.
const QUIET: Duration = Duration::from_secs(6);
const LIMIT: Duration = Duration::from_secs(600);

struct Measured {
    wall: f64,
    cpu: f64,
    broker_cpu: f64,
    other_cpu: f64,
    peak_mb: f64,
    check: Check,
}

/// Runs and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    let topic = match &options.topic {
        Some(topic) => topic.clone(),
        None => fill(kafka, options).await?,
    };
    let hot = if options.hot { ", one with half of them" } else { "" };
    println!("topic {topic}: {} events, {} keys{hot}, {PARTITIONS} partitions", options.events, options.keys);
    let mut rows = Vec::new();
    let mut exact = true;
    for _ in 0..options.runs {
        let m = once(kafka, options, &topic).await?;
        exact &= m.check.is_exact();
        let events = options.events as f64;
        rows.push(vec![
            format!("{:?}", options.workload),
            if options.at_least_once { "at least once" } else { "exactly once" }.to_string(),
            short(events / m.wall),
            format!("{:.2}", m.wall),
            format!("{:.1}", m.cpu),
            short(events / m.cpu),
            format!("{:.0}", m.peak_mb),
            format!("{:.1}", m.broker_cpu),
            format!("{:.1}", m.other_cpu),
            m.check.to_string(),
        ]);
    }
    print(
        &[
            "windows",
            "guarantee",
            "events/s",
            "wall s",
            "CPU-s",
            "events/CPU-s",
            "peak MB",
            "broker CPU-s",
            "other CPU-s",
            "exact",
        ],
        &rows,
    );
    if exact { Ok(()) } else { bail!("windows are not exact") }
}

async fn fill(kafka: &Kafka, options: &Options) -> Result<String> {
    let events = options.events;
    let topic = tidecast_tests::kafka::unique("load");
    kafka.create(&topic, PARTITIONS).await;
    let inlet = Inlet::new(kafka, &topic, 20)?.of(options.sensors());
    let mut line = Vec::with_capacity(160);
    for number in 0..events {
        inlet.reading(number, &mut line)?;
    }
    inlet.close_windows(events)?;
    Ok(topic)
}

async fn once(kafka: &Kafka, options: &Options, topic: &str) -> Result<Measured> {
    let (size, advance) = options.workload.size_and_advance_ms();
    let window = match options.workload {
        Workload::Tumbling | Workload::Hourly => format!(r#"{{ kind = "tumbling", size = "{size}ms" }}"#),
        Workload::Hopping => format!(r#"{{ kind = "hopping", size = "{size}ms", advance = "{advance}ms" }}"#),
    };
    let roles = if options.worker { r#"roles = ["worker"]"# } else { "" };
    let setup = Setup::new("rate", kafka).with(&format!(
        r#"
        {roles}
        [kafka]
        exactly_once = {}
        [topics]
        partitions = {PARTITIONS}
        [[series]]
        name = "readings"
        topic = "{topic}"
        key = "source"
        values = ["value"]
        window = {window}
        lateness = "{LATENESS_MS}ms"
        idle_after = "10m"
        "#,
        !options.at_least_once
    ));
    let output = setup.topic("aggregates");
    kafka.create(&output, PARTITIONS).await;
    let ends = Ends::new(kafka, &output)?;
    let broker = kafka.pid();
    let broker_cpu = || broker.map_or(f64::NAN, cpu_seconds);
    let (machine, broker_before, own_before) =
        (machine_cpu_seconds(), broker_cpu(), cpu_seconds(std::process::id()));
    let start = Instant::now();
    let mut tidecast = setup.spawn(&[]);
    let (mut seen, mut last) = (0, None);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        let now = tokio::task::block_in_place(|| ends.sum())?;
        if now > seen {
            seen = now;
            let cpu = cpu_seconds(tidecast.pid());
            let broker_cpu = broker_cpu() - broker_before;
            // This process' own children are counted as the binary and the broker.
            let own = cpu_seconds(std::process::id())
                - own_before
                - cpu
                - if broker.is_some() { broker_cpu } else { 0.0 };
            let other =
                machine_cpu_seconds() - machine - cpu - own - if broker.is_some() { broker_cpu } else { 0.0 };
            last = Some((
                start.elapsed().as_secs_f64(),
                cpu,
                broker_cpu,
                other,
                resident_mb(tidecast.pid(), "VmHWM"),
            ));
        }
        let quiet = last.as_ref().map_or(0.0, |(at, ..)| start.elapsed().as_secs_f64() - at);
        if quiet > QUIET.as_secs_f64() || !tidecast.is_running() || start.elapsed() > LIMIT {
            break;
        }
    }
    let Some((wall, cpu, broker_cpu, other_cpu, peak_mb)) = last else {
        bail!("no output:\n{}", tidecast.log())
    };
    tidecast.terminate(Duration::from_secs(20)).await;
    let check = tokio::task::block_in_place(|| {
        check_of(kafka, &output, options.events, options.sensors(), size, advance)
    })?;
    Ok(Measured { wall, cpu, broker_cpu, other_cpu, peak_mb, check })
}
