//! How to reach a Kafka cluster, and the client configurations made from it. The only place where settings of ours
//! become librdkafka's.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Least bound of one batch of outputs to a partition.
const OUTPUT_BATCH_BYTES: usize = 1 << 20;
/// Bound of one batch of anything else, where the settings choose none.
const BATCH_BYTES: usize = 256 << 10;

/// SASL, where the cluster asks for it.
#[derive(Clone)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// Who.
    pub username: String,
    /// Never shown.
    pub password: SecretString,
}

/// TLS files, as paths to PEM.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Authorities to trust; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, where the broker asks for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<SecretString>,
    /// Whether the broker's name must match its certificate.
    pub check_hostname: bool,
}

/// How producers behave.
#[derive(Debug, Clone)]
pub struct ProducerTuning {
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// A batch is sent at this size, bytes; `None`: as large as what came within `linger`, to a bound of its own.
    pub batch_bytes: Option<usize>,
    /// Or after this wait. A producer that commits waits 2 ms at most: its commit waits for it.
    pub linger: Duration,
    /// The greatest record, bytes.
    pub max_request_bytes: usize,
    /// How long a request, and a record's delivery, may take.
    pub request_timeout: Duration,
    /// No record twice through the client's own retries.
    pub idempotence: bool,
    /// `all`, `1` or `0`.
    pub acks: String,
    /// Requests on the way per connection.
    pub max_in_flight: u32,
    /// Records waiting, bytes.
    pub buffer_bytes: usize,
    /// Tries after the first.
    pub retries: u32,
    /// Wait before each of them.
    pub retry_backoff: Duration,
}

impl Default for ProducerTuning {
    fn default() -> Self {
        ProducerTuning {
            compression: "snappy".into(),
            batch_bytes: None,
            linger: Duration::from_millis(10),
            max_request_bytes: 1_048_576,
            request_timeout: Duration::from_secs(30),
            idempotence: true,
            acks: "all".into(),
            max_in_flight: 5,
            buffer_bytes: 32 << 20,
            retries: 3,
            retry_backoff: Duration::from_millis(100),
        }
    }
}

impl ClusterOptions {
    /// From the settings of section `[kafka]`.
    pub fn from_settings(kafka: &tidecast_config::Kafka) -> Self {
        ClusterOptions {
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            security_protocol: kafka.security_protocol.as_str().into(),
            sasl: kafka.sasl.as_ref().map(|sasl| Sasl {
                mechanism: sasl.mechanism.clone(),
                username: sasl.username.clone(),
                password: sasl.password.clone(),
            }),
            tls: Tls {
                ca_file: kafka.ssl.cafile.clone(),
                certificate_file: kafka.ssl.certfile.clone(),
                key_file: kafka.ssl.keyfile.clone(),
                key_password: kafka.ssl.key_password.clone(),
                check_hostname: kafka.ssl.check_hostname,
            },
            client_id: kafka.group_instance_id.clone().unwrap_or_else(|| "tidecast".into()),
            group_id: kafka.group_id.clone(),
            group_instance_id: kafka.group_instance_id.clone(),
            log_level: kafka.log_level.clone(),
            producer: ProducerTuning {
                compression: kafka.compression_type.clone(),
                batch_bytes: kafka.batch_size.map(|bytes| bytes as usize),
                linger: kafka.linger,
                max_request_bytes: kafka.max_request_size as usize,
                request_timeout: kafka.request_timeout,
                idempotence: kafka.enable_idempotence,
                acks: kafka.acks.as_str().into(),
                max_in_flight: kafka.max_in_flight_requests,
                buffer_bytes: kafka.buffer_memory as usize,
                retries: kafka.max_retries,
                retry_backoff: kafka.retry_backoff,
            },
        }
    }
}

/// How to reach a cluster. Cheap to clone; shows no secret.
#[derive(Clone)]
pub struct Cluster(Arc<ClusterOptions>);

/// What a [`Cluster`] is made of.
#[derive(Clone)]
pub struct ClusterOptions {
    /// `host:port` of some brokers.
    pub bootstrap_servers: Vec<String>,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: String,
    /// Who we are, with the last two protocols.
    pub sasl: Option<Sasl>,
    /// With `SSL` and `SASL_SSL`.
    pub tls: Tls,
    /// Our name in the broker's logs and quotas.
    pub client_id: String,
    /// The consumer group.
    pub group_id: String,
    /// This instance's lasting name, for static membership.
    pub group_instance_id: Option<String>,
    /// From here on the client library's own lines are logged: `error`, `warn`, `info` or `debug`.
    pub log_level: String,
    /// Producers.
    pub producer: ProducerTuning,
}

