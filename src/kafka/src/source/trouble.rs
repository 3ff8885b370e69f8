//! What can be wrong between us and the brokers, in words that say what to do.

use rdkafka::error::RDKafkaErrorCode;
use std::time::Instant;

/// How a trouble is known to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The brokers answer again.
    Brokers,
    /// The topics answer for us without an error.
    Topics,
    /// The group gives us an assignment.
    Group,
}

impl Kind {
    /// `None` for what passes by itself: one broker of several that went, a request that is repeated.
    pub fn of(code: RDKafkaErrorCode) -> Option<Kind> {
        use RDKafkaErrorCode as Code;
        match code {
            Code::AllBrokersDown
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::Resolve
            | Code::SSL
            | Code::UnsupportedSASLMechanism => Some(Kind::Brokers),
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed => Some(Kind::Topics),
            Code::GroupAuthorizationFailed => Some(Kind::Group),
            _ => None,
        }
    }
}

/// A trouble that lasts until something proves it over.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub kind: Kind,
    code: RDKafkaErrorCode,
    pub message: String,
    /// When to ask the brokers next; `None` while a question is on its way.
    pub ask_at: Option<Instant>,
}

impl Trouble {
    pub fn new(kind: Kind, code: RDKafkaErrorCode, words: &str, topics: &str) -> Self {
        use RDKafkaErrorCode as Code;
        let message = match code {
            Code::AllBrokersDown => {
                "no Kafka broker answers: check kafka.bootstrap_servers and that the brokers run; \
                                     trying again"
                    .to_owned()
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
                format!(
                    "Kafka refuses our credentials: {words}: check kafka.sasl_mechanism, sasl_username and sasl_password"
                )
            }
            Code::SSL => {
                format!("TLS with Kafka fails: {words}: check kafka.security_protocol and kafka.ssl_*")
            }
            Code::Resolve => {
                format!("a Kafka broker's name cannot be resolved: {words}: check kafka.bootstrap_servers")
            }
            Code::TopicAuthorizationFailed => {
                format!("Kafka forbids reading a topic: {words}: grant Read and Describe on {topics}")
            }
            Code::ClusterAuthorizationFailed => {
                format!("Kafka forbids this client: {words}: grant Describe on the cluster")
            }
            Code::GroupAuthorizationFailed => {
                format!(
                    "Kafka forbids the consumer group: {words}: grant Read on the group, or set kafka.group_id"
                )
            }
            _ => format!("a topic is missing: {words}: make it, or let tidecast make it ({topics})"),
        };
        Trouble { kind, code, message, ask_at: Some(Instant::now()) }
    }

    /// Whether a new report adds nothing: the same again, or that no broker answers when the reason is known already.
    pub fn covers(&self, code: RDKafkaErrorCode, words: &str) -> bool {
        match self.kind {
            // The words name the topic.
            Kind::Topics => self.code == code && self.message.contains(words),
            // The words carry times and counts.
            Kind::Brokers => self.code == code || code == RDKafkaErrorCode::AllBrokersDown,
            Kind::Group => self.code == code,
        }
    }
}
