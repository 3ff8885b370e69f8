//! The source.

use crate::broker::{self, Put, numbered};
use crate::recorder::{Recorder, options, total};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_kafka::{
    Cluster, ClusterOptions, Guarantee, KafkaPublisher, OutputTopics, Publishing, SourceControl,
};
use tidecast_ports::Publisher;
use tidecast_ports::publish::CommitOffset;

/// Commits one offset for the group, outside a transaction.
pub fn commit(
    cluster: &Cluster,
    control: &SourceControl,
    topic: &str,
    partition: i32,
    offset: i64,
    metadata: &str,
) {
    let names = OutputTopics {
        aggregates: "a".into(),
        predictions: "p".into(),
        alerts: "x".into(),
        metrics: "m".into(),
        dead_letters: "d".into(),
        partitions: 1,
        replication: 1,
    };
    let mut publisher = KafkaPublisher::connect(
        cluster,
        &Guarantee::AtLeastOnce,
        names,
        control.group(),
        Publishing::default(),
    )
    .unwrap();
    let partition = TopicPartition::new(topic, partition);
    publisher
        .commit(&[CommitOffset { partition, offset, metadata: metadata.to_owned(), last: false }])
        .unwrap();
}

#[test]
fn every_record_comes_once_in_order_and_whole() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let topic = broker::topic("whole", 3);
    let mut records: Vec<Put> = (0..20_000).map(|n| numbered((n % 2) as i32, n)).collect();
    let odd = |key: Option<&str>, value: Option<&str>, traceparent| Put {
        partition: 2,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        timestamp_ms: 5,
        traceparent,
    };
    let oddities = [
        odd(None, Some("v"), None),
        odd(Some("k"), None, None),
        odd(Some("k"), Some("v"), Some(TRACE)),
        odd(Some(""), Some(""), Some("too short")),
        odd(None, None, Some(TRACE)),
        odd(Some("k"), Some("v"), None),
    ];
    records.extend(oddities.clone());
    broker::put(&topic, &records);
    let recorder = Recorder::default();
    let mut options = options(&topic);
    options.traceparent = true;
    options.batch_records = 1_000;
    let running = recorder.start(&broker::cluster(&broker::unique("whole")), options);
    recorder.wait_for_records(records.len());
    recorder.wait("the end of all", |written| written.caught_up.len() == 3);
    running.close();
    recorder.with(|written| {
        for partition in 0..3 {
            let expected: Vec<&Put> = records.iter().filter(|record| record.partition == partition).collect();
            let read = &written.read[&partition];
            assert_eq!(read.len(), expected.len());
            for (at, (read, put)) in read.iter().zip(expected).enumerate() {
                assert_eq!(read.offset, at as i64);
                assert_eq!(
                    (&read.key, &read.value, read.timestamp_ms),
                    (&put.key, &put.value, put.timestamp_ms)
                );
            }
            assert_eq!(written.high_watermarks[&partition], read.len() as i64);
            assert_eq!(written.caught_up[&partition], read.len() as i64);
        }
        let traces: Vec<bool> = written.read[&2].iter().map(|read| read.traceparent.is_some()).collect();
        assert_eq!(traces, [false, false, true, false, true, false]);
        assert_eq!(written.read[&2][2].traceparent.as_deref(), Some(TRACE.as_bytes()));
        assert_eq!(written.assigned.len(), 3);
        assert!(
            written.assigned.iter().all(|(_, broker)| broker.committed.is_none() && broker.log_start == 0)
        );
        assert_eq!(written.revoking.len(), 3);
        assert!(written.lost.is_empty() && written.stopped.is_empty());
    });
}

#[test]
fn a_full_sink_stops_its_own_partition_only_and_wakes_the_source() {
    let topic = broker::topic("full", 2);
    let records: Vec<Put> = (0..40_000).map(|n| numbered((n % 2) as i32, n)).collect();
    broker::put(&topic, &records);
    let recorder = Recorder::default();
    recorder.with(|written| written.full.push(0));
    let mut options = options(&topic);
    options.queue_bytes = 64 << 10;
    let running = recorder.start(&broker::cluster(&broker::unique("full")), options);
    recorder
        .wait("the other partition", |written| written.read.get(&1).is_some_and(|read| read.len() == 20_000));
    recorder.with(|written| assert!(!written.read.contains_key(&0)));
    recorder.with(|written| {
        written.full.clear();
        (written.wakes[&0].0)();
    });
    recorder.wait_for_records(40_000);
    recorder.with(|written| {
        assert!(written.read[&0].iter().enumerate().all(|(at, read)| read.offset == at as i64));
    });
    running.close();
}

