//! `GET /api/alerts`.

use crate::house::{House, anomaly};
use serde_json::{Value, json};
use tidecast_ports::OutputKind;

#[tokio::test]
async fn newest_first_in_pages_and_by_model() {
    let house = House::open().await;
    house.publish(OutputKind::Alert, &anomaly("a"));
    house.publish(
        OutputKind::Alert,
        &json!({"rule": "r", "event_type": "SYSTEM_ERROR", "priority": "CRITICAL",
        "timestamp": "t", "message": "broken", "data": {"x": 1}}),
    );
    house.publish(OutputKind::Alert, &anomaly("b"));
    let (status, page) = house.get("/api/alerts?limit=2").await;
    assert_eq!(status, 200);
    assert_eq!((&page["items"][0]["model_id"], &page["items"][0]["kind"]), (&json!("b"), &json!("anomaly")));
    assert_eq!(page["items"][0]["data"], anomaly("b"));
    let system = &page["items"][1];
    assert_eq!(
        (&system["kind"], &system["severity"], &system["rule"]),
        (&json!("system"), &json!("CRITICAL"), &json!("r"))
    );
    let next = page["next"].as_str().unwrap();
    let (_, page) = house.get(&format!("/api/alerts?limit=2&cursor={next}")).await;
    assert_eq!((&page["items"][0]["model_id"], &page["next"]), (&json!("a"), &Value::Null));
    assert_eq!(house.get("/api/alerts?model_id=b").await.1["items"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/api/alerts?cursor=x").await.0, 400);
}
