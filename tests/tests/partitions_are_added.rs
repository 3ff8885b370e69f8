//! An input topic gets more partitions while the service runs: what is written there is read from its first record, and
//! windows that are put together from all partitions wait for them.

use std::time::Duration;
use tidecast_tests::kafka::Record;
use tidecast_tests::oracle::{Rules, Seeded, Seen, differences, last_revisions, windows};
use tidecast_tests::{Kafka, Setup, eventually};

/// Consumers look for new partitions every ten seconds.
const WAIT: Duration = Duration::from_secs(60);
const EPOCH_MS: i64 = 1_732_150_000_000;
const RULES: Rules = Rules { size_ms: 1_000, advance_ms: 1_000, lateness_ms: 1_000, grace_ms: 0 };
const SERIES: &str = r#"
[[series]]
name = "load"
key = "source"
window = { kind = "tumbling", size = "1s" }
lateness = "1s"
idle_after = "2s"

[[series]]
name = "by_kind"
key = "type"
window = { kind = "tumbling", size = "1s" }
lateness = "1s"
idle_after = "2s"
"#;

/// Ten seconds from a second on, of sources that lie in these partitions.
fn events(from_second: i64, partitions: std::ops::Range<i32>, seed: u64) -> Vec<Seen> {
    let mut random = Seeded::new(seed);
    let count = (partitions.end - partitions.start) as u64;
    let event = |i: i64| {
        let partition = partitions.start + random.below(count) as i32;
        Seen {
            partition,
            key: format!("s{partition}-{}", random.below(3)),
            kind: format!("kind_{}", random.below(2)),
            at_ms: EPOCH_MS + from_second * 1_000 + i * 10,
            values: vec![("value".to_string(), random.below(100) as f64)],
        }
    };
    (0..1_000).map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn and_read_from_their_beginning() {
    let kafka = Kafka::shared();
    let setup = Setup::new("grown", &kafka).with(SERIES);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let before = events(0, 0..2, 1);
    kafka.send_events(&topic, &before);
    let tidecast = setup.start().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    reader.until("windows of the first partitions", WAIT, |records| records.len() > 50);

    kafka.grow(&topic, 4).await;
    // Windows grouped by another field wait for the partitions that are known of.
    eventually("the new partitions are found", WAIT, async || {
        let ready = tidecast.admin("/health/ready").await.json();
        (ready["detail"] == "6 partitions assigned").then_some(())
    })
    .await;
    let after = events(20, 0..4, 2);
    kafka.send_events(&topic, &after);
    let all: Vec<Seen> = before.iter().chain(&after).cloned().collect();
    let by_kind: Vec<Seen> =
        all.iter().map(|event| Seen { key: event.kind.clone(), ..event.clone() }).collect();
    let (load, by_kind) = (windows(&all, RULES).0, windows(&by_kind, RULES).0);
    let wrong = |records: &[Record]| {
        let of = |expected, series| differences(expected, &last_revisions(records, series, 1_000, 1_000));
        [of(&load, "load"), of(&by_kind, "by_kind")].concat()
    };
    reader.until("windows of all partitions are right", WAIT, |records| wrong(records).is_empty());
    // And stay so.
    let records = reader.for_a_while(Duration::from_secs(3)).to_vec();
    assert_eq!(wrong(&records), Vec::<String>::new());
    assert!(tidecast.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_before_they_are_found_is_in_its_windows() {
    let kafka = Kafka::shared();
    let setup = Setup::new("hurried", &kafka).with(SERIES);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let before = events(0, 0..2, 3);
    kafka.send_events(&topic, &before);
    let _tidecast = setup.start().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    reader.until("windows of the first partitions", WAIT, |records| records.len() > 50);
    // The first partitions go on and close windows, before anybody has found that there are more.
    kafka.grow(&topic, 4).await;
    let after = events(10, 0..4, 4);
    kafka.send_events(&topic, &after);
    let all: Vec<Seen> = before.iter().chain(&after).cloned().collect();
    let by_kind: Vec<Seen> =
        all.iter().map(|event| Seen { key: event.kind.clone(), ..event.clone() }).collect();
    let by_kind = windows(&by_kind, RULES).0;
    reader.until("windows of all partitions are right", WAIT, |records| {
        differences(&by_kind, &last_revisions(records, "by_kind", 1_000, 1_000)).is_empty()
    });
}
