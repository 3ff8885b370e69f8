//! kill -9 at any moment: what a read_committed reader sees is as if nothing had happened, and the ledger adds up.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidecast_tests::kafka::{Reader, Record};
use tidecast_tests::oracle::{Rules, Seeded, Seen, Windows, differences, last_revisions, windows};
use tidecast_tests::{Kafka, Setup, eventually};

const EPOCH_MS: i64 = 1_732_150_000_000;
const RULES: Rules = Rules { size_ms: 1_000, advance_ms: 1_000, lateness_ms: 1_000, grace_ms: 1_000 };

fn setup(what: &str, kafka: &Kafka) -> Setup {
    nameless(what, kafka).with(&format!("[kafka]\ngroup_instance_id = \"{what}\""))
}

fn nameless(what: &str, kafka: &Kafka) -> Setup {
    Setup::new(what, kafka).with(
        r#"
        [state]
        snapshot_interval_seconds = 1
        [[series]]
        name = "s"
        key = "source"
        window = { kind = "tumbling", size = "1s" }
        lateness = "1s"
        grace = "1s"
        idle_after = "20s"
        "#,
    )
}

/// 50 sources on two partitions at a thousand events a second of event time, slightly disordered.
fn events(count: u64) -> Vec<Seen> {
    let mut random = Seeded::new(count);
    let event = |i| {
        let source = random.below(50);
        let behind = if random.below(8) == 0 { random.below(1_800) as i64 } else { 0 };
        let values = vec![("value".to_string(), random.below(10_000) as f64 / 100.0)];
        let at_ms = EPOCH_MS + i as i64 - behind;
        Seen { partition: (source % 2) as i32, key: format!("s{source:02}"), kind: "t".into(), at_ms, values }
    };
    (0..count).map(event).collect()
}

/// An event far ahead for each partition, so that every watermark passes every window that matters.
fn ahead(events: &[Seen]) -> Vec<Seen> {
    let end = events.iter().map(|e| e.at_ms).max().unwrap();
    let flush = |partition| Seen {
        partition,
        key: format!("flush-{partition}"),
        kind: "flush".into(),
        at_ms: end + 3_600_000,
        values: vec![],
    };
    events.iter().cloned().chain((0..2).map(flush)).collect()
}

/// Windows closed so far, and each of them only once per revision.
fn closed(records: &[Record]) -> BTreeSet<(String, i64)> {
    let at = |a: Value| {
        (a["key"].as_str().unwrap().to_string(), a["window_start"].as_f64().unwrap() as i64 * 1000)
    };
    records.iter().map(|r| at(r.json())).filter(|(key, _)| !key.starts_with("flush")).collect()
}

fn without_flush<W>(windows: BTreeMap<(String, i64), W>) -> BTreeMap<(String, i64), W> {
    windows.into_iter().filter(|((key, _), _)| !key.starts_with("flush")).collect()
}

