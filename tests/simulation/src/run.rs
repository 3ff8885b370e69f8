//! One history from its seed: input arrives, things go wrong, then calm; when all is settled the oracle judges.

use crate::broker::{Broker, Entry, Mutation, Stored};
use crate::group::Group;
use crate::process::{Process, World};
use crate::random::Seeded;
use crate::verdict;
use crate::workload::{Content, EPOCH_MS, GROUP, Plan};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tidecast_event::TopicPartition;
use tokio::time::Instant;

/// Simulated time that a history may take to settle once nothing goes wrong any more.
const SETTLE: Duration = Duration::from_secs(180);

/// What became of a history.
#[derive(Debug, Default)]
pub struct Report {
    /// What the oracle finds wrong; empty when all is exact.
    pub problems: Vec<String>,
    /// What happened, for who looks into it.
    pub notes: Vec<String>,
    /// Of everything that was written and committed: the same for the same seed.
    pub trace: u64,
    /// Windows, forecasts and crashes seen, so that nobody mistakes an empty history for a good one.
    pub windows: usize,
    /// Forecasts committed.
    pub forecasts: usize,
    /// Processes that died.
    pub deaths: usize,
}

enum Action {
    Input(usize),
    Start(usize),
    Crash(usize),
    Expel(usize),
    Hear(usize),
    Silent(String),
    Leave(usize),
    Away(bool),
    TimeOut(usize),
}

/// Runs the history of a seed.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread");
    // A memory file system where there is one: the faults of the disk are simulated, its slowness too.
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("tidecast-simulation").tempdir_in(place).expect("a folder");
    let plan = Plan::new(seed);
    let report =
        runtime.block_on(async { History::begin(plan, dir.path().to_owned(), mutation).run().await });
    drop(runtime);
    report
}

struct History {
    world: Arc<World>,
    random: Seeded,
    slots: Vec<Option<Process>>,
    /// (when, in which order, what).
    actions: Vec<(u64, u64, Action)>,
    ordered: u64,
    started: u64,
    begun: Instant,
    deaths: usize,
}

impl History {
    fn begin(plan: Plan, dir: PathBuf, mutation: Option<Mutation>) -> History {
        let mut topics: Vec<(String, i32)> = vec![
            ("analytics-events".to_owned(), plan.partitions),
            ("streaming-aggregates".to_owned(), 2),
            ("ml-predictions".to_owned(), 1),
            ("streaming-alerts".to_owned(), 1),
            ("streaming-events-dlq".to_owned(), 1),
        ];
        let mut inputs = vec!["analytics-events".to_owned()];
        for one in plan.series.iter().filter(|one| one.by_type) {
            let topic = format!("{GROUP}-{}-repartition", one.name);
            topics.push((topic.clone(), 2));
            inputs.push(topic);
        }
        let seed = plan.seed;
        let broker = Broker::new(&topics, Seeded::new(seed, 3), mutation);
        let read = broker.logs.keys().filter(|place| inputs.iter().any(|name| *name == *place.topic));
        let group = Group::new(read.cloned().collect::<Vec<_>>().into_iter());
        History {
            slots: (0..plan.processes).map(|_| None).collect(),
            world: World::new(plan, broker, group, dir),
            random: Seeded::new(seed, 4),
            actions: Vec::new(),
            ordered: 0,
            started: 0,
            begun: Instant::now(),
            deaths: 0,
        }
    }

