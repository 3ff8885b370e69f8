//! Section 4: subscribe, unsubscribe, patterns, types, formats, errors that keep the connection.

use crate::house::{House, aggregate, anomaly, forecast};
use futures::SinkExt;
use serde_json::{Value, json};
use tidecast_ports::OutputKind;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn the_answer_says_what_was_subscribed_and_updates_have_the_contracts_shape() {
    let house = House::open().await;
    let mut client = house.connect().await;
    let answer = client.subscribe(&["m1"], &["new_forecast", "anomaly_detected"]).await;
    assert_eq!(
        answer["data"],
        json!({"model_ids": ["m1"], "update_types": ["new_forecast", "anomaly_detected"]})
    );
    house.publish(OutputKind::Forecast, &forecast("m1", 5.0));
    house.publish(OutputKind::Alert, &anomaly("m1"));
    let update = client.hear().await;
    assert_eq!((&update["type"], &update["model_id"]), (&json!("forecast_update"), &json!("m1")));
    assert_eq!(update["data"], forecast("m1", 5.0));
    assert!(update["position"].is_string());
    let alert = client.hear().await;
    assert_eq!((&alert["type"], &alert["data"]), (&json!("anomaly_alert"), &anomaly("m1")));
}

#[tokio::test]
async fn without_names_every_model_is_meant_and_without_types_the_first_two() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.say(&json!({"type": "subscribe"})).await;
    let answer = client.hear_type("subscribed").await;
    assert_eq!(
        answer["data"],
        json!({"model_ids": ["*"], "update_types": ["new_forecast", "anomaly_detected"]})
    );
    house.publish(OutputKind::Aggregate, &aggregate("by_type", "a"));
    house.publish(OutputKind::Forecast, &forecast("any", 1.0));
    assert_eq!(client.hear().await["model_id"], "any");
}

#[tokio::test]
async fn each_client_gets_what_it_asked_for_and_once() {
    let house = House::open().await;
    let (mut exact, mut prefix, mut other) =
        (house.connect().await, house.connect().await, house.connect().await);
    exact.subscribe(&["sales_1"], &["new_forecast"]).await;
    prefix.subscribe(&["sales_*", "sales_1", "*"], &["new_forecast"]).await;
    other.subscribe(&["cost_*"], &["new_forecast"]).await;
    house.publish(OutputKind::Forecast, &forecast("sales_1", 1.0));
    house.publish(OutputKind::Forecast, &forecast("sales_2", 2.0));
    house.publish(OutputKind::Forecast, &forecast("cost_1", 3.0));
    let ids = |messages: Vec<Value>| {
        messages.iter().map(|m| m["model_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(exact.hear_until_quiet().await), ["sales_1"]);
    assert_eq!(ids(prefix.hear_until_quiet().await), ["sales_1", "sales_2", "cost_1"]);
    assert_eq!(ids(other.hear_until_quiet().await), ["cost_1"]);
}

#[tokio::test]
async fn the_newest_value_of_each_model_comes_at_once() {
    let house = House::open().await;
    for value in [1.0, 2.0] {
        house.publish(OutputKind::Forecast, &forecast("m1", value));
        house.publish(OutputKind::Forecast, &forecast("m2", value * 10.0));
    }
    let mut client = house.connect().await;
    client.subscribe(&["m1"], &["new_forecast"]).await;
    assert_eq!(client.hear().await["data"]["predicted_value"], 2.0);
    assert_eq!(client.hear_until_quiet().await, [] as [Value; 0]);
    client.subscribe(&["m*"], &["new_forecast"]).await;
    let mut values: Vec<f64> = client
        .hear_until_quiet()
        .await
        .iter()
        .map(|m| m["data"]["predicted_value"].as_f64().unwrap())
        .collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [2.0, 20.0]);
}

#[tokio::test]
async fn what_was_written_before_fills_the_cache_and_is_not_pushed_and_repeats_are_dropped() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.subscribe(&["*"], &["new_forecast"]).await;
    let mut old = house.record(OutputKind::Forecast, &forecast("old", 1.0));
    old.replayed = true;
    tidecast_ports::LiveSink::publish(&*house.hub, vec![old]);
    house.publish_with_id(OutputKind::Forecast, 7, &forecast("new", 2.0));
    house.publish_with_id(OutputKind::Forecast, 7, &forecast("new", 2.0));
    let heard = client.hear_until_quiet().await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["model_id"], "new");
    let mut late = house.connect().await;
    late.subscribe(&["old"], &["new_forecast"]).await;
    assert_eq!(late.hear().await["model_id"], "old");
}

