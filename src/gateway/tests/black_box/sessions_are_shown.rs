//! `/api/sessions`: who is connected, and how well they follow.

use crate::house::{House, event, forecast};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidecast_ports::OutputKind;

async fn sessions(house: &House, query: &str) -> Vec<Value> {
    let (status, page) = house.get(&format!("/api/sessions{query}")).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_client_is_shown_with_what_it_asked_for() {
    let house = House::open().await;
    assert_eq!(sessions(&house, "").await, [] as [Value; 0]);
    let mut plain = house.connect().await;
    plain.subscribe(&["a", "b*"], &["new_forecast"]).await;
    let mut packed = house.connect().await;
    packed.say(&json!({"type": "subscribe", "model_ids": ["a"], "data_format": "msgpack"})).await;
    assert!(packed.frame().await.is_binary());
    let stream = house.http.get(house.url("/stream/metrics")).send().await.unwrap();
    let shown = sessions(&house, "").await;
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!((&shown[1]["format"], &shown[1]["subscriptions"]), (&json!("msgpack"), &json!(1)));
    assert_eq!((&shown[0]["kind"], &shown[0]["format"]), (&json!("websocket"), &json!("json")));
    assert_eq!((&shown[0]["subscriptions"], &shown[0]["skipped"]), (&json!(2), &json!(0)));
    assert_eq!((&shown[0]["address"], &shown[0]["user"]), (&json!("127.0.0.1"), &Value::Null));
    assert!(shown[0]["connected_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&shown[2]["kind"], &shown[2]["format"]), (&json!("sse"), &Value::Null));
    assert_eq!(shown[2]["subscriptions"], 1);
    assert_eq!(sessions(&house, "?search=127.0").await.len(), 3);
    assert_eq!(sessions(&house, "?search=nobody").await.len(), 0);
    let (_, first) = house.get("/api/sessions?limit=2").await;
    let rest = sessions(&house, &format!("?cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((first["items"].as_array().unwrap().len(), rest.len()), (2, 1));
    assert_eq!(house.get("/api/sessions?cursor=x").await.0, 400);
    drop((packed, stream));
    house.wait_for_metric("websocket_connections_active", |n| n == 1.0).await;
    house.wait_for_metric("sse_streams_active", |n| n == 0.0).await;
    assert_eq!(sessions(&house, "").await.len(), 1);
}

#[tokio::test]
async fn a_slow_client_is_shown_with_what_it_missed() {
    let house = House::with(&["limits.session_queue_size=20000"]).await;
    let mut slow = house.connect().await;
    slow.subscribe(&["*"], &["new_forecast"]).await;
    let mut value = forecast("m", 1.0);
    value["metadata"]["pad"] = Value::from("x".repeat(4_000));
    let mut skipped = 0;
    let mut again = tokio::time::interval(std::time::Duration::from_millis(5));
    while skipped == 0 {
        again.tick().await;
        for _ in 0..100 {
            house.publish(OutputKind::Forecast, &value);
        }
        let shown = sessions(&house, "").await;
        skipped = shown[0]["skipped"].as_u64().unwrap();
        assert!(shown[0]["queued_bytes"].as_u64().unwrap() <= 30_000, "{shown:?}");
    }
}

#[tokio::test]
async fn who_sends_events_is_shown_with_what_kafka_has_of_them() {
    let house = House::open().await;
    let mut sender = house.connect_ingest().await;
    sender.say(&event("a")).await;
    sender.say(&json!({"no": "event"})).await;
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        heard.insert(sender.hear().await["type"].to_string());
    }
    let reader = house.connect().await;
    let shown = sessions(&house, "").await;
    assert_eq!(shown.len(), 2, "{shown:?}");
    let of = |name: &str| shown[0][name].clone();
    assert_eq!((of("kind"), of("address"), of("user")), (json!("ingest"), json!("127.0.0.1"), Value::Null));
    assert_eq!((of("accepted"), of("refused"), of("queued")), (json!(1), json!(1), json!(0)));
    assert_eq!((of("format"), of("subscriptions"), of("queued_bytes")), (Value::Null, json!(0), json!(0)));
    assert_eq!((&shown[1]["kind"], &shown[1]["accepted"]), (&json!("websocket"), &Value::Null));
    drop((sender, reader));
    house.wait_for_metric("websocket_connections_active", |n| n == 0.0).await;
    house.wait_for_metric("ingest_connections_active", |n| n == 0.0).await;
    assert_eq!(sessions(&house, "").await, [] as [Value; 0]);
}