impl ClusterOptions {
    /// Plaintext to these servers, defaults for the rest.
    pub fn plaintext(bootstrap_servers: impl Into<String>, group_id: impl Into<String>) -> Self {
        ClusterOptions {
            bootstrap_servers: vec![bootstrap_servers.into()],
            security_protocol: "PLAINTEXT".into(),
            sasl: None,
            tls: Tls { check_hostname: true, ..Tls::default() },
            client_id: "tidecast".into(),
            group_id: group_id.into(),
            group_instance_id: None,
            log_level: "warn".into(),
            producer: ProducerTuning::default(),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("bootstrap_servers", &self.0.bootstrap_servers)
            .field("security_protocol", &self.0.security_protocol)
            .field("group_id", &self.0.group_id)
            .finish_non_exhaustive()
    }
}

/// Which kind of producer a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerKind<'a> {
    /// Its records and the input's offsets are one transaction; the name fences its own earlier self.
    Transactional(&'a str),
    /// Somebody waits for the records in order to commit.
    Committing,
    /// Records by themselves.
    Free,
}

impl Cluster {
    /// From its parts.
    pub fn new(options: ClusterOptions) -> Self {
        Cluster(Arc::new(options))
    }

    /// From the whole configuration.
    pub fn from_settings(settings: &tidecast_config::Settings) -> Self {
        Cluster::new(ClusterOptions::from_settings(&settings.kafka))
    }

    /// Its parts.
    pub fn options(&self) -> &ClusterOptions {
        &self.0
    }

    /// The servers as one text.
    pub fn bootstrap_servers(&self) -> String {
        self.0.bootstrap_servers.join(",")
    }

    /// What every client of ours has in common.
    pub fn client_config(&self) -> ClientConfig {
        let options = &*self.0;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap_servers())
            .set("client.id", &options.client_id)
            .set("security.protocol", options.security_protocol.to_ascii_lowercase())
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("socket.timeout.ms", millis(options.producer.request_timeout.max(Duration::from_secs(2))))
            // A broker that comes back is found within two seconds.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("retry.backoff.ms", millis(options.producer.retry_backoff.max(Duration::from_millis(1))));
        config.set_log_level(match options.log_level.to_ascii_lowercase().as_str() {
            "error" | "critical" | "fatal" => RDKafkaLogLevel::Error,
            "info" => RDKafkaLogLevel::Info,
            "debug" | "trace" => RDKafkaLogLevel::Debug,
            _ => RDKafkaLogLevel::Warning,
        });
        if let Some(sasl) = &options.sasl {
            config
                .set("sasl.mechanism", &sasl.mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", sasl.password.expose_secret());
        }
        if options.security_protocol.to_ascii_uppercase().ends_with("SSL") {
            let path = |config: &mut ClientConfig, key: &str, path: &Option<PathBuf>| {
                if let Some(path) = path {
                    config.set(key, path.to_string_lossy());
                }
            };
            path(&mut config, "ssl.ca.location", &options.tls.ca_file);
            path(&mut config, "ssl.certificate.location", &options.tls.certificate_file);
            path(&mut config, "ssl.key.location", &options.tls.key_file);
            if let Some(password) = &options.tls.key_password {
                config.set("ssl.key.password", password.expose_secret());
            }
            config.set(
                "ssl.endpoint.identification.algorithm",
                if options.tls.check_hostname { "https" } else { "none" },
            );
        }
        config
    }