#[tokio::test]
async fn after_unsubscribed_nothing_comes() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.subscribe(&["a", "b"], &["new_forecast"]).await;
    client.say(&json!({"type": "unsubscribe", "model_ids": ["a"]})).await;
    assert_eq!(client.hear_type("unsubscribed").await["data"]["model_ids"], json!(["a"]));
    house.publish(OutputKind::Forecast, &forecast("a", 1.0));
    house.publish(OutputKind::Forecast, &forecast("b", 1.0));
    let heard = client.hear_until_quiet().await;
    assert_eq!(heard.iter().map(|m| m["model_id"].clone()).collect::<Vec<_>>(), ["b"]);
    client.say(&json!({"type": "unsubscribe"})).await;
    client.hear_type("unsubscribed").await;
    house.publish(OutputKind::Forecast, &forecast("b", 1.0));
    assert_eq!(client.hear_until_quiet().await, [] as [Value; 0]);
}

#[tokio::test]
async fn aggregates_come_by_series_and_with_the_model_that_reads_it() {
    let house = House::open().await;
    let model = json!({"model_id": "m", "model_type": "Theta", "series": "by_source:s1"});
    assert_eq!(house.post("/api/models", &model).await.0, 201);
    let (mut by_model, mut by_series) = (house.connect().await, house.connect().await);
    by_model.subscribe(&["m"], &["aggregation"]).await;
    by_series.subscribe(&["by_type:*"], &["aggregation"]).await;
    for (series, key) in [("by_source", "s1"), ("by_source", "s2"), ("by_type", "t")] {
        house.publish(OutputKind::Aggregate, &aggregate(series, key));
    }
    let keys = |messages: Vec<Value>| {
        messages.iter().map(|m| m["data"]["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let heard = by_model.hear_until_quiet().await;
    assert_eq!(heard[0]["type"], "aggregation_update");
    assert_eq!(keys(heard), ["s1"]);
    assert_eq!(keys(by_series.hear_until_quiet().await), ["t"]);
    by_model.say(&json!({"type": "unsubscribe", "model_ids": ["m"]})).await;
    by_model.hear_type("unsubscribed").await;
    house.publish(OutputKind::Aggregate, &aggregate("by_source", "s1"));
    assert_eq!(by_model.hear_until_quiet().await, [] as [Value; 0]);
}

#[tokio::test]
async fn aggregates_come_with_all_models_that_a_pattern_means() {
    let house = House::open().await;
    for (id, series) in [("sales_1", "by_source:s1"), ("sales_by", "by_type:*"), ("cost", "by_source:s2")] {
        let model = json!({"model_id": id, "model_type": "Theta", "series": series});
        assert_eq!(house.post("/api/models", &model).await.0, 201);
    }
    let mut client = house.connect().await;
    client.subscribe(&["sales_*"], &["aggregation"]).await;
    client.subscribe(&["sales_by/t"], &["aggregation"]).await;
    let publish = || {
        for (series, key) in [("by_source", "s1"), ("by_source", "s2"), ("by_type", "t"), ("by_type", "u")] {
            house.publish(OutputKind::Aggregate, &aggregate(series, key));
        }
    };
    let keys = |messages: Vec<Value>| {
        messages.iter().map(|m| m["data"]["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    publish();
    assert_eq!(
        keys(client.hear_until_quiet().await),
        ["s1", "t", "u"],
        "each once, new keys of a template too"
    );
    client.say(&json!({"type": "unsubscribe", "model_ids": ["sales_*"]})).await;
    client.hear_type("unsubscribed").await;
    publish();
    assert_eq!(keys(client.hear_until_quiet().await), ["t"], "what the other name means stays");
    client.say(&json!({"type": "unsubscribe"})).await;
    client.hear_type("unsubscribed").await;
    publish();
    assert_eq!(client.hear_until_quiet().await, [] as [Value; 0]);
}

#[tokio::test]
async fn fired_rules_and_metrics_have_types_of_their_own() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.subscribe(&["*"], &["alert", "metrics"]).await;
    let alert = json!({"rule": "r", "event_type": "WINDOW_CLOSED", "priority": "HIGH", "timestamp": "t",
        "message": "x", "data": {"series": "s", "key": "k"}});
    house.publish(OutputKind::Alert, &alert);
    house.publish(OutputKind::Metrics, &json!({"events_per_second": 3}));
    let heard = client.hear().await;
    assert_eq!((&heard["type"], &heard["data"]), (&json!("rule_alert"), &alert));
    let heard = client.hear().await;
    assert_eq!(
        (&heard["type"], &heard["data"]),
        (&json!("metrics_update"), &json!({"events_per_second": 3}))
    );
}

#[tokio::test]
async fn message_pack_goes_both_ways() {
    let house = House::open().await;
    let mut client = house.connect().await;
    let ask = json!({"type": "subscribe", "model_ids": ["m"], "update_types": ["new_forecast"], "data_format": "msgpack"});
    client.say(&ask).await;
    assert!(client.frame().await.is_binary());
    house.publish(OutputKind::Forecast, &forecast("m", 1.5));
    let frame = client.frame().await;
    assert!(frame.is_binary());
    let update: Value = rmp_serde::from_slice(&frame.into_data()).unwrap();
    assert_eq!(update["data"], forecast("m", 1.5));
    client.say_bytes(rmp_serde::to_vec_named(&json!({"type": "ping"})).unwrap()).await;
    assert_eq!(client.hear().await["type"], "heartbeat");
}

#[tokio::test]
async fn a_malformed_message_gets_an_error_and_the_connection_stays() {
    let house = House::open().await;
    let mut client = house.connect().await;
    for (text, code) in [
        ("not json", "invalid_message"),
        ("{\"type\":\"dance\"}", "unknown_type"),
        ("{\"type\":\"subscribe\",\"update_types\":[\"x\"]}", "invalid_update_type"),
    ] {
        client.say_text(text).await;
        let error = client.hear().await;
        assert_eq!((&error["type"], &error["data"]["code"]), (&json!("error"), &json!(code)));
        assert!(!error["data"]["message"].as_str().unwrap().is_empty());
    }
    client.subscribe(&["m"], &["new_forecast"]).await;
    house.publish(OutputKind::Forecast, &forecast("m", 1.0));
    assert_eq!(client.hear().await["type"], "forecast_update");
}

#[tokio::test]
async fn past_the_size_limit_it_closes_with_1009() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.say_text(&format!("{{\"type\":\"ping\",\"pad\":\"{}\"}}", "x".repeat(65_536 - 24))).await;
    assert_eq!(client.hear().await["type"], "heartbeat", "64 KiB exactly are within the limit");
    client.say_text(&"x".repeat(65_537)).await;
    assert_eq!(client.close_code().await, 1009);
    house.wait_for_metric("websocket_connections_active", |n| n == 0.0).await;
    assert_eq!(house.metric("websocket_disconnects_total").await, 1.0);
}

#[tokio::test]
async fn heartbeats_come_by_themselves() {
    let house = House::with(&["websocket.heartbeat_interval=1s"]).await;
    let mut client = house.connect().await;
    let beat = client.hear().await;
    assert_eq!(beat["type"], "heartbeat");
    assert!(chrono::DateTime::parse_from_rfc3339(beat["data"]["server_time"].as_str().unwrap()).is_ok());
    client.hear_type("heartbeat").await;
}

#[tokio::test]
async fn the_limits_of_a_client_hold() {
    let house = House::with(&["limits.subscriptions=3", "limits.control_messages_per_second=20"]).await;
    let mut client = house.connect().await;
    client.subscribe(&["a", "b", "c"], &["new_forecast"]).await;
    client.say(&json!({"type": "subscribe", "model_ids": ["d"]})).await;
    assert_eq!(client.hear().await["data"]["code"], "rate_limited");
    for _ in 0..2_000 {
        // The server may have closed already.
        let _ = client.0.feed(Message::text("{\"type\":\"ping\"}")).await;
    }
    let _ = client.0.flush().await;
    assert_eq!(client.close_code().await, 4429);
}

#[tokio::test]
async fn past_the_number_of_connections_the_next_is_told() {
    let house = House::with(&["websocket.max_connections=2"]).await;
    let _first = house.connect().await;
    let second = house.connect().await;
    let url = format!("ws://{}/", house.websocket);
    let refused = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    let tokio_tungstenite::tungstenite::Error::Http(response) = refused else { panic!("{refused}") };
    assert_eq!(response.status(), 503);
    drop(second);
    house.wait_for_metric("websocket_connections_active", |n| n == 1.0).await;
    crate::house::Client::connect(&url).await.hear_until_quiet().await;
}
