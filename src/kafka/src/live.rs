//! The output topics read for live delivery: no group, every partition, ahead of commits. What comes twice bears the
//! same id; the sink drops it.

use crate::cluster::{ClientError, Cluster, explain};
use crate::log::QuietContext;
use bytes::{Bytes, BytesMut};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidecast_event::OutputId;
use tidecast_ports::{LiveRecord, LiveSink, OutputKind};

/// Records handed over at once.
const BATCH: usize = 512;
/// New partitions, and topics that were not there, are looked for this often.
const DISCOVER_EVERY: Duration = Duration::from_secs(10);
/// The same while a topic is missing.
const DISCOVER_MISSING_EVERY: Duration = Duration::from_secs(1);
/// No record from before the start for this long: there is none left.
const QUIET: Duration = Duration::from_millis(750);
/// How long one question to the brokers may hold up delivery.
const ASK: Duration = Duration::from_secs(2);

/// What is read, and how much of it is remembered.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// Topics and what they carry.
    pub topics: Vec<(String, OutputKind)>,
    /// Records per partition read again at the start, told as replayed.
    pub tail: i64,
    /// Look for the `traceparent` header of each record.
    pub traceparent: bool,
}

impl LiveOptions {
    /// The four output topics.
    pub fn from_settings(settings: &tidecast_config::Settings) -> Self {
        let names = &settings.topics;
        LiveOptions {
            topics: vec![
                (names.aggregates.clone(), OutputKind::Aggregate),
                (names.predictions.clone(), OutputKind::Forecast),
                (names.alerts.clone(), OutputKind::Alert),
                (names.metrics.clone(), OutputKind::Metrics),
            ],
            tail: 2_000,
            traceparent: settings.telemetry.otlp_endpoint.is_some(),
        }
    }

    /// Closed windows alone.
    pub fn windows_of(settings: &tidecast_config::Settings) -> Self {
        let mut options = Self::from_settings(settings);
        options.topics.retain(|(_, kind)| *kind == OutputKind::Aggregate);
        options.traceparent = false;
        options
    }
}

/// Told whether the brokers answer, each time that was looked for: `None`, or why they do not.
pub type Reached = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// The running reader. It ends with [`LiveReader::stop`] or the process, not when this value is dropped.
pub struct LiveReader {
    stopped: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl LiveReader {
    /// Reads the output topics of the configuration. Brokers and topics need not be there yet.
    pub fn start(
        cluster: &Cluster,
        settings: &tidecast_config::Settings,
        sink: Arc<dyn LiveSink>,
        reached: Reached,
    ) -> Result<Self, ClientError> {
        Self::start_with(cluster, LiveOptions::from_settings(settings), sink, reached)
    }

    /// Reads these topics.
    pub fn start_with(
        cluster: &Cluster,
        options: LiveOptions,
        sink: Arc<dyn LiveSink>,
        reached: Reached,
    ) -> Result<Self, ClientError> {
        let group = format!("{}-live", cluster.options().group_id);
        let mut config = cluster.reader_config(&group, "read_uncommitted");
        config
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", "16384")
            .set("topic.metadata.refresh.interval.ms", "10000")
            // What retention took while we were away is not live any more.
            .set("auto.offset.reset", "latest");
        let consumer = BaseConsumer::from_config_and_context(&config, QuietContext::default())?;
        let stopped = Arc::new(AtomicBool::new(false));
        let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let reader = Reader {
            consumer,
            options,
            sink,
            reached,
            look_at_once: false,
            stopped: Arc::clone(&stopped),
            started_ms: i64::try_from(started_ms).unwrap_or(i64::MAX),
            partitions: BTreeMap::new(),
            caught_up: false,
        };
        let thread = std::thread::Builder::new()
            .name("kafka-live".into())
            .spawn(move || reader.run())
            .map_err(|error| ClientError(format!("no thread for the live reader: {error}")))?;
        Ok(LiveReader { stopped, thread })
    }

    /// Ends the reader and waits for it.
    pub fn stop(self) {
        self.stopped.store(true, Ordering::Release);
        // A panic of the sink was told when it happened.
        let _ = self.thread.join();
    }
}

struct Partition {
    kind: OutputKind,
    /// The end when the partition was found: what is before it and older than the reader is replayed.
    found_end: i64,
    /// The offset after the last record that came.
    next: i64,
}

/// By topic, then partition: looked up for every record without a copy of the name.
type Partitions = BTreeMap<String, BTreeMap<i32, Partition>>;

struct Reader {
    consumer: BaseConsumer<QuietContext>,
    options: LiveOptions,
    sink: Arc<dyn LiveSink>,
    reached: Reached,
    /// A connection was lost.
    look_at_once: bool,
    stopped: Arc<AtomicBool>,
    started_ms: i64,
    partitions: Partitions,
    /// What was written before the start has been handed over.
    caught_up: bool,
}

impl Reader {
    fn run(mut self) {
        let mut discover_at = Instant::now();
        let mut records = Vec::new();
        let mut old_came_at = None;
        while !self.stopped.load(Ordering::Acquire) {
            if Instant::now() >= discover_at || std::mem::take(&mut self.look_at_once) {
                let looked = self.discover();
                (self.reached)(looked.as_ref().err().map(String::as_str));
                let all_there = looked.unwrap_or(false);
                discover_at =
                    Instant::now() + if all_there { DISCOVER_EVERY } else { DISCOVER_MISSING_EVERY };
                if all_there && old_came_at.is_none() {
                    old_came_at = Some(Instant::now());
                }
            }
            self.gather(&mut records);
            if records.iter().any(|record| record.replayed) {
                old_came_at = old_came_at.map(|_| Instant::now());
            }
            if !records.is_empty() {
                self.sink.publish(std::mem::take(&mut records));
            }
            if !self.caught_up && old_came_at.is_some_and(|at| self.is_caught_up(at)) {
                self.caught_up = true;
                self.sink.caught_up();
            }
        }
    }

