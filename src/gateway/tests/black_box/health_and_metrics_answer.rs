//! `/health*`, `/metrics` and `/api/stats`.

use crate::house::House;
use serde_json::{Value, json};

#[tokio::test]
async fn health_answers_on_both_listeners() {
    let house = House::open().await;
    for base in [house.url(""), format!("http://{}", house.admin)] {
        for (path, status) in [
            ("", 200),
            ("/live", 200),
            ("/ready", 200),
            ("/startup", 200),
            ("/kafka", 503),
            ("/websocket", 200),
        ] {
            let response = house.http.get(format!("{base}/health{path}")).send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            let body: Value = response.json().await.unwrap();
            assert!(body["status"].is_string() && body["detail"].is_string(), "{body}");
        }
    }
    assert_eq!(house.get("/health").await.1["status"], "degraded", "Kafka is away");
}

#[tokio::test]
async fn metrics_have_the_contracts_names_and_follow_accept() {
    let house = House::open().await;
    let client = house.connect().await;
    house.wait_for_metric("websocket_connections_active", |n| n == 1.0).await;
    drop(client);
    house.wait_for_metric("websocket_disconnects_total", |n| n == 1.0).await;
    let url = format!("http://{}/metrics", house.admin);
    let request = house.http.get(&url).header("accept", "application/openmetrics-text; version=1.0.0");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/openmetrics-text");
    assert!(response.text().await.unwrap().contains("websocket_messages_dropped_total"));
    assert_eq!(house.get("/metrics").await.0, 404, "not on the app listener");
}

#[tokio::test]
async fn stats_have_the_contracts_shape() {
    let house = House::open().await;
    let (status, stats) = house.get("/api/stats").await;
    assert_eq!(status, 200);
    let keys = |name: &str| stats[name].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    for (section, wanted) in [
        (
            "processor",
            &["events_per_second", "total_events", "processing_time_ms", "p99_latency_ms", "errors"][..],
        ),
        ("buffer", &["utilization", "drop_rate", "size", "capacity"]),
        (
            "service",
            &[
                "uptime_seconds",
                "registered_models",
                "forecast_count",
                "error_count",
                "error_rate",
                "last_forecast_time",
            ],
        ),
        ("websocket", &["active_connections", "queued_messages"]),
        ("kafka", &["is_connected", "topic", "messages_sent", "errors"]),
    ] {
        for key in wanted {
            assert!(keys(section).contains(key), "{section}.{key} in {stats}");
        }
    }
    assert_eq!((&stats["distribution"], &stats["top_sources"]), (&json!({}), &json!([])));
}
