//! Everything that must be exact, in one table: real processes killed and moved, histories from seeds, damaged snapshots,
//! broken records, a broker that goes away, disorder.

use crate::table::print;
use crate::trial::{self, Trial};
use crate::verdict::Check;
use crate::{chaos, rebalance};
use anyhow::{Result, bail};
use clap::Args;
use tidecast_event::TopicPartition;
use tidecast_ports::SnapshotStore;
use tidecast_simulation::{Histories, run_all};
use tidecast_store::FolderStore;
use tidecast_tests::Kafka;
use tidecast_tests::oracle::Seeded;

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// One in so many of everything: for a first look.
    #[arg(long, default_value_t = 1)]
    pub share: u64,
}

struct Line {
    test: String,
    shown: String,
    holds: bool,
}

fn windows(found: &Check) -> String {
    let Check { windows, missing, doubled, wrong, extra } = found;
    format!("{windows} windows: {missing} lost, {doubled} doubled, {wrong} wrong, {extra} extra")
}

/// Runs all and prints.
pub async fn run(kafka: &Kafka, options: &Options) -> Result<()> {
    let of = |whole: u64| whole.div_ceil(options.share);
    let mut lines = Vec::new();
    let mut tell = |line: Line| {
        eprintln!("{}: {}", line.test, line.shown);
        lines.push(line);
    };
    tell(seeds(of(10_000)));
    tell(damage(of(5_000))?);
    tell(disorder(kafka, of(4_000_000)).await?);
    tell(poison(kafka, of(2_000_000)).await?);
    tell(broker_away(kafka).await?);
    tell(rebalances(kafka, of(10)).await?);
    tell(kills(kafka, of(260)).await?);
    let holds = lines.iter().all(|line| line.holds);
    let cells = |line: Line| vec![line.test, line.shown, if line.holds { "yes" } else { "no" }.to_owned()];
    print(&["test", "what was seen", "holds"], &lines.into_iter().map(cells).collect::<Vec<_>>());
    if holds { Ok(()) } else { bail!("not all of it holds") }
}

async fn kills(kafka: &Kafka, seconds: u64) -> Result<Line> {
    let options = chaos::Options {
        rate: 40_000,
        seconds,
        workers: 2,
        every_ms: 1_700,
        only_kills: true,
        nameless: false,
        networks: false,
        seed: 1,
    };
    let outcome = chaos::measure(kafka, &options).await?;
    Ok(Line {
        test: format!(
            "{} × kill -9 over {:.1}M events, read committed",
            outcome.faults.kills,
            outcome.events as f64 / 1e6
        ),
        shown: format!("{}; ledger {}", windows(&outcome.found), outcome.ledger()),
        holds: outcome.is_exact(),
    })
}

async fn rebalances(kafka: &Kafka, members: u64) -> Result<Line> {
    let options = rebalance::Options { rate: 20_000, members, cold: false };
    let outcome = rebalance::measure(kafka, &options).await?;
    let seconds = outcome.silence_ms / 1e3;
    Ok(Line {
        test: format!("{} rebalances (join, leave, crash) under load", outcome.rebalances),
        shown: format!("{}; longest silence {seconds:.1} s", windows(&outcome.found)),
        holds: outcome.found.is_exact(),
    })
}

async fn disorder(kafka: &Kafka, events: u64) -> Result<Line> {
    let trial = Trial { events, rate: None, poison_every: None, disorder: true, broker_away: None };
    let outcome = trial::run(kafka, trial).await?;
    Ok(Line {
        test: "disorder up to lateness, seeded".to_owned(),
        shown: windows(&outcome.found),
        holds: outcome.found.is_exact() && outcome.windowed == outcome.events,
    })
}

async fn poison(kafka: &Kafka, events: u64) -> Result<Line> {
    let trial = Trial { events, rate: None, poison_every: Some(100), disorder: false, broker_away: None };
    let outcome = trial::run(kafka, trial).await?;
    Ok(Line {
        test: format!("{} broken records, 1 : 100", outcome.poison),
        shown: format!(
            "{} in the DLQ with reason and origin; {}; {} restarts",
            outcome.told,
            windows(&outcome.found),
            outcome.restarts
        ),
        holds: outcome.found.is_exact()
            && outcome.told == outcome.poison
            && outcome.windowed == outcome.events
            && outcome.restarts == 0,
    })
}

async fn broker_away(kafka: &Kafka) -> Result<Line> {
    let trial = Trial {
        events: 7_000_000,
        rate: Some(100_000),
        poison_every: None,
        disorder: false,
        broker_away: Some((20, 30)),
    };
    let outcome = trial::run(kafka, trial).await?;
    let (before, most) = outcome.resident_mb;
    Ok(Line {
        test: "broker away 30 s at 100,000 events/s".to_owned(),
        shown: format!(
            "{before:.0} MB before, {most:.0} MB at most; caught up after {:.1} s; {}",
            outcome.caught_up,
            windows(&outcome.found)
        ),
        holds: outcome.found.is_exact()
            && outcome.windowed == outcome.events
            && outcome.caught_up <= 15.0
            && most <= before * 1.1,
    })
}

fn seeds(seeds: u64) -> Line {
    let Histories { failures, windows, deaths, .. } = run_all(0..seeds);
    let failed = failures.len();
    Line {
        test: format!("{seeds} simulated histories"),
        shown: format!("{failed} fail; {windows} windows, {deaths} processes died"),
        holds: failed == 0,
    }
}

fn damage(rounds: u64) -> Result<Line> {
    let folder = tempfile::tempdir()?;
    let store = FolderStore::open(folder.path())?;
    let partition = TopicPartition::new("damaged", 0);
    let mut random = Seeded::new(5);
    let mut state = |len: u64| (0..len).map(|_| random.below(23) as u8).collect::<Vec<u8>>();
    let (before, newest) = (state(40_000), state(60_000));
    store.save(&partition, 10, 1, &before)?;
    let file = store.save(&partition, 20, 1, &newest)?.file;
    let whole = std::fs::read(&file)?;
    let mut noticed = 0;
    for round in 0..rounds {
        let mut bytes = whole.clone();
        if round % 2 == 0 {
            bytes.truncate(random.below(whole.len() as u64) as usize);
        } else {
            bytes[random.below(whole.len() as u64) as usize] ^= 1 << random.below(8);
        }
        std::fs::write(&file, &bytes)?;
        let found = store.newest(&partition, 100).map_err(anyhow::Error::msg)?;
        let recovered = found.snapshot.is_some_and(|found| found.offset == 10 && found.state == before);
        noticed += u64::from(recovered && !found.passed_over.is_empty());
    }
    Ok(Line {
        test: format!("{rounds} bit flips and truncations of snapshots"),
        shown: format!("{noticed} noticed, the one before used"),
        holds: noticed == rounds,
    })
}
