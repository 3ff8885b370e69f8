//! `POST /api/events`, `/api/forecasts`, `/api/anomalies`.

use crate::house::{House, anomaly, event, forecast};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn send(house: &House, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    send_to(house, "/api/events", content_type, body).await
}

async fn send_to(
    house: &House,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let request = house.http.post(house.url(path)).header("content-type", content_type).body(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn one_an_array_lines_and_message_pack() {
    let house = House::open().await;
    let all = json!({"accepted": 2, "refused": 0, "errors": []});
    assert_eq!(send(&house, "application/json", event("a").to_string()).await.1["accepted"], 1);
    assert_eq!(
        send(&house, "application/json", json!([event("b"), event("c")]).to_string()).await,
        (200, all.clone())
    );
    let lines = format!("{}\n{}\n", event("d"), event("e"));
    assert_eq!(send(&house, "application/x-ndjson", lines.clone()).await, (200, all.clone()));
    assert_eq!(send(&house, "text/plain", lines).await, (200, all));
    let packed = rmp_serde::to_vec_named(&event("f")).unwrap();
    assert_eq!(send(&house, "application/msgpack", packed).await.1["accepted"], 1);
    assert_eq!(house.ingest.count(), 8);
}

#[tokio::test]
async fn so_many_events_that_their_answers_would_take_much_room_are_refused() {
    let house = House::open().await;
    // A few kilobytes of gzip hold millions of these.
    for (kind, body) in [
        ("application/json", format!("[{}0]", "0,".repeat(300_000))),
        ("application/x-ndjson", "0\n".repeat(300_000)),
    ] {
        let (status, problem) = send(&house, kind, body).await;
        assert!(status == 413 && problem["detail"].as_str().unwrap().contains("200000"), "{kind}: {problem}");
    }
    assert_eq!(send(&house, "application/json", "[0,").await.0, 400);
    assert_eq!(house.ingest.count(), 0);
}

#[tokio::test]
async fn gzip_is_unpacked() {
    let house = House::open().await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(event("a").to_string().as_bytes()).unwrap();
    let request = house.http.post(house.url("/api/events")).header("content-encoding", "gzip");
    let response = request.body(packed.finish().unwrap()).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["accepted"], 1);
    assert_eq!(house.ingest.taken.lock().unwrap()[0], event("a").to_string());
}

#[tokio::test]
async fn refusals_name_place_and_reason_and_harm_no_other() {
    let house = House::open().await;
    let body = json!([event("a"), {"type": "x"}, event("b")]).to_string();
    let (status, answer) = send(&house, "application/json", body).await;
    assert_eq!((status, &answer["accepted"], &answer["refused"]), (200, &json!(2), &json!(1)));
    assert_eq!(
        (&answer["errors"][0]["index"], &answer["errors"][0]["code"]),
        (&json!(1), &json!("missing_field"))
    );
    let (status, problem) = send(&house, "application/json", "{\"type\":\"x\"}").await;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("missing_field")));
    assert_eq!(send(&house, "application/json", "").await.0, 400);
    assert_eq!(send(&house, "application/json", "[1,").await.0, 400);
    assert_eq!(house.ingest.count(), 2);
}

#[tokio::test]
async fn too_large_a_body_and_a_broker_away_are_told() {
    let house = House::with(&["limits.request_body_size=100000"]).await;
    assert_eq!(send(&house, "application/json", "x".repeat(100_001)).await.0, 413);
    house.ingest.failing.store(true, Ordering::Relaxed);
    assert_eq!(send(&house, "application/json", event("a").to_string()).await.0, 503);
}

