//! The publisher: records out, and the commit that makes them and the input's offsets one.
//!
//! Exactly once: one transaction holds the records and the offsets, under a name that fences the instance's earlier
//! self and with the group's generation that fences zombies (KIP-447). At least once: the same path without the
//! transaction. After anything unknown the publisher says [`Recover::Restart`] and refuses to go on: an end of a
//! transaction is never tried twice.

use crate::cluster::{Cluster, ProducerKind, explain};
use crate::native::{ReportingProducer, latency_micros, set_leader_epoch};
use crate::publishing::Publishing;
use crate::source::GroupHandle;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::{Destination, OutputRecord, PublishError, Publisher, Recover, Wake};

/// Bytes of records held back; more wait for the acknowledgement of those before them.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Partitions' windows close within milliseconds of each other, and the broker answers request by request: waiting so
/// long for what else comes is sooner than another round. What is larger goes at once.
const GATHER: Duration = Duration::from_millis(2);
const GATHER_BYTES: usize = 256 << 10;
/// The same of a backlog, for which nobody waits: the broker has less to do for few large requests.
const BACKLOG_GATHER: Duration = Duration::from_millis(50);
const BACKLOG_GATHER_BYTES: usize = 1 << 20;

/// Topic names of the house's destinations.
#[derive(Debug, Clone)]
pub struct OutputTopics {
    /// [`Destination::Aggregates`].
    pub aggregates: Arc<str>,
    /// [`Destination::Predictions`].
    pub predictions: Arc<str>,
    /// [`Destination::Alerts`].
    pub alerts: Arc<str>,
    /// [`Destination::Metrics`].
    pub metrics: Arc<str>,
    /// [`Destination::DeadLetters`].
    pub dead_letters: Arc<str>,
}

impl OutputTopics {
    /// From section `[topics]`.
    pub fn from_settings(topics: &tidecast_config::Topics) -> Self {
        OutputTopics {
            aggregates: topics.aggregates.as_str().into(),
            predictions: topics.predictions.as_str().into(),
            alerts: topics.alerts.as_str().into(),
            metrics: topics.metrics.as_str().into(),
            dead_letters: topics.dlq.as_str().into(),
        }
    }

    fn name<'n>(&'n self, destination: &'n Destination) -> &'n str {
        match destination {
            Destination::Aggregates => &self.aggregates,
            Destination::Predictions => &self.predictions,
            Destination::Alerts => &self.alerts,
            Destination::Metrics => &self.metrics,
            Destination::DeadLetters => &self.dead_letters,
            Destination::Topic(name) => name,
        }
    }
}

/// How commits are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarantee {
    /// In transactions under this name. The name must be this publisher's own and the same after a restart.
    ExactlyOnce {
        /// `transactional.id`.
        transactional_id: String,
    },
    /// Records first, offsets after them.
    AtLeastOnce,
}

/// Callbacks of a producer whose user waits for all its records together.
pub(crate) struct DeliveryContext {
    publishing: Publishing,
    /// The first record that failed since the last commit.
    failure: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl DeliveryContext {
    pub fn new(publishing: Publishing) -> Self {
        DeliveryContext { publishing, failure: Mutex::default() }
    }

    pub fn take_failure(&self) -> Option<(RDKafkaErrorCode, String)> {
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
                if failure.as_ref().is_none_or(|(known, _)| is_purge(*known)) {
                    let words =
                        format!("a record for topic {} was not taken: {}", message.topic(), explain(error));
                    *failure = Some((code, words));
                }
            }
        }
    }
}

fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

/// [`Publisher`] on Kafka.
pub struct KafkaPublisher {
    producer: ReportingProducer<DeliveryContext>,
    topics: OutputTopics,
    group: GroupHandle,
    transactional: bool,
    /// A transaction is open.
    begun: bool,
    /// Set by the first failure after which nothing but a new publisher helps.
    broken: Option<PublishError>,
    timeout: Duration,
    /// Largest key and value.
    record_bytes_max: usize,
    /// Records that wait until those before them are acknowledged, and their bytes.
    held: VecDeque<OutputRecord>,
    held_bytes: usize,
    /// Since when the first of them waits.
    held_since: Option<Instant>,
    /// What is produced is of a backlog.
    backlog: bool,
    /// A record that the client did not take, not yet told.
    refused: Option<PublishError>,
}