#[test]
fn markers_are_passed_and_aborted_records_never_seen() {
    let topic = broker::topic("markers", 1);
    let some: Vec<Put> = (0..5).map(|n| numbered(0, n)).collect();
    broker::put_in_transaction(&topic, &some, true);
    broker::put_in_transaction(&topic, &some, false);
    let recorder = Recorder::default();
    let running = recorder.start(&broker::cluster(&broker::unique("markers")), options(&topic));
    // Five, a marker, five aborted, a marker.
    recorder.wait("the end", |written| written.caught_up.get(&0) == Some(&12));
    recorder.with(|written| assert_eq!(written.read[&0].len(), 5));
    running.close();
}

#[test]
fn a_restart_begins_at_what_is_committed_and_keeps_its_metadata() {
    let topic = broker::topic("restart", 2);
    let records: Vec<Put> = (0..200).map(|n| numbered((n % 2) as i32, n)).collect();
    broker::put(&topic, &records);
    let cluster = broker::cluster(&broker::unique("restart"));
    let recorder = Recorder::default();
    let running = recorder.start(&cluster, options(&topic));
    recorder.wait_for_records(200);
    let decisions = "d".repeat(4_000);
    commit(&cluster, &running.control, &topic, 0, 60, &decisions);
    running.control.restart(TopicPartition::new(topic.as_str(), 0));
    recorder.wait("the second start", |written| written.read[&0].len() == 140);
    recorder.with(|written| {
        assert_eq!(written.read[&1].len(), 100, "the other partition was not touched");
        let (partition, broker) = written.assigned.last().unwrap();
        assert_eq!(partition.partition, 0);
        let committed = broker.committed.as_ref().unwrap();
        assert_eq!((committed.offset, committed.metadata.as_str()), (60, decisions.as_str()));
        assert_eq!(broker.log_end, 100);
        let again: Vec<i64> = written.read[&0][100..].iter().map(|read| read.offset).collect();
        assert_eq!(again, (60..100).collect::<Vec<i64>>());
    });
    // New records still come after a restart.
    broker::put(&topic, &[numbered(0, 999)]);
    recorder.wait("a new record", |written| written.read[&0].last().unwrap().offset == 100);
    running.close();
}

#[test]
fn a_start_that_fails_is_tried_again() {
    let topic = broker::topic("refused", 1);
    broker::put(&topic, &[numbered(0, 1)]);
    let recorder = Recorder::default();
    recorder.with(|written| written.refuse = 2);
    let running = recorder.start(&broker::cluster(&broker::unique("refused")), options(&topic));
    recorder.wait_for_records(1);
    recorder.with(|written| assert_eq!(written.assigned.len(), 3));
    running.close();
}

#[test]
fn a_second_member_takes_some_and_gives_them_back_without_stopping_the_others() {
    let topic = broker::topic("members", 4);
    let cluster = broker::cluster(&broker::unique("members"));
    let (first, second) = (Recorder::default(), Recorder::default());
    let one = first.start(&cluster, options(&topic));
    first.wait("all partitions", |written| written.assigned.len() == 4);
    let two = second.start(&cluster, options(&topic));
    second.wait("half of them", |written| written.assigned.len() == 2);
    let moved = first.with(|written| {
        assert_eq!(written.revoking.len(), 2, "only what moved was revoked");
        assert!(written.lost.is_empty());
        written.revoking.clone()
    });
    broker::put(&topic, &(0..4).map(|partition| numbered(partition, 0)).collect::<Vec<_>>());
    first.wait_for_records(2);
    second.wait_for_records(2);
    second.with(|written| {
        assert!(written.read.keys().all(|partition| moved.iter().any(|moved| moved.partition == *partition)));
    });
    two.close();
    first.wait("the rest back", |written| written.assigned.len() == 6);
    first.wait("the moved records", |written| total(written) == 4);
    first.with(|written| assert_eq!(written.revoking.len(), 2, "nothing was revoked by the other's leaving"));
    one.close();
}

#[test]
fn members_come_and_go_under_load_and_nothing_is_skipped_or_doubled() {
    const ROUNDS: usize = 4;
    let topic = broker::topic("load", 4);
    let cluster = broker::cluster(&broker::unique("load"));
    let first = Recorder::default();
    let one = first.start(&cluster, options(&topic));
    first.wait("all partitions", |written| written.assigned.len() == 4);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = std::thread::spawn({
        let (topic, stop) = (topic.clone(), std::sync::Arc::clone(&stop));
        move || {
            let mut sent = 0;
            // Small puts with pauses between them, so that rebalances fall on partitions at their end too.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                broker::put(&topic, &(0..400).map(|n| numbered(n % 4, n as usize)).collect::<Vec<_>>());
                sent += 100;
            }
            sent
        }
    });
    // Each sink checks that every offset follows the one before it.
    for round in 1..=ROUNDS {
        let second = Recorder::default();
        let two = second.start(&cluster, options(&topic));
        second.wait("half of them", |written| written.assigned.len() == 2);
        second.wait_for_records(1_000);
        two.close();
        first.wait("the rest back", |written| written.assigned.len() == 4 + 2 * round);
        first.with(|written| assert_eq!(written.revoking.len(), 2 * round));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = load.join().unwrap();
    first.wait("the end of all", |written| {
        (0..4).all(|partition| written.caught_up.get(&partition) == Some(&sent))
    });
    one.close();
}

