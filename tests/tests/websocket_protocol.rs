//! `/forecast-updates`: subscriptions, formats, what comes when, and what a client that errs is told.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::socket::{Came, Socket};
use tidecast_tests::wait::never;
use tidecast_tests::{Kafka, Setup, Tidecast};

const WAIT: Duration = Duration::from_secs(20);

async fn started(what: &str, kafka: &Kafka) -> (Setup, Tidecast) {
    let setup = Setup::new(what, kafka);
    let tidecast = setup.start().await;
    (setup, tidecast)
}

fn forecast(model: &str, value: f64) -> Value {
    json!({"model_id": model, "timestamp": "2026-01-20T10:30:00Z", "predicted_value": value, "confidence_interval": [value - 1.0, value + 1.0],
        "forecast_horizon": 7, "model_type": "External", "metadata": {"region": "Nord"}})
}

async fn tell(tidecast: &Tidecast, model: &str, value: f64) {
    let answer = tidecast.post("/api/forecasts", forecast(model, value)).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_its_models_and_no_others() {
    let kafka = Kafka::shared();
    let (_setup, tidecast) = started("subscribe", &kafka).await;
    let mut one = tidecast.subscribe_socket().await;
    let confirmed = one.subscribe(&["a"], &["new_forecast"]).await;
    assert_eq!(confirmed["data"], json!({"model_ids": ["a"], "update_types": ["new_forecast"]}));
    let mut every = tidecast.subscribe_socket().await;
    every.send(json!({"type": "subscribe"})).await;
    let confirmed = every.expect("subscribed", WAIT).await;
    assert_eq!(confirmed["data"]["update_types"], json!(["new_forecast", "anomaly_detected"]), "{confirmed}");
    tell(&tidecast, "b", 1.0).await;
    tell(&tidecast, "a", 2.0).await;
    let update = one.expect("forecast_update", WAIT).await;
    assert_eq!((&update["model_id"], &update["data"]["predicted_value"]), (&json!("a"), &json!(2.0)));
    assert_eq!(update["data"]["metadata"]["region"], "Nord");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let update = every.expect("forecast_update", WAIT).await;
        seen.push(update["model_id"].as_str().unwrap().to_string());
    }
    seen.sort();
    assert_eq!(seen, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_unsubscribing_nothing_comes() {
    let kafka = Kafka::shared();
    let (_setup, tidecast) = started("unsubscribe", &kafka).await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&["a", "b"], &["new_forecast"]).await;
    socket.send(json!({"type": "unsubscribe", "model_ids": ["a"]})).await;
    let confirmed = socket.expect("unsubscribed", WAIT).await;
    assert_eq!(confirmed["data"]["model_ids"], json!(["a"]), "{confirmed}");
    tell(&tidecast, "a", 1.0).await;
    tell(&tidecast, "b", 2.0).await;
    let update = socket.expect("forecast_update", WAIT).await;
    assert_eq!(update["model_id"], "b", "a was told first and must not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn messagepack_when_asked_for() {
    let kafka = Kafka::shared();
    let (_setup, tidecast) = started("msgpack", &kafka).await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.send(json!({"type": "subscribe", "model_ids": ["*"], "data_format": "msgpack"})).await;
    let mut subscribed = false;
    tell(&tidecast, "a", 5.5).await;
    loop {
        let Some(Came::Message(message, binary)) = socket.next(WAIT).await else { panic!("no update") };
        subscribed |= message["type"] == "subscribed";
        if message["type"] == "forecast_update" {
            assert!(binary && subscribed, "{message}");
            assert_eq!(message["data"]["predicted_value"], 5.5);
            break;
        }
        // The confirmation may be told before; ask again for the update, in the format now agreed on.
        tell(&tidecast, "a", 5.5).await;
    }
    socket
        .send_bytes(rmp_serde::to_vec_named(&json!({"type": "unsubscribe", "model_ids": ["*"]})).unwrap())
        .await;
    socket.expect("unsubscribed", WAIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_told_and_the_connection_stays() {
    let kafka = Kafka::shared();
    let (_setup, tidecast) = started("malformed", &kafka).await;
    let mut socket = tidecast.subscribe_socket().await;
    let malformed = [
        "{",
        "null",
        "[]",
        "{}",
        r#"{"type":"dance"}"#,
        r#"{"type":"subscribe","model_ids":"a"}"#,
        r#"{"type":"subscribe","update_types":["weather"]}"#,
        r#"{"type":"subscribe","data_format":"xml"}"#,
    ];
    for text in malformed {
        socket.send_text(text).await;
        let error = socket.expect("error", WAIT).await;
        let said = |name: &str| error["data"][name].as_str().is_some_and(|s| !s.is_empty());
        assert!(said("code") && said("message"), "{text}: {error}");
    }
    socket.send(json!({"type": "ping"})).await;
    // Whatever answers a ping, the connection serves on.
    socket.subscribe(&["a"], &["new_forecast"]).await;
    tell(&tidecast, "a", 1.0).await;
    socket.expect("forecast_update", WAIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_past_the_limit_closes_with_1009() {
    let kafka = Kafka::shared();
    let (_setup, tidecast) = started("oversize", &kafka).await;
    let mut socket = tidecast.subscribe_socket().await;
    let names = "a".repeat(65 << 10);
    socket.send(json!({"type": "subscribe", "model_ids": [names]})).await;
    assert_eq!(socket.closed(WAIT).await, 1009);
    let mut other = tidecast.subscribe_socket().await;
    other.subscribe(&["a"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_and_both_paths_serve_the_protocol() {
    let kafka = Kafka::shared();
    let setup = Setup::new("heartbeat", &kafka).with("[websocket]\nheartbeat_interval = \"1s\"");
    let tidecast = setup.start().await;
    let mut root = Socket::open(&format!("ws://127.0.0.1:{}/", tidecast.ports().websocket)).await;
    let beat = root.expect("heartbeat", Duration::from_secs(5)).await;
    assert!(beat["data"]["server_time"].as_str().is_some_and(|t| t.contains('T')), "{beat}");
    root.expect("heartbeat", Duration::from_secs(3)).await;
    root.subscribe(&["a"], &[]).await;
    let wrong = Socket::try_open(&format!("ws://127.0.0.1:{}/elsewhere", tidecast.ports().websocket)).await;
    assert!(wrong.is_err(), "a path that does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_alerts_and_anomalies_come_to_those_who_want_them() {
    let kafka = Kafka::shared();
    let setup = Setup::new("kinds", &kafka)
        .with("[[series]]\nname = \"s\"\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"");
    let tidecast = setup.start().await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&[], &["aggregation", "anomaly_detected", "alert"]).await;
    let mut plain = tidecast.subscribe_socket().await;
    plain.subscribe(&[], &["new_forecast"]).await;
    let producer = kafka.producer();
    for at in [1_732_150_000, 1_732_150_005] {
        let event = format!(r#"{{"source":"a","type":"t","timestamp":{at},"data":{{"value":3}}}}"#);
        producer.send_json(&setup.topic("events"), "a", &event);
    }
    producer.flush();
    let aggregate = socket.expect("aggregation_update", WAIT).await;
    assert_eq!(
        (&aggregate["data"]["series"], &aggregate["data"]["aggregates"]["value"]["sum"]),
        (&json!("s"), &json!(3.0))
    );
    let anomaly = json!({"model_id": "m", "timestamp": "2026-01-20T10:30:00Z", "anomaly_score": 0.97, "observed_value": 9.0, "predicted_value": 1.0,
        "expected_range": [0.0, 2.0], "severity": "CRITICAL", "message": "far above", "recommended_actions": ["look"]});
    let answer = tidecast.post("/api/anomalies", anomaly.clone()).await;
    assert!(answer.status.is_success(), "{answer:?}");
    // alert_critical_anomalies is there from the start. The two lie in partitions of their own: either may come first.
    let mut missing = vec!["anomaly_alert", "rule_alert"];
    while !missing.is_empty() {
        let Some(Came::Message(told, _)) = socket.next(WAIT).await else { panic!("no {missing:?}") };
        if told["type"] == "anomaly_alert" {
            assert_eq!((&told["model_id"], &told["data"]["severity"]), (&json!("m"), &json!("CRITICAL")));
        }
        assert!(told["data"].is_object() || told["type"] == "heartbeat", "{told}");
        missing.retain(|kind| told["type"] != *kind);
    }
    never("others get none of it", Duration::from_millis(500), async || {
        match plain.next(Duration::from_millis(10)).await {
            Some(Came::Message(message, _)) if message["type"] != "heartbeat" => Some(message),
            _ => None,
        }
    })
    .await;
}
