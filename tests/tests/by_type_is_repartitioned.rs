//! Grouping by another field than the record key: one window per key over all partitions, each with its own watermark.

use serde_json::json;
use std::time::Duration;
use tidecast_tests::kafka::Out;
use tidecast_tests::oracle::{Rules, Seeded, Seen, differences, last_revisions, windows};
use tidecast_tests::{Kafka, Setup, eventually};

const EPOCH_MS: i64 = 1_732_150_000_000;
const RULES: Rules = Rules { size_ms: 1_000, advance_ms: 1_000, lateness_ms: 1_000, grace_ms: 500 };
const SERIES: &str = r#"
[[series]]
name = "by_kind"
key = "type"
window = { kind = "tumbling", size = "1s" }
lateness = "1s"
grace = "500ms"
idle_after = "4s"
"#;

fn send(kafka: &Kafka, topic: &str, events: &[(Seen, String)]) {
    let producer = kafka.producer();
    for (event, source) in events {
        let json = event.json().replacen(
            &format!(r#""source":"{}""#, event.key),
            &format!(r#""source":"{source}""#),
            1,
        );
        producer.send(
            topic,
            Out {
                key: Some(source.as_bytes()),
                payload: Some(json.as_bytes()),
                partition: Some(event.partition),
                ..Out::default()
            },
        );
    }
    producer.flush();
}

/// Four partitions, of which one runs a minute behind the others; five types, one of which has most of the events.
fn events(count: u64) -> Vec<(Seen, String)> {
    let mut random = Seeded::new(3);
    let event = |i: u64| {
        let source = random.below(40);
        let partition = (source % 4) as i32;
        let behind = if partition == 3 { 60_000 } else { 0 }
            + if random.below(10) == 0 { random.below(2_200) as i64 } else { 0 };
        let kind = if random.below(10) < 7 { 0 } else { 1 + random.below(4) };
        let kind = format!("kind_{kind}");
        let values = vec![("value".to_string(), random.below(1_000) as f64)];
        let at_ms = EPOCH_MS + (i * 60_000 / count) as i64 - behind;
        (Seen { partition, key: kind.clone(), kind, at_ms, values }, format!("s{source:02}"))
    };
    (0..count).map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_partition_an_event_lies_in() {
    let kafka = Kafka::shared();
    let setup = Setup::new("repartition", &kafka).with("[topics]\npartitions = 4").with(SERIES);
    let topic = setup.topic("events");
    kafka.create(&topic, 4).await;
    let all = events(20_000);
    send(&kafka, &topic, &all);
    let tidecast = setup.start().await;
    let plain: Vec<Seen> = all.iter().map(|(event, _)| event.clone()).collect();
    let (expected, late) = windows(&plain, RULES);
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let first = |records: &[tidecast_tests::kafka::Record]| {
        records.iter().filter(|r| r.json()["revision"] == 0).count()
    };
    reader.until("every window closes", Duration::from_secs(60), |records| first(records) >= expected.len());
    eventually("every event is accounted for", Duration::from_secs(20), async || {
        let windowed = tidecast.metric("events_windowed_total", &[("topic", &topic)]).await?;
        let refused = tidecast.metric("events_late_total", &[("topic", &topic)]).await.unwrap_or(0.0);
        (windowed + refused == plain.len() as f64 && refused == late as f64).then_some(())
    })
    .await;
    let records = reader.for_a_while(Duration::from_secs(2));
    assert_eq!(
        differences(&expected, &last_revisions(records, "by_kind", 1_000, 1_000)),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_waits_for_the_slowest_partition() {
    let kafka = Kafka::shared();
    let slow = SERIES.replace("idle_after = \"4s\"", "idle_after = \"10m\"");
    let setup = Setup::new("slowest", &kafka).with(&slow);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let at = |partition, second: i64, source: &str| {
        let seen = Seen {
            partition,
            key: "t".into(),
            kind: "t".into(),
            at_ms: EPOCH_MS + second * 1000,
            values: vec![],
        };
        (seen, source.to_string())
    };
    send(&kafka, &topic, &[at(0, 0, "a"), at(1, 0, "b"), at(0, 100, "a")]);
    let _tidecast = setup.start().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let early = reader.for_a_while(Duration::from_secs(3)).len();
    assert_eq!(early, 0, "partition 1 has not passed the window's end, and is not idle");
    send(&kafka, &topic, &[at(1, 100, "b")]);
    let closed =
        reader.until("the window closes", Duration::from_secs(20), |records| !records.is_empty())[0].json();
    assert_eq!((&closed["event_count"], &closed["key"]), (&json!(2), &json!("t")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_metrics_carries_it() {
    let kafka = Kafka::shared();
    let setup = Setup::new("sse", &kafka).with("[[series]]\nname = \"by_type\"\nkey = \"type\"\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"\nidle_after = \"1s\"");
    let tidecast = setup.start().await;
    let url = format!("http://127.0.0.1:{}/stream/metrics", tidecast.ports().app);
    let start = std::time::Instant::now();
    let mut stream = tidecast_tests::process::http().get(&url).send().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "its headers come at once");
    assert!(stream.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let event = |i: i64, partition| {
        let seen = Seen {
            partition,
            key: "sensor_data".into(),
            kind: "sensor_data".into(),
            at_ms: EPOCH_MS + i * 1000,
            values: vec![],
        };
        (seen, format!("s{partition}"))
    };
    send(&kafka, &setup.topic("events"), &[event(0, 0), event(0, 1), event(9, 0), event(9, 1)]);
    let mut text = String::new();
    let data = eventually("an aggregate", Duration::from_secs(20), async || {
        if let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_millis(200), stream.chunk()).await {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        text.lines()
            .find_map(|line| line.strip_prefix("data:"))
            .filter(|_| text.contains("\n\n"))
            .map(str::to_string)
    })
    .await;
    let aggregate: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!(
        (&aggregate["series"], &aggregate["key"], &aggregate["event_count"]),
        (&json!("by_type"), &json!("sensor_data"), &json!(2))
    );
}
