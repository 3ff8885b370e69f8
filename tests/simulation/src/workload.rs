//! What a seed decides before anything runs: series and models, the input, and how much goes wrong.

use crate::random::Seeded;
use std::sync::Arc;
use tidecast_config::{ModelSpec, RuleSpec, Settings, Sources};

/// The event time at which every history begins, epoch milliseconds.
pub const EPOCH_MS: i64 = 1_732_150_000_000;
/// The consumer group.
pub const GROUP: &str = "simulated";

/// A series in the oracle's words.
#[derive(Debug, Clone)]
pub struct SeriesPlan {
    /// Its name.
    pub name: &'static str,
    /// Grouped by `type`, through a repartition topic; else by `source`.
    pub by_type: bool,
    /// Width of a window.
    pub size_ms: i64,
    /// From one window's start to the next's.
    pub advance_ms: i64,
    /// The watermark stays that far behind.
    pub lateness_ms: i64,
    /// Corrections are made for that long.
    pub grace_ms: i64,
    /// Takes no event of type `noise`.
    pub picky: bool,
}

/// What an input record is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A good event.
    Event {
        /// `source`.
        source: String,
        /// `type`.
        kind: &'static str,
        /// Event time, epoch milliseconds.
        at_ms: i64,
        /// `data.value`.
        value: i64,
    },
    /// One that cannot be used, and the reason that the dead letter must have.
    Poison {
        /// Its bytes.
        bytes: Option<Vec<u8>>,
        /// As in the header.
        reason: &'static str,
    },
    /// A good event of a transaction that is aborted: nobody may see it.
    Aborted,
}

/// One input record.
#[derive(Debug, Clone)]
pub struct Input {
    /// When it arrives, milliseconds of simulated time.
    pub arrives_ms: u64,
    /// Where.
    pub partition: i32,
    /// What.
    pub content: Content,
}

/// How often a step goes wrong, in a thousand; and how often the world does.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The process dies at a step of a commit or of a snapshot.
    pub crash_at_step: u64,
    /// A commit fails and is known to have failed.
    pub refused_commit: u64,
    /// A commit is not answered.
    pub unknown_commit: u64,
    /// A record is not taken.
    pub refused_record: u64,
    /// A record is stored twice (at least once only).
    pub repeated_record: u64,
    /// A snapshot finds no space.
    pub disk_full: u64,
    /// A snapshot is torn or has a flipped bit.
    pub damaged_snapshot: u64,
    /// A step takes long.
    pub slow_step: u64,
    /// Processes that die at any moment.
    pub crashes: u64,
    /// Members that the group gives up while they live.
    pub expulsions: u64,
    /// Members that leave in order and come back.
    pub leaves: u64,
    /// Times the broker is away.
    pub outages: u64,
    /// Transactions that the coordinator gives up.
    pub timeouts: u64,
}

/// A whole history, but for its interleaving.
pub struct Plan {
    /// It.
    pub seed: u64,
    /// Transactions, or at least once.
    pub exactly_once: bool,
    /// Partitions of the input.
    pub partitions: i32,
    /// Processes of the group.
    pub processes: usize,
    /// A partition quiet for that long closes its windows.
    pub idle_after_ms: u64,
    /// Between two snapshots.
    pub snapshot_interval_ms: u64,
    /// The series.
    pub series: Vec<SeriesPlan>,
    /// The models.
    pub models: Vec<ModelSpec>,
    /// A rule on forecasts over a number, in some histories.
    pub rule: Option<(RuleSpec, f64)>,
    /// As the processes read them.
    pub settings: Arc<Settings>,
    /// In the order of arrival.
    pub input: Vec<Input>,
    /// What goes wrong.
    pub faults: Faults,
}

const KINDS: [&str; 3] = ["reading", "click", "noise"];

