//! The same task for Tidecast and for other stream processors, one after the other on one broker in one run: how fast, how
//! soon after a kill, how soon after the watermark.
//!
//! The others come with a launcher of their own, a folder with a program `run` (`run kafka|build|fill|stop`, `run PEER WORKLOAD
//! RUNS`, `run recover PEER`, `run latency PEER`), which knows every event and checks every window; it is not part of this
//! repository. Tidecast is given to it as one peer more (`peer.sh`), in a copy of that folder.

use crate::table::{print, short};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What to run.
#[derive(Args, Clone)]
pub struct Options {
    /// The launcher's folder.
    #[arg(long)]
    pub folder: PathBuf,
    /// Peers beside Tidecast, by the launcher's names.
    #[arg(long, value_delimiter = ',', default_values_t = ["flink2-eos", "streams-mem-eos", "jet"].map(String::from))]
    pub peers: Vec<String>,
    /// Peers that are given an eighth of the events, as they are slow.
    #[arg(long, value_delimiter = ',', default_values_t = ["bytewax", "quix"].map(String::from))]
    pub slow: Vec<String>,
    /// Peers that are killed in the middle, beside Tidecast.
    #[arg(long, value_delimiter = ',', default_values_t = ["flink2-eos", "streams-mem-eos"].map(String::from))]
    pub killed: Vec<String>,
    /// Peers whose output's delay is measured at 50,000 events a second, beside Tidecast.
    #[arg(long, value_delimiter = ',', default_values_t = ["flink2-eos", "streams-mem-eos"].map(String::from))]
    pub timed: Vec<String>,
    /// Rounds: in each, every peer runs once.
    #[arg(long, default_value_t = 2)]
    pub runs: u32,
    /// Events in the topic.
    #[arg(long, default_value_t = 4_000_000)]
    pub events: u64,
}

/// Our own name among them.
const US: &str = "tidecast";
/// Settings without which the others show their waiting rather than their working: checkpoints and commits ten times as often
/// as usual where delay is measured, the shortest session where a kill is.
const TUNED: [(&str, &str); 4] =
    [("P_CHECKPOINT_MS", "200"), ("P_COMMIT_MS", "100"), ("P_LINGER_MS", "5"), ("P_SESSION_MS", "6000")];

/// A line of the launcher's results.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Measured {
    Rate(Rate),
    Recovery(Recovery),
    Latency(Latency),
}

#[derive(Debug, Deserialize)]
struct Rate {
    peer: String,
    workload: String,
    n: u64,
    eps: f64,
    cpu_s: f64,
    eps_cpu: f64,
    rss_mb: f64,
    broker_cpu_s: f64,
    others_cpu_s: f64,
    exact: bool,
}

#[derive(Debug, Deserialize)]
struct Recovery {
    peer: String,
    recovery_s: f64,
    exact: bool,
}