/// What many send side by side takes no more memory than they may have together, and one alone no more than that either.
#[tokio::test]
async fn bodies_share_the_room_that_there_is() {
    let house = House::with(&["limits.request_bodies_size=1048576"]).await;
    let mut one = event("a");
    one["metadata"] = json!({"note": "x".repeat(1_000)});
    let third = format!("{one}\n").repeat(300);
    // One client is slow: it has sent most of a body that takes four fifths of the room.
    let slow = " ".repeat(850_000);
    let (first, last) = slow.split_at(849_000);
    let head = format!(
        "POST /api/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        slow.len()
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut connection, problem) = loop {
        assert!(Instant::now() < deadline, "the slow one's bytes are counted");
        let mut connection = TcpStream::connect(house.app).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(first.as_bytes()).await.unwrap();
        // What is sent has to be read; were it not yet, this would take the room, and the slow one be refused.
        house.get("/api/stats").await;
        let (status, problem) = send(&house, "application/x-ndjson", third.clone()).await;
        if status == 503 {
            break (connection, problem);
        }
    };
    assert!(problem["detail"].as_str().unwrap().contains("limits.request_bodies_size"), "{problem}");
    assert_eq!(send(&house, "application/json", event("small").to_string()).await.0, 200);
    connection.write_all(last.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "it held no event: {answer}");
    assert_eq!(send(&house, "application/x-ndjson", third).await.0, 200, "there is room again");
    // As values a list of empty lists takes many times its text.
    let (status, problem) = send_to(&house, "/api/forecasts", "application/json", "[],".repeat(50_000)).await;
    assert!(status == 413 && problem.to_string().contains("limits.request_bodies_size"), "{problem}");
}

#[tokio::test]
async fn forecasts_and_anomalies_of_others_are_checked_and_passed_on() {
    let house = House::open().await;
    let (status, made) = house.post("/api/forecasts", &forecast("ext", 4.0)).await;
    assert_eq!((status, made), (201, forecast("ext", 4.0)));
    assert_eq!(house.post("/api/forecasts", &json!([forecast("a", 1.0), forecast("b", 1.0)])).await.0, 201);
    assert_eq!(house.post("/api/anomalies", &anomaly("ext")).await.0, 201);
    assert_eq!(house.outputs.forecasts.lock().unwrap().len(), 3);
    assert_eq!(house.outputs.anomalies.lock().unwrap().len(), 1);
    let fault = async |path: &str, value: Value| {
        let (status, problem) = house.post(path, &value).await;
        assert_eq!(status, 422, "{problem}");
        problem["field"].as_str().unwrap_or_default().to_owned()
    };
    let changed = |mut value: Value, field: &str, to: Value| {
        value[field] = to;
        value
    };
    let of = |field: &str, to: Value| changed(forecast("m", 1.0), field, to);
    assert_eq!(fault("/api/forecasts", of("timestamp", json!("yesterday"))).await, "timestamp");
    assert_eq!(fault("/api/forecasts", of("model_id", json!("a*"))).await, "model_id");
    assert_eq!(
        fault("/api/forecasts", of("confidence_interval", json!([2, 1]))).await,
        "confidence_interval"
    );
    assert_eq!(fault("/api/forecasts", of("predicted_value", json!("5"))).await, "predicted_value");
    assert_eq!(fault("/api/forecasts", of("surprise", json!(1))).await, "surprise");
    let step = json!({"timestamp": "2026-01-20T10:30:00Z", "mean": 1.5, "lower": 1, "upper": 2});
    let path = |path: Value| of("metadata", json!({"path": path}));
    assert_eq!(house.post("/api/forecasts", &path(json!([step.clone()]))).await.0, 201);
    assert_eq!(fault("/api/forecasts", path(json!("x"))).await, "metadata.path");
    assert_eq!(fault("/api/forecasts", path(json!([step.clone(), null]))).await, "metadata.path[1]");
    for (name, wrong) in [("lower", json!(3)), ("mean", Value::Null), ("timestamp", json!("soon"))] {
        let broken = json!([changed(step.clone(), name, wrong)]);
        assert_eq!(fault("/api/forecasts", path(broken)).await, "metadata.path[0]", "{name}");
    }
    assert_eq!(
        fault("/api/forecasts", json!([forecast("m", 1.0), of("forecast_horizon", json!(0))])).await,
        "[1].forecast_horizon"
    );
    assert_eq!(
        fault("/api/anomalies", changed(anomaly("m"), "anomaly_score", json!(1.1))).await,
        "anomaly_score"
    );
    assert_eq!(fault("/api/anomalies", changed(anomaly("m"), "severity", json!("BAD"))).await, "severity");
}
