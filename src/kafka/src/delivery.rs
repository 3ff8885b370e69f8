//! What becomes of produced records: callbacks of producers whose user waits for all of them together, and what their failures
//! ask for.

use crate::cluster::explain;
use crate::native::latency_micros;
use crate::publishing::Publishing;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use std::sync::{Mutex, PoisonError};
use tidecast_ports::{PublishError, Recover};

/// Callbacks of a producer whose user waits for all its records together.
pub(crate) struct DeliveryContext {
    publishing: Publishing,
    /// The first record that failed since the last commit.
    failure: Mutex<Option<NotTaken>>,
}

/// A record that failed.
pub(crate) struct NotTaken {
    pub code: RDKafkaErrorCode,
    /// What was not taken, in words.
    pub what: String,
    pub why: String,
}

impl DeliveryContext {
    pub fn new(publishing: Publishing) -> Self {
        DeliveryContext { publishing, failure: Mutex::default() }
    }

    pub fn take_failure(&self) -> Option<NotTaken> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::log::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka producer");
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let bytes = message.key_len() + message.payload_len();
                self.publishing.sent(message.topic(), bytes, latency_micros(message));
            }
            Err((error, message)) => {
                self.publishing.failed(message.topic());
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                // What was purged failed because something else had.
                if failure.as_ref().is_none_or(|known| is_purge(known.code)) {
                    let what = format!("a record for topic {} was not taken", message.topic());
                    *failure = Some(NotTaken { code, what, why: explain(error) });
                }
            }
        }
    }
}

fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

/// What an error of the client library asks for, in words.
pub(crate) fn failure(what: &str, error: &KafkaError) -> PublishError {
    let (recover, why) = match error {
        KafkaError::Transaction(error) => (recover(error.code()), error.string()),
        other => (other.rdkafka_error_code().map_or(Recover::Restart, recover), explain(other)),
    };
    PublishError { recover, message: format!("{what}: {why}") }
}

/// Everything that is not known to have failed for lack of a right is begun anew from what is committed. So is a
/// fenced producer: the coordinator fences one whose transaction took too long, and two of the same name, both alive,
/// show as a fenced group member at the source.
pub(crate) fn recover(code: RDKafkaErrorCode) -> Recover {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::FencedInstanceId
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::MessageSizeTooLarge
        | Code::InvalidTopic
        | Code::InvalidConfig => Recover::Stop,
        _ => Recover::Restart,
    }
}