#[test]
fn a_member_with_a_lasting_name_comes_back_to_its_partitions_at_once() {
    let topic = broker::topic("lasting", 2);
    let cluster = broker::static_member(&broker::unique("lasting"), "worker-0");
    let recorder = Recorder::default();
    let running = recorder.start(&cluster, options(&topic));
    recorder.wait("both", |written| written.assigned.len() == 2);
    running.close();
    let begun = Instant::now();
    let running = recorder.start(&cluster, options(&topic));
    recorder.wait("both again", |written| written.assigned.len() == 4);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "it waited for its old session: {:?}",
        begun.elapsed()
    );
    running.close();
}

#[test]
fn an_instance_whose_name_is_taken_stops_and_says_so() {
    let topic = broker::topic("fenced", 1);
    let cluster = broker::static_member(&broker::unique("fenced"), "worker-0");
    let (first, second) = (Recorder::default(), Recorder::default());
    let one = first.start(&cluster, options(&topic));
    first.wait("it", |written| written.assigned.len() == 1);
    let two = second.start(&cluster, options(&topic));
    second.wait("it", |written| written.assigned.len() == 1);
    let error = one.thread.join().unwrap_err().to_string();
    assert!(error.contains("worker-0") && error.contains("name of its own"), "{error}");
    two.close();
}

#[test]
fn an_offset_out_of_the_log_stops_the_partition_and_says_what_to_do() {
    let topic = broker::topic("range", 1);
    broker::put(&topic, &(0..10).map(|n| numbered(0, n)).collect::<Vec<_>>());
    let cluster = broker::cluster(&broker::unique("range"));
    let recorder = Recorder::default();
    let running = recorder.start(&cluster, options(&topic));
    recorder.wait_for_records(10);
    commit(&cluster, &running.control, &topic, 0, 5_000, "");
    running.control.restart(TopicPartition::new(topic.as_str(), 0));
    recorder.wait("the stop", |written| written.stopped.len() == 1);
    recorder.with(|written| {
        let why = &written.stopped[0].1;
        assert!(why.contains("5000") && why.contains("0 to 10") && why.contains("--reset-offsets"), "{why}");
        assert_eq!(total(written), 10, "nothing was read again from elsewhere");
    });
    // An operator sets the offset and starts it again.
    commit(&cluster, &running.control, &topic, 0, 8, "");
    running.control.restart(TopicPartition::new(topic.as_str(), 0));
    recorder.wait_for_records(12);
    running.close();
}

#[test]
fn a_missing_topic_is_named_and_found_once_it_is_made() {
    let topic = broker::unique("missing");
    let recorder = Recorder::default();
    let running = recorder.start(&broker::cluster(&broker::unique("missing")), options(&topic));
    recorder.wait("a word about it", |written| {
        written.connection.iter().flatten().any(|trouble| trouble.contains(&topic))
    });
    broker::make(&tidecast_kafka::TopicSpec::stream(&topic, 1, 1));
    broker::put(&topic, &[numbered(0, 1)]);
    recorder.wait_for_records(1);
    recorder.wait("the all-clear", |written| written.connection.last() == Some(&None));
    running.close();
}

#[test]
fn a_broker_away_at_the_start_is_told_and_the_source_closes_in_time() {
    // A port that nobody listens on: bound, and let go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cluster = Cluster::new(ClusterOptions::plaintext(format!("127.0.0.1:{port}"), "away"));
    let recorder = Recorder::default();
    let running = recorder.start(&cluster, options("any"));
    recorder.wait("a word about it", |written| {
        written.connection.iter().flatten().any(|trouble| trouble.contains("bootstrap_servers"))
    });
    let begun = Instant::now();
    running.close();
    assert!(begun.elapsed() < Duration::from_secs(5), "closing took {:?}", begun.elapsed());
}

#[test]
fn topics_can_be_added_while_running() {
    let (one, two) = (broker::topic("one", 1), broker::topic("two", 1));
    broker::put(&two, &[numbered(0, 1)]);
    let recorder = Recorder::default();
    let running = recorder.start(&broker::cluster(&broker::unique("added")), options(&one));
    recorder.wait("the first", |written| written.assigned.len() == 1);
    running.control.subscribe(vec![two]);
    recorder.wait_for_records(1);
    recorder.with(|written| assert!(written.revoking.is_empty()));
    running.close();
}
