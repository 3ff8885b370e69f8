//! One test's world: its configuration file, topics, group, ports and state folder.

use crate::kafka::{Kafka, unique};
use crate::process::Tidecast;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The addresses of the three listeners.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// REST, SSE, pages and ingest.
    pub app: u16,
    /// The WebSocket listener.
    pub websocket: u16,
    /// Health and metrics.
    pub admin: u16,
}

/// A configuration for one test; [`Setup::start`] runs the binary with it, any number of times.
pub struct Setup {
    /// The names of the topics carry this, and so does the group.
    pub name: String,
    /// Where its listeners are.
    pub ports: Ports,
    table: Table,
    env: BTreeMap<String, String>,
    within: Vec<String>,
    folder: tempfile::TempDir,
}

impl Setup {
    /// Topics of two partitions, a group and a folder of its own.
    pub fn new(what: &str, kafka: &Kafka) -> Setup {
        Setup::at(what, kafka.bootstrap())
    }

    /// The same for a broker that need not be there.
    pub fn at(what: &str, bootstrap: &str) -> Setup {
        let name = unique(what);
        let ports = free_ports();
        let folder = tempfile::Builder::new().prefix("tidecast-test").tempdir().unwrap();
        let mut setup =
            Setup { name, ports, table: Table::new(), env: BTreeMap::new(), within: Vec::new(), folder };
        let (name, state) = (setup.name.clone(), setup.folder.path().join("state"));
        let Ports { app, websocket, admin } = ports;
        setup.add(&format!(
            r#"
            [kafka]
            bootstrap_servers = ["{bootstrap}"]
            group_id = "{name}"
            [topics]
            events = "{name}.events"
            aggregates = "{name}.aggregates"
            predictions = "{name}.predictions"
            alerts = "{name}.alerts"
            metrics = "{name}.metrics"
            dlq = "{name}.dlq"
            partitions = 2
            [app]
            port = {app}
            [websocket]
            port = {websocket}
            [admin]
            port = {admin}
            [state]
            dir = "{}"
            "#,
            state.display()
        ));
        setup
    }

    /// Adds settings in TOML: tables are merged, lists of tables grow, anything else is replaced.
    pub fn with(mut self, toml: &str) -> Setup {
        self.add(toml);
        self
    }

    /// Leaves a table of the settings, or a list of them, out again.
    pub fn without(mut self, table: &str) -> Setup {
        self.table.remove(table);
        self
    }

    /// An environment variable for the process; it gets no other but `PATH`.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.insert(name.to_string(), value.to_string());
        self
    }

    /// A command that starts the binary in its own place: it takes the binary and its arguments behind its own words.
    pub fn within(mut self, command: &[&str]) -> Setup {
        self.within = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The full name of a topic: `events`, `aggregates`, `predictions`, `alerts`, `metrics` or `dlq`.
    pub fn topic(&self, which: &str) -> String {
        format!("{}.{which}", self.name)
    }

    /// The folder of this test, which is the working directory of the process.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the binary and waits until it is ready.
    pub async fn start(&self) -> Tidecast {
        let tidecast = self.spawn(&[]);
        tidecast.ready().await;
        tidecast
    }

    /// Starts `tidecast run` without waiting for anything.
    pub fn spawn(&self, arguments: &[&str]) -> Tidecast {
        self.run(arguments, self.ports)
    }

    /// The same for another process of the group, with listeners of its own and its state in a folder of that name.
    pub fn beside(&self, name: &str, arguments: &[&str]) -> Tidecast {
        let ports = free_ports();
        let settings = [
            format!("app.port={}", ports.app),
            format!("websocket.port={}", ports.websocket),
            format!("admin.port={}", ports.admin),
            format!("state.dir={}", self.folder().join(name).display()),
        ];
        let mut all = arguments.to_vec();
        all.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        self.run(&all, ports)
    }

    fn run(&self, arguments: &[&str], ports: Ports) -> Tidecast {
        let file = self.write();
        let mut all = vec!["run", "--config", file.to_str().unwrap()];
        all.extend(arguments);
        Tidecast::spawn(&self.within, &all, &self.env, self.folder.path(), ports)
    }

    /// Starts the binary with any arguments, in this test's folder and environment.
    pub fn command(&self, arguments: &[&str]) -> Tidecast {
        Tidecast::spawn(&self.within, arguments, &self.env, self.folder.path(), self.ports)
    }

    /// Writes the configuration file and returns its path.
    pub fn write(&self) -> PathBuf {
        let path = self.folder.path().join("tidecast.toml");
        // In one step: a process that was started before may be reading it.
        let new = self.folder.path().join("tidecast.toml.new");
        std::fs::write(&new, toml::to_string(&self.table).unwrap()).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    fn add(&mut self, text: &str) {
        let more: Table = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
        merge(&mut self.table, more);
    }
}

fn merge(into: &mut Table, more: Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if new.iter().all(Value::is_table) => {
                old.extend(new)
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn free_ports() -> Ports {
    let taken: Vec<_> = (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
    let port = |i: usize| taken[i].local_addr().unwrap().port();
    Ports { app: port(0), websocket: port(1), admin: port(2) }
}
