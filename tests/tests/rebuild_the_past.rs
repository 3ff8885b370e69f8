//! `tidecast run --from TIME --to TIME`: what the service said of a span of the past is said again, word for word, in topics
//! of its own, and the service does not notice.

use std::collections::BTreeMap;
use std::time::Duration;
use tidecast_tests::kafka::{Out, Reader};
use tidecast_tests::oracle::{Rules, Seeded, Seen, differences, last_revisions, windows};
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(60);
const EPOCH_MS: i64 = 1_732_150_000_000;
const RULES: Rules = Rules { size_ms: 1_000, advance_ms: 1_000, lateness_ms: 2_000, grace_ms: 0 };
const PIPELINE: &str = r#"
[[series]]
name = "load"
key = "source"
values = ["value"]
window = { kind = "tumbling", size = "1s" }
lateness = "2s"
idle_after = "2s"

[[series]]
name = "by_kind"
key = "type"
window = { kind = "tumbling", size = "1s" }
lateness = "2s"
idle_after = "2s"

[[models]]
model_id = "load"
model_type = "ETS"
series = "load:*"
field = "value.avg"
horizon = 3

[[rules]]
name = "seen"
event_type = "WINDOW_CLOSED"
condition = "data.series == 'by_kind'"
action = [{ type = "publish", topic = "TOPIC" }, { type = "save_to_file", file = "windows.jsonl" }]
"#;

/// A minute of twelve sources in two partitions; one event in twenty is out of order.
fn events() -> Vec<Seen> {
    let mut random = Seeded::new(11);
    let event = |i: u64| {
        let source = random.below(12);
        let behind = if random.below(20) == 0 { random.below(1_900) as i64 } else { 0 };
        Seen {
            partition: (source % 2) as i32,
            key: format!("s{source:02}"),
            kind: format!("kind_{}", random.below(3)),
            at_ms: EPOCH_MS + (i * 60_000 / 12_000) as i64 - behind,
            values: vec![("value".to_string(), random.below(1_000) as f64)],
        }
    };
    (0..12_000).map(event).collect()
}

/// Key and time of each record, and its bytes; the last of a repeated one.
fn said(reader: &Reader, from: &str, to: &str) -> BTreeMap<(String, String), String> {
    let at = |record: &tidecast_tests::kafka::Record| record.json()["timestamp"].as_str().map(str::to_owned);
    let records = reader.records.iter().filter_map(|record| {
        let at = at(record)?;
        let within = at.as_str() >= from && at.as_str() <= to;
        within.then(|| ((record.key_text().to_owned(), at), record.json().to_string()))
    });
    records.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn is_what_it_was() {
    let kafka = Kafka::shared();
    let elsewhere = tidecast_tests::kafka::unique("elsewhere");
    let setup = Setup::new("rebuild", &kafka).with(&PIPELINE.replace("TOPIC", &elsewhere));
    let topic = setup.topic("events");
    kafka.create(&topic, 2).await;
    kafka.create(&elsewhere, 1).await;
    let all = events();
    kafka.send_events(&topic, &all);
    let producer = kafka.producer();
    producer.send(
        &topic,
        Out { key: Some(b"s01"), payload: Some(b"no event"), partition: Some(1), ..Out::default() },
    );
    producer.flush();
    let (by_source, _) = windows(&all, RULES);
    let service = setup.start().await;
    let mut aggregates = kafka.reader(&setup.topic("aggregates"));
    let of_sources = |records: &[tidecast_tests::kafka::Record]| {
        records.iter().filter(|record| record.key_text().starts_with("load:")).count()
    };
    aggregates
        .until("the service closes every window", WAIT, |records| of_sources(records) >= by_source.len());
    let mut predictions = kafka.reader(&setup.topic("predictions"));
    predictions.until("and forecasts on each", WAIT, |records| records.len() >= 12 * 50);
    let elsewhere_before = kafka.watermarks(&elsewhere);
    let ends: Vec<i64> = kafka.watermarks(&topic).iter().map(|(_, end)| *end).collect();
    eventually("the service has committed all of it", WAIT, async || {
        (kafka.committed(&setup.name, &topic) == ends).then_some(())
    })
    .await;

    // Ten seconds to forty.
    let (from, to) = ("2024-11-21T00:46:50Z", "2024-11-21T00:47:20Z");
    let file = setup.write();
    let file = file.to_str().unwrap();
    let ended = tidecast_tests::shell::in_folder(
        setup.folder(),
        &["run", "--config", file, "--from", from, "--to", to, "--into", "again-"],
    );
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);

    let (from_ms, to_ms) = (EPOCH_MS + 10_000, EPOCH_MS + 40_000);
    let mut again = kafka.reader(&format!("again-{}", setup.topic("aggregates")));
    let records = again.for_a_while(Duration::from_secs(1)).to_vec();
    let within = |start: i64| start >= from_ms && start + 1_000 <= to_ms;
    let expected = |all: &tidecast_tests::oracle::Windows| {
        let within = all.iter().filter(|((_, start), _)| within(*start));
        within.map(|(name, window)| (name.clone(), window.clone())).collect()
    };
    let found = last_revisions(&records, "load", 1_000, 1_000);
    assert_eq!(differences(&expected(&by_source), &found), Vec::<String>::new());
    let by_kind: Vec<Seen> =
        all.iter().map(|event| Seen { key: event.kind.clone(), ..event.clone() }).collect();
    let found = last_revisions(&records, "by_kind", 1_000, 1_000);
    assert_eq!(differences(&expected(&windows(&by_kind, RULES).0), &found), Vec::<String>::new());

    let mut again = kafka.reader(&format!("again-{}", setup.topic("predictions")));
    again.for_a_while(Duration::from_secs(1));
    let (was, is) =
        (said(&predictions, "2024-11-21T00:46:50", "2024-11-21T00:47:20Z"), said(&again, "", "~"));
    assert!(is.len() >= 12 * 29, "{} forecasts", is.len());
    assert_eq!(was, is, "forecasts are those of the service, to the last digit");

    assert_eq!(kafka.watermarks(&elsewhere), elsewhere_before, "rules of the past write to nobody");
    assert_eq!(kafka.committed(&setup.name, &topic), ends, "the service's group is not touched");
    assert!(kafka.partitions(&format!("again-{}", setup.topic("dlq"))).is_none(), "nothing is refused twice");
    assert!(service.is_running());
}

#[test]
fn a_span_that_is_none_is_refused() {
    let run = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<&str> = ["run"].iter().chain(arguments).copied().collect();
        tidecast_tests::shell::in_folder(folder.path(), &all)
    };
    for (arguments, word) in [
        (["--from", "yesterday"].as_slice(), "--from"),
        (&["--from", "2026-02-01", "--to", "2026-01-01"], "before"),
        (&["--to", "2026-01-01", "--into", ""], "--into"),
        (&["--to", "2026-01-01", "--warm-up", "long"], "--warm-up"),
        (&["--to", "2026-01-01", "--role", "gateway"], "--role"),
    ] {
        let ended = run(arguments);
        assert!(ended.refused(2).contains(word), "{arguments:?}: {}", ended.err);
    }
}
