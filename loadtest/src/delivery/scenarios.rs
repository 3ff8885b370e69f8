//! What is measured of one server, in order, on one process of it.

use super::Options;
use super::client::Stage;
use super::crowd::{Crowd, STALLING, Seen};
use super::feed::{Feed, Plain};
use super::ingest::{self, Ingested};
use super::record::{MODELS_EACH, MODELS_FROM, Models};
use super::server::{PARTITIONS, Server};
use crate::process::{cpu_seconds, resident_mb};
use crate::table::quantile;
use anyhow::Result;
use std::time::{Duration, Instant};
use tidecast_tests::Kafka;

/// So many clients have the same models.
const SHARED_BY: u32 = 10;
/// Clients that take everything, and what each gets a second.
const BUSY_CLIENTS: usize = 500;
const BUSY_RATE: u32 = 1_000;
/// Between two lots of updates.
const PACE: Duration = Duration::from_millis(5);
const BUSY_PACE: Duration = Duration::from_millis(2);
/// How long anything may take that is not measured by its time.
const PATIENCE: Duration = Duration::from_secs(120);
/// A return of all that takes longer is given up.
const RETURN: Duration = Duration::from_secs(60);
/// Nothing came for so long: nothing more will.
const QUIET: Duration = Duration::from_secs(3);
/// What is in the making settles before memory is read, and before latency counts.
const SETTLE: Duration = Duration::from_secs(4);

/// Milliseconds: half, 19 of 20 and 99 of 100 are below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Waits {
    fn of(mut micros: Vec<f64>) -> Waits {
        micros.sort_unstable_by(f64::total_cmp);
        let at = |share| quantile(&micros, share) / 1e3;
        Waits { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

/// How updates came in a stretch of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered {
    pub per_second: f64,
    /// From the sending of the record into Kafka.
    pub whole: Waits,
    /// What a plain consumer waited for the same records.
    pub kafka: Waits,
    /// What a client waited longer than that.
    pub beyond: Waits,
    /// Cores that the server was busy on.
    pub cores: f64,
}

/// What clients got besides what they should.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub missed: u64,
    pub told: u64,
    pub repeated: u64,
    /// Connections that the server ended.
    pub ended: u64,
}

impl Faults {
    pub fn unreported(&self) -> u64 {
        self.missed.saturating_sub(self.told)
    }
}

/// Everything of one server.
pub(super) struct Measured {
    pub idle_kb: f64,
    pub subscribed_kb: f64,
    pub calm: Delivered,
    pub stalled: Delivered,
    pub growth_mb: f64,
    pub kernel_mb: f64,
    pub stall_faults: Faults,
    /// How long it took, and how many were back then.
    pub back: (Duration, usize),
    pub back_faults: Faults,
    pub busy: Delivered,
    pub busy_faults: Faults,
    pub ingested: Option<Ingested>,
}

