//! `GET /stream/metrics`.

use crate::house::{House, PATIENCE, aggregate};
use serde_json::Value;
use tidecast_ports::OutputKind;

async fn read_until(response: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let piece = tokio::time::timeout(PATIENCE, response.chunk())
            .await
            .expect("nothing came")
            .unwrap()
            .expect("ended");
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text
}

#[tokio::test]
async fn headers_come_at_once_and_a_line_for_each_aggregate() {
    let house = House::open().await;
    let mut by_type = house.http.get(house.url("/stream/metrics")).send().await.unwrap();
    assert_eq!(
        (by_type.status().as_u16(), by_type.headers()["content-type"].to_str().unwrap()),
        (200, "text/event-stream")
    );
    let mut by_source = house.http.get(house.url("/stream/metrics?series=by_source")).send().await.unwrap();
    read_until(&mut by_type, "retry").await;
    read_until(&mut by_source, "retry").await;
    house.publish(OutputKind::Aggregate, &aggregate("by_source", "s"));
    house.publish(OutputKind::Aggregate, &aggregate("by_type", "t"));
    let text = read_until(&mut by_type, "\n\n").await;
    let (id, data) = text.trim_end().split_once('\n').unwrap();
    assert!(id.starts_with("id: "));
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data, aggregate("by_type", "t"));
    assert!(read_until(&mut by_source, "\n\n").await.contains("\"by_source\""));
    drop((by_type, by_source));
    house.wait_for_metric("sse_streams_active", |n| n == 0.0).await;
}

#[tokio::test]
async fn an_unknown_series_is_told() {
    let house = House::open().await;
    let (status, problem) = house.get("/stream/metrics?series=by_color").await;
    assert_eq!((status, &problem["field"]), (404, &Value::from("series")));
    assert!(problem["detail"].as_str().unwrap().contains("by_source"));
}
