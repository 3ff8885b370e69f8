//! What the consumer calls back: kept for the source's thread, which acts on it after the poll.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
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
    /// The first commit of offsets that was sent without waiting and failed.
    not_committed: Mutex<Option<KafkaError>>,
}

impl SourceContext {
    pub(crate) fn new() -> Self {
        SourceContext {
            changes: Mutex::default(),
            errors: Mutex::default(),
            abandoned: AtomicBool::new(false),
            not_committed: Mutex::default(),
        }
    }

    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_errors(&self) -> Vec<(RDKafkaErrorCode, String)> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_not_committed(&self) -> Option<KafkaError> {
        self.not_committed.lock().unwrap_or_else(PoisonError::into_inner).take()
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
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        // The request's answer, then that of each partition.
        let answers = offsets.elements().into_iter().map(|element| element.error());
        let failed = std::iter::once(result).chain(answers).find_map(Result::err);
        if let Some(error) = failed
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            self.not_committed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

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
