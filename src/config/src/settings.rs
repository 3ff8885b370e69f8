//! Settings as valid: typed, checked, ready to be used.

use crate::error::{ConfigError, Origin};
use crate::kafka_settings::Kafka;
use crate::model::ModelSpec;
use crate::place::SharedPlace;
use crate::rule::RuleSpec;
use crate::series::SeriesSpec;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration. Secrets inside print as `[REDACTED]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Parts of the service that this process runs.
    pub roles: Vec<Role>,
    /// Connection to Kafka.
    pub kafka: Kafka,
    /// Topic names and shapes.
    pub topics: Topics,
    /// Dashboard, REST, ingest.
    pub app: Listener,
    /// `/forecast-updates`.
    pub websocket: WebSocket,
    /// Health and metrics.
    pub admin: Admin,
    /// Listeners that may be bound past loopback without authentication.
    pub insecure_listeners: Vec<ListenerName>,
    /// Origins (`scheme://host[:port]`, lower case) of other sites whose pages may call here.
    pub allowed_origins: Vec<String>,
    /// Hosts, in any case, whose private addresses webhooks may reach although others than the machine's own people may write
    /// rules: with `[auth]`.
    pub webhook_hosts: Vec<String>,
    /// Per-client limits.
    pub limits: Limits,
    /// Events that come in by HTTP and WebSocket.
    pub ingest: Ingest,
    /// Snapshots.
    pub state: State,
    /// Who may come in; `None`: everybody (loopback, or insecure by choice).
    pub auth: Option<Auth>,
    /// Models while running.
    pub realtime_ml: RealtimeMl,
    /// The system's own metrics.
    pub monitoring: Monitoring,
    /// The mail server of `send_alert`; `None`: no mail is sent.
    pub smtp: Option<Smtp>,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// `[[series]]`, or the two of the contract where there is none.
    pub series: Vec<SeriesSpec>,
    /// `[[models]]`.
    pub models: Vec<ModelSpec>,
    /// `[[rules]]`, the built-in ones not among them.
    pub rules: Vec<RuleSpec>,
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// A part of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads events, closes windows, forecasts, evaluates rules.
    Worker,
    /// Serves REST, WebSocket and the dashboard.
    Gateway,
    /// Runs export jobs.
    Exporter,
}

/// Topic names, and the shape of those that have to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Events in.
    pub events: String,
    /// Windows.
    pub aggregates: String,
    /// Forecasts.
    pub predictions: String,
    /// Anomalies and fired rules.
    pub alerts: String,
    /// Own metrics.
    pub metrics: String,
    /// Rejected input.
    pub dlq: String,
    /// Partitions of a topic that is made.
    pub partitions: i32,
    /// Replicas of a topic that is made.
    pub replication: i32,
}

/// One of the three listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerName {
    /// Dashboard, REST, ingest.
    App,
    /// `/forecast-updates`.
    WebSocket,
    /// Health and metrics.
    Admin,
}

impl ListenerName {
    /// All three.
    pub const ALL: [ListenerName; 3] = [ListenerName::App, ListenerName::WebSocket, ListenerName::Admin];

    /// The section's name.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerName::App => "app",
            ListenerName::WebSocket => "websocket",
            ListenerName::Admin => "admin",
        }
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Host name or address, an IPv6 one without brackets.
    pub host: String,
    /// Port; 0: any free one.
    pub port: u16,
    /// Certificate and key, where it speaks TLS.
    pub tls: Option<TlsFiles>,
}

/// PEM files of a listener that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Listener {
    /// The host names this machine only.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        }
    }

    /// `host:port` to bind to; IPv6 in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The WebSocket listener and its own limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// Where.
    pub listener: Listener,
    /// Connections at once.
    pub max_connections: usize,
    /// Between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Bytes of a client's message.
    pub max_message_size: usize,
    /// Agree to permessage-deflate.
    pub compression: bool,
    /// Bytes of the smallest message that is compressed.
    pub compression_min_size: usize,
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where.
    pub listener: Listener,
    /// `/metrics` asks for no token.
    pub public_metrics: bool,
}

/// Limits per client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Control messages on `/forecast-updates`, a second.
    pub control_messages_per_second: u32,
    /// Models a client may name.
    pub subscriptions: usize,
    /// Events of one ingest connection, a second.
    pub ingest_events_per_second: u32,
    /// REST calls, a second.
    pub rest_calls_per_second: u32,
    /// Bytes of a REST body.
    pub request_body_size: usize,
    /// Bytes of all of them at once, with what is made of them.
    pub request_bodies_size: usize,
    /// Bytes waiting for one slow client.
    pub session_queue_size: usize,
    /// Connections of one address to each listener; `None`: as many as it likes.
    pub connections_per_address: Option<usize>,
    /// Output records looked through for one client that resumes.
    pub resume_records: usize,
    /// Bytes of newest updates kept for clients that resume.
    pub resume_buffer_size: usize,
}

/// Events that come in by HTTP and WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// An event sent again within it is stored once; zero: as often as it is sent.
    pub idempotence_window: Duration,
}

/// Snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Folder.
    pub dir: PathBuf,
    /// Between two snapshots of a partition.
    pub snapshot_interval: Duration,
    /// Follow other instances' partitions.
    pub standby: bool,
    /// Where snapshots are put too; `None`: in the folder alone.
    pub shared: Option<SharedPlace>,
}