impl KafkaPublisher {
    /// Makes the producer, for use by the current thread. Exactly once: waits until the name is ours, which settles whatever an earlier holder left open.
    pub fn connect(
        cluster: &Cluster,
        guarantee: &Guarantee,
        topics: OutputTopics,
        group: GroupHandle,
        publishing: Publishing,
    ) -> Result<Self, PublishError> {
        let kind = match guarantee {
            Guarantee::ExactlyOnce { transactional_id } => ProducerKind::Transactional(transactional_id),
            Guarantee::AtLeastOnce => ProducerKind::Committing,
        };
        let config = cluster.producer_config(kind);
        let producer = BaseProducer::from_config_and_context(&config, DeliveryContext::new(publishing))
            .map_err(|error| PublishError { recover: Recover::Stop, message: explain(&error) })?;
        let producer = ReportingProducer::new(producer);
        let timeout = cluster.options().producer.request_timeout.max(Duration::from_secs(5));
        let transactional = matches!(kind, ProducerKind::Transactional(_));
        if transactional {
            // The client's search for the coordinator looks again after half a second where no broker is connected yet. A
            // question that fails is told by what follows.
            let _ = producer.client().fetch_metadata(Some(&topics.aggregates), timeout);
            producer
                .init_transactions(timeout)
                .map_err(|error| failure("transactions cannot be begun", &error))?;
        }
        Ok(KafkaPublisher {
            producer,
            topics,
            group,
            transactional,
            begun: false,
            broken: None,
            timeout,
            record_bytes_max: cluster.options().producer.max_request_bytes,
            held: VecDeque::new(),
            held_bytes: 0,
            held_since: None,
            backlog: false,
            refused: None,
        })
    }

    /// Nothing has failed that is not told yet, or that ended this publisher.
    fn usable(&mut self) -> Result<(), PublishError> {
        match self.broken.clone().or_else(|| self.refused.take()) {
            Some(failed) => Err(failed),
            None => Ok(()),
        }
    }

    fn begin(&mut self) -> Result<(), PublishError> {
        self.usable()?;
        if self.transactional && !self.begun {
            if let Err(error) = self.producer.begin_transaction() {
                return Err(self.broken_by(failure("a transaction was not begun", &error)));
            }
            self.begun = true;
        }
        Ok(())
    }

    /// Remembers a failure that ends this publisher.
    fn broken_by(&mut self, error: PublishError) -> PublishError {
        if error.recover != Recover::Retry {
            self.broken = Some(error.clone());
        }
        error
    }

    /// Gives one record to the client.
    fn send(&mut self, record: &OutputRecord) -> Result<(), PublishError> {
        let deadline = Instant::now() + self.timeout;
        let mut out: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(self.topics.name(&record.destination));
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        out.partition = record.partition;
        if record.id.is_some() || !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len() + 1);
            if let Some(id) = record.id {
                headers = headers.insert(Header { key: "id", value: Some(&id.to_string()) });
            }
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: Some(&value[..]) });
            }
            out.headers = Some(headers);
        }
        loop {
            let (error, back) = match self.producer.send(out) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || Instant::now() >= deadline {
                let what = format!("a record for topic {} was not taken", back.topic);
                drop(back);
                let refused = failure(&what, &error);
                // A record refused here, for its size or its topic's name, is alone in that: the rest may go on.
                let alone = refused.recover == Recover::Stop;
                return Err(if alone { refused } else { self.broken_by(refused) });
            }
            out = back;
            self.producer.serve_next(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Gives what is held to the client, once everything it had is acknowledged.
    ///
    /// The client has one request a partition under way when it must keep the order, and spins until the answer comes
    /// while more is due. So what comes meanwhile is held here, and goes together: fewer requests, and none waited for.
    fn release(&mut self) -> Result<(), PublishError> {
        if self.held.is_empty() || self.producer.in_flight_count() > 0 {
            return Ok(());
        }
        self.held_since = None;
        self.held_bytes = 0;
        let mut held = std::mem::take(&mut self.held);
        let mut refused = None;
        for record in held.drain(..) {
            if let Err(error) = self.send(&record) {
                refused.get_or_insert(error);
                if self.broken.is_some() {
                    break;
                }
            }
        }
        self.held = held;
        refused.map_or(Ok(()), Err)
    }

    /// Waits until every record is acknowledged or failed.
    fn settle(&mut self) -> Result<(), PublishError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            self.release()?;
            if self.producer.in_flight_count() == 0 {
                break;
            }
            self.wait_acknowledged(deadline)?;
        }
        match self.producer.context().take_failure() {
            None => Ok(()),
            Some((code, message)) => Err(self.broken_by(PublishError { recover: recover(code), message })),
        }
    }

    /// Waits for the next acknowledgements; past `deadline` this publisher is of no use any more.
    fn wait_acknowledged(&mut self, deadline: Instant) -> Result<(), PublishError> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            let message = format!("Kafka did not acknowledge all records within {:?}", self.timeout);
            return Err(self.broken_by(PublishError { recover: Recover::Restart, message }));
        }
        self.producer.serve_next(remaining);
        Ok(())
    }

    fn offsets(&self, offsets: &[CommitOffset]) -> Result<TopicPartitionList, PublishError> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for commit in offsets {
            let TopicPartition { topic, partition } = &commit.partition;
            let mut element = list.add_partition(topic, *partition);
            element.set_metadata(&commit.metadata);
            element
                .set_offset(Offset::Offset(commit.offset))
                .map_err(|error| PublishError { recover: Recover::Restart, message: explain(&error) })?;
        }
        for commit in offsets {
            if let Some(epoch) = self.group.leader_epoch(&commit.partition) {
                set_leader_epoch(&list, &commit.partition, epoch);
            }
        }
        Ok(list)
    }

    fn commit_transaction(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        if offsets.is_empty() && !self.begun {
            return Ok(());
        }
        self.begin()?;
        if !offsets.is_empty() {
            let list = self.offsets(offsets)?;
            let Some(group) = self.group.metadata() else { return Err(self.source_is_gone()) };
            if let Err(error) = self.producer.send_offsets_to_transaction(&list, &group, self.timeout) {
                return Err(self
                    .broken_by(failure("the input's offsets were not taken into the transaction", &error)));
            }
        }
        self.settle()?;
        match self.producer.commit_transaction(self.timeout) {
            Ok(()) => {
                self.begun = false;
                Ok(())
            }
            Err(error) => Err(self.broken_by(failure("the transaction was not committed", &error))),
        }
    }

    /// `mode` is for the offsets outside transactions.
    fn commit_by(&mut self, offsets: &[CommitOffset], mode: CommitMode) -> Result<(), PublishError> {
        self.usable()?;
        if self.transactional { self.commit_transaction(offsets) } else { self.commit_plain(offsets, mode) }
    }

    fn commit_plain(&mut self, offsets: &[CommitOffset], mode: CommitMode) -> Result<(), PublishError> {
        self.settle()?;
        let Some(consumer) = self.group.consumer() else { return Err(self.source_is_gone()) };
        if let Some(error) = consumer.context().take_not_committed() {
            // A rebalance turns commits down for a moment. The offsets of partitions that stay are in a later one.
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::RebalanceInProgress) {
                return Err(self.not_committed("the input's offsets were not committed", &error));
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let list = self.offsets(offsets)?;
        consumer
            .commit(&list, mode)
            .map_err(|error| self.not_committed("the input's offsets were not committed", &error))?;
        // A sync commit answers for the request; each partition has an answer of its own.
        for element in list.elements() {
            if let Err(error) = element.error() {
                let what =
                    format!("the offset of {}[{}] was not committed", element.topic(), element.partition());
                return Err(self.not_committed(&what, &error));
            }
        }
        Ok(())
    }

    /// The records are acknowledged, the offsets are not. While a rebalance is being settled the same commit may be
    /// tried again a moment later.
    fn not_committed(&mut self, what: &str, error: &KafkaError) -> PublishError {
        let mut failed = failure(what, error);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::RebalanceInProgress) {
            failed.recover = Recover::Retry;
        }
        self.broken_by(failed)
    }

    fn source_is_gone(&mut self) -> PublishError {
        let message = "the source is closed: nothing can be committed for its group any more".to_owned();
        self.broken_by(PublishError { recover: Recover::Restart, message })
    }
}

