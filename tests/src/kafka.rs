//! A real broker: the suite's, or one of a test's own that can be taken away; producers and readers for it.

use crate::oracle::Seen;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Set by `tests/run` to the address of the suite's broker.
pub const SUITE_BROKER: &str = "TIDECAST_TEST_KAFKA";
const ASK: Duration = Duration::from_secs(20);

/// A name that no other test, run or process uses: `what`, the process and a counter.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{:x}-{count}", std::process::id(), since.as_millis() & 0xff_ffff)
}

/// A broker's address, and the broker itself when it is this test's own.
pub struct Kafka {
    bootstrap: String,
    own: Option<Own>,
}

struct Own {
    folder: tempfile::TempDir,
    running: Option<Child>,
}

impl Kafka {
    /// The suite's broker; one for this process alone when `tests/run` did not start any.
    pub fn shared() -> Kafka {
        static ALONE: OnceLock<Kafka> = OnceLock::new();
        let bootstrap =
            std::env::var(SUITE_BROKER).unwrap_or_else(|_| ALONE.get_or_init(Kafka::own).bootstrap.clone());
        Kafka { bootstrap, own: None }
    }

    /// A broker for this test alone, which can be stopped and started again with [`Kafka::stop`] and [`Kafka::start`].
    pub fn own() -> Kafka {
        let folder = tempfile::Builder::new().prefix("tidecast-kafka").tempdir().unwrap();
        let mut kafka = Kafka { bootstrap: String::new(), own: Some(Own { folder, running: None }) };
        kafka.start();
        kafka
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Uses a broker that is there already.
    pub fn at(bootstrap: &str) -> Kafka {
        Kafka { bootstrap: bootstrap.to_string(), own: None }
    }

    /// The process that keeps the broker of its own, whose child is the broker.
    pub fn pid(&self) -> Option<u32> {
        Some(self.own.as_ref()?.running.as_ref()?.id())
    }

    /// Starts the broker of its own (again, on the same port and data) and waits until it answers.
    pub fn start(&mut self) {
        let own = self.own.as_mut().expect("the suite's broker belongs to no single test");
        let port = self.bootstrap.rsplit(':').next().unwrap_or_default();
        let mut command = Command::new(repository().join("tests/kafka/broker"));
        command.arg("serve").arg(own.folder.path());
        if !port.is_empty() {
            command.arg(port);
        }
        // The script ends with its standard input, so with this process however that ends.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("BOOTSTRAP ").unwrap_or_else(|| panic!("no broker: {line:?}"));
        self.bootstrap = address.to_string();
        own.running = Some(child);
        self.metadata_until(|brokers, _| brokers > 0);
    }

    /// Takes the broker away (kill -9); its data stays.
    pub fn stop(&mut self) {
        let own = self.own.as_mut().expect("the suite's broker belongs to no single test");
        own.stop();
    }

    /// What every client of this broker begins with.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("allow.auto.create.topics", "false");
        config
    }

    fn metadata_until(&self, enough: impl Fn(usize, usize) -> bool) {
        let client: BaseConsumer = self.config().create().unwrap();
        let start = Instant::now();
        loop {
            if let Ok(all) = client.fetch_metadata(None, Duration::from_secs(1))
                && enough(all.brokers().len(), all.topics().len())
            {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the broker at {} does not answer",
                self.bootstrap
            );
        }
    }