/// Everything that was expected came, nothing else did, and nothing comes after it.
fn assert_exact(reader: &mut Reader, expected: &Windows) {
    let records = reader.for_a_while(Duration::from_secs(1));
    let found = without_flush(last_revisions(records, "s", RULES.size_ms, RULES.advance_ms));
    assert_eq!(differences(expected, &found), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled() {
    let kafka = Kafka::shared();
    let setup = setup("kill", &kafka);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let all = ahead(&events(120_000));
    let expected = without_flush(windows(&all, RULES).0);
    let parts: Vec<&[Seen]> = all.chunks(all.len().div_ceil(6)).collect();
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let mut tidecast = setup.start().await;
    // A part of the stream, then kill -9 while its outputs are on their way; the next part arrives while it is away.
    for (i, part) in parts.iter().enumerate() {
        kafka.send_events(&topic, part);
        let before = closed(&reader.records).len();
        let share = expected.len() * (i + 1) / parts.len();
        let enough = before + (share.saturating_sub(before)) / 3;
        reader.until("outputs go on after a restart", Duration::from_secs(60), |records| {
            closed(records).len() >= enough.max(1)
        });
        tidecast.kill();
        tidecast = setup.start().await;
    }
    reader.until("every window closes", Duration::from_secs(60), |records| {
        closed(records).len() >= expected.len()
    });
    eventually("every event is accounted for, across all restarts", Duration::from_secs(30), async || {
        let mut sums = BTreeMap::new();
        for name in [
            "events_in_total",
            "events_windowed_total",
            "events_late_total",
            "events_dead_lettered_total",
            "events_filtered_total",
        ] {
            sums.insert(name, tidecast.metric(name, &[("topic", &topic)]).await.unwrap_or(0.0));
        }
        let outs = sums.values().sum::<f64>() - sums["events_in_total"];
        (sums["events_in_total"] == all.len() as f64 && outs == all.len() as f64).then_some(())
    })
    .await;
    assert_exact(&mut reader, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_folder_costs_time_and_no_event() {
    let kafka = Kafka::shared();
    let setup = setup("stateless", &kafka);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let all = ahead(&events(20_000));
    let expected = without_flush(windows(&all, RULES).0);
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let mut tidecast = setup.start().await;
    let (first, rest) = all.split_at(10_000);
    kafka.send_events(&topic, first);
    reader.until("some windows close", Duration::from_secs(30), |records| closed(records).len() > 100);
    tidecast.kill();
    std::fs::remove_dir_all(setup.folder().join("state")).unwrap();
    let _tidecast = setup.start().await;
    kafka.send_events(&topic, rest);
    reader.until("every window closes", Duration::from_secs(60), |records| {
        closed(records).len() >= expected.len()
    });
    assert_exact(&mut reader, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_nameless_instance_left_open_is_settled_by_the_next() {
    const SETTLED: &str = "what the former owner had open is settled";
    let kafka = Kafka::shared();
    let setup = nameless("nameless", &kafka);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let all = ahead(&events(15_000));
    let expected = without_flush(windows(&all, RULES).0);
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    let parts: Vec<&[Seen]> = all.chunks(all.len().div_ceil(3)).collect();
    let mut more = |part: &[Seen]| {
        let before = closed(&reader.records).len();
        kafka.send_events(&topic, part);
        reader.until("windows go on", Duration::from_secs(30), |records| closed(records).len() > before + 50);
    };
    let mut killed = setup.start().await;
    more(parts[0]);
    killed.kill();
    let mut next = setup.start().await;
    more(parts[1]);
    assert!(next.log().contains(SETTLED), "{}", next.log());
    // One that ends in order leaves nothing open, and says so.
    next.terminate(Duration::from_secs(10)).await;
    let last = setup.start().await;
    more(parts[2]);
    assert!(!last.log().contains(SETTLED), "{}", last.log());
    reader.until("every window closes", Duration::from_secs(30), |records| {
        closed(records).len() >= expected.len()
    });
    assert_exact(&mut reader, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_rules_made_while_running_are_remembered() {
    let kafka = Kafka::shared();
    let setup = setup("remember", &kafka);
    let mut tidecast = setup.start().await;
    let model = json!({"model_id": "m", "model_type": "SeasonalNaive", "series": "s:a", "field": "event_count", "horizon": 2});
    let rule = json!({"name": "r", "event_type": "FORECAST_GENERATED", "condition": "data.get('predicted_value', 0) > 5000", "action": "log"});
    tidecast.post("/api/models", model).await.expect(201);
    tidecast.post("/api/rules", rule).await.expect(201);
    tidecast.kill();
    let tidecast = setup.start().await;
    eventually("both are there again", Duration::from_secs(20), async || {
        let (model, rule) = (tidecast.get("/api/models/m").await, tidecast.get("/api/rules/r").await);
        (model.status == 200 && rule.status == 200)
            .then(|| assert_eq!(model.json()["model_type"], "SeasonalNaive"))
    })
    .await;
}

/// One record for each partition closes a window of twenty thousand keys: it is told in pieces, and the process is killed
/// between them.
#[tokio::test(flavor = "multi_thread")]
async fn many_windows_that_one_record_closes_are_told_once() {
    const KEYS: usize = 40_000;
    let kafka = Kafka::shared();
    let setup = setup("kill-many", &kafka);
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    let event = |key: usize| Seen {
        partition: (key % 2) as i32,
        key: format!("s{key:05}"),
        kind: "t".into(),
        at_ms: EPOCH_MS,
        values: vec![("value".to_string(), key as f64)],
    };
    let all = ahead(&(0..KEYS).map(event).collect::<Vec<_>>());
    let expected = without_flush(windows(&all, RULES).0);
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    kafka.send_events(&topic, &all);
    for share in [1, KEYS / 3, KEYS * 2 / 3] {
        let mut tidecast = setup.start().await;
        reader.until("windows are told", Duration::from_secs(60), |records| records.len() >= share);
        tidecast.kill();
    }
    let _tidecast = setup.start().await;
    reader.until("all of them are told", Duration::from_secs(60), |records| records.len() >= KEYS);
    assert_exact(&mut reader, &expected);
}
