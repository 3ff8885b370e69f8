//! What gateways write down in Kafka: publishing by hour and topic, the audit log, silences; and events sent twice.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::wait::eventually;
use tidecast_tests::{Kafka, Setup};

const WAIT: Duration = Duration::from_secs(30);

fn event(id: Option<&str>, value: u32) -> Value {
    let mut event = json!({"source": "s", "type": "t", "timestamp": 1_732_150_000, "data": {"value": value}});
    if let Some(id) = id {
        event["id"] = json!(id);
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_changes_outlive_the_process() {
    let kafka = Kafka::shared();
    let setup = Setup::new("notes", &kafka);
    let mut tidecast = setup.start().await;
    let events: Vec<Value> = (0..50).map(|value| event(None, value)).collect();
    tidecast.post("/api/events", json!(events)).await.expect(200);
    let of_topic = format!("/api/kafka/metrics/topic/{}", setup.topic("events"));
    let rows = tidecast.get(&of_topic).await.expect(200);
    let sent: u64 =
        rows["items"].as_array().unwrap().iter().map(|row| row["messages_sent"].as_u64().unwrap()).sum();
    assert_eq!(sent, 50, "{rows}");
    let rule = json!({"name": "r", "event_type": "SYSTEM_ERROR", "condition": "true", "action": "log"});
    tidecast.post("/api/rules", rule).await.expect(201);
    let silence = json!({"name": "s", "rule": "r", "until": "2100-01-01T00:00:00Z"});
    tidecast.post("/api/silences", silence).await.expect(201);
    tidecast.terminate(WAIT).await;
    let tidecast = setup.start().await;
    // The process before is counted with this one.
    let again = async || {
        let rows = tidecast.get(&of_topic).await.expect(200);
        let sent: u64 =
            rows["items"].as_array().unwrap().iter().map(|row| row["messages_sent"].as_u64().unwrap()).sum();
        (sent == 50).then_some(())
    };
    eventually("what was published before the restart is still known", WAIT, again).await;
    let today = tidecast.get("/api/kafka/metrics/summary?period=today").await.expect(200);
    assert!(today["messages_sent"].as_u64().unwrap() >= 50 && today["success_rate"] == 1.0, "{today}");
    assert!(today["p99_latency_ms"].as_f64().unwrap() > 0.0, "{today}");
    let week = tidecast.get("/api/kafka/metrics/summary?period=last_7_days").await.expect(200);
    assert!(week["total_messages"].as_u64() >= today["total_messages"].as_u64(), "{week} {today}");
    let audit = tidecast.get("/api/audit").await.expect(200);
    let actions: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|item| item["action"].clone()).collect();
    assert_eq!(actions, ["silence.create", "rule.create"], "{audit}");
    assert_eq!(tidecast.get("/api/silences").await.expect(200)["items"][0]["name"], "s");
    let cleaned = tidecast.post("/api/kafka/metrics/cleanup?days=0", Value::Null).await.expect(200);
    assert_eq!(cleaned, json!({"deleted": 0}), "this hour is not older than a day");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_again_is_acknowledged_and_stored_once() {
    let kafka = Kafka::shared();
    let setup = Setup::new("once", &kafka);
    let tidecast = setup.start().await;
    let twice = json!([event(Some("1"), 1), event(Some("2"), 2), event(Some("1"), 1)]);
    assert_eq!(tidecast.post("/api/events", twice).await.expect(200)["accepted"], 3);
    let mut socket = tidecast.ingest_socket().await;
    for event in [event(Some("2"), 2), event(Some("3"), 3), event(None, 4), event(None, 4)] {
        socket.send(event).await;
    }
    let all = |ack: &Value| ack["data"]["accepted"] == 4;
    socket.expect_where("ack", WAIT, all).await;
    let mut reader = kafka.reader(&setup.topic("events"));
    let records = reader.until("five are stored", WAIT, |records| records.len() >= 5);
    let mut values: Vec<_> = records
        .iter()
        .map(|record| {
            serde_json::from_slice::<Value>(record.payload.as_ref().unwrap()).unwrap()["data"]["value"]
                .as_u64()
                .unwrap()
        })
        .collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4, 4]);
}