impl Plan {
    /// Decides all of it.
    pub fn new(seed: u64) -> Plan {
        let mut random = Seeded::new(seed, 1);
        let exactly_once = random.chance(650);
        let partitions = random.between(1, 2) as i32;
        let idle_after_ms = if random.chance(500) { random.between(600, 2_000) } else { 20_000 };
        let snapshot_interval_ms = random.between(150, 1_500);
        let series = series(&mut random);
        let settings = settings(&series, exactly_once, idle_after_ms, snapshot_interval_ms);
        let input = input(&mut random, partitions, idle_after_ms);
        let rule = random.chance(250).then(|| {
            let json = serde_json::json!({"name": "great", "event_type": "FORECAST_GENERATED",
                "condition": "data.get('predicted_value', 0) > 2", "action": "log"});
            (RuleSpec::from_json(&json).expect("a valid rule"), 2.0)
        });
        Plan {
            seed,
            exactly_once,
            partitions,
            processes: if random.chance(600) { 2 } else { 1 },
            idle_after_ms,
            snapshot_interval_ms,
            models: models(&mut random, &series),
            series,
            rule,
            settings: Arc::new(settings),
            input,
            faults: faults(&mut random),
        }
    }

    /// Simulated time until the last record has arrived.
    pub fn input_ms(&self) -> u64 {
        self.input.last().map_or(0, |input| input.arrives_ms)
    }
}

fn series(random: &mut Seeded) -> Vec<SeriesPlan> {
    let picky = random.chance(400);
    let mut all = vec![SeriesPlan {
        name: "tumbling",
        by_type: false,
        size_ms: 1_000,
        advance_ms: 1_000,
        lateness_ms: random.between(0, 4) as i64 * 500,
        grace_ms: random.between(0, 4) as i64 * 1_000,
        picky,
    }];
    if random.chance(400) {
        all.push(SeriesPlan {
            name: "hopping",
            by_type: false,
            size_ms: 3_000,
            advance_ms: 1_000,
            lateness_ms: random.between(0, 2) as i64 * 1_000,
            grace_ms: random.between(0, 2) as i64 * 1_500,
            picky,
        });
    }
    if random.chance(600) {
        all.push(SeriesPlan {
            name: "by_type",
            by_type: true,
            size_ms: 2_000,
            advance_ms: if random.chance(300) { 1_000 } else { 2_000 },
            lateness_ms: random.between(0, 3) as i64 * 700,
            grace_ms: random.between(0, 3) as i64 * 1_000,
            picky,
        });
    }
    all
}

fn settings(series: &[SeriesPlan], exactly_once: bool, idle_after_ms: u64, snapshot_ms: u64) -> Settings {
    let mut text = format!(
        "[kafka]\nbootstrap_servers = [\"localhost:1\"]\ngroup_id = \"{GROUP}\"\nexactly_once = {exactly_once}\n"
    );
    for one in series {
        let SeriesPlan { name, size_ms, advance_ms, lateness_ms, grace_ms, .. } = one;
        let key = if one.by_type { "type" } else { "source" };
        let window = if size_ms == advance_ms {
            format!("{{ kind = \"tumbling\", size = \"{size_ms}ms\" }}")
        } else {
            format!("{{ kind = \"hopping\", size = \"{size_ms}ms\", advance = \"{advance_ms}ms\" }}")
        };
        text += &format!(
            "[[series]]\nname = \"{name}\"\nkey = \"{key}\"\nwindow = {window}\nlateness = \"{lateness_ms}ms\"\n\
             grace = \"{grace_ms}ms\"\nidle_after = \"{idle_after_ms}ms\"\n"
        );
        if one.picky {
            text += "where = 'type != \"noise\"'\n";
        }
    }
    let sources = Sources { file: Some(("simulated.toml".to_owned(), text)), ..Sources::default() };
    let mut settings = Settings::load(&sources).expect("the simulated settings are valid");
    settings.state.snapshot_interval = std::time::Duration::from_millis(snapshot_ms);
    settings
}

fn models(random: &mut Seeded, series: &[SeriesPlan]) -> Vec<ModelSpec> {
    let mut all = Vec::new();
    let family = ["SeasonalNaive", "Theta"][random.below(2) as usize];
    let field = ["event_count", "value.sum", "value.avg"][random.below(3) as usize];
    all.push(serde_json::json!({"model_id": "each", "model_type": family, "series": "tumbling:*",
        "field": field, "horizon": 2, "season": 2, "anomaly_threshold": 0.7}));
    if series.iter().any(|one| one.by_type) {
        all.push(serde_json::json!({"model_id": "readings", "model_type": "SeasonalNaive",
            "series": "by_type:reading", "field": "event_count", "horizon": 3, "season": 1}));
    }
    all.iter().map(|json| ModelSpec::from_json(json).expect("a valid model")).collect()
}

