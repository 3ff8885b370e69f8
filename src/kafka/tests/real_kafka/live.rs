//! The live reader.

use crate::broker::{self, numbered};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidecast_event::OutputId;
use tidecast_kafka::{LiveOptions, LiveReader, TopicSpec};
use tidecast_ports::{LiveRecord, LiveSink, OutputKind};

#[derive(Default)]
struct Seen(Mutex<Vec<LiveRecord>>, Condvar);

impl LiveSink for Seen {
    fn publish(&self, records: Vec<LiveRecord>) {
        self.0.lock().unwrap().extend(records);
        self.1.notify_all();
    }
}

impl Seen {
    fn wait(&self, what: &str, condition: impl Fn(&[LiveRecord]) -> bool) -> Vec<LiveRecord> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = self.0.lock().unwrap();
        while !condition(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come: {} records", seen.len());
            seen = self.1.wait_timeout(seen, left).unwrap().0;
        }
        seen.clone()
    }
}

fn options(topic: &str) -> LiveOptions {
    LiveOptions { topics: vec![(topic.to_owned(), OutputKind::Forecast)], tail: 10, traceparent: false }
}

#[test]
fn the_tail_is_told_as_replayed_and_what_follows_as_new() {
    let topic = broker::topic("tail", 2);
    broker::put(&topic, &(0..100).map(|n| numbered((n % 2) as i32, n)).collect::<Vec<_>>());
    let seen = Arc::new(Seen::default());
    let reader =
        LiveReader::start_with(&broker::cluster("live"), options(&topic), seen.clone(), Arc::new(|_| ()))
            .unwrap();
    let tail = seen.wait("the tail", |seen| seen.len() >= 20);
    assert_eq!(tail.len(), 20, "ten of each partition");
    assert!(
        tail.iter()
            .all(|record| record.replayed && record.offset >= 40 && record.kind == OutputKind::Forecast)
    );
    let first = &tail[0];
    let number = first.offset as usize * 2 + first.partition as usize;
    let put = numbered(first.partition, number);
    assert_eq!((&first.key[..], &first.value[..]), (&put.key.unwrap()[..], &put.value.unwrap()[..]));
    assert_eq!(first.timestamp_ms, put.timestamp_ms);
    broker::put(&topic, &[numbered(1, 1_000)]);
    let new = seen.wait("a new record", |seen| seen.len() > 20);
    assert!(!new[20].replayed);
    reader.stop();
}

#[test]
fn records_come_ahead_of_the_commit_and_repeats_bear_the_same_id() {
    use rdkafka::config::ClientConfig;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let topic = broker::topic("ahead", 1);
    let seen = Arc::new(Seen::default());
    let reader =
        LiveReader::start_with(&broker::cluster("live"), options(&topic), seen.clone(), Arc::new(|_| ()))
            .unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker::bootstrap())
        .set("transactional.id", broker::unique("ahead"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    let send = |name: &str| {
        let id = OutputId::of(&[name.as_bytes()]).to_string();
        let headers = OwnedHeaders::new().insert(Header { key: "id", value: Some(&id) });
        producer
            .send(BaseRecord::to(&topic).key("k").payload(name).headers(headers))
            .map_err(|(e, _)| e)
            .unwrap();
    };
    producer.begin_transaction().unwrap();
    send("a");
    send("b");
    producer.flush(Duration::from_secs(30)).unwrap();
    seen.wait("records of an open transaction", |seen| seen.len() == 2);
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    for name in ["a", "b", "c"] {
        send(name);
    }
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let all = seen.wait("those of the second transaction", |seen| seen.len() >= 5);
    let values: Vec<&[u8]> = all.iter().map(|record| &record.value[..]).collect();
    assert_eq!(values, [b"a", b"b", b"a", b"b", b"c"]);
    for record in &all {
        assert_eq!(record.id, Some(OutputId::of(&[&record.value])));
    }
    reader.stop();
}

#[test]
fn a_topic_made_later_is_followed() {
    let topic = broker::unique("later");
    let seen = Arc::new(Seen::default());
    let reader =
        LiveReader::start_with(&broker::cluster("live"), options(&topic), seen.clone(), Arc::new(|_| ()))
            .unwrap();
    broker::make(&TopicSpec::stream(&topic, 1, 1));
    let mut put = numbered(0, 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    put.timestamp_ms = i64::try_from(now.as_millis()).unwrap() + 1;
    broker::put(&topic, &[put]);
    let all = seen.wait("its record", |seen| !seen.is_empty());
    assert!(!all[0].replayed, "it was written after the reader started");
    reader.stop();
}
