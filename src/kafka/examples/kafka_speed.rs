//! How fast this room is on a real Kafka, with the CPU time it took:
//!
//!     cargo run --release -p tidecast-kafka --example kafka_speed -- HOST:PORT fill|source|ingest|commit [RECORDS]
//!
//! `fill` makes topic `kafka-speed` and puts records on it; `source` reads it from the start with a new group;
//! `BATCH` (records of a batch) and `QUEUE` (bytes waiting) change it; `BATCH_BYTES` the producer's batches.
//! `ingest` sends through the ingest path, acknowledged; `commit` times transactions of 20 records and an offset.

use bytes::Bytes;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidecast_event::TopicPartition;
use tidecast_kafka::{
    Cluster, ClusterOptions, Guarantee, Ingest, KafkaAdmin, KafkaPublisher, OutputTopics, Publishing, Source,
    SourceOptions, TopicSpec,
};
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::source::{Assigned, BatchPool};
use tidecast_ports::{
    Destination, EventIngest, OutputRecord, PartitionSink, Publisher, RecordBatch, SourceHandler,
};

const TOPIC: &str = "kafka-speed";

#[derive(Default)]
struct Counts {
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    first: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Counter(Arc<Counts>, BatchPool);

impl PartitionSink for Counter {
    fn has_room(&self) -> bool {
        true
    }

    fn deliver(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        if self.0.batches.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.0.first.lock().unwrap() = Some(Instant::now());
        }
        self.0.records.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
        self.0.bytes.fetch_add(batch.arena.len() as u64, Ordering::Relaxed);
        self.1.give(batch);
        Ok(())
    }
}

impl SourceHandler for Counter {
    fn assigned(
        &mut self,
        _: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        Ok((broker.log_start, Box::new(self.clone())))
    }

    fn revoking(&mut self, _: &[TopicPartition], _: Duration) {}

    fn lost(&mut self, _: &[TopicPartition]) {}

    fn connection(&mut self, trouble: Option<&str>) {
        eprintln!("connection: {trouble:?}");
    }
}

/// CPU seconds of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn event(number: u64) -> Bytes {
    let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1_000;
    Bytes::from(format!(
        r#"{{"id":"e-{number:07}","source":"sensor_{key:04}","type":"sensor_data","timestamp":1732150000.250,"data":{{"value":51.3}}}}"#
    ))
}

