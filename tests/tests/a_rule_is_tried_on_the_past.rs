//! A dry run over what happened: on which events of the last hours a rule would have fired, in numbers and by example.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(30);
const START: u64 = 1_732_150_000;
const PIPELINE: &str = r#"
[[series]]
name = "load"
key = "source"
values = ["value"]
window = { kind = "tumbling", size = "1s" }
lateness = "0s"
idle_after = "1s"

[[models]]
model_id = "load"
model_type = "SeasonalNaive"
series = "load:*"
field = "value.avg"
horizon = 4
season = 4

[[rules]]
name = "busy"
event_type = "WINDOW_CLOSED"
condition = "data.aggregates.value.avg >= 30.0"
action = "log"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_it_would_have_done_is_what_the_topics_say() {
    let kafka = Kafka::shared();
    let setup = Setup::new("trial", &kafka).with(PIPELINE);
    let tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    for second in 0..40 {
        // A spike at the end, which is an anomaly.
        let value = if second == 36 { 5_000 } else { [10, 20, 30, 40][second as usize % 4] };
        let event = format!(
            r#"{{"source":"a","type":"t","timestamp":{},"data":{{"value":{value}}}}}"#,
            START + second
        );
        producer.send_json(&topic, "a", &event);
    }
    producer.flush();
    eventually("every window has been seen to", WAIT, async || {
        let model = tidecast.get("/api/models/load%2Fa").await;
        (model.status == 200 && model.json()["observations"] == 40).then_some(())
    })
    .await;
    let tried = async |body: Value| tidecast.post("/api/rules/try", body).await.expect(200);

    // The last window may be on its way to the topic still.
    let busy = eventually("all windows are looked at", WAIT, async || {
        let busy = tried(json!({"rule": "busy"})).await;
        (busy["events"] == 40).then_some(busy)
    })
    .await;
    assert_eq!((&busy["matched"], &busy["errors"]), (&json!(21), &json!(0)));
    assert_eq!(busy["complete"], true);
    let matches = busy["matches"].as_array().unwrap();
    assert_eq!(matches.len(), 20, "the newest");
    assert_eq!(matches[0]["data"]["aggregates"]["value"]["avg"], 40.0);
    // What is shown is a sample that the dry run takes.
    let again = json!({"rule": "busy", "event": matches[0]});
    assert_eq!(tidecast.post("/api/rules/test", again).await.expect(200)["matched"], true);

    let rule = |kind: &str, condition: &str| json!({"rule": {"event_type": kind, "condition": condition}});
    let forecasts = tried(rule("FORECAST_GENERATED", "data.model_id == 'load/a'")).await;
    assert!(forecasts["events"].as_u64().unwrap() > 20 && forecasts["events"] == forecasts["matched"]);
    let odd = tried(rule("ANOMALY_DETECTED", "data.observed_value > 1000.0")).await;
    assert_eq!(odd["matched"], 1, "{odd}");
    let unanswered = tried(rule("WINDOW_CLOSED", "data.aggregates.nothing.avg > 1.0")).await;
    assert_eq!((&unanswered["matched"], &unanswered["errors"]), (&json!(0), &json!(40)));
    assert!(unanswered["error"].is_string());
    let urgent =
        json!({"rule": {"event_type": "WINDOW_CLOSED", "condition": "true", "priority_filter": "CRITICAL"}});
    assert_eq!(tried(urgent).await["events"], 0, "windows are LOW");
}
