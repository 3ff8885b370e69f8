//! A model with exogenous series of other topics and groupings, which other partitions close: it finds what they explain.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(40);
const START: u64 = 1_732_150_000;
const WINDOWS: u64 = 90;

fn temperature(second: u64) -> u64 {
    (second * 31) % 17
}

fn visitors(second: u64) -> u64 {
    (second * 13) % 11
}

/// What the model is to find: 2 for each degree, 5 for each visitor.
fn sales(second: u64) -> u64 {
    100 + 2 * temperature(second) + 5 * visitors(second) + (second * 7) % 3
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_other_topics_are_joined_by_their_start() {
    let kafka = Kafka::shared();
    let setup = Setup::new("exogenous", &kafka);
    let weather = format!("{}.weather", setup.name);
    kafka.create(&weather, 3).await;
    let series = |name: &str, more: &str| {
        format!(
            "[[series]]\nname = \"{name}\"\nwindow = {{ kind = \"tumbling\", size = \"1s\" }}\nlateness = \"0s\"\n{more}\n"
        )
    };
    let setup = setup.with(&format!(
        "{}{}{}",
        series("sales", "where = 'type == \"sale\"'\nvalues = [\"value\"]"),
        series("weather", &format!("topic = \"{weather}\"\nvalues = [\"degrees\"]")),
        series("visits", "where = 'type == \"visit\"'\nkey = \"data.door\"\nvalues = [\"visitors\"]"),
    ));
    let tidecast = setup.start().await;
    let model = json!({"model_id": "sales", "model_type": "SARIMAX", "order": [1, 0, 0], "seasonal_order": [0, 0, 0, 0],
        "series": "sales:shop", "field": "value.avg", "exogenous": ["weather:here/degrees.avg", "visits:main/visitors.sum"]});
    // A regressor has to be cut as the series is.
    let mut wrong = model.clone();
    wrong["exogenous"] = json!(["weather:here/rain.avg"]);
    let refused = tidecast.post("/api/models", wrong).await.expect(422);
    assert!(refused.to_string().contains("exogenous[0]"), "{refused}");
    tidecast.post("/api/models", model).await.expect(201);

    let (events, producer) = (setup.topic("events"), kafka.producer());
    for second in 0..WINDOWS {
        let at = START + second;
        let sale =
            json!({"source": "shop", "type": "sale", "timestamp": at, "data": {"value": sales(second)}});
        let visit = json!({"source": "door-7", "type": "visit", "timestamp": at,
            "data": {"door": "main", "visitors": visitors(second)}});
        let degrees =
            json!({"source": "here", "type": "t", "timestamp": at, "data": {"degrees": temperature(second)}});
        producer.send_json(&weather, "here", &degrees.to_string());
        producer.send_json(&events, "door-7", &visit.to_string());
        producer.send_json(&events, "shop", &sale.to_string());
        // Something on every partition: one without events would hold the visits back until it counts as idle.
        for other in 0..8 {
            let source = format!("other-{other}");
            let event = json!({"source": source, "type": "other", "timestamp": at, "data": {}});
            producer.send_json(&events, &source, &event.to_string());
            producer.send_json(&weather, &source, &event.to_string());
        }
    }
    producer.flush();
    let model = eventually("a fit with both", WAIT, async || {
        let model = tidecast.get("/api/models/sales").await.expect(200);
        let seen = model["observations"].as_u64().unwrap_or(0) >= WINDOWS - 10;
        (seen && model["summary"]["params"]["x2"].is_number()).then_some(model)
    })
    .await;
    let of = |name: &str| model["summary"]["params"][name].as_f64().unwrap_or(f64::NAN);
    assert!((of("x1") - 2.0).abs() < 0.1 && (of("x2") - 5.0).abs() < 0.1, "{model}");
    assert_eq!(model["error"], Value::Null, "{model}");
}