fn input(random: &mut Seeded, partitions: i32, idle_after_ms: u64) -> Vec<Input> {
    let pauses = idle_after_ms < 10_000;
    let mut all = Vec::new();
    for partition in 0..partitions {
        let (mut arrives_ms, mut now_ms) = (random.below(100), EPOCH_MS + random.below(1_000) as i64);
        for _ in 0..random.between(15, 70) {
            arrives_ms += random.below(60);
            now_ms += random.between(10, 300) as i64;
            if pauses && random.chance(40) {
                // Quiet for long enough that windows close, or nearly.
                arrives_ms += idle_after_ms / 2 + random.below(2 * idle_after_ms);
            }
            if random.chance(30) {
                now_ms += random.between(2_000, 8_000) as i64;
            }
            let behind = match random.below(20) {
                0 => random.below(9_000) as i64,
                1..=4 => random.below(2_000) as i64,
                _ => 0,
            };
            let kind = KINDS[random.below(3) as usize];
            let content = match random.below(40) {
                0 => poison(random, arrives_ms),
                1 => Content::Aborted,
                _ => Content::Event {
                    // Keys belong to one partition, as a producer's do.
                    source: format!("s{}", random.below(3) as i32 * partitions + partition),
                    kind,
                    at_ms: now_ms - behind,
                    value: random.below(1_000) as i64 - 300,
                },
            };
            all.push(Input { arrives_ms, partition, content });
        }
    }
    // Stable: what arrives at the same moment stays in its partition's order.
    all.sort_by_key(|input| input.arrives_ms);
    all
}

fn poison(random: &mut Seeded, arrives_ms: u64) -> Content {
    let ahead = (EPOCH_MS + arrives_ms as i64) / 1_000 + 200_000;
    let (bytes, reason) = match random.below(6) {
        0 => (None, "empty"),
        1 => (Some("{\"source\": \"s0\"".to_owned()), "invalid_json"),
        2 => (Some("{\"source\": \"s0\", \"type\": \"reading\"}".to_owned()), "missing_field"),
        3 => (Some("{\"source\": 7, \"type\": \"reading\", \"data\": {}}".to_owned()), "wrong_type"),
        4 => (Some("{\"source\": \"s0\", \"type\": \"trips\", \"data\": {}}".to_owned()), "panic"),
        _ => (
            Some(format!(
                "{{\"source\": \"s0\", \"type\": \"reading\", \"timestamp\": {ahead}, \"data\": {{}}}}"
            )),
            "future_timestamp",
        ),
    };
    Content::Poison { bytes: bytes.map(String::into_bytes), reason }
}

fn faults(random: &mut Seeded) -> Faults {
    if random.chance(50) {
        return Faults::default();
    }
    let mut some = |of: u64, most: u64| if random.chance(of) { random.between(1, most) } else { 0 };
    Faults {
        crash_at_step: some(500, 15),
        refused_commit: some(400, 60),
        unknown_commit: some(400, 60),
        refused_record: some(200, 5),
        repeated_record: some(500, 80),
        disk_full: some(250, 900),
        damaged_snapshot: some(350, 500),
        slow_step: some(500, 150),
        crashes: some(600, 3),
        expulsions: some(400, 2),
        leaves: some(300, 1),
        outages: some(250, 2),
        timeouts: some(300, 2),
    }
}

impl Content {
    /// The record's bytes.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Content::Event { source, kind, at_ms, value } => Some(
                format!(
                    "{{\"source\":\"{source}\",\"type\":\"{kind}\",\"timestamp\":{at_ms},\"data\":{{\"value\":{value}}}}}"
                )
                .into_bytes(),
            ),
            Content::Poison { bytes, .. } => bytes.clone(),
            Content::Aborted => Some(
                b"{\"source\":\"unseen\",\"type\":\"reading\",\"timestamp\":1732150000000,\"data\":{\"value\":1}}".to_vec(),
            ),
        }
    }
}
