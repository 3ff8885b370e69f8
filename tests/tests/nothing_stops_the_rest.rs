//! One record, rule or request that cannot be written to Kafka is told and counted, and everything else goes on.

use serde_json::json;
use std::time::Duration;
use tidecast_tests::kafka::{Out, Record};
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(30);
const AT: u64 = 1_732_150_000;
const PIPELINE: &str = r#"
[[series]]
name = "load"
key = "source"
window = { kind = "tumbling", size = "1s" }
lateness = "0s"
idle_after = "2s"

[[series]]
name = "by_site"
key = "data.site"
window = { kind = "tumbling", size = "1s" }
lateness = "0s"
idle_after = "2s"

[[models]]
model_id = "load"
model_type = "SeasonalNaive"
series = "load:*"
field = "value.avg"
season = 1
"#;

fn event(source: &str, second: u64, data: &serde_json::Value) -> Vec<u8> {
    let event = json!({"source": source, "type": "t", "timestamp": AT + second, "data": data});
    serde_json::to_vec(&event).unwrap()
}

/// The windows of a key are there.
fn windows_of(records: &[Record], series: &str, key: &str) -> usize {
    records.iter().map(Record::json).filter(|a| a["series"] == series && a["key"] == key).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_too_large_is_a_dead_letter() {
    let kafka = Kafka::shared();
    let setup = Setup::new("large", &kafka).with(PIPELINE);
    let topic = setup.topic("events");
    kafka.create(&topic, 1).await;
    let producer = kafka.producer();
    let send =
        |value: &[u8]| producer.send(&topic, Out { key: Some(b"k"), payload: Some(value), ..Out::default() });
    let good = json!({"value": 2, "site": "north"});
    // As a key, and again in what is under it, it does not fit into a request any more.
    let long = json!({"value": 2, "site": "s".repeat(700_000)});
    for second in 0..10 {
        send(&event("good", second, &good));
        if second == 3 {
            send(&event("good", second, &long));
            send(&event(&"n".repeat(600_000), second, &good));
        }
    }
    producer.flush();
    let tidecast = setup.start().await;
    kafka.reader(&setup.topic("aggregates")).until("the other windows", WAIT, |records| {
        windows_of(records, "load", "good") >= 9 && windows_of(records, "by_site", "north") >= 9
    });
    let letters = kafka
        .reader(&setup.topic("dlq"))
        .until("both are told", WAIT, |records| records.len() >= 2)
        .iter()
        .map(|letter| {
            let header = |name| letter.header(name).unwrap_or_default().to_owned();
            (header("reason"), header("topic"), header("truncated"))
        })
        .collect::<Vec<_>>();
    assert!(letters.contains(&("wrong_type".into(), topic.clone(), String::new())), "{letters:?}");
    let cut = letters.iter().find(|(reason, ..)| reason == "too_large").expect("a dead letter of the output");
    assert_eq!((cut.1 == topic, cut.2.as_str()), (false, "true"), "of an output, and cut");
    tidecast.metric_becomes("outputs_unwritten_total", &[("reason", "too_large")], 1.0).await;
    assert_eq!(tidecast.metric("publish_failures_total", &[]).await, Some(0.0));
    eventually("windows are counted", WAIT, async || {
        (tidecast.metric("windows_closed_total", &[("series", "load")]).await >= Some(9.0)).then_some(())
    })
    .await;
    let listed = tidecast.get("/api/dlq?limit=10").await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");

    // A forecast from elsewhere is refused to its sender.
    let message = json!({"model_id": "far", "timestamp": "2026-01-20T10:30:00Z", "predicted_value": 1.0,
        "confidence_interval": [0.0, 2.0], "forecast_horizon": 1, "model_type": "Prophet", "metadata": {"x": "y".repeat(1_050_000)}});
    let refused = tidecast.post("/api/forecasts", message).await;
    assert!(refused.status == 422 && refused.text.contains("far"), "{refused:?}");
    assert_eq!(tidecast.metric("publish_failures_total", &[]).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_a_rule_names_is_made_or_told() {
    let kafka = Kafka::shared();
    let setup = Setup::new("named", &kafka).with(PIPELINE);
    let topic = setup.topic("events");
    kafka.create(&topic, 1).await;
    let tidecast = setup.start().await;
    let made = format!("{topic}-of-a-rule");
    for (name, to) in [("makes", made.as_str()), ("cannot", "no such topic")] {
        let rule = json!({"name": name, "event_type": "FORECAST_GENERATED", "condition": "true",
            "action": {"type": "publish", "topic": to}});
        let answer = tidecast.post("/api/rules", rule).await;
        assert!(answer.status == 201 || (name == "cannot" && answer.status == 422), "{answer:?}");
    }
    let producer = kafka.producer();
    for second in 0..20 {
        let value = event("good", second, &json!({"value": 2, "site": "north"}));
        producer.send(&topic, Out { key: Some(b"k"), payload: Some(&value), ..Out::default() });
    }
    producer.flush();
    kafka.reader(&made).until("what the rule publishes", WAIT, |records| !records.is_empty());
    kafka
        .reader(&setup.topic("aggregates"))
        .until("all windows", WAIT, |records| windows_of(records, "load", "good") >= 19);
    eventually("nothing has failed", WAIT, async || {
        (tidecast.metric("publish_failures_total", &[]).await == Some(0.0)).then_some(())
    })
    .await;
}
