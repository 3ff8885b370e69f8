//! Every kind of broken record goes to the dead-letter topic untouched, with its reason and origin, and harms no window.

use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tidecast_tests::kafka::Out;
use tidecast_tests::poison::{corpus, odd_but_good};
use tidecast_tests::{Kafka, Setup, eventually};

const SERIES: &str = r#"
[[series]]
name = "s"
key = "source"
window = { kind = "tumbling", size = "10s" }
lateness = "5s"
idle_after = "3s"
"#;
const AT: u32 = 1_732_150_000;

#[tokio::test(flavor = "multi_thread")]
async fn with_reason_and_origin_and_untouched() {
    let kafka = Kafka::shared();
    let setup = Setup::new("poison", &kafka).with(SERIES);
    let (events, corpus) = (setup.topic("events"), corpus());
    kafka.create(&events, 2).await;
    let producer = kafka.producer();
    // A good event between every two broken ones, in both partitions, all in one window of one source each.
    let good = |partition| {
        format!(r#"{{"source":"good-{partition}","type":"t","timestamp":{AT},"data":{{"value":2}}}}"#)
    };
    for (i, poison) in corpus.iter().enumerate() {
        let key = (i % 3 != 0).then(|| format!("key-{i}"));
        let partition = Some((i % 2) as i32);
        producer.send(
            &events,
            Out {
                key: key.as_deref().map(str::as_bytes),
                payload: poison.bytes.as_deref(),
                partition,
                ..Out::default()
            },
        );
        let (key, good) = (format!("good-{}", i % 2), good(i % 2));
        producer.send(
            &events,
            Out { key: Some(key.as_bytes()), payload: Some(good.as_bytes()), partition, ..Out::default() },
        );
    }
    producer.flush();
    let tidecast = setup.start().await;
    let mut dlq = kafka.reader(&setup.topic("dlq"));
    dlq.until("all of it is in the DLQ", Duration::from_secs(60), |records| records.len() >= corpus.len());
    let records = dlq.for_a_while(Duration::from_millis(500));
    assert_eq!(records.len(), corpus.len(), "each once");

    let mut wrong = Vec::new();
    let mut next = [0i64; 2];
    let mut by_origin = BTreeMap::new();
    for record in records {
        let number = |name: &str| record.header(name).and_then(|v| v.parse::<i64>().ok());
        by_origin.insert((number("partition"), number("offset")), record);
    }
    for (i, poison) in corpus.iter().enumerate() {
        let partition = i % 2;
        let Some(record) = by_origin.get(&(Some(partition as i64), Some(next[partition]))) else {
            wrong.push(format!(
                "{}: nothing from partition {partition} offset {}",
                poison.name, next[partition]
            ));
            next[partition] += 2;
            continue;
        };
        next[partition] += 2;
        let reason = record.header("reason").unwrap_or_default();
        if !poison.reasons.contains(&reason) {
            wrong.push(format!(
                "{}: {reason} instead of {:?} ({:?})",
                poison.name,
                poison.reasons,
                record.header("detail")
            ));
        }
        let key = (i % 3 != 0).then(|| format!("key-{i}").into_bytes());
        let same_bytes =
            record.payload.clone().unwrap_or_default() == poison.bytes.clone().unwrap_or_default();
        let null_stays = record.payload.is_none() == poison.bytes.is_none();
        if record.key != key || !same_bytes || !null_stays {
            wrong.push(format!("{}: key or bytes were touched", poison.name));
        }
        if record.header("topic") != Some(&events) || record.header("detail").unwrap_or_default().is_empty() {
            wrong.push(format!("{}: headers {:?}", poison.name, record.headers));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), corpus.len());

    let mut aggregates = kafka.reader(&setup.topic("aggregates"));
    let closed =
        aggregates.until("the good windows close", Duration::from_secs(30), |records| records.len() >= 2);
    let mut counts: Vec<_> =
        closed.iter().map(|r| r.json()).map(|a| (a["key"].clone(), a["event_count"].clone())).collect();
    counts.sort_by_key(|(key, _)| key.to_string());
    let (half, rest) = (corpus.len().div_ceil(2), corpus.len() / 2);
    assert_eq!(counts, [(json!("good-0"), json!(half)), (json!("good-1"), json!(rest))]);
    tidecast.metric_becomes("events_dead_lettered_total", &[("topic", &events)], corpus.len() as f64).await;
    let stats = tidecast.get("/api/dlq?limit=5").await.expect(200);
    assert_eq!(stats["items"].as_array().map(Vec::len), Some(5), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_but_good_is_taken() {
    let kafka = Kafka::shared();
    let setup = Setup::new("odd", &kafka).with(SERIES);
    let events = setup.topic("events");
    kafka.create(&events, 2).await;
    let (producer, odd) = (kafka.producer(), odd_but_good(AT));
    for (_, bytes) in &odd {
        producer.send(
            &events,
            Out { key: Some(b"odd"), payload: Some(bytes), partition: Some(0), ..Out::default() },
        );
    }
    // No time of their own: the record's counts.
    for event in [
        r#"{"source":"odd","type":"t","data":{"value":1}}"#,
        r#"{"source":"odd","type":"t","timestamp":null,"data":{"value":1}}"#,
    ] {
        let timestamp_ms = Some(i64::from(AT) * 1000);
        producer.send(
            &events,
            Out {
                key: Some(b"odd"),
                payload: Some(event.as_bytes()),
                partition: Some(0),
                timestamp_ms,
                ..Out::default()
            },
        );
    }
    producer.flush();
    let _tidecast = setup.start().await;
    let mut aggregates = kafka.reader(&setup.topic("aggregates"));
    let first = aggregates.until("its window closes", Duration::from_secs(30), |records| !records.is_empty())
        [0]
    .json();
    let mut dlq = kafka.reader(&setup.topic("dlq"));
    let refused: Vec<_> =
        dlq.for_a_while(Duration::from_millis(500)).iter().map(|r| format!("{:?}", r.headers)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let count = odd.len() + 2;
    assert_eq!((&first["event_count"], &first["window_start"]), (&json!(count), &json!(AT - AT % 10)));
    let value = &first["aggregates"]["value"];
    assert_eq!(
        (value["count"].as_u64(), value["sum"].as_f64()),
        (Some(count as u64), Some(count as f64)),
        "{first}"
    );
    assert_eq!(first["aggregates"].as_object().unwrap().len(), 1, "only value is a number: {first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_the_request_size_is_cut_and_says_so() {
    let kafka = Kafka::shared();
    let setup = Setup::new("cut", &kafka).with(SERIES).env("KAFKA_MAX_REQUEST_SIZE", "20000");
    let events = setup.topic("events");
    kafka.create(&events, 2).await;
    let producer = kafka.producer();
    let long = vec![b'x'; 300_000];
    producer.send(&events, Out { key: Some(b"long"), payload: Some(&long), ..Out::default() });
    producer.flush();
    let _tidecast = setup.start().await;
    let mut dlq = kafka.reader(&setup.topic("dlq"));
    let records = dlq.until("it is in the DLQ", Duration::from_secs(30), |records| !records.is_empty());
    let payload = records[0].payload.clone().unwrap();
    assert!(records[0].header("truncated").is_some(), "{:?}", records[0].headers);
    assert!(
        payload.len() < 20_000 && long.starts_with(&payload) && !payload.is_empty(),
        "{} bytes",
        payload.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_late_is_counted_and_kept() {
    let kafka = Kafka::shared();
    let setup = Setup::new("late", &kafka).with(SERIES);
    let events = setup.topic("events");
    kafka.create(&events, 2).await;
    let producer = kafka.producer();
    let at = |at: u32| format!(r#"{{"source":"a","type":"t","timestamp":{at},"data":{{"value":1}}}}"#);
    for second in [AT, AT + 3600, AT + 1] {
        producer.send(
            &events,
            Out {
                key: Some(b"a"),
                payload: Some(at(second).as_bytes()),
                partition: Some(0),
                ..Out::default()
            },
        );
    }
    producer.flush();
    let tidecast = setup.start().await;
    let mut dlq = kafka.reader(&setup.topic("dlq"));
    let late = dlq
        .until("the late one is in the DLQ", Duration::from_secs(30), |records| !records.is_empty())[0]
        .clone();
    assert_eq!((late.header("reason"), late.header("offset")), (Some("late"), Some("2")));
    assert_eq!(late.payload, Some(at(AT + 1).into_bytes()));
    eventually("it is counted", Duration::from_secs(10), async || {
        let late = tidecast.metric("events_late_total", &[("topic", &events), ("partition", "0")]).await?;
        let windowed =
            tidecast.metric("events_windowed_total", &[("topic", &events), ("partition", "0")]).await?;
        ((late, windowed) == (1.0, 2.0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_sent_again_keeps_its_time() {
    let kafka = Kafka::shared();
    let setup = Setup::new("again", &kafka).with(SERIES);
    let events = setup.topic("events");
    kafka.create(&events, 2).await;
    let producer = kafka.producer();
    let event = br#"{"source":"a","type":"t","data":{"value":1}}"#;
    let ms = |second: u32| i64::from(second) * 1_000;
    for second in [AT, AT + 3_600, AT + 1] {
        let (payload, timestamp_ms) = (Some(&event[..]), Some(ms(second)));
        let out = Out { key: Some(b"a"), payload, partition: Some(0), timestamp_ms, ..Out::default() };
        producer.send(&events, out);
    }
    producer.flush();
    let tidecast = setup.start().await;
    let mut dlq = kafka.reader(&setup.topic("dlq"));
    dlq.until("the late one is in the DLQ", Duration::from_secs(30), |records| records.len() == 1);
    let told = tidecast.post("/api/dlq/replay", json!({"all": true})).await.expect(200);
    assert_eq!(told["replayed"], 1, "{told}");
    // Its time is that of its record, which is as late as it was: not the time at which it was sent again.
    let letters = dlq.until("it is late again", Duration::from_secs(30), |records| records.len() == 2);
    let told = |at: usize| (letters[at].header("reason"), letters[at].header("timestamp").map(str::to_owned));
    assert_eq!(told(1), (Some("late"), Some(ms(AT + 1).to_string())));
    assert_eq!(told(0), told(1));
}
