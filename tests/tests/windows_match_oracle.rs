//! Windows of a disordered stream equal those computed a second way: tumbling and hopping, percentiles and all.

use std::time::Duration;
use tidecast_tests::oracle::{Rules, Seeded, Seen, differences, last_revisions, windows};
use tidecast_tests::{Kafka, Setup};

const EPOCH_MS: i64 = 1_732_150_000_000;
const SERIES: &str = r#"
[[series]]
name = "tumbling"
key = "source"
window = { kind = "tumbling", size = "1s" }
lateness = "2s"
grace = "3s"
idle_after = "4s"

[[series]]
name = "hopping"
key = "source"
window = { kind = "hopping", size = "10s", advance = "1s" }
lateness = "2s"
grace = "0s"
idle_after = "4s"

[[series]]
name = "readings"
key = "source"
where = 'type == "reading"'
values = ["value"]
window = { kind = "tumbling", size = "5s" }
lateness = "5s"
idle_after = "4s"
"#;
const TUMBLING: Rules = Rules { size_ms: 1_000, advance_ms: 1_000, lateness_ms: 2_000, grace_ms: 3_000 };
const HOPPING: Rules = Rules { size_ms: 10_000, advance_ms: 1_000, lateness_ms: 2_000, grace_ms: 0 };
const READINGS: Rules = Rules { size_ms: 5_000, advance_ms: 5_000, lateness_ms: 5_000, grace_ms: 0 };

