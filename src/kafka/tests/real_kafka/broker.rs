//! The broker under test, names that no other test has, and records put on it.

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidecast_kafka::{Cluster, ClusterOptions, KafkaAdmin, TopicSpec};

pub fn bootstrap() -> String {
    std::env::var("TIDECAST_TEST_KAFKA").expect(
        "TIDECAST_TEST_KAFKA is not set: start a Kafka (tests/run does) and set it to its host:port, \
         e.g. TIDECAST_TEST_KAFKA=127.0.0.1:9092",
    )
}

/// A name of this test's own.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("{name}-{}-{micros:x}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn cluster(group: &str) -> Cluster {
    Cluster::new(ClusterOptions::plaintext(bootstrap(), group))
}

pub fn static_member(group: &str, instance: &str) -> Cluster {
    let mut options = ClusterOptions::plaintext(bootstrap(), group);
    options.group_instance_id = Some(instance.to_owned());
    Cluster::new(options)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Makes a topic and returns its name.
pub fn topic(name: &str, partitions: i32) -> String {
    let name = unique(name);
    make(&TopicSpec::stream(&name, partitions, 1));
    name
}

pub fn make(spec: &TopicSpec) {
    let admin = KafkaAdmin::new(&cluster("admin")).unwrap();
    let made = runtime().block_on(admin.ensure_topics(std::slice::from_ref(spec))).unwrap();
    assert_eq!(made, std::slice::from_ref(&spec.name));
}

/// A record to be put on a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: i64,
    pub traceparent: Option<&'static str>,
}

pub fn numbered(partition: i32, number: usize) -> Put {
    Put {
        partition,
        key: Some(format!("k{}", number % 7).into_bytes()),
        value: Some(format!("value {partition} {number}").into_bytes()),
        timestamp_ms: 1_700_000_000_000 + number as i64,
        traceparent: None,
    }
}

pub fn put(topic: &str, records: &[Put]) {
    let producer: BaseProducer<Counted> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap())
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create_with_context(Counted)
        .unwrap();
    send_all(&producer, topic, records);
    producer.flush(Duration::from_secs(30)).unwrap();
    assert_eq!(REFUSED.load(Ordering::Relaxed), 0, "the broker took every record of the fixtures");
}

/// Records of fixtures that the broker did not take.
static REFUSED: AtomicU32 = AtomicU32::new(0);

struct Counted;

impl ClientContext for Counted {}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("a fixture's record was refused: {error}");
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn send_all<C: ProducerContext<DeliveryOpaque = ()>>(
    producer: &BaseProducer<C>,
    topic: &str,
    records: &[Put],
) {
    for record in records {
        let mut out: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(record.partition);
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        out.timestamp = Some(record.timestamp_ms);
        if let Some(traceparent) = record.traceparent {
            let header = Header { key: "traceparent", value: Some(traceparent) };
            out.headers = Some(OwnedHeaders::new().insert(header));
        }
        loop {
            match producer.send(out) {
                Ok(()) => break,
                Err((_, back)) => {
                    out = back;
                    producer.poll(Duration::from_millis(5));
                }
            }
        }
        producer.poll(Duration::ZERO);
    }
}

/// Puts records in one transaction, which leaves a marker behind them.
pub fn put_in_transaction(topic: &str, records: &[Put], commit: bool) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap())
        .set("transactional.id", unique("fixture"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    send_all(&producer, topic, records);
    if commit {
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
    } else {
        producer.flush(Duration::from_secs(30)).unwrap();
        producer.abort_transaction(Duration::from_secs(30)).unwrap();
    }
}

/// Every record that a reader of committed records sees, to the end as of now: (partition, offset, key, value, id).
pub type Seen = (i32, i64, Option<String>, Option<String>, Option<String>);

pub fn read_committed(topic: &str) -> Vec<Seen> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Headers, Message};
    use rdkafka::{Offset, TopicPartitionList};
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap())
        .set("group.id", unique("reader"))
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut left, mut seen) = (list.count(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while left > 0 {
        match consumer.poll(Duration::from_secs(30)).expect("records or the end within 30 s") {
            Ok(message) => {
                let id = message.headers().and_then(|headers| {
                    headers.iter().find(|header| header.key == "id").and_then(|header| header.value.map(text))
                });
                let (key, value) = (message.key().map(text), message.payload().map(text));
                seen.push((message.partition(), message.offset(), key, value, id));
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen
}
