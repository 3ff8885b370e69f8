//! Settings of the connection to Kafka, as valid.

use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// Connection to Kafka. Names and meanings are those of the clients' settings.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port` each; never empty.
    pub bootstrap_servers: Vec<String>,
    /// Consumer group.
    pub group_id: String,
    /// Static membership.
    pub group_instance_id: Option<String>,
    /// Outputs and offsets in one transaction.
    pub exactly_once: bool,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression_type: String,
    /// How the brokers are spoken to.
    pub security_protocol: SecurityProtocol,
    /// Credentials; present exactly when the protocol is a SASL one.
    pub sasl: Option<Sasl>,
    /// Files of TLS; used when the protocol is an SSL one.
    pub ssl: Ssl,
    /// Bytes of a batch, where somebody chose them.
    pub batch_size: Option<u32>,
    /// Wait for a batch to fill.
    pub linger: Duration,
    /// Bytes of the largest request.
    pub max_request_size: u32,
    /// Wait for an answer.
    pub request_timeout: Duration,
    /// A repeated request is stored once.
    pub enable_idempotence: bool,
    /// Replicas that acknowledge.
    pub acks: Acks,
    /// Requests under way to one broker.
    pub max_in_flight_requests: u32,
    /// Bytes waiting in the producer.
    pub buffer_memory: u32,
    /// Tries of a failed request.
    pub max_retries: u32,
    /// Wait before a retry.
    pub retry_backoff: Duration,
    /// Messages of a batch.
    pub message_batch_size: u32,
    /// Between looks at the brokers.
    pub health_check_interval: Duration,
    /// `critical`, `error`, `warning`, `info` or `debug`.
    pub log_level: String,
    /// Log what is sent.
    pub log_payload: bool,
}

/// How the brokers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name.
    pub fn as_str(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        [Plaintext, Ssl, SaslPlaintext, SaslSsl].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }

    /// A user and a password are sent.
    pub fn is_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }

    /// The connection is encrypted.
    pub fn is_ssl(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }
}

/// SASL credentials.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// Files of TLS.
#[derive(Debug, Clone)]
pub struct Ssl {
    /// Authorities to trust.
    pub cafile: Option<PathBuf>,
    /// Client certificate; with `keyfile` or not at all.
    pub certfile: Option<PathBuf>,
    /// Client key.
    pub keyfile: Option<PathBuf>,
    /// Password of the key.
    pub key_password: Option<SecretString>,
    /// The certificate must name the host.
    pub check_hostname: bool,
}

/// Replicas that acknowledge a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The leader.
    Leader,
    /// Nobody.
    None,
}

impl Acks {
    /// Kafka's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Acks::All => "all",
            Acks::Leader => "1",
            Acks::None => "0",
        }
    }
}