    /// A producer's configuration.
    pub fn producer_config(&self, kind: ProducerKind<'_>) -> ClientConfig {
        let tuning = &self.0.producer;
        let mut config = self.client_config();
        let linger = match kind {
            ProducerKind::Free => tuning.linger,
            _ => tuning.linger.min(Duration::from_micros(500)),
        };
        // A batch goes when its time has come, as large as it is then: a small bound makes nothing sooner, only more
        // requests where much comes. Outputs come many at once and are waited for together.
        let batch_bytes = match kind {
            ProducerKind::Free => tuning.batch_bytes.unwrap_or(BATCH_BYTES),
            _ => tuning.batch_bytes.unwrap_or_default().max(OUTPUT_BATCH_BYTES),
        };
        config
            .set("partitioner", "murmur2_random")
            .set("compression.codec", tuning.compression.to_ascii_lowercase())
            .set("batch.size", batch_bytes.max(1).to_string())
            .set("linger.ms", (linger.as_secs_f64() * 1e3).to_string())
            .set("message.max.bytes", tuning.max_request_bytes.to_string())
            .set("request.timeout.ms", millis(tuning.request_timeout))
            .set("queue.buffering.max.kbytes", tuning.buffer_bytes.div_ceil(1024).max(1).to_string())
            .set("queue.buffering.max.messages", "0");
        // A record that fits a batch by itself must be allowed to be sent.
        let delivery = tuning.request_timeout.max(linger + Duration::from_millis(1_000));
        config.set("delivery.timeout.ms", millis(delivery));
        if let ProducerKind::Transactional(id) = kind {
            config
                .set("transactional.id", id)
                // An instance that died leaves its last transaction open no longer than this, if its name does not
                // come back.
                .set("transaction.timeout.ms", millis(delivery.max(Duration::from_secs(10))));
        }
        if tuning.idempotence || matches!(kind, ProducerKind::Transactional(_)) {
            config
                .set("enable.idempotence", "true")
                .set("max.in.flight", tuning.max_in_flight.clamp(1, 5).to_string())
                // Idempotence needs tries; how long they go on is bounded by the delivery timeout.
                .set("retries", tuning.retries.max(1).to_string());
        } else {
            config
                .set("acks", &tuning.acks)
                .set("max.in.flight", tuning.max_in_flight.max(1).to_string())
                .set("retries", tuning.retries.to_string());
        }
        config
    }

    /// A reader's configuration without its fetch sizes. `isolation`: `read_committed` or `read_uncommitted`.
    pub fn reader_config(&self, group_id: &str, isolation: &str) -> ClientConfig {
        let mut config = self.client_config();
        config
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true");
        config
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// A client cannot be made of these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(pub String);

impl From<KafkaError> for ClientError {
    fn from(error: KafkaError) -> Self {
        ClientError(explain(&error))
    }
}

/// The text of an error of the client library, which quotes settings: values are left out, for one may be a secret.
pub(crate) fn explain(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, what, key, _) => {
            format!("the Kafka client refuses the setting {key}: {}", redact_quotes(what))
        }
        KafkaError::ClientCreation(what) => format!("the Kafka client cannot be made: {what}"),
        other => match other.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => other.to_string(),
        },
    }
}

/// Drops what stands in double quotes: librdkafka quotes the value that it refuses.
fn redact_quotes(text: &str) -> String {
    text.split('"').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "<value>" }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_secret() -> Cluster {
        let mut options = ClusterOptions::plaintext("a:1", "g");
        options.bootstrap_servers.push("b:2".into());
        options.security_protocol = "SASL_SSL".into();
        options.tls.ca_file = Some("/ca.pem".into());
        options.tls.check_hostname = false;
        options.sasl = Some(Sasl {
            mechanism: "SCRAM-SHA-512".into(),
            username: "u".into(),
            password: SecretString::from("hunter2"),
        });
        Cluster::new(options)
    }

    #[test]
    fn security_settings_are_passed_on() {
        let config = with_secret().client_config();
        assert_eq!(config.get("bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(config.get("sasl.password"), Some("hunter2"));
        assert_eq!(config.get("ssl.ca.location"), Some("/ca.pem"));
        assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("none"));
    }

    #[test]
    fn no_secret_is_shown() {
        let cluster = with_secret();
        let shown = format!("{cluster:?} {:?}", cluster.client_config());
        assert!(!shown.contains("hunter2"), "{shown}");
        let mut config = cluster.client_config();
        config.set("sasl.mechanism", "hunter2\0");
        let error = config.create_native_config().err().unwrap();
        assert!(!explain(&error).contains("hunter2"));
        let mut config = cluster.client_config();
        config.set("security.protocol", "hunter2");
        let error = config.create_native_config().err().unwrap();
        assert!(explain(&error).contains("security.protocol"), "{}", explain(&error));
        assert!(!explain(&error).contains("hunter2"), "{}", explain(&error));
    }

    #[test]
    fn every_producer_is_accepted_by_the_client_library() {
        let mut options = ClusterOptions::plaintext("a:1", "g");
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            options.producer.compression = codec.into();
            let cluster = Cluster::new(options.clone());
            for kind in [ProducerKind::Free, ProducerKind::Committing, ProducerKind::Transactional("t")] {
                let config = cluster.producer_config(kind);
                let made: Result<rdkafka::producer::BaseProducer, _> = config.create();
                assert!(made.is_ok(), "{codec} {kind:?}: {:?}", made.err().map(|error| explain(&error)));
            }
        }
    }
}