impl Publisher for KafkaPublisher {
    fn produce(&mut self, record: &OutputRecord) -> Result<(), PublishError> {
        self.begin()?;
        let size = record.size();
        if size > self.record_bytes_max + OutputRecord::OVERHEAD {
            let topic = self.topics.name(&record.destination);
            let bytes = size - OutputRecord::OVERHEAD;
            let message = format!(
                "a record for topic {topic} was not taken: its {bytes} bytes are more than kafka.max_request_size"
            );
            // It is alone in that: the rest may go on.
            return Err(PublishError { recover: Recover::Stop, message });
        }
        self.held_bytes += size;
        self.held_since.get_or_insert_with(Instant::now);
        self.held.push_back(record.clone());
        let deadline = Instant::now() + self.timeout;
        while self.held_bytes > HELD_BYTES_MAX && self.producer.in_flight_count() > 0 {
            self.wait_acknowledged(deadline)?;
        }
        // What is produced without a pause between goes together.
        if self.held_bytes > HELD_BYTES_MAX { self.release() } else { Ok(()) }
    }

    fn wake_with(&mut self, wake: Wake) {
        self.producer.wake_with(wake);
    }

    fn backlog(&mut self, backlog: bool) {
        self.backlog = backlog;
    }

    fn poll(&mut self) -> Option<Duration> {
        self.producer.serve();
        let since = self.held_since.filter(|_| self.producer.in_flight_count() == 0)?;
        let (most, bytes) =
            if self.backlog { (BACKLOG_GATHER, BACKLOG_GATHER_BYTES) } else { (GATHER, GATHER_BYTES) };
        let left = most.saturating_sub(since.elapsed());
        if !left.is_zero() && self.held_bytes < bytes {
            return Some(left);
        }
        if let Err(error) = self.release() {
            self.refused.get_or_insert(error);
        }
        None
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        self.commit_by(offsets, CommitMode::Sync)
    }

    fn commit_async(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        self.commit_by(offsets, CommitMode::Async)
    }
}

/// What an error of the client library asks for, in words.
fn failure(what: &str, error: &KafkaError) -> PublishError {
    let (recover, why) = match error {
        KafkaError::Transaction(error) => (recover(error.code()), error.string()),
        other => (other.rdkafka_error_code().map_or(Recover::Restart, recover), explain(other)),
    };
    PublishError { recover, message: format!("{what}: {why}") }
}

/// Everything that is not known to have failed for lack of a right is begun anew from what is committed. So is a
/// fenced producer: the coordinator fences one whose transaction took too long, and two of the same name, both alive,
/// show as a fenced group member at the source.
fn recover(code: RDKafkaErrorCode) -> Recover {
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
