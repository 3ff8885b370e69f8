//! From events to forecasts, anomalies and fired rules: on the topics, over the WebSocket and over REST, the same.

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

[[models]]
model_id = "load"
model_type = "SeasonalNaive"
series = "load:*"
field = "value.avg"
horizon = 4
season = 4
anomaly_threshold = 0.8

[[rules]]
name = "high_load"
event_type = "FORECAST_GENERATED"
condition = "data.get('predicted_value', 0) > 5000"
action = "log"
"#;

/// One event a second per source, in a pattern of four.
fn event(source: &str, second: u64, value: f64) -> String {
    format!(r#"{{"source":"{source}","type":"t","timestamp":{},"data":{{"value":{value}}}}}"#, START + second)
}

fn pattern(second: u64) -> f64 {
    [10.0, 20.0, 30.0, 40.0][(second % 4) as usize] + (second % 7) as f64 * 0.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_makes_a_model_for_each_key_and_each_window_a_forecast() {
    let kafka = Kafka::shared();
    let setup = Setup::new("flow", &kafka).with(PIPELINE);
    let tidecast = setup.start().await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&["load/a"], &["new_forecast", "anomaly_detected"]).await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    let seconds = 60;
    for second in 0..seconds {
        for source in ["a", "b"] {
            producer.send_json(&topic, source, &event(source, second, pattern(second)));
        }
    }
    producer.flush();
    let mut predictions = kafka.reader(&setup.topic("predictions"));
    let of_a = |record: &&tidecast_tests::kafka::Record| record.key_text() == "load/a";
    let last_window = START + seconds - 1;
    let stamp = |message: &Value| message["timestamp"].as_str().unwrap().to_string();
    let records = predictions.until("forecasts for both keys", WAIT, |records| {
        let last = |key: &str| records.iter().filter(|r| r.key_text() == key).count();
        last("load/a") >= 40 && last("load/b") >= 40
    });
    let messages: Vec<Value> = records.iter().filter(of_a).map(|r| r.json()).collect();
    for message in &messages {
        assert_eq!(
            (&message["model_id"], &message["forecast_horizon"]),
            (&json!("load/a"), &json!(4)),
            "{message}"
        );
        assert_eq!(message["model_type"], "SeasonalNaive");
        let path = message["metadata"]["path"].as_array().expect("the whole path");
        assert_eq!(path.len(), 4);
        assert_eq!(path[3]["mean"], message["predicted_value"], "the value at the last step");
        let (low, high) = (
            message["confidence_interval"][0].as_f64().unwrap(),
            message["confidence_interval"][1].as_f64().unwrap(),
        );
        let mean = message["predicted_value"].as_f64().unwrap();
        assert!(low <= mean && mean <= high, "{message}");
        let times: Vec<String> = path.iter().map(stamp).collect();
        assert!(
            times.is_sorted() && times.iter().collect::<std::collections::BTreeSet<_>>().len() == 4,
            "{times:?}"
        );
    }
    // No forecast is told twice, and none is of a time past the last closed window.
    let mut times: Vec<String> = messages.iter().map(stamp).collect();
    let count = times.len();
    times.dedup();
    assert_eq!(times.len(), count);
    assert!(count as u64 <= last_window - START, "{count}");
    // The pattern repeats every four seconds, so a seasonal forecast of the last step is close.
    let last = messages.last().unwrap()["predicted_value"].as_f64().unwrap();
    assert!((9.0..42.0).contains(&last), "{last}");
    let update = socket.expect("forecast_update", WAIT).await;
    assert_eq!(update["model_id"], "load/a");
    // The newest wins on a socket, so this may be one that was not read above: it comes on the topic, the same.
    let same = |record: &tidecast_tests::kafka::Record| {
        let told = record.json();
        record.key_text() == "load/a"
            && told["timestamp"] == update["data"]["timestamp"]
            && told["predicted_value"] == update["data"]["predicted_value"]
    };
    predictions.until("the same forecast on the topic", WAIT, |records| records.iter().any(same));
    let models = tidecast.get("/api/models").await.expect(200);
    let names: Vec<_> =
        models["items"].as_array().unwrap().iter().map(|m| m["model_id"].as_str().unwrap()).collect();
    assert!(names.contains(&"load/a") && names.contains(&"load/b"), "{names:?}");
    let asked = tidecast.get("/api/models/load%2Fa/forecast?horizon=2").await.expect(200);
    assert_eq!(asked["metadata"]["path"].as_array().map(Vec::len), Some(2));
    let (requests, failures) = (
        tidecast.metric("ml_inference_requests_total", &[]).await,
        tidecast.metric("ml_inference_failures_total", &[]).await,
    );
    assert!(requests >= Some(count as f64) && failures == Some(0.0), "{requests:?} {failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_out_of_the_pattern_is_an_anomaly() {
    let kafka = Kafka::shared();
    let setup = Setup::new("anomaly", &kafka).with(PIPELINE);
    let tidecast = setup.start().await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&["*"], &["anomaly_detected"]).await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    let spike = 80;
    for second in 0..=spike + 1 {
        let value = if second == spike { 5_000.0 } else { pattern(second) };
        producer.send_json(&topic, "a", &event("a", second, value));
    }
    producer.flush();
    let alert = socket.expect_where("anomaly_alert", WAIT, |m| m["data"]["observed_value"] == 5_000.0).await;
    let anomaly = &alert["data"];
    assert_eq!(anomaly["model_id"], "load/a");
    let score = anomaly["anomaly_score"].as_f64().unwrap();
    assert!((0.8..=1.0).contains(&score), "{anomaly}");
    let (low, high) =
        (anomaly["expected_range"][0].as_f64().unwrap(), anomaly["expected_range"][1].as_f64().unwrap());
    assert!(low <= high && high < 5_000.0, "{anomaly}");
    assert!(["LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&anomaly["severity"].as_str().unwrap()));
    assert!(
        anomaly["message"].as_str().is_some_and(|m| !m.is_empty())
            && anomaly["recommended_actions"].is_array()
    );
    let mut alerts = kafka.reader(&setup.topic("alerts"));
    alerts.until("it is on the topic", WAIT, |records| {
        records.iter().any(|r| r.key_text() == "load/a" && r.json()["observed_value"] == 5_000.0)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fit_that_an_operator_asks_for_is_in_use_from_the_next_window_on() {
    let kafka = Kafka::shared();
    let setup = Setup::new("refit", &kafka).with(PIPELINE).with(
        r#"
        [[rules]]
        name = "retrained"
        event_type = "MODEL_RETRAINED"
        condition = "true"
        action = "log"
        "#,
    );
    let tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    let learnt = async |second: u64| {
        for source in ["a", "b"] {
            producer.send_json(&topic, source, &event(source, second, pattern(second)));
        }
        producer.flush();
        // The newest window is open.
        eventually("it is learnt", WAIT, async || {
            let model = tidecast.get("/api/models/load%2Fa").await;
            (second == 0 || model.json()["observations"].as_u64() == Some(second)).then_some(())
        })
        .await;
    };
    let fits = async || tidecast.metric("rules_fired_total", &[("rule", "retrained")]).await;
    for second in 0..8 {
        learnt(second).await;
    }
    eventually("both had their first fit", WAIT, async || (fits().await == Some(2.0)).then_some(())).await;
    let asked = tidecast.post("/api/models/load%2Fa/refit", json!(null)).await.expect(202);
    assert_eq!((&asked["model_id"], &asked["template"]), (&json!("load/a"), &json!("load")));
    // It takes a way of its own through Kafka: perhaps not the very next window, but long before they are fitted again anyway.
    let mut second = 8;
    while fits().await == Some(2.0) {
        assert!(second < 20, "no fit");
        learnt(second).await;
        second += 1;
    }
    learnt(second).await;
    assert_eq!(fits().await, Some(3.0), "of the one that was asked for");
    assert_eq!(tidecast.post("/api/models/nobody/refit", json!(null)).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_from_elsewhere_is_treated_as_our_own() {
    let kafka = Kafka::shared();
    let setup = Setup::new("external", &kafka).with(PIPELINE);
    let tidecast = setup.start().await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&["*"], &["new_forecast", "alert"]).await;
    let message = json!({"model_id": "from_afar", "timestamp": "2026-01-20T10:30:00Z", "predicted_value": 6000.5,
        "confidence_interval": [5900.0, 6100.0], "forecast_horizon": 1, "model_type": "Prophet", "metadata": {"product_id": "P-1"}});
    let answer = tidecast.post("/api/forecasts", json!([message])).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let update = socket.expect("forecast_update", WAIT).await;
    assert_eq!(
        (&update["model_id"], &update["data"]["predicted_value"]),
        (&json!("from_afar"), &json!(6000.5))
    );
    // The rule that watches every forecast sees it too.
    let alert = socket.expect_where("rule_alert", WAIT, |m| m.to_string().contains("high_load")).await;
    assert!(alert.to_string().contains("from_afar"), "{alert}");
    let mut predictions = kafka.reader(&setup.topic("predictions"));
    predictions
        .until("it is on the topic", WAIT, |records| records.iter().any(|r| r.key_text() == "from_afar"));
    eventually("it is a model now", WAIT, async || {
        let model = tidecast.get("/api/models/from_afar").await;
        (model.status == 200).then(|| assert_eq!(model.json()["model_type"], "External"))
    })
    .await;
    let wrong = tidecast.post("/api/forecasts", json!({"model_id": "x", "predicted_value": "much"})).await;
    assert!(wrong.status.is_client_error() && wrong.text.contains("predicted_value"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_made_while_running_takes_its_series_up() {
    let kafka = Kafka::shared();
    let setup = Setup::new("late-model", &kafka).with(&PIPELINE.replace("load:*", "load:other"));
    let tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    let history: Vec<f64> = (0..24).map(pattern).collect();
    let model = json!({"model_id": "made", "model_type": "SeasonalNaive", "series": "load:a", "field": "value.avg", "history": history,
        "horizon": 4, "season": 4});
    tidecast.post("/api/models", model).await.expect(201);
    eventually("it is ready", WAIT, async || {
        let state = tidecast.get("/api/models/made").await;
        (state.status == 200 && state.json()["state"] != "warming_up").then_some(())
    })
    .await;
    for second in 24..40 {
        producer.send_json(&topic, "a", &event("a", second, pattern(second)));
    }
    producer.flush();
    let mut predictions = kafka.reader(&setup.topic("predictions"));
    predictions.until("it forecasts", WAIT, |records| {
        records.iter().filter(|r| r.key_text() == "made").count() >= 10
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_a_history_forecasts_before_its_quiet_series_goes_on() {
    let kafka = Kafka::shared();
    let setup = Setup::new("quiet-model", &kafka).with(PIPELINE);
    let tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    // Under one key, for both are to be in one partition.
    let send = |source: &str, seconds: std::ops::Range<u64>| {
        for second in seconds {
            producer.send_json(&topic, "a", &event(source, second, pattern(second)));
        }
        producer.flush();
    };
    send("a", 0..20);
    send("b", 20..40);
    let mut predictions = kafka.reader(&setup.topic("predictions"));
    predictions.until("windows of `b` close, all of `a` before them", WAIT, |records| {
        records.iter().any(|record| record.key_text() == "load/b")
    });
    let history: Vec<f64> = (0..24).map(pattern).collect();
    let model = json!({"model_id": "made", "model_type": "ARIMA", "order": [1, 0, 0], "series": "load:a", "field": "value.avg", "history": history,
        "horizon": 4});
    tidecast.post("/api/models", model).await.expect(201);
    let mut next = 40;
    eventually("its actor is there, for another key's windows come", WAIT, async || {
        send("b", next..next + 2);
        next += 2;
        let refused = tidecast.post("/api/models/made/refit", json!({})).await;
        refused.text.contains("first fit is still to come").then_some(())
    })
    .await;
    let made = tidecast.get("/api/models/made").await.expect(200);
    assert_eq!((&made["state"], &made["observations"]), (&json!("live"), &json!(24)), "{made}");
    let forecast = tidecast.get("/api/models/made/forecast").await.expect(200);
    let step = &forecast["metadata"]["path"][0];
    let [lower, mean, upper] = ["lower", "mean", "upper"].map(|name| step[name].as_f64().expect("a number"));
    assert!(10.0 < mean && mean < 41.0 && lower < mean && mean < upper, "{forecast}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forecast_of_sessions_is_told_as_far_apart_as_they_usually_are() {
    let kafka = Kafka::shared();
    let setup = Setup::new("sessions", &kafka).with(
        r#"
        [[series]]
        name = "visits"
        key = "source"
        values = ["value"]
        window = { kind = "session", gap = "5s" }
        lateness = "0s"

        [[models]]
        model_id = "visits"
        model_type = "SeasonalNaive"
        series = "visits:*"
        field = "event_count"
        horizon = 3
        season = 2
        "#,
    );
    let _tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    // A visit each minute.
    for minute in 0..20 {
        producer.send_json(&topic, "a", &event("a", 60 * minute, 1.0));
    }
    producer.flush();
    let mut predictions = kafka.reader(&setup.topic("predictions"));
    let records = predictions.until("forecasts", WAIT, |records| records.len() >= 10);
    let message = records.last().unwrap().json();
    let path = message["metadata"]["path"].as_array().unwrap();
    let minute = |step: usize| path[step]["timestamp"].as_str().unwrap()[14..16].parse::<u32>().unwrap();
    assert_eq!((minute(1), minute(2)), ((minute(0) + 1) % 60, (minute(0) + 2) % 60), "{message}");
}