    /// Makes a topic and waits until the broker leads all its partitions.
    pub async fn create(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made =
            admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(ASK))).await.unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Removes a topic, and waits until no broker knows it.
    pub async fn delete(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(ASK));
        let gone = admin.delete_topics(&[topic], &options).await.unwrap();
        assert!(gone.iter().all(Result::is_ok), "{gone:?}");
    }

    /// Takes the records before `offset` from a partition, as retention does.
    pub async fn forget(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        admin.delete_records(&list, &AdminOptions::new().operation_timeout(Some(ASK))).await.unwrap();
    }

    /// Sets what a group without members has committed, as its operator would.
    pub fn reset_offset(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    /// Gives a topic more partitions.
    pub async fn grow(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let more = NewPartitions::new(topic, partitions);
        let made = admin
            .create_partitions([&more], &AdminOptions::new().operation_timeout(Some(ASK)))
            .await
            .unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Takes a right on a topic from everybody: `Read`, `Write`, `Describe`. Asks Kafka's own tool, for our client cannot.
    pub fn deny(&self, topic: &str, operation: &str) {
        let script = repository().join("tests/kafka/broker");
        let status = Command::new(script).args(["deny", &self.bootstrap, topic, operation]).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// How many partitions a topic has; none when there is no such topic.
    pub fn partitions(&self, topic: &str) -> Option<usize> {
        let client: BaseConsumer = self.config().create().unwrap();
        let all = client.fetch_metadata(None, ASK).unwrap();
        let found = all.topics().iter().find(|t| t.name() == topic)?;
        Some(found.partitions().len())
    }

    /// A producer that keeps order and loses nothing.
    pub fn producer(&self) -> Producer {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "2").set("compression.type", "lz4");
        config.set("queue.buffering.max.messages", "200000");
        Producer { inner: config.create_with_context(Failures::default()).unwrap() }
    }

    /// Sends events, each to its partition, and waits until the broker has all of them.
    pub fn send_events(&self, topic: &str, events: &[Seen]) {
        let producer = self.producer();
        for event in events {
            let json = event.json();
            let (key, payload) = (Some(event.key.as_bytes()), Some(json.as_bytes()));
            producer.send(topic, Out { key, payload, partition: Some(event.partition), ..Out::default() });
        }
        producer.flush();
    }

    /// Sends an event of source `a` and type `x` for each of these seconds after `at` (epoch seconds), and waits until the
    /// broker has all of them.
    pub fn send_seconds(&self, topic: &str, at: u64, seconds: impl IntoIterator<Item = u64>) {
        let producer = self.producer();
        for second in seconds {
            let event = json!({"source": "a", "type": "x", "timestamp": at + second, "data": {"v": 1}});
            producer.send_json(topic, "a", &event.to_string());
        }
        producer.flush();
    }

    /// Reads a topic from its beginning, only what is committed.
    pub fn reader(&self, topic: &str) -> Reader {
        self.reader_with(topic, "read_committed")
    }

    /// Reads a topic from its beginning, whether its transactions ended or not.
    pub fn reader_ahead(&self, topic: &str) -> Reader {
        self.reader_with(topic, "read_uncommitted")
    }

    fn reader_with(&self, topic: &str, isolation: &str) -> Reader {
        let mut config = self.config();
        config.set("group.id", unique("reader")).set("enable.auto.commit", "false");
        config.set("isolation.level", isolation).set("fetch.wait.max.ms", "20");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut reader = Reader { consumer, topic: topic.to_string(), assigned: 0, records: Vec::new() };
        reader.assign();
        reader
    }

    /// The offsets that a group has committed on a topic, by partition (-1 for none).
    pub fn committed(&self, group: &str, topic: &str) -> Vec<i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic).unwrap_or(0) {
            list.add_partition(topic, partition as i32);
        }
        let known = consumer.committed_offsets(list, ASK).unwrap();
        known.elements().iter().map(|e| e.offset().to_raw().filter(|raw| *raw >= 0).unwrap_or(-1)).collect()
    }

    /// First and past-the-last offset of each partition.
    pub fn watermarks(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let partitions = 0..self.partitions(topic).unwrap_or(0) as i32;
        partitions.map(|p| consumer.fetch_watermarks(topic, p, ASK).unwrap()).collect()
    }
}

impl Own {
    fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Counts what could not be delivered, so that a test never goes on without its input.
#[derive(Default)]
pub struct Failures(AtomicU64);

impl rdkafka::ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A record to be produced; everything but the payload may be left out.
#[derive(Clone, Default)]
pub struct Out<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// The partition; none lets the key decide.
    pub partition: Option<i32>,
    /// The record's own time; none is now.
    pub timestamp_ms: Option<i64>,
    /// Headers as text.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Produces and, with [`Producer::flush`], sees to it that all of it arrived.
pub struct Producer {
    inner: ThreadedProducer<Failures>,
}

impl Producer {
    /// Queues one record; waits while the queue is full.
    pub fn send(&self, topic: &str, out: Out<'_>) {
        let mut record = BaseRecord::<[u8], [u8], ()>::to(topic);
        record.key = out.key;
        record.payload = out.payload;
        record.partition = out.partition;
        record.timestamp = out.timestamp_ms;
        if !out.headers.is_empty() {
            let empty = OwnedHeaders::new();
            let add = |all: OwnedHeaders, (key, value): &(&str, &str)| {
                all.insert(Header { key, value: Some(*value) })
            };
            record.headers = Some(out.headers.iter().fold(empty, add));
        }
        while let Err((error, back)) = self.inner.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            self.inner.flush(Duration::from_millis(100)).ok();
            record = back;
        }
    }