    fn at(&mut self, millis: u64, action: Action) {
        self.ordered += 1;
        self.actions.push((millis, self.ordered, action));
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn plan_faults(&mut self) {
        let world = self.world.clone();
        let (faults, end) = (&world.plan.faults, world.plan.input_ms() + 500);
        let slots = self.slots.len() as u64;
        for _ in 0..faults.crashes {
            let (at, slot) = (self.random.below(end), self.random.below(slots) as usize);
            self.at(at, Action::Crash(slot));
        }
        for _ in 0..faults.expulsions {
            let (at, slot) = (self.random.below(end), self.random.below(slots) as usize);
            self.at(at, Action::Expel(slot));
        }
        for _ in 0..faults.leaves {
            let (at, slot) = (self.random.below(end), self.random.below(slots) as usize);
            self.at(at, Action::Leave(slot));
        }
        for _ in 0..faults.outages {
            let at = self.random.below(end);
            self.at(at, Action::Away(true));
            let back = at + self.random.below(2_000);
            self.at(back, Action::Away(false));
        }
        for _ in 0..faults.timeouts {
            let (at, slot) = (self.random.below(end), self.random.below(slots) as usize);
            self.at(at, Action::TimeOut(slot));
        }
    }

    async fn run(mut self) -> Report {
        let world = self.world.clone();
        for at in 0..world.plan.input.len() {
            self.at(world.plan.input[at].arrives_ms, Action::Input(at));
        }
        self.at(0, Action::Start(0));
        for slot in 1..self.slots.len() {
            let at = if self.random.chance(500) { 0 } else { self.random.below(world.plan.input_ms() + 1) };
            self.at(at, Action::Start(slot));
        }
        self.plan_faults();
        let end = world.plan.input_ms() + 600;
        let mut problems = Vec::new();
        while let Err(why) = self.until(end).await {
            problems.push(why);
        }
        world.calm.store(true, SeqCst);
        world.broker().away = false;
        let settled = self.settle().await;
        problems.extend(settled.err());
        if problems.is_empty() {
            let live: Vec<&Process> =
                self.slots.iter().flatten().filter(|process| process.life.is_alive()).collect();
            problems = verdict::judge(&world, &live);
        }
        let broker = world.broker();
        let count = |topic: &str| {
            let places = broker.logs.keys().filter(|place| &*place.topic == topic);
            places.map(|place| broker.read_committed(place).count()).sum()
        };
        Report {
            problems,
            notes: world.notes(),
            trace: broker.trace,
            windows: count("streaming-aggregates"),
            forecasts: count("ml-predictions"),
            deaths: self.deaths,
        }
    }

    /// Carries out what is due by `end`, and looks after those that die.
    async fn until(&mut self, end: u64) -> Result<(), String> {
        loop {
            self.bury();
            let next = (self.actions.iter().enumerate())
                .min_by_key(|(_, (at, order, _))| (*at, *order))
                .map(|(place, (at, ..))| (place, *at));
            let Some((place, at)) = next.filter(|(_, at)| *at <= end) else {
                let rest = end.saturating_sub(self.now());
                if rest == 0 {
                    return Ok(());
                }
                // Somebody dies meanwhile, or nobody does.
                let _ = tokio::time::timeout(Duration::from_millis(rest), self.world.died.notified()).await;
                continue;
            };
            let wait = at.saturating_sub(self.now());
            if wait > 0 {
                let died = self.world.died.notified();
                if tokio::time::timeout(Duration::from_millis(wait), died).await.is_ok() {
                    continue;
                }
            }
            let (_, _, action) = self.actions.swap_remove(place);
            self.act(action).await?;
        }
    }

    /// Clears away processes that have died, has the group notice, and starts them again after a while.
    fn bury(&mut self) {
        let dead = std::mem::take(&mut *self.world.deaths.lock().expect("one thread"));
        for slot in dead {
            let Some(process) = self.slots[slot].take_if(|process| !process.life.is_alive()) else {
                continue;
            };
            let member = process.life.member();
            process.kill();
            self.deaths += 1;
            let now = self.now();
            let (noticed, back) = (
                self.random.between(300, 1_500),
                if self.random.chance(300) { 3_500 } else { self.random.between(5, 1_200) },
            );
            self.at(now + noticed, Action::Silent(member));
            self.at(now + back, Action::Start(slot));
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), String> {
        let world = self.world.clone();
        match action {
            Action::Input(at) => self.input(at),
            Action::Start(slot) if self.slots[slot].is_none() => {
                self.started += 1;
                self.slots[slot] = Some(Process::start(&world, slot, self.started).await?);
            }
            Action::Crash(slot) => {
                if let Some(process) = &self.slots[slot] {
                    process.life.crash();
                }
            }
            Action::Expel(slot) => {
                if let Some(process) = &self.slots[slot] {
                    process.life.cut_off(true);
                    world.group().remove(&mut world.broker(), &process.life.member());
                    let at = self.now() + self.random.below(1_500);
                    self.at(at, Action::Hear(slot));
                }
            }
            Action::Hear(slot) => {
                if let Some(process) = &self.slots[slot] {
                    process.life.cut_off(false);
                }
            }
            Action::Silent(member) => {
                let mut group = world.group();
                group.remove(&mut world.broker(), &member);
            }
            Action::Leave(slot) => {
                if let Some(process) = &self.slots[slot] {
                    process.life.leave();
                }
            }
            Action::Away(away) => world.broker().away = away,
            Action::TimeOut(slot) => world.broker().time_out(&format!("simulated-{slot}")),
            Action::Start(_) => {}
        }
        Ok(())
    }

    fn input(&mut self, at: usize) {
        let input = &self.world.plan.input[at];
        let place = TopicPartition::new("analytics-events", input.partition);
        let key = match &input.content {
            Content::Event { source, .. } => Some(Bytes::from(source.clone())),
            _ => None,
        };
        let record = Stored {
            key,
            value: input.content.bytes().map(Bytes::from),
            timestamp_ms: EPOCH_MS + input.arrives_ms as i64,
            ..Stored::default()
        };
        let mut broker = self.world.broker();
        if matches!(input.content, Content::Aborted) {
            let transaction = broker.begin();
            broker.append(&place, record, Some(transaction));
            broker.end(transaction, false);
        } else {
            broker.append(&place, record, None);
        }
    }

    /// Waits until everything is read, committed and closed.
    async fn settle(&mut self) -> Result<(), String> {
        let world = self.world.clone();
        let begun = Instant::now();
        let quiet = Duration::from_millis(world.plan.idle_after_ms + 1_500);
        let (mut written, mut since) = (0, Instant::now());
        loop {
            for slot in 0..self.slots.len() {
                let now = self.now();
                if let Some(process) = &self.slots[slot] {
                    process.life.cut_off(false);
                }
                self.at(now, Action::Start(slot));
            }
            self.until(self.now() + 250).await?;
            let total: usize = world.broker().logs.values().map(Vec::len).sum();
            let behind = self.behind();
            if total != written || !behind.is_empty() {
                (written, since) = (total, Instant::now());
            } else if since.elapsed() > quiet {
                return Ok(());
            }
            if begun.elapsed() > SETTLE {
                return Err(format!("not settled {SETTLE:?} after the last fault: {behind:?}"));
            }
        }
    }

    /// Partitions whose committed offset is not the end of their log.
    fn behind(&self) -> Vec<String> {
        let broker = self.world.broker();
        let is_input = |place: &TopicPartition| {
            &*place.topic == "analytics-events" || place.topic.ends_with("-repartition")
        };
        let behind = |place: &TopicPartition, log: &[Entry]| match broker.committed(place) {
            Ok(Some(committed)) => committed.offset != log.len() as i64,
            Ok(None) => !log.is_empty(),
            Err(_) => true,
        };
        let inputs = broker.logs.iter().filter(|(place, _)| is_input(place));
        inputs.filter(|(place, log)| behind(place, log)).map(|(place, _)| place.to_string()).collect()
    }
}
