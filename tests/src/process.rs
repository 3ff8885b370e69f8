//! The real binary as a child process, and plain HTTP calls to it.

use crate::setup::Ports;
use crate::socket::Socket;
use crate::wait::eventually;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

/// Names the binary under test; without it, the one beside the test in the target folder.
pub const BINARY: &str = "TIDECAST_BIN";
/// How long a start may take on a busy machine: topics made, group joined, state read.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A running (or ended) process.
pub struct Tidecast {
    child: Child,
    ended: Option<ExitStatus>,
    log: PathBuf,
    ports: Ports,
}

/// A status and a body, JSON where it is.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// `content-type`, empty without one.
    pub kind: String,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{} {e}: {}", self.status, self.text))
    }

    /// The body as JSON, when the status is the one expected.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

impl Tidecast {
    /// Starts the binary with nothing in its environment but `PATH` and what is given; `within` is the command that
    /// starts it, nothing for none.
    pub fn spawn(
        within: &[String],
        arguments: &[&str],
        env: &BTreeMap<String, String>,
        folder: &Path,
        ports: Ports,
    ) -> Tidecast {
        let log = folder.join(format!("{}.log", crate::kafka::unique("tidecast")));
        let out = File::create(&log).unwrap();
        let mut command = match within {
            [] => Command::new(binary()),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(binary());
                command
            }
        };
        command
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default());
        command.envs(env).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}: build it first", binary().display()));
        Tidecast { child, ended: None, log, ports }
    }

    /// Waits until `/health/ready` answers 200; fails at once when the process ends instead.
    pub async fn ready(&self) {
        let ready = async || {
            assert!(self.is_running(), "ended before it was ready:\n{}", self.log());
            let answer = self.try_get(self.ports.admin, "/health/ready").await?;
            (answer.status == 200).then_some(())
        };
        eventually("/health/ready", READY_LIMIT, ready).await;
    }

    /// Everything it wrote to standard output and standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while the process has not ended (a zombie has).
    pub fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        self.ended.is_none() && !matches!(state, None | Some('Z' | 'X'))
    }

    /// SIGKILL: nothing in it gets a chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.ended = Some(self.child.wait().unwrap());
    }

    /// SIGTERM; returns how it ended and how long that took.
    pub async fn terminate(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success(), "it had ended already:\n{}", self.log());
        (self.exit(limit).await, start.elapsed())
    }

    /// Waits for it to end by itself.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let status = eventually("the process ends", limit, async || self.child.try_wait().unwrap()).await;
        self.ended = Some(status);
        status
    }

    /// Where the listeners are.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// `GET` on the app listener.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// `GET` on the admin listener.
    pub async fn admin(&self, path: &str) -> Answer {
        self.try_get(self.ports.admin, path)
            .await
            .unwrap_or_else(|| panic!("{path}: no answer:\n{}", self.log()))
    }

    /// `POST` of JSON on the app listener.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Any call on the app listener.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.app);
        let mut request = http().request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{url}: {e}:\n{}", self.log()));
        read(answer).await.unwrap()
    }

    /// `GET`, or nothing while nobody listens.
    pub async fn try_get(&self, port: u16, path: &str) -> Option<Answer> {
        let answer = http().get(format!("http://127.0.0.1:{port}{path}")).send().await.ok()?;
        read(answer).await
    }

    /// The value of a metric: the sum over all samples of that name that carry all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.admin("/metrics").await.text;
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let (tags, value) = match rest.strip_prefix('{') {
                Some(tagged) => tagged.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let all = labels.iter().all(|(key, value)| tags.contains(&format!("{key}=\"{value}\"")));
            if all { value.split(' ').next()?.parse::<f64>().ok() } else { None }
        };
        let found: Vec<f64> = text.lines().filter_map(of).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// Waits until a metric is `value`: counters are told between batches, a moment after what they count can be seen
    /// on a topic.
    pub async fn metric_becomes(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        eventually(&format!("{name} {labels:?} becomes {value}"), Duration::from_secs(20), async || {
            (self.metric(name, labels).await == Some(value)).then_some(())
        })
        .await;
    }

    /// A client on `/forecast-updates`.
    pub async fn subscribe_socket(&self) -> Socket {
        Socket::open(&format!("ws://127.0.0.1:{}/forecast-updates", self.ports.websocket)).await
    }

    /// A client on `/ws/ingest`.
    pub async fn ingest_socket(&self) -> Socket {
        Socket::open(&format!("ws://127.0.0.1:{}/ws/ingest", self.ports.app)).await
    }
}

impl Drop for Tidecast {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the end of its log ---\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os(BINARY) {
        return path.into();
    }
    // A test lies in `deps`, below the folder of the programs; a program lies beside it.
    let own = std::env::current_exe().unwrap();
    let beside = own.with_file_name("tidecast");
    if beside.exists() { beside } else { own.parent().unwrap().parent().unwrap().join("tidecast") }
}

async fn read(answer: reqwest::Response) -> Option<Answer> {
    let status = answer.status();
    let kind =
        answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    Some(Answer { status, kind, text: answer.text().await.ok()? })
}

/// A client that follows no redirect and asks no proxy. The crypto provider is named once: reqwest asks for one even
/// where all is plain text.
pub fn http() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
    // Each test has a runtime of its own, and a pooled connection dies with the runtime that made it: keep none.
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let build = || {
        let plain = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        plain.pool_max_idle_per_host(0).timeout(Duration::from_secs(20)).build().unwrap()
    };
    CLIENT.get_or_init(build).clone()
}
