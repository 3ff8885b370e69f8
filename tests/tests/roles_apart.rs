//! Workers and gateways as processes of their own, as they are in a cluster: a worker tells how it is, a gateway answers
//! for models that it does not run.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::kafka::Out;
use tidecast_tests::wait::never;
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(30);
const START: u64 = 1_732_150_000;
const PIPELINE: &str = r#"
[topics]
partitions = 2

[monitoring]
metrics_interval_seconds = 1

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
metadata = { region = "North" }

[[rules]]
name = "each"
event_type = "FORECAST_GENERATED"
condition = "data.predicted_value >= 0.0"
action = "log"
"#;

fn event(source: &str, kind: &str, second: u64, value: u64) -> String {
    let at = START + second;
    format!(r#"{{"source":"{source}","type":"{kind}","timestamp":{at},"data":{{"value":{value}}}}}"#)
}

fn to<'a>(key: &'a str, event: &'a str, partition: i32) -> Out<'a> {
    Out {
        key: Some(key.as_bytes()),
        payload: Some(event.as_bytes()),
        partition: Some(partition),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_for_models_that_workers_run() {
    let kafka = Kafka::shared();
    let setup = Setup::new("apart", &kafka).with(PIPELINE);
    let gateway = setup.spawn(&["--role", "gateway"]);
    let workers = ["one", "two"].map(|name| setup.beside(name, &["--role", "worker"]));
    gateway.ready().await;
    for worker in &workers {
        worker.ready().await;
        for path in ["/health", "/health/live", "/health/startup", "/health/kafka", "/health/websocket"] {
            let answer = worker.admin(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
        assert!(worker.try_get(worker.ports().app, "/health").await.is_none(), "a worker serves no clients");
    }
    // A partition each, once the group has settled.
    eventually("each worker has a partition", WAIT, async || {
        for worker in &workers {
            let ready = worker.try_get(worker.ports().admin, "/health/ready").await?.json();
            if ready["detail"] != "1 partitions assigned" {
                return None;
            }
        }
        Some(())
    })
    .await;

    let mut socket = gateway.subscribe_socket().await;
    socket.subscribe(&["load/a"], &["new_forecast"]).await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    for second in 0..40_u64 {
        if second < 3 {
            // Too few for a forecast: of these the gateway is told by the worker alone.
            let event = event("c", "u", second, 10);
            producer.send(&topic, to("c", &event, 0));
        }
        for (partition, source) in ["a", "b"].into_iter().enumerate() {
            let value = [10, 20, 30, 40][(second % 4) as usize];
            let event = event(source, "t", second, value);
            producer.send(&topic, to(source, &event, partition as i32));
        }
    }
    producer.flush();

    let all_seen = async |id: &str| {
        let answer = gateway.get(&format!("/api/models/{id}")).await;
        (answer.status == 200 && answer.json()["observations"] == 40).then(|| answer.json())
    };
    for source in ["a", "b"] {
        let id = format!("load%2F{source}");
        let model = eventually("the gateway knows the model", WAIT, async || all_seen(&id).await).await;
        assert_eq!((&model["state"], &model["template"]), (&json!("live"), &json!("load")));
        assert_eq!(model["last_forecast_time"], "2024-11-21T00:47:20Z");
        let forecast = gateway.get(&format!("/api/models/{id}/forecast")).await.expect(200);
        assert_eq!(
            (&forecast["forecast_horizon"], &forecast["metadata"]["region"]),
            (&json!(4), &json!("North"))
        );
        let two = gateway.get(&format!("/api/models/{id}/forecast?horizon=2")).await.expect(200);
        let path = two["metadata"]["path"].as_array().expect("a path");
        assert_eq!((path.len(), &two["predicted_value"]), (2, &path[1]["mean"]));
        // Further than it publishes: the process that runs it is asked.
        let nine = gateway.get(&format!("/api/models/{id}/forecast?horizon=9")).await.expect(200);
        let further = nine["metadata"]["path"].as_array().expect("a path");
        assert_eq!((further.len(), &nine["forecast_horizon"]), (9, &json!(9)));
        assert_eq!((&further[..2], &nine["timestamp"]), (&path[..], &forecast["timestamp"]));
        assert_eq!(nine["predicted_value"], further[8]["mean"]);
        let history = gateway.get(&format!("/api/models/{id}/history?limit=5")).await.expect(200);
        let values: Vec<&Value> =
            history["items"].as_array().expect("rows").iter().map(|row| &row["value"]).collect();
        assert_eq!(values, [&json!(40.0), &json!(10.0), &json!(20.0), &json!(30.0), &json!(40.0)]);
    }
    let warming = eventually("the gateway is told what warms up", WAIT, async || {
        let model = gateway.get("/api/models/load%2Fc").await;
        (model.status == 200 && model.json()["observations"] == 3).then(|| model.json())
    })
    .await;
    assert_eq!((&warming["state"], &warming["template"]), (&json!("warming_up"), &json!("load")));
    let early = gateway.get("/api/models/load%2Fc/forecast").await;
    assert!(early.status == 409 && early.text.contains("3 observations"), "{}", early.text);
    let listed = gateway.get("/api/models").await.expect(200);
    let names: Vec<&Value> =
        listed["items"].as_array().expect("models").iter().map(|item| &item["model_id"]).collect();
    assert_eq!(names, [&json!("load"), &json!("load/a"), &json!("load/b"), &json!("load/c")]);
    assert_eq!(gateway.get("/api/models/load%2Fnobody").await.status, 404);

    // A new fit is asked for there, and the model is known meanwhile as it was.
    for _ in 0..2 {
        let asked = gateway.post("/api/models/load%2Fa/refit", json!(null)).await.expect(202);
        assert_eq!((&asked["model_id"], &asked["observations"]), (&json!("load/a"), &json!(40)));
    }
    gateway.get("/api/models/load%2Fa/forecast").await.expect(200);

    let stats = eventually("the gateway counts what all workers did", WAIT, async || {
        let stats = gateway.get("/api/stats").await.json();
        (stats["processor"]["total_events"] == 83).then_some(stats)
    })
    .await;
    assert_eq!(stats["service"]["registered_models"], 3);
    assert_eq!(stats["processor"]["ledger"]["in"], 83);
    assert_eq!(stats["processor"]["ledgers"].as_array().map(Vec::len), Some(2));
    assert_eq!(stats["distribution"]["t"], 80);
    let made = &stats["service"]["forecast_count"];
    assert!(made.as_u64().expect("a count") > 0, "{stats}");
    eventually("the gateway says how often a rule fired in all workers", WAIT, async || {
        let rule = gateway.get("/api/rules/each").await.expect(200);
        (rule["fired"] == *made && rule["last_fired"].is_string()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_partition_leaves_is_known_as_before() {
    let mut kafka = Kafka::own();
    let setup = Setup::new("leaves", &kafka).with(PIPELINE);
    let first = setup.start().await;
    let topic = setup.topic("events");
    let send = |kafka: &Kafka, seconds: std::ops::Range<u64>| {
        let producer = kafka.producer();
        for second in seconds {
            for (partition, source) in ["a", "b"].into_iter().enumerate() {
                let event = event(source, "t", second, [10, 20, 30, 40][(second % 4) as usize]);
                producer.send(&topic, to(source, &event, partition as i32));
            }
        }
        producer.flush();
    };
    let known = async |what: &str, observations: u64| {
        for source in ["a", "b"] {
            eventually(what, WAIT, async || {
                let model = first.get(&format!("/api/models/load%2F{source}")).await.json();

                (model["state"] == "live" && model["observations"] == observations).then_some(())
            })
            .await;
        }
    };
    send(&kafka, 0..40);
    known("both models are live", 40).await;

    let second = setup.beside("two", &["--role", "worker"]);
    eventually("a partition each", WAIT, async || {
        for one in [&first, &second] {
            let ready = one.try_get(one.ports().admin, "/health/ready").await?.json();
            if ready["detail"] != "1 partitions assigned" {
                return None;
            }
        }
        Some(())
    })
    .await;
    known("neither is forgotten", 40).await;
    send(&kafka, 40..60);
    known("the other process tells of its own", 60).await;
    for source in ["a", "b"] {
        let history = first.get(&format!("/api/models/load%2F{source}/history?limit=60")).await.expect(200);
        assert_eq!(history["items"].as_array().map(Vec::len), Some(60), "of {source}, from both processes");
    }

    kafka.stop();
    never("a model is denied while the broker is away", Duration::from_secs(10), async || {
        for source in ["a", "b"] {
            let model = first.get(&format!("/api/models/load%2F{source}")).await;
            let forecast = first.get(&format!("/api/models/load%2F{source}/forecast")).await;
            if model.status != 200
                || model.json()["state"] != "live"
                || (forecast.status != 200 && forecast.status != 503)
            {
                return Some(forecast.text);
            }
        }
        None
    })
    .await;
}

/// It only reads what others write: nothing of its own would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_alone_tells_that_kafka_is_away() {
    let mut kafka = Kafka::own();
    let setup = Setup::new("alone", &kafka).with(PIPELINE);
    let gateway = setup.spawn(&["--role", "gateway"]);
    gateway.ready().await;
    gateway.metric_becomes("kafka_producer_connected", &[], 1.0).await;
    let becomes = async |status: u16, connected: bool| {
        eventually("health and figures say so", WAIT, async || {
            for path in ["/health/kafka", "/health/ready"] {
                if gateway.admin(path).await.status != status {
                    return None;
                }
            }
            let stats = gateway.get("/api/stats").await.expect(200);
            (stats["kafka"]["is_connected"] == connected).then_some(())
        })
        .await;
    };
    becomes(200, true).await;
    kafka.stop();
    becomes(503, false).await;
    gateway.metric_becomes("kafka_producer_connected", &[], 0.0).await;
    kafka.start();
    becomes(200, true).await;
    gateway.metric_becomes("kafka_producer_connected", &[], 1.0).await;
}
