//! The publisher: records and offsets as one.

use crate::broker::{self, numbered};
use crate::recorder::{Recorder, Running, options};
use bytes::Bytes;
use tidecast_event::{OutputId, TopicPartition};
use tidecast_kafka::{Cluster, Guarantee, KafkaPublisher, OutputTopics, Publishing};
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::{Destination, OutputRecord, Publisher, Recover};

struct Bench {
    input: String,
    output: String,
    cluster: Cluster,
    recorder: Recorder,
    running: Running,
    publishing: Publishing,
    names: OutputTopics,
}

impl Bench {
    fn new(name: &str) -> Self {
        let (input, output) = (broker::topic("in", 1), broker::topic("out", 2));
        broker::put(&input, &(0..10).map(|n| numbered(0, n)).collect::<Vec<_>>());
        let cluster = broker::cluster(&broker::unique(name));
        let recorder = Recorder::default();
        let running = recorder.start(&cluster, options(&input));
        recorder.wait_for_records(10);
        let names = OutputTopics {
            aggregates: output.as_str().into(),
            predictions: "unused".into(),
            alerts: "unused".into(),
            metrics: "unused".into(),
            dead_letters: "unused".into(),
            partitions: 1,
            replication: 1,
        };
        Bench { input, output, cluster, recorder, running, publishing: Publishing::default(), names }
    }

    fn publisher(&self, guarantee: &Guarantee) -> KafkaPublisher {
        let (names, group) = (self.names.clone(), self.running.control.group());
        KafkaPublisher::connect(&self.cluster, guarantee, names, group, self.publishing.clone()).unwrap()
    }

    fn offset(&self, offset: i64, metadata: &str) -> CommitOffset {
        let partition = TopicPartition::new(self.input.as_str(), 0);
        CommitOffset { partition, offset, metadata: metadata.to_owned(), last: false }
    }

    /// What the group has committed, as a restart sees it.
    fn committed(&self) -> Option<(i64, String)> {
        let before = self.recorder.with(|written| written.assigned.len());
        self.running.control.restart_all();
        self.recorder.wait("a restart", |written| written.assigned.len() > before);
        self.recorder.with(|written| {
            let committed = written.assigned.last().unwrap().1.committed.clone();
            committed.map(|committed| (committed.offset, committed.metadata))
        })
    }
}

fn record(key: &str, value: &str) -> OutputRecord {
    OutputRecord {
        destination: Destination::Aggregates,
        partition: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        id: Some(OutputId::of(&[key.as_bytes()])),
        headers: vec![("reason", Bytes::from_static(b"test"))],
    }
}

fn exactly_once() -> Guarantee {
    Guarantee::ExactlyOnce { transactional_id: broker::unique("worker") }
}

#[test]
fn records_and_offsets_are_one_transaction() {
    let bench = Bench::new("once");
    let mut publisher = bench.publisher(&exactly_once());
    publisher.produce(&record("a", "1")).unwrap();
    publisher.produce(&record("b", "2")).unwrap();
    assert!(broker::read_committed(&bench.output).is_empty(), "nothing is seen before the commit");
    publisher.commit(&[bench.offset(4, "decision")]).unwrap();
    let mut seen = broker::read_committed(&bench.output);
    seen.sort_by(|a, b| a.2.cmp(&b.2));
    let values: Vec<_> = seen.iter().map(|seen| seen.3.as_deref().unwrap()).collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(seen[0].4.as_deref(), Some(OutputId::of(&[b"a"]).to_string().as_str()));
    assert_eq!(bench.committed(), Some((4, "decision".to_owned())));
    // Offsets alone, and nothing at all.
    let decisions = "x".repeat(4_096);
    publisher.commit(&[bench.offset(5, &decisions)]).unwrap();
    publisher.commit(&[]).unwrap();
    assert_eq!(bench.committed(), Some((5, decisions)));
    assert_eq!(bench.publishing.messages_sent(), 2);
    assert!(bench.publishing.figures().p99_latency_ms > 0.0);
    bench.running.close();
}