/// 25 sources over two partitions, two minutes of event time. One event in ten is up to 8 s behind, so that some correct a
/// closed window and some are late; values span six orders of magnitude and both signs.
fn disordered(count: u64, seed: u64) -> Vec<Seen> {
    let mut random = Seeded::new(seed);
    let event = |i: u64| {
        let source = random.below(25);
        let behind = if random.below(10) == 0 { random.below(8_000) as i64 } else { 0 };
        let at_ms = EPOCH_MS + (i * 120_000 / count) as i64 - behind;
        let value = (random.below(2_000_000) as f64 - 500_000.0) / 100.0;
        let mut values = vec![("value".to_string(), value)];
        if random.below(3) == 0 {
            values.push(("load.cpu".to_string(), random.below(1_000) as f64 / 1_000.0));
        }
        let kind = if random.below(20) == 0 { "reading" } else { "sensor_data" };
        Seen {
            partition: (source % 2) as i32,
            key: format!("sensor_{source:02}"),
            kind: kind.into(),
            at_ms,
            values,
        }
    };
    (0..count).map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_disordered_stream() {
    let kafka = Kafka::shared();
    let setup = Setup::new("oracle", &kafka).with(SERIES);
    let events = disordered(30_000, 7);
    let (tumbling, _) = windows(&events, TUMBLING);
    let (hopping, _) = windows(&events, HOPPING);
    let readings: Vec<Seen> = events
        .iter()
        .map(|e| Seen {
            values: e.values.iter().filter(|(name, _)| name == "value").cloned().collect(),
            ..e.clone()
        })
        .collect();
    // The watermark is the partition's, moved by events of every type; only readings are counted.
    let (mut counted, _) = windows_of_readings(&readings);
    kafka.create(&setup.topic("events"), 2).await;
    kafka.send_events(&setup.topic("events"), &events);

    let tidecast = setup.start().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let expected = tumbling.len() + hopping.len() + counted.len();
    reader.until("every window closes", Duration::from_secs(60), |records| {
        let closed = records.iter().filter(|r| r.json()["revision"] == 0).count();
        closed >= expected
    });
    // Corrections may still be on their way: until the record counts of the topic stand still, the ledger is not whole.
    let total = events.len() as f64;
    tidecast_tests::eventually("every event is accounted for", Duration::from_secs(30), async || {
        let mut all = 0.0;
        for name in [
            "events_windowed_total",
            "events_late_total",
            "events_dead_lettered_total",
            "events_filtered_total",
        ] {
            all += tidecast.metric(name, &[("topic", &setup.topic("events"))]).await.unwrap_or(0.0);
        }
        (all == total).then_some(())
    })
    .await;
    let records = reader.for_a_while(Duration::from_secs(1));
    let wrong = |rules: Rules, name: &str, expected: &tidecast_tests::oracle::Windows| {
        differences(expected, &last_revisions(records, name, rules.size_ms, rules.advance_ms))
    };
    assert_eq!(wrong(TUMBLING, "tumbling", &tumbling), Vec::<String>::new());
    assert_eq!(wrong(HOPPING, "hopping", &hopping), Vec::<String>::new());
    counted.retain(|_, window| window.count > 0);
    assert_eq!(wrong(READINGS, "readings", &counted), Vec::<String>::new());
    let corrected = records.iter().filter(|r| r.json()["revision"].as_u64() > Some(0)).count();
    assert!(corrected > 0, "the stream was made so that closed windows are corrected");
}

/// The windows of readings alone, with the watermark of the whole stream: an event of another type still moves it.
fn windows_of_readings(events: &[Seen]) -> (tidecast_tests::oracle::Windows, u64) {
    let mut newest = [i64::MIN; 2];
    let mut taken = Vec::new();
    let mut late = 0;
    for event in events {
        let newest = &mut newest[event.partition as usize];
        *newest = (*newest).max(event.at_ms);
        let end = event.at_ms.div_euclid(READINGS.size_ms) * READINGS.size_ms + READINGS.size_ms;
        if event.kind != "reading" {
            continue;
        }
        if end > *newest - READINGS.lateness_ms {
            taken.push(event.clone());
        } else {
            late += 1;
        }
    }
    // What is left is late for nobody, so that the oracle's own watermark takes all of it.
    let all = windows(&taken, Rules { lateness_ms: i64::MAX / 4, ..READINGS });
    (all.0, late)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_series_there_are_two_of_ten_seconds() {
    let kafka = Kafka::shared();
    let setup = Setup::new("defaults", &kafka);
    let events = disordered(2_000, 11);
    let one_key: Vec<Seen> = events.iter().map(|e| Seen { key: e.kind.clone(), ..e.clone() }).collect();
    // Defaults of the interface: tumbling 10 s, lateness 5 s, no grace.
    let rules = Rules { size_ms: 10_000, advance_ms: 10_000, lateness_ms: 5_000, grace_ms: 0 };
    let ((by_source, _), (by_type, _)) = (windows(&events, rules), windows(&one_key, rules));
    kafka.create(&setup.topic("events"), 2).await;
    kafka.send_events(&setup.topic("events"), &events);
    let _tidecast = setup.start().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    // The last windows close when the partitions have been quiet for the default of 30 s.
    let expected = by_source.len() + by_type.len();
    reader.until("both series close", Duration::from_secs(90), |records| records.len() >= expected);
    let records = reader.for_a_while(Duration::from_secs(1));
    assert_eq!(
        differences(&by_source, &last_revisions(records, "by_source", 10_000, 10_000)),
        Vec::<String>::new()
    );
    assert_eq!(
        differences(&by_type, &last_revisions(records, "by_type", 10_000, 10_000)),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_window_is_told_when_asked_for() {
    let kafka = Kafka::shared();
    let setup = Setup::new("empty", &kafka).with(
        r#"
        [[series]]
        name = "s"
        window = { kind = "tumbling", size = "1s" }
        lateness = "0s"
        empty_windows = "emit"
        idle_after = "2s"
        "#,
    );
    let at = |second: i64| Seen {
        partition: 0,
        key: "a".into(),
        kind: "t".into(),
        at_ms: EPOCH_MS + second * 1000,
        values: vec![],
    };
    kafka.create(&setup.topic("events"), 2).await;
    kafka.send_events(&setup.topic("events"), &[at(0), at(4)]);
    let _tidecast = setup.start().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let records = reader.until("five windows", Duration::from_secs(30), |records| records.len() >= 5);
    let told: Vec<_> = records
        .iter()
        .map(|r| r.json())
        .map(|a| {
            (
                a["window_start"].as_f64().unwrap() as i64 - EPOCH_MS / 1000,
                a["event_count"].clone(),
                a["aggregates"].clone(),
            )
        })
        .collect();
    let empty = serde_json::json!({});
    let expected: Vec<_> = [(0, 1), (1, 0), (2, 0), (3, 0), (4, 1)]
        .map(|(s, n)| (s, serde_json::json!(n), empty.clone()))
        .into();
    assert_eq!(told, expected);
}