    /// Whether what was there at the start has come. A partition that ends in a transaction's marker is never read to
    /// its very end, so quiet after the last old record counts too.
    fn is_caught_up(&self, old_came_at: Instant) -> bool {
        let mut partitions = self.partitions.values().flat_map(BTreeMap::values);
        partitions.all(|partition| partition.next >= partition.found_end) || old_came_at.elapsed() >= QUIET
    }

    /// Waits for a record, then takes what else is there.
    fn gather(&mut self, records: &mut Vec<LiveRecord>) {
        let mut wait = Duration::from_millis(100);
        while records.len() < BATCH {
            match self.consumer.poll(wait) {
                None => return,
                Some(Ok(message)) => {
                    if let Some(record) =
                        take(&mut self.partitions, &self.options, self.started_ms, self.caught_up, &message)
                    {
                        records.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => {
                    let lost = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::BrokerTransportFailure];
                    self.look_at_once |= error.rdkafka_error_code().is_some_and(|code| lost.contains(&code));
                    tracing::debug!(error = explain(&error), "live reader");
                }
            }
            wait = Duration::ZERO;
        }
    }

    /// Adds partitions not yet read. Tells whether every topic was there, or why nobody answers.
    fn discover(&mut self) -> Result<bool, String> {
        let mut all_there = true;
        for (topic, kind) in self.options.topics.clone() {
            all_there &= self.discover_topic(&topic, kind)?;
        }
        Ok(all_there)
    }

    fn discover_topic(&mut self, topic: &str, kind: OutputKind) -> Result<bool, String> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ASK);
        let metadata = metadata.map_err(|error| format!("Kafka does not answer: {}", explain(&error)))?;
        let Some(found) = metadata.topics().first().filter(|found| found.error().is_none()) else {
            return Ok(false);
        };
        let mut list = TopicPartitionList::new();
        let mut complete = !found.partitions().is_empty();
        let known = self.partitions.entry(topic.to_owned()).or_default();
        for partition in found.partitions() {
            if known.contains_key(&partition.id()) {
                continue;
            }
            let Ok((low, high)) = self.consumer.fetch_watermarks(topic, partition.id(), ASK) else {
                complete = false;
                continue;
            };
            let from = Offset::Offset(low.max(high - self.options.tail));
            if list.add_partition_offset(topic, partition.id(), from).is_ok() {
                let new = Partition { kind, found_end: high, next: 0 };
                known.insert(partition.id(), new);
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.incremental_assign(&list)
        {
            tracing::warn!(topic, error = explain(&error), "live reader: partitions not read; trying again");
            for element in list.elements() {
                known.remove(&element.partition());
            }
            return Ok(false);
        }
        Ok(complete)
    }
}

fn take(
    partitions: &mut Partitions,
    options: &LiveOptions,
    started_ms: i64,
    caught_up: bool,
    message: &BorrowedMessage<'_>,
) -> Option<LiveRecord> {
    let partition = partitions.get_mut(message.topic())?.get_mut(&message.partition())?;
    let record = live_record(partition.kind, message);
    partition.next = message.offset() + 1;
    let before = message.offset() < partition.found_end && record.timestamp_ms < started_ms;
    let traceparent = match options.traceparent {
        true => header(message, "traceparent").map(Into::into),
        false => None,
    };
    Some(LiveRecord { replayed: before && !caught_up, traceparent, ..record })
}

fn header<'m>(message: &'m BorrowedMessage<'_>, key: &str) -> Option<&'m [u8]> {
    message.headers()?.iter().find(|header| header.key == key)?.value
}

/// A record as the gateway takes it, its bytes copied once; as if it were live.
pub(crate) fn live_record(kind: OutputKind, message: &BorrowedMessage<'_>) -> LiveRecord {
    let id = header(message, "id").and_then(OutputId::parse);
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    let mut bytes = BytesMut::with_capacity(key.len() + value.len());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    let mut key_and_value: Bytes = bytes.freeze();
    let key = key_and_value.split_to(key.len());
    let observed = match kind {
        OutputKind::Forecast => header(message, "observed").map(Into::into),
        OutputKind::Aggregate | OutputKind::Alert | OutputKind::Metrics => None,
    };
    LiveRecord {
        kind,
        partition: message.partition(),
        offset: message.offset(),
        id,
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key,
        value: key_and_value,
        replayed: false,
        traceparent: None,
        observed,
    }
}
