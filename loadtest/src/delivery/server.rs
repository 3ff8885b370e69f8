//! The two servers as processes: the real binary in the role of a gateway, and the small one on Centrifuge, which is built
//! at need.

use super::dialect::Dialect;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tidecast_tests::{Kafka, Setup, Tidecast};

/// Partitions of the topics.
pub(super) const PARTITIONS: i32 = 4;
/// Clients that come back are there before those that went are all noticed.
const CONNECTIONS_MAX: usize = 50_000;

/// A server that delivers what is fed into `topic`.
pub(super) struct Server {
    pub dialect: Dialect,
    pub address: SocketAddr,
    pub topic: String,
    process: Process,
}

enum Process {
    Tidecast(Box<(Setup, Tidecast)>),
    Centrifuge(Child),
}

impl Server {
    /// Tidecast's gateway, and nothing else of it.
    pub async fn tidecast(kafka: &Kafka) -> Result<Server> {
        let setup = Setup::new("delivery", kafka).with(&format!(
            "[topics]\npartitions = {PARTITIONS}\n[websocket]\nmax_connections = {CONNECTIONS_MAX}"
        ));
        let topic = setup.topic("predictions");
        kafka.create(&topic, PARTITIONS).await;
        kafka.create(&setup.topic("events"), PARTITIONS).await;
        let tidecast = setup.spawn(&["--role", "gateway"]);
        tidecast.ready().await;
        let address = SocketAddr::from(([127, 0, 0, 1], setup.ports.websocket));
        let process = Process::Tidecast(Box::new((setup, tidecast)));
        Ok(Server { dialect: Dialect::Tidecast, address, topic, process })
    }

    /// The small server on Centrifuge. The error says why there is none.
    pub async fn centrifuge(kafka: &Kafka) -> Result<Server> {
        let program = build()?;
        let topic = tidecast_tests::kafka::unique("centrifuge");
        kafka.create(&topic, PARTITIONS).await;
        let mut command = Command::new(program);
        command.args([kafka.bootstrap(), &topic]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("it was piped")?;
        BufReader::new(out).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("LISTENING ").and_then(|text| text.parse().ok()) else {
            child.kill().ok();
            child.wait().ok();
            bail!("the server on Centrifuge did not start: {line:?}");
        };
        Ok(Server { dialect: Dialect::Centrifuge, address, topic, process: Process::Centrifuge(child) })
    }

    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Tidecast(both) => both.1.pid(),
            Process::Centrifuge(child) => child.id(),
        }
    }

    /// Where events go in and the topic that they go to; Tidecast alone has that.
    pub fn ingest(&self) -> Option<(SocketAddr, String)> {
        let Process::Tidecast(both) = &self.process else { return None };
        Some((SocketAddr::from(([127, 0, 0, 1], both.0.ports.app)), both.0.topic("events")))
    }

    pub fn name(&self) -> &'static str {
        match self.dialect {
            Dialect::Tidecast => "Tidecast",
            Dialect::Centrifuge => "Centrifuge",
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Process::Centrifuge(child) = &mut self.process {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("centrifuge")
}

/// The version in `go.mod`.
pub(super) fn version() -> String {
    let written = std::fs::read_to_string(folder().join("go.mod")).unwrap_or_default();
    let line =
        written.lines().find_map(|line| line.trim().strip_prefix("github.com/centrifugal/centrifuge "));
    line.unwrap_or("?").to_string()
}

/// Builds it beside this program, unless it is there and up to date (Go knows).
fn build() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("centrifuge-peer");
    let built =
        Command::new("go").current_dir(folder()).args(["build", "-o"]).arg(&program).arg(".").output();
    let built = built.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow!("no Go here: install it from go.dev, then run this again"),
        _ => error.into(),
    })?;
    if !built.status.success() {
        bail!("go build: {}", String::from_utf8_lossy(&built.stderr).trim());
    }
    Ok(program)
}