fn report(what: &str, count: u64, wall: f64, cpu: f64) {
    println!(
        "{what}: {count} in {wall:.2} s = {:.0}/s of wall clock, {:.0} per CPU-second, peak {} MB",
        count as f64 / wall,
        count as f64 / cpu,
        resident_mb()
    );
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn source(cluster: &Cluster, records: u64) {
    let counts = Arc::new(Counts::default());
    let mut options = SourceOptions::new([TOPIC], || 1);
    if let Some(size) = std::env::var("BATCH").ok().and_then(|size| size.parse().ok()) {
        options.batch_records = size;
    }
    if let Some(size) = std::env::var("QUEUE").ok().and_then(|size| size.parse().ok()) {
        options.queue_bytes = size;
    }
    let counter = Counter(Arc::clone(&counts), options.pool.clone());
    let source = Source::prepare(cluster, options).unwrap();
    let control = source.control();
    let thread = source.start(Box::new(counter)).unwrap();
    let (mut cpu, mut begun) = (0.0, None);
    while counts.records.load(Ordering::Relaxed) < records {
        std::thread::sleep(Duration::from_millis(1));
        if begun.is_none() && counts.batches.load(Ordering::Relaxed) > 0 {
            (begun, cpu) = (Some(Instant::now()), cpu_seconds());
        }
    }
    let wall = counts.first.lock().unwrap().unwrap().elapsed().as_secs_f64();
    let read = counts.records.load(Ordering::Relaxed);
    report("source", read, wall, cpu_seconds() - cpu);
    println!("batches of {} on average", read / counts.batches.load(Ordering::Relaxed));
    control.close();
    thread.join().unwrap();
}

async fn ingest(cluster: &Cluster, topic: &str, records: u64) {
    let ingest = Ingest::to_topic(cluster, topic, i64::MAX / 2, false, Publishing::default()).unwrap();
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut waiting = std::collections::VecDeque::new();
    for start in (0..records).step_by(500) {
        let events = (start..(start + 500).min(records)).map(event).collect();
        waiting.push_back(ingest.ingest_batch(events, now_ms()).1);
        if waiting.len() > 100
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.await.unwrap();
        }
    }
    for answer in waiting {
        answer.await.unwrap();
    }
    report("ingest", records, begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
}

fn commit(cluster: &Cluster, rounds: u64) {
    let counts = Arc::new(Counts::default());
    let options = SourceOptions::new([TOPIC], || 1);
    let counter = Counter(Arc::clone(&counts), options.pool.clone());
    let source = Source::prepare(cluster, options).unwrap();
    let control = source.control();
    let thread = source.start(Box::new(counter)).unwrap();
    let name: Arc<str> = "kafka-speed-out".into();
    let topics = OutputTopics {
        aggregates: name.clone(),
        predictions: name.clone(),
        alerts: name.clone(),
        metrics: name.clone(),
        dead_letters: name,
        partitions: 4,
        replication: 1,
    };
    let guarantee = Guarantee::ExactlyOnce { transactional_id: "kafka-speed".into() };
    let mut publisher =
        KafkaPublisher::connect(cluster, &guarantee, topics, control.group(), Publishing::default()).unwrap();
    while counts.batches.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut took = Vec::new();
    for round in 0..rounds {
        for key in 0..20u64 {
            let record = OutputRecord {
                destination: Destination::Aggregates,
                partition: None,
                key: Some(Bytes::from(key.to_string())),
                value: Some(event(round)),
                id: None,
                headers: Vec::new(),
            };
            publisher.produce(&record).unwrap();
        }
        let partition = TopicPartition::new(TOPIC, (round % 4) as i32);
        let begun = Instant::now();
        publisher
            .commit(&[CommitOffset { partition, offset: round as i64, metadata: String::new(), last: false }])
            .unwrap();
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(10));
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "commit of 20 records and an offset, ms: p50 {:.1} p90 {:.1} p99 {:.1}",
        at(0.5),
        at(0.9),
        at(0.99)
    );
    control.close();
    thread.join().unwrap();
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, servers, what, rest @ ..] = &arguments[..] else {
        eprintln!("usage: kafka_speed HOST:PORT fill|source|ingest|commit [RECORDS]");
        return ExitCode::from(2);
    };
    let count = rest.first().and_then(|count| count.parse().ok());
    let group = format!("kafka-speed-{}", now_ms());
    let cluster = Cluster::new(ClusterOptions::plaintext(servers, group));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    match what.as_str() {
        "source" => source(&cluster, count.unwrap_or(4_000_000)),
        "commit" => {
            let admin = KafkaAdmin::new(&cluster).unwrap();
            runtime.block_on(admin.ensure_topics(&[TopicSpec::stream("kafka-speed-out", 4, 1)])).unwrap();
            commit(&cluster, count.unwrap_or(200));
        }
        fill_or_ingest => {
            let topic = if fill_or_ingest == "fill" { TOPIC } else { "kafka-speed-in" };
            let mut options = cluster.options().clone();
            if fill_or_ingest == "fill" {
                options.producer.batch_bytes = Some(262_144);
                options.producer.linger = Duration::from_millis(20);
                options.producer.compression = "none".into();
            }
            if let Some(size) = std::env::var("BATCH_BYTES").ok().and_then(|size| size.parse().ok()) {
                options.producer.batch_bytes = Some(size);
            }
            let cluster = Cluster::new(options);
            let admin = KafkaAdmin::new(&cluster).unwrap();
            runtime.block_on(async {
                admin.ensure_topics(&[TopicSpec::stream(topic, 4, 1)]).await.unwrap();
                ingest(&cluster, topic, count.unwrap_or(4_000_000)).await;
            });
        }
    }
    ExitCode::SUCCESS
}