/// Runs all of it.
pub(super) fn measure(kafka: &Kafka, server: &Server, options: &Options) -> Result<Measured> {
    let pid = server.pid();
    let say = |what: &str| eprintln!("{}: {what}", server.name());
    let clients = options.connections;
    let groups = (clients as u32).div_ceil(SHARED_BY);
    let models = Models { first: MODELS_FROM, count: groups * MODELS_EACH };
    let want = |client: usize| Models {
        first: MODELS_FROM + client as u32 / SHARED_BY * MODELS_EACH,
        count: MODELS_EACH,
    };
    let wants = (0..clients).map(want).collect();
    let mut crowd = Crowd::new((server.dialect, server.address), models, wants, true)?;

    say("idle connections");
    let (before, kb) = (resident_mb(pid, "VmRSS"), 1024.0 / clients as f64);
    crowd.connect(PATIENCE)?;
    crowd.read(SETTLE, |_| false)?;
    let idle_kb = (resident_mb(pid, "VmRSS") - before) * kb;
    crowd.subscribe(PATIENCE)?;
    crowd.read(SETTLE, |_| false)?;
    let subscribed_kb = (resident_mb(pid, "VmRSS") - before) * kb;

    say("updates for all");
    let plain = Plain::start(kafka, &server.topic, models)?;
    let feed = Feed::start(kafka, &server.topic, PARTITIONS, models, options.deliveries / SHARED_BY, PACE)?;
    crowd.read(SETTLE, |_| false)?;
    let calm = watch(&mut crowd, server, options.seconds, || {})?;

    say("some do not read");
    crowd.stall(true)?;
    let (mut most, before, kernel_before) = (0f64, resident_mb(pid, "VmRSS"), kernel_mb());
    let stalled =
        watch(&mut crowd, server, options.stall_seconds, || most = most.max(resident_mb(pid, "VmRSS")))?;
    let (growth_mb, kernel_mb) = (most - before, kernel_mb() - kernel_before);
    crowd.stall(false)?;
    crowd.read(SETTLE, |_| false)?;

    say("all come back");
    let (gone, stall_faults) = (crowd.ended.len(), faults(&crowd));
    let back = crowd.come_back(RETURN)?;
    crowd.read(SETTLE, |_| false)?;
    let records = feed.stop()?;
    crowd.drain(records, QUIET)?;
    let waits = plain.stop()?;
    let after = faults(&crowd);
    let back_faults = Faults {
        missed: after.missed - stall_faults.missed,
        told: after.told - stall_faults.told,
        repeated: after.repeated - stall_faults.repeated,
        ended: (crowd.ended.len() - gone) as u64,
    };
    told_of(&crowd, server);
    let (calm, stalled) = (calm.with(&waits), stalled.with(&waits));
    drop(crowd);

    say("few clients, all they can take");
    let busy_models = Models { first: models.first + models.count, count: 1 };
    let wants = vec![busy_models; BUSY_CLIENTS.min(clients)];
    let mut crowd = Crowd::new((server.dialect, server.address), busy_models, wants, false)?;
    crowd.connect(PATIENCE)?;
    crowd.subscribe(PATIENCE)?;
    let plain = Plain::start(kafka, &server.topic, busy_models)?;
    let feed = Feed::start(kafka, &server.topic, PARTITIONS, busy_models, BUSY_RATE, BUSY_PACE)?;
    crowd.read(SETTLE, |_| false)?;
    let busy = watch(&mut crowd, server, options.seconds, || {})?;
    let records = feed.stop()?;
    crowd.drain(records, QUIET)?;
    let busy = busy.with(&plain.stop()?);
    let busy_faults = faults(&crowd);
    told_of(&crowd, server);
    drop(crowd);

    let ingested = match server.ingest() {
        None => None,
        Some((address, topic)) => {
            say("events in");
            Some(ingest::run(kafka, address, &topic, Duration::from_secs(options.seconds))?)
        }
    };
    Ok(Measured {
        idle_kb,
        subscribed_kb,
        calm,
        stalled,
        growth_mb,
        kernel_mb,
        stall_faults,
        back,
        back_faults,
        busy,
        busy_faults,
        ingested,
    })
}

/// A stretch that was watched, without what Kafka took.
struct Watched {
    seen: Vec<Seen>,
    seconds: f64,
    cores: f64,
}

/// Reads for so many seconds, `each` once in every second.
fn watch(crowd: &mut Crowd, server: &Server, seconds: u64, mut each: impl FnMut()) -> Result<Watched> {
    crowd.seen.clear();
    let (start, cpu) = (Instant::now(), cpu_seconds(server.pid()));
    for second in 1..=seconds {
        let left = (start + Duration::from_secs(second)).saturating_duration_since(Instant::now());
        crowd.read(left, |_| false)?;
        each();
    }
    let seconds = start.elapsed().as_secs_f64();
    let cores = (cpu_seconds(server.pid()) - cpu) / seconds;
    Ok(Watched { seen: std::mem::take(&mut crowd.seen), seconds, cores })
}

impl Watched {
    fn with(self, plain: &[u32]) -> Delivered {
        let of_kafka =
            |seen: &Seen| plain.get(seen.record as usize).copied().filter(|wait| *wait != u32::MAX);
        let both = self.seen.iter().filter_map(|seen| Some((f64::from(seen.after), of_kafka(seen)?)));
        Delivered {
            per_second: self.seen.len() as f64 / self.seconds,
            whole: Waits::of(self.seen.iter().map(|seen| f64::from(seen.after)).collect()),
            kafka: Waits::of(self.seen.iter().filter_map(of_kafka).map(f64::from).collect()),
            beyond: Waits::of(both.map(|(whole, kafka)| whole - f64::from(kafka)).collect()),
            cores: self.cores,
        }
    }
}

/// What a client whose connection the server ended did not get, it knows of.
fn faults(crowd: &Crowd) -> Faults {
    let mut all = Faults { ended: crowd.ended.len() as u64, ..Faults::default() };
    for client in crowd.clients.iter().filter(|client| client.stage != Stage::Away) {
        all.missed += client.missed;
        all.told += client.told;
        all.repeated += client.repeated;
    }
    all
}

/// What should not have been, beyond what the table has.
fn told_of(crowd: &Crowd, server: &Server) {
    if crowd.refusals > 0 || crowd.strange > 0 {
        let (refusals, strange) = (crowd.refusals, crowd.strange);
        eprintln!("{}: {refusals} refused ({:?}), {strange} not asked for", server.name(), crowd.refused);
    }
}

/// What the kernel holds for connections, in MB.
fn kernel_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = text.lines().find_map(|line| line.strip_prefix("TCP:")?.split("mem ").nth(1)?.parse().ok());
    pages.map_or(f64::NAN, |pages: f64| pages * 4_096.0 / f64::from(1 << 20))
}

/// Clients that do not read.
pub(super) fn stalled(connections: usize) -> usize {
    connections.div_ceil(STALLING)
}
