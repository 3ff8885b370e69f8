//! What the consumer calls back: kept for the source's thread, which acts on it after the poll.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tidecast_event::TopicPartition;

/// A change of the assignment, to be answered by an (un)assign call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
}

/// The consumer's callbacks. Called on the thread that polls.
pub struct SourceContext {
    changes: Mutex<Vec<Change>>,
    errors: Mutex<Vec<(RDKafkaErrorCode, String)>>,
    /// Nobody answers changes any more (the thread is unwinding): they are answered at once, or closing would hang.
    abandoned: AtomicBool,
}

impl SourceContext {
    pub(crate) fn new() -> Self {
        SourceContext {
            changes: Mutex::default(),
            errors: Mutex::default(),
            abandoned: AtomicBool::new(false),
        }
    }

    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_errors(&self) -> Vec<(RDKafkaErrorCode, String)> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::log::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if code != RDKafkaErrorCode::PartitionEOF {
            self.errors.lock().unwrap_or_else(PoisonError::into_inner).push((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for SourceContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.abandoned.load(Ordering::Acquire) {
            let _ = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative
                    if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS =>
                {
                    consumer.unassign()
                }
                _ => consumer.incremental_assign(&TopicPartitionList::new()),
            };
            return;
        }
        let list = partitions
            .elements()
            .iter()
            .map(|element| TopicPartition::new(element.topic(), element.partition()))
            .collect();
        let change = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(list),
            _ => Change::Revoked(list),
        };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }
}