    /// Queues one JSON record with a key.
    pub fn send_json(&self, topic: &str, key: &str, json: &str) {
        self.send(topic, Out { key: Some(key.as_bytes()), payload: Some(json.as_bytes()), ..Out::default() });
    }

    /// Waits until the broker has everything; panics when something was lost.
    pub fn flush(&self) {
        self.inner.flush(Duration::from_secs(60)).unwrap();
        assert_eq!(self.inner.context().0.load(Ordering::Relaxed), 0, "records could not be delivered");
    }
}

/// One record as it was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place.
    pub partition: i32,
    /// Its place.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value, none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The value as JSON.
    pub fn json(&self) -> serde_json::Value {
        let bytes = self.payload.as_deref().expect("a tombstone where JSON was expected");
        serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
    }

    /// The key as text.
    pub fn key_text(&self) -> &str {
        std::str::from_utf8(self.key.as_deref().unwrap_or_default()).unwrap()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// Reads a topic from its beginning and keeps what it read.
pub struct Reader {
    consumer: BaseConsumer,
    topic: String,
    assigned: usize,
    /// Everything read so far: in order within a partition.
    pub records: Vec<Record>,
}

impl Reader {
    /// A topic may be made after its reader: its partitions are taken as soon as they exist.
    fn assign(&mut self) {
        let Ok(metadata) = self.consumer.fetch_metadata(None, ASK) else { return };
        let Some(found) = metadata.topics().iter().find(|t| t.name() == self.topic) else { return };
        let mut list = TopicPartitionList::new();
        for partition in found.partitions() {
            list.add_partition_offset(&self.topic, partition.id(), Offset::Beginning).unwrap();
        }
        self.assigned = list.count();
        self.consumer.assign(&list).unwrap();
    }

    /// Reads until `enough` of everything read so far; panics with `what` after `limit`.
    pub fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut enough: impl FnMut(&[Record]) -> bool,
    ) -> &[Record] {
        tokio::task::block_in_place(|| {
            let start = Instant::now();
            while !enough(&self.records) {
                assert!(
                    start.elapsed() < limit,
                    "{what}: not within {limit:?}; {} records read",
                    self.records.len()
                );
                self.poll(Duration::from_millis(50));
            }
        });
        &self.records
    }

    /// Reads what is there now, and whatever comes within `span`.
    pub fn for_a_while(&mut self, span: Duration) -> &[Record] {
        tokio::task::block_in_place(|| {
            let start = Instant::now();
            while start.elapsed() < span {
                self.poll(Duration::from_millis(20));
            }
        });
        &self.records
    }

    fn poll(&mut self, wait: Duration) {
        if self.assigned == 0 {
            self.assign();
        }
        let mut wait = wait;
        for _ in 0..2_000 {
            match self.consumer.poll(std::mem::take(&mut wait)) {
                None => return,
                Some(Ok(message)) => {
                    let headers = message.headers().map(|all| {
                        all.iter()
                            .map(|h| (h.key.to_string(), h.value.unwrap_or_default().to_vec()))
                            .collect()
                    });
                    self.records.push(Record {
                        partition: message.partition(),
                        offset: message.offset(),
                        key: message.key().map(<[u8]>::to_vec),
                        payload: message.payload().map(<[u8]>::to_vec),
                        headers: headers.unwrap_or_default(),
                    });
                }
                // A broker that is away comes back, or the limit ends the test.
                Some(Err(KafkaError::MessageConsumption(_))) => return,
                Some(Err(error)) => panic!("{}: {error}", self.topic),
            }
        }
    }
}