#[derive(Debug, Deserialize)]
struct Latency {
    peer: String,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

/// Runs and prints.
pub fn run(options: &Options) -> Result<()> {
    let launcher = Launcher::new(&options.folder, options.events)?;
    launcher.run(&["build"])?;
    launcher.run(&["kafka"])?;
    let outcome = measure(&launcher, options);
    launcher.run(&["stop"])?;
    let measured = outcome.and_then(|()| launcher.results())?;
    tell(&measured);
    let inexact = measured.iter().any(|line| match line {
        Measured::Rate(Rate { peer, exact, .. }) | Measured::Recovery(Recovery { peer, exact, .. }) => {
            peer == US && !exact
        }
        Measured::Latency(_) => false,
    });
    if inexact { bail!("windows of ours are not exact") } else { Ok(()) }
}

fn measure(launcher: &Launcher, options: &Options) -> Result<()> {
    let few = (options.events / 8).to_string();
    launcher.run(&["fill"])?;
    if !options.slow.is_empty() {
        launcher.with("N", &few).run(&["fill"])?;
    }
    // The first to read a topic pays for the broker's start: it is not counted.
    launcher.run(&["raw", "plain"])?;
    launcher.forget()?;
    for _ in 0..options.runs {
        for workload in ["tumbling", "hopping"] {
            for peer in us_and(&options.peers) {
                launcher.run(&[peer, workload, "1"])?;
            }
        }
    }
    for peer in &options.slow {
        launcher.with("N", &few).run(&[peer, "tumbling", "1"])?;
    }
    let tuned = TUNED.iter().fold(launcher.clone(), |launcher, (name, value)| launcher.with(name, value));
    for _ in 0..options.runs {
        for peer in us_and(&options.killed) {
            tuned.run(&["recover", peer])?;
        }
    }
    for _ in 0..options.runs {
        for peer in us_and(&options.timed) {
            tuned.run(&["latency", peer])?;
        }
    }
    Ok(())
}

fn us_and(peers: &[String]) -> impl Iterator<Item = &str> {
    [US].into_iter().chain(peers.iter().map(String::as_str))
}

fn tell(measured: &[Measured]) {
    let yes = |exact: bool| if exact { "yes" } else { "no" }.to_owned();
    let (mut rates, mut recoveries, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for line in measured {
        match line {
            Measured::Rate(r) => rates.push(vec![
                r.peer.clone(),
                r.workload.clone(),
                short(r.n as f64),
                short(r.eps),
                format!("{:.1}", r.cpu_s),
                short(r.eps_cpu),
                format!("{:.0}", r.rss_mb),
                format!("{:.1}", r.broker_cpu_s),
                format!("{:.1}", r.others_cpu_s),
                yes(r.exact),
            ]),
            Measured::Recovery(r) => {
                recoveries.push(vec![r.peer.clone(), format!("{:.2}", r.recovery_s), yes(r.exact)]);
            }
            Measured::Latency(l) => {
                let cell =
                    |ms: Option<f64>| ms.map_or_else(|| "no output".to_owned(), |ms| format!("{ms:.1}"));
                let quantiles = [l.p50_ms, l.p95_ms, l.p99_ms, l.max_ms].map(cell);
                latencies.push([l.peer.clone()].into_iter().chain(quantiles).collect());
            }
        }
    }
    print(
        &[
            "peer",
            "windows",
            "events",
            "events/s",
            "CPU-s",
            "events/CPU-s",
            "peak MB",
            "broker CPU-s",
            "other CPU-s",
            "exact",
        ],
        &rates,
    );
    println!();
    print(&["killed", "s to the first new window", "exact"], &recoveries);
    println!();
    print(&["watermark to committed output", "p50 ms", "p95 ms", "p99 ms", "max ms"], &latencies);
}

/// A copy of the launcher that knows of us.
#[derive(Clone)]
struct Launcher {
    folder: PathBuf,
    cache: PathBuf,
    settings: Vec<(String, String)>,
}

impl Launcher {
    fn new(original: &Path, events: u64) -> Result<Launcher> {
        let cache = std::env::var_os("PEERS_CACHE").map_or_else(|| "/tmp/peers-cache".into(), PathBuf::from);
        let folder = cache.join("launcher");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        copy(original, &folder)
            .with_context(|| format!("{} is not a launcher's folder", original.display()))?;
        let launcher = Launcher { folder, cache, settings: vec![("N".to_owned(), events.to_string())] };
        launcher.add_us()?;
        launcher.forget()?;
        Ok(launcher)
    }

    /// Its list of peers has a line for each: one more.
    fn add_us(&self) -> Result<()> {
        let list = self.folder.join("bench.py");
        let text = fs::read_to_string(&list).with_context(|| format!("{} has the peers", list.display()))?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peer.sh");
        let line = format!("PEERS = {{\n    {US:?}: ([{script:?}], dict(GUARANTEE=\"eos\")),\n");
        ensure!(text.matches("PEERS = {\n").count() == 1, "{} has no list of peers", list.display());
        Ok(fs::write(list, text.replacen("PEERS = {\n", &line, 1))?)
    }

    fn with(&self, name: &str, value: &str) -> Launcher {
        let mut with = self.clone();
        with.settings.push((name.to_owned(), value.to_owned()));
        with
    }

    /// What it says goes to standard error: standard output is for the tables.
    fn run(&self, arguments: &[&str]) -> Result<()> {
        eprintln!("run {}", arguments.join(" "));
        let mut command = Command::new(self.folder.join("run"));
        command.args(arguments).envs(self.settings.iter().cloned()).env("PEERS_CACHE", &self.cache);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(std::io::stderr());
        let status =
            command.status().with_context(|| format!("{} has a program run", self.folder.display()))?;
        ensure!(status.success(), "run {}: {status}", arguments.join(" "));
        Ok(())
    }

    /// Results so far are of other runs.
    fn forget(&self) -> Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(self.results_file())?;
        Ok(file.flush()?)
    }

    fn results_file(&self) -> PathBuf {
        self.cache.join("results.jsonl")
    }

    fn results(&self) -> Result<Vec<Measured>> {
        let text = fs::read_to_string(self.results_file())?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
