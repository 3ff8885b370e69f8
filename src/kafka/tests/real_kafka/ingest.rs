//! Events in.

use crate::broker;
use bytes::Bytes;
use std::collections::BTreeMap;
use tidecast_event::Reason;
use tidecast_kafka::{Cluster, ClusterOptions, Ingest, Publishing};
use tidecast_ports::{EventIngest, IngestError};

const NOW_MS: i64 = 1_768_564_232_665;
const DAY_MICROS: i64 = 86_400_000_000;

fn event(source: usize, number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"source":"sensor_{source}","type":"t","data":{{"value":{number}}}}}"#))
}

#[test]
fn events_are_acknowledged_keyed_by_source_and_kept_as_they_came() {
    let topic = broker::topic("ingest", 3);
    let publishing = Publishing::default();
    let ingest =
        Ingest::to_topic(&broker::cluster("ingest"), &topic, DAY_MICROS, false, publishing.clone()).unwrap();
    broker::runtime().block_on(async {
        let mut waiting = Vec::new();
        for call in 0..20 {
            let events = (0..500).map(|n| event(n % 10, call * 500 + n)).collect();
            let (results, acknowledged) = ingest.ingest_batch(events, NOW_MS);
            assert!(results.iter().all(Result::is_ok));
            waiting.push(acknowledged);
        }
        for acknowledged in waiting {
            acknowledged.await.unwrap();
        }
        ingest.ingest(event(0, 10_000), NOW_MS).unwrap().await.unwrap();
    });
    assert_eq!(publishing.messages_sent(), 10_001);
    let seen = broker::read_committed(&topic);
    assert_eq!(seen.len(), 10_001);
    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (_, _, key, value, _) in seen {
        let value: serde_json::Value = serde_json::from_str(&value.unwrap()).unwrap();
        assert_eq!(value["source"].as_str(), key.as_deref());
        numbers.entry(key.unwrap()).or_default().push(value["data"]["value"].as_u64().unwrap() as usize);
    }
    assert!(numbers.values().all(|numbers| numbers.is_sorted()), "a source's events keep their order");
}

#[test]
fn what_cannot_be_used_is_refused_alone() {
    let topic = broker::topic("refused", 1);
    let ingest =
        Ingest::to_topic(&broker::cluster("ingest"), &topic, DAY_MICROS, false, Publishing::default())
            .unwrap();
    broker::runtime().block_on(async {
        let future = Bytes::from(r#"{"source":"s","type":"t","timestamp":"2036-01-01T00:00:00Z","data":{}}"#);
        let events = vec![event(1, 1), Bytes::from("{"), event(2, 2), Bytes::new(), future];
        let (results, acknowledged) = ingest.ingest_batch(events, NOW_MS);
        acknowledged.await.unwrap();
        let reasons: Vec<Option<Reason>> =
            results.into_iter().map(|result| result.err().map(|rejection| rejection.reason)).collect();
        let expected =
            [None, Some(Reason::InvalidJson), None, Some(Reason::Empty), Some(Reason::FutureTimestamp)];
        assert_eq!(reasons, expected);
        let refused = ingest.ingest(Bytes::from("[]"), NOW_MS).err();
        assert!(matches!(refused, Some(IngestError::Rejected(_))));
    });
    assert_eq!(broker::read_committed(&topic).len(), 2);
}

#[test]
fn what_is_larger_than_a_request_is_refused_alone() {
    let topic = broker::topic("large", 1);
    let mut options = ClusterOptions::plaintext(broker::bootstrap(), "large");
    options.producer.max_request_bytes = 10_000;
    let ingest =
        Ingest::to_topic(&Cluster::new(options), &topic, DAY_MICROS, false, Publishing::default()).unwrap();
    let large = |bytes: usize| {
        let text = "x".repeat(bytes);
        Bytes::from(format!(r#"{{"source":"s","type":"t","data":{{"text":"{text}"}}}}"#))
    };
    broker::runtime().block_on(async {
        let (results, acknowledged) =
            ingest.ingest_batch(vec![event(1, 1), large(20_000), event(2, 2), large(9_800)], NOW_MS);
        acknowledged.await.unwrap();
        let refused: Vec<bool> = results.iter().map(Result::is_err).collect();
        assert_eq!(refused, [false, true, false, false]);
        let refused = results[1].as_ref().unwrap_err();
        assert_eq!(refused.reason, Reason::WrongType);
        assert!(refused.detail.contains("allowed are 10000 (kafka.max_request_size)"), "{}", refused.detail);
    });
    assert_eq!(broker::read_committed(&topic).len(), 3);
}

#[test]
fn a_small_buffer_slows_the_sender_and_loses_nothing() {
    let topic = broker::topic("small", 1);
    let mut options = ClusterOptions::plaintext(broker::bootstrap(), "small");
    options.producer.buffer_bytes = 16 << 10;
    let ingest =
        Ingest::to_topic(&Cluster::new(options), &topic, DAY_MICROS, false, Publishing::default()).unwrap();
    broker::runtime().block_on(async {
        let calls = (0..50).map(|call| {
            let events = (0..100).map(|n| event(0, call * 100 + n)).collect();
            ingest.ingest_batch(events, NOW_MS).1
        });
        for answer in futures::future::join_all(calls).await {
            answer.unwrap();
        }
    });
    let seen = broker::read_committed(&topic);
    assert_eq!(seen.len(), 5_000);
    let numbers: Vec<u64> = seen
        .iter()
        .map(|seen| {
            let value: serde_json::Value = serde_json::from_str(seen.3.as_ref().unwrap()).unwrap();
            value["data"]["value"].as_u64().unwrap()
        })
        .collect();
    assert!(numbers.is_sorted(), "room is given in the order of asking");
}

#[test]
fn without_a_broker_the_sender_is_told_to_send_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut options = ClusterOptions::plaintext(format!("127.0.0.1:{port}"), "away");
    options.producer.request_timeout = std::time::Duration::from_secs(1);
    let ingest =
        Ingest::to_topic(&Cluster::new(options), "any", DAY_MICROS, false, Publishing::default()).unwrap();
    broker::runtime().block_on(async {
        let error = ingest.ingest(event(1, 1), NOW_MS).unwrap().await.unwrap_err().to_string();
        assert!(error.contains("send it again"), "{error}");
    });
}