#[test]
fn a_new_holder_of_the_name_fences_the_old_and_its_open_transaction_is_gone() {
    let bench = Bench::new("fence");
    let guarantee = exactly_once();
    let mut old = bench.publisher(&guarantee);
    old.produce(&record("a", "old")).unwrap();
    let mut new = bench.publisher(&guarantee);
    let error = old.commit(&[bench.offset(3, "")]).unwrap_err();
    assert_eq!(error.recover, Recover::Restart, "{error}");
    let again = old.commit(&[bench.offset(3, "")]).unwrap_err();
    assert_eq!(again.message, error.message, "a broken publisher does nothing more");
    new.produce(&record("a", "new")).unwrap();
    new.commit(&[bench.offset(3, "")]).unwrap();
    let values: Vec<_> =
        broker::read_committed(&bench.output).into_iter().map(|seen| seen.3.unwrap()).collect();
    assert_eq!(values, ["new"]);
    bench.running.close();
}

#[test]
fn a_zombie_of_the_group_cannot_commit() {
    let bench = Bench::new("zombie");
    let mut publisher = bench.publisher(&exactly_once());
    let (recorder, input) = (bench.recorder.clone(), bench.input.clone());
    let offset = bench.offset(7, "");
    bench.running.close();
    publisher.produce(&record("a", "late")).unwrap();
    let error = publisher.commit(&[offset]).unwrap_err();
    assert_eq!(error.recover, Recover::Restart, "{error}");
    drop(publisher);
    let running = recorder.start(&bench.cluster, options(&input));
    recorder.wait("the next life", |written| written.assigned.len() == 2);
    recorder.with(|written| assert_eq!(written.assigned[1].1.committed, None));
    assert!(broker::read_committed(&bench.output).is_empty());
    running.close();
}

#[test]
fn at_least_once_commits_after_the_records() {
    let bench = Bench::new("least");
    let mut publisher = bench.publisher(&Guarantee::AtLeastOnce);
    for n in 0..1_000 {
        publisher.produce(&record(&format!("k{n}"), "v")).unwrap();
        publisher.poll();
    }
    publisher.commit(&[bench.offset(10, "end")]).unwrap();
    assert_eq!(broker::read_committed(&bench.output).len(), 1_000);
    assert_eq!(bench.committed(), Some((10, "end".to_owned())));
    bench.running.close();
}

#[test]
fn a_record_for_a_missing_topic_fails_the_commit_and_asks_for_an_operator() {
    let bench = Bench::new("nowhere");
    let mut publisher = bench.publisher(&Guarantee::AtLeastOnce);
    let mut lost = record("a", "1");
    lost.destination = Destination::Topic("no/such topic".into());
    let refused =
        publisher.produce(&lost).and_then(|()| publisher.commit(&[bench.offset(9, "")])).unwrap_err();
    assert_eq!(refused.recover, Recover::Stop, "{refused}");
    assert!(refused.message.contains("no/such topic"), "{refused}");
    assert_eq!(bench.committed(), None, "nothing was committed over a lost record");
    bench.running.close();
}

#[test]
fn a_record_too_large_is_refused_alone() {
    let bench = Bench::new("large");
    let mut publisher = bench.publisher(&exactly_once());
    let refused = publisher.produce(&record("a", &"x".repeat(2 << 20))).unwrap_err();
    assert_eq!(refused.recover, Recover::Stop, "{refused}");
    publisher.produce(&record("b", "small")).unwrap();
    publisher.commit(&[bench.offset(2, "")]).unwrap();
    assert_eq!(broker::read_committed(&bench.output).len(), 1);
    bench.running.close();
}

#[test]
fn keys_go_where_javas_producer_puts_them() {
    let bench = Bench::new("murmur");
    let mut publisher = bench.publisher(&Guarantee::AtLeastOnce);
    for key in ["a", "b", "c", "d", "sensor_0001", "sensor_0002"] {
        publisher.produce(&record(key, "v")).unwrap();
    }
    let mut fixed = record("a", "fixed");
    fixed.partition = Some(1 - murmur2_partition(b"a", 2));
    publisher.produce(&fixed).unwrap();
    publisher.commit(&[]).unwrap();
    for (partition, _, key, value, _) in broker::read_committed(&bench.output) {
        let expected = murmur2_partition(key.unwrap().as_bytes(), 2);
        let expected = if value.as_deref() == Some("fixed") { 1 - expected } else { expected };
        assert_eq!(partition, expected);
    }
    bench.running.close();
}

/// MurmurHash2 as in `org.apache.kafka.common.utils.Utils`, written from the algorithm's description.
fn murmur2_partition(key: &[u8], partitions: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ key.len() as u32;
    let chunks = key.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    for (at, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    ((hash & 0x7fff_ffff) % partitions) as i32
}