/// Who may come in.
#[derive(Debug, Clone)]
pub struct Auth {
    /// What tokens are checked against.
    pub keys: AuthKeys,
    /// `iss` that a token must have.
    pub issuer: Option<String>,
    /// `aud` that a token must have.
    pub audience: Option<String>,
    /// Tolerance on `exp` and `nbf`.
    pub leeway: Duration,
    /// Between two looks at published keys.
    pub jwks_refresh: Duration,
}

/// What tokens are checked against: one family of algorithms.
#[derive(Debug, Clone)]
pub enum AuthKeys {
    /// Shared secret, HS256.
    Hs256(SecretString),
    /// PEM file of a public key, RS256 or ES256.
    PublicKeyFile(PathBuf),
    /// Published keys, RS256 and ES256, at an address.
    Jwks(String),
    /// Published keys in a file.
    JwksFile(PathBuf),
}

/// Models while running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealtimeMl {
    /// Models of other processes that a gateway keeps ready, where 20,000 are too few.
    pub model_cache_size: usize,
    /// Slower inferences are logged and counted.
    pub max_latency: Duration,
}

/// The system's own metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitoring {
    /// Between two messages on the metrics topic.
    pub metrics_interval: Duration,
    /// Carry a hint on how many workers are wanted.
    pub enable_auto_scaling: bool,
    /// Days for which publishing figures are kept.
    pub publishing_history_days: i64,
}

/// A mail server, and who writes to whom.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is kept from other eyes.
    pub security: SmtpSecurity,
    /// User and password, where the server asks for them.
    pub credentials: Option<(String, SecretString)>,
    /// Authorities to trust beside the system's.
    pub cafile: Option<PathBuf>,
    /// Sender, `address` or `Name <address>`.
    pub from: String,
    /// Recipients where a rule names none.
    pub to: Vec<String>,
    /// For each answer of the server.
    pub timeout: Duration,
}

/// How a connection to a mail server is kept from other eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Encrypted by STARTTLS, or not used.
    StartTls,
    /// Encrypted from the first byte.
    Tls,
    /// Plain text.
    None,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// OpenTelemetry collector.
    pub otlp_endpoint: Option<String>,
    /// How it is spoken to.
    pub otlp_protocol: OtlpProtocol,
    /// Share of events whose way is traced, in [0, 1].
    pub sample_rate: f64,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// For a person.
    Human,
    /// For a machine.
    Json,
}

/// How the collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

impl Settings {
    /// Whether this process runs the part.
    pub fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The listener of that name.
    pub fn listener(&self, name: ListenerName) -> &Listener {
        match name {
            ListenerName::App => &self.app,
            ListenerName::WebSocket => &self.websocket.listener,
            ListenerName::Admin => &self.admin.listener,
        }
    }

    /// Topics that events come from, each once, in the order in which the series name them.
    pub fn input_topics(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = Vec::new();
        for series in &self.series {
            let topic = series.topic.as_deref().unwrap_or(&self.topics.events);
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics
    }

    /// How far ahead of its record an event of this topic may be: the most that one of its series allows.
    pub fn max_future(&self, topic: &str) -> Duration {
        let of_topic = |series: &&SeriesSpec| series.topic.as_deref().unwrap_or(&self.topics.events) == topic;
        let longest = self.series.iter().filter(of_topic).map(|series| series.max_future).max();
        longest.unwrap_or(crate::series::MAX_FUTURE)
    }

    /// Where a setting was written, by its dotted path (`series[0].where`); that of the list it is in where the
    /// item has none of its own.
    pub fn origin(&self, path: &str) -> Origin {
        let mut path = path;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return origin.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Origin::Default,
            }
        }
    }

    /// The message of section 3 for a setting that only a later step can judge (a condition that does not compile,
    /// a file that cannot be read).
    pub fn refuse(&self, path: &str, found: impl Into<String>, allowed: impl Into<String>) -> ConfigError {
        ConfigError::new(path, &self.origin(path), found, allowed)
    }

    /// Files that settings name and that have to be readable, with the setting's path.
    pub fn files(&self) -> Vec<(&'static str, &PathBuf)> {
        let mut files = Vec::new();
        let ssl = &self.kafka.ssl;
        for (setting, file) in [
            ("kafka.ssl_cafile", &ssl.cafile),
            ("kafka.ssl_certfile", &ssl.certfile),
            ("kafka.ssl_keyfile", &ssl.keyfile),
        ] {
            files.extend(file.as_ref().map(|file| (setting, file)));
        }
        let mail_authorities = self.smtp.as_ref().and_then(|smtp| smtp.cafile.as_ref());
        files.extend(mail_authorities.map(|file| ("smtp.cafile", file)));
        match self.auth.as_ref().map(|auth| &auth.keys) {
            Some(AuthKeys::PublicKeyFile(file)) => files.push(("auth.public_key_file", file)),
            Some(AuthKeys::JwksFile(file)) => files.push(("auth.jwks_file", file)),
            _ => {}
        }
        for (name, certificate, key) in [
            (ListenerName::App, "app.tls_certfile", "app.tls_keyfile"),
            (ListenerName::WebSocket, "websocket.tls_certfile", "websocket.tls_keyfile"),
            (ListenerName::Admin, "admin.tls_certfile", "admin.tls_keyfile"),
        ] {
            if let Some(tls) = &self.listener(name).tls {
                files.extend([(certificate, &tls.certificate), (key, &tls.key)]);
            }
        }
        files
    }

    /// What is allowed and yet worth a line in the log at start.
    pub fn warnings(&self) -> Vec<String> {
        crate::check::warnings(self)
    }
}
