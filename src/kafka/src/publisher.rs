//! The publisher: records out, and the commit that makes them and the input's offsets one.
//!
//! Exactly once: one transaction holds the records and the offsets, under a name that fences the instance's earlier
//! self and with the group's generation that fences zombies (KIP-447). At least once: the same path without the
//! transaction. After anything unknown the publisher says [`Recover::Restart`] and refuses to go on: an end of a
//! transaction is never tried twice.

mod named_topics;
mod transaction;

use crate::cluster::{Cluster, ProducerKind, explain};
use crate::delivery::{DeliveryContext, NotTaken, failure, recover};
use crate::native::{ReportingProducer, set_leader_epoch};
use crate::owner::{self, Signed};
use crate::publishing::Publishing;
use crate::source::GroupHandle;
use named_topics::NamedTopics;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::publish::{CommitOffset, Refusal, TOO_LARGE, UNKNOWN_TOPIC};
use tidecast_ports::{Destination, OutputRecord, PublishError, Publisher, Recover, Wake};
use transaction::{LOOK, NEXT_GENERATION, is_between_generations};

/// Bytes of records held back; more wait for the acknowledgement of those before them.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Partitions' windows close within milliseconds of each other, and the broker answers request by request: waiting so
/// long for what else comes is sooner than another round. What is larger goes at once.
const GATHER: Duration = Duration::from_millis(2);
const GATHER_BYTES: usize = 256 << 10;
/// The same of a backlog, for which nobody waits: the broker has less to do for few large requests.
const BACKLOG_GATHER: Duration = Duration::from_millis(50);
const BACKLOG_GATHER_BYTES: usize = 1 << 20;

const NOT_COMMITTED: &str = "the input's offsets were not committed";

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
    /// Partitions of a [`Destination::Topic`] that has to be made.
    pub partitions: i32,
    /// Its replicas.
    pub replication: i32,
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
            partitions: topics.partitions,
            replication: topics.replication,
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

/// [`Publisher`] on Kafka.
pub struct KafkaPublisher {
    producer: ReportingProducer<DeliveryContext>,
    topics: OutputTopics,
    named: NamedTopics,
    group: GroupHandle,
    /// The name of its transactions.
    transactional: Option<String>,
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
    /// Records of the open transaction: they go once more where the group refuses it for a rebalance.
    sent: transaction::Sent,
    /// What had left this member when the commit was begun.
    mark: u64,
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
        let transactional = match guarantee {
            Guarantee::ExactlyOnce { transactional_id } => Some(transactional_id.clone()),
            Guarantee::AtLeastOnce => None,
        };
        if transactional.is_some() {
            owner::take_name(&producer, Some(&topics.aggregates), timeout)
                .map_err(|error| failure("transactions cannot be begun", &error))?;
        }
        let mark = group.mark();
        let named = NamedTopics::new(cluster, topics.partitions, topics.replication);
        Ok(KafkaPublisher {
            producer,
            named,
            topics,
            group,
            transactional,
            begun: false,
            broken: None,
            timeout,
            record_bytes_max: cluster.options().producer.max_request_bytes,
            held: VecDeque::new(),
            held_bytes: 0,
            sent: transaction::Sent::default(),
            mark,
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
        if self.transactional.is_some() && !self.begun {
            if let Err(error) = self.producer.begin_transaction() {
                return Err(self.broken_by(failure("a transaction was not begun", &error)));
            }
            self.begun = true;
        }
        Ok(())
    }

    /// What made the client give the open transaction up, where all that it says of a record is that it did. It tells that to
    /// whoever asks for the next transaction.
    fn given_up_for(&self, what: &str, code: Option<RDKafkaErrorCode>) -> Option<PublishError> {
        use RDKafkaErrorCode::{InvalidTransactionalState, PurgeInflight, PurgeQueue, State};
        let says_nothing = matches!(code?, InvalidTransactionalState | PurgeInflight | PurgeQueue | State);
        if !says_nothing || !self.begun {
            return None;
        }
        let told = self.producer.begin_transaction().err()?;
        let KafkaError::Transaction(cause) = &told else { return None };
        (cause.code() != State).then(|| failure(what, &told))
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
                let cause = self.given_up_for(&what, error.rdkafka_error_code());
                if let Some(cause) = cause {
                    return Err(self.broken_by(cause));
                }
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
            } else if self.transactional.is_some() {
                self.sent.push(record);
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
            Some(NotTaken { code, what, why }) => {
                let cause = self.given_up_for(&what, Some(code));
                let message = format!("{what}: {why}");
                Err(self.broken_by(cause.unwrap_or(PublishError { recover: recover(code), message })))
            }
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
            let owner = self.transactional.as_deref().filter(|_| !commit.last);
            let topic = self.group.topic_id(&commit.partition);
            element.set_metadata(Signed { metadata: &commit.metadata, topic, owner }.text());
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

    /// `mode` is for the offsets outside transactions.
    fn commit_by(&mut self, offsets: &[CommitOffset], mode: CommitMode) -> Result<(), PublishError> {
        self.usable()?;
        if self.transactional.is_some() {
            self.commit_transaction(offsets)
        } else {
            self.commit_plain(offsets, mode)
        }
    }

    fn commit_plain(&mut self, offsets: &[CommitOffset], mode: CommitMode) -> Result<(), PublishError> {
        self.settle()?;
        let Some(consumer) = self.group.consumer() else { return Err(self.source_is_gone()) };
        if let Some(error) = consumer.context().take_not_committed() {
            // A rebalance turns commits down for a moment. The offsets of partitions that stay are in a later one.
            if !is_between_generations(&error) {
                return Err(self.broken_by(failure(NOT_COMMITTED, &error)));
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let list = self.offsets(offsets)?;
        let deadline = Instant::now() + NEXT_GENERATION;
        loop {
            // A sync commit answers for the request; each partition has an answer of its own.
            let refused = match consumer.commit(&list, mode) {
                Ok(()) => list.elements().iter().find_map(|element| element.error().err()),
                Err(error) => Some(error),
            };
            match refused {
                None => return Ok(()),
                // The records are there: once the group has settled, their offsets are taken.
                Some(error) if is_between_generations(&error) && Instant::now() < deadline => {
                    std::thread::sleep(LOOK);
                }
                Some(error) => return Err(self.broken_by(failure(NOT_COMMITTED, &error))),
            }
        }
    }

    fn source_is_gone(&mut self) -> PublishError {
        let message = "the source is closed: nothing can be committed for its group any more".to_owned();
        self.broken_by(PublishError { recover: Recover::Restart, message })
    }
}

impl Publisher for KafkaPublisher {
    fn refuses(&mut self, record: &OutputRecord) -> Option<Refusal> {
        let bytes_max = self.record_bytes_max;
        let (reason, detail) = if record.wire_bytes() > bytes_max {
            let bytes = record.wire_bytes();
            (TOO_LARGE, format!("it takes {bytes} bytes, more than kafka.max_request_size, {bytes_max}"))
        } else if let Destination::Topic(topic) = &record.destination {
            (UNKNOWN_TOPIC, self.named.refuses(topic)?)
        } else {
            return None;
        };
        Some(Refusal { topic: self.topics.name(&record.destination).to_owned(), reason, detail, bytes_max })
    }

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

    fn mark(&mut self) {
        self.mark = self.group.mark();
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
