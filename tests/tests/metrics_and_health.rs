//! What operators look at: health by listener, metrics by their fixed names, stats that agree with them.

use std::time::Duration;
use tidecast_tests::{Kafka, Setup, eventually};

const FIXED: &[&str] = &[
    "events_processed_total",
    "events_failed_total",
    "event_processing_duration_ms_bucket",
    "kafka_consumer_lag",
    "websocket_connections_active",
    "ml_inference_duration_ms_bucket",
    "ml_inference_requests_total",
    "ml_inference_failures_total",
    "websocket_disconnects_total",
    "websocket_messages_dropped_total",
    "events_in_total",
    "events_windowed_total",
    "events_late_total",
    "events_dead_lettered_total",
    "events_filtered_total",
];

fn event(source: &str, kind: &str, at: u64) -> String {
    format!(
        r#"{{"source":"{source}","type":"{kind}","timestamp":{},"data":{{"value":1}}}}"#,
        1_732_150_000 + at
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_on_both_listeners() {
    let setup = Setup::new("health", &Kafka::shared());
    let tidecast = setup.start().await;
    for path in
        ["/health", "/health/live", "/health/ready", "/health/startup", "/health/kafka", "/health/websocket"]
    {
        for port in [tidecast.ports().admin, tidecast.ports().app] {
            let answer = tidecast.try_get(port, path).await.unwrap_or_else(|| panic!("{path} on {port}"));
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixed_names_are_there_and_the_text_is_well_formed() {
    let kafka = Kafka::shared();
    let setup = Setup::new("metrics", &kafka);
    let tidecast = setup.start().await;
    let producer = kafka.producer();
    producer.send_json(&setup.topic("events"), "a", &event("a", "t", 0));
    producer.flush();
    eventually("an event is counted", Duration::from_secs(20), async || {
        (tidecast.metric("events_processed_total", &[]).await >= Some(1.0)).then_some(())
    })
    .await;
    let answer = tidecast.admin("/metrics").await;
    assert!(answer.kind.starts_with("text/plain"), "{}", answer.kind);
    let missing: Vec<_> =
        FIXED.iter().filter(|name| !answer.text.lines().any(|line| line.starts_with(**name))).collect();
    assert!(missing.is_empty(), "{missing:?} in\n{}", answer.text);
    let mut typed = std::collections::HashMap::new();
    for line in answer.text.lines().filter(|l| l.starts_with("# TYPE ")) {
        let words: Vec<_> = line.split(' ').collect();
        assert!(typed.insert(words[2].to_string(), words[3].to_string()).is_none(), "typed twice: {line}");
        assert!(answer.text.contains(&format!("# HELP {} ", words[2])), "no help: {line}");
    }
    for line in answer.text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        assert!(typed.contains_key(name) || typed.contains_key(base), "no type: {line}");
    }
    let client = tidecast_tests::process::http();
    let url = format!("http://127.0.0.1:{}/metrics", tidecast.ports().admin);
    let open =
        client.get(url).header("accept", "application/openmetrics-text; version=1.0.0").send().await.unwrap();
    let kind = open.headers()["content-type"].to_str().unwrap().to_string();
    let text = open.text().await.unwrap();
    assert!(kind.starts_with("application/openmetrics-text") && text.trim_end().ends_with("# EOF"), "{kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_counted_once() {
    let kafka = Kafka::shared();
    let setup = Setup::new("ledger", &kafka).with(
        "[[series]]\nname = \"s\"\nwhere = 'type == \"t\"'\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"\n",
    );
    let tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    // Three windowed, one late, two dead-lettered, four that no series wants: on one partition, for one key.
    for at in [0, 10, 20, 5] {
        producer.send_json(&topic, "k", &event("k", "t", at));
    }
    producer.send_json(&topic, "k", "{");
    producer.send_json(&topic, "k", "{}");
    (0..4).for_each(|_| producer.send_json(&topic, "k", &event("k", "other", 20)));
    producer.flush();
    let expected = [
        ("events_in_total", 10.0),
        ("events_windowed_total", 3.0),
        ("events_late_total", 1.0),
        ("events_dead_lettered_total", 2.0),
        ("events_filtered_total", 4.0),
    ];
    eventually("each record is counted in its place", Duration::from_secs(20), async || {
        for (name, wanted) in expected {
            let partition = tidecast.metric(name, &[("topic", &topic)]).await.unwrap_or(0.0);
            if partition != wanted {
                return None;
            }
        }
        Some(())
    })
    .await;
    let stats = tidecast.get("/api/stats").await.expect(200);
    assert_eq!(stats["processor"]["total_events"], 8, "windowed, late and filtered: {stats}");
    let ledgers = stats["processor"]["ledgers"].as_array().expect("one for each partition");
    let ledger = ledgers.iter().find(|ledger| ledger["in"] == 10).expect("the partition of that key");
    let found = ["windowed", "late", "dead_lettered", "filtered"].map(|name| ledger[name].as_u64());
    assert_eq!(found, [Some(3), Some(1), Some(2), Some(4)], "{ledger}");
    assert!(ledger["topic"] == topic.as_str() && ledger["partition"].is_u64(), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_have_their_shape() {
    let kafka = Kafka::shared();
    let setup = Setup::new("stats", &kafka);
    let tidecast = setup.start().await;
    let producer = kafka.producer();
    (0..6).for_each(|i| {
        producer.send_json(&setup.topic("events"), "a", &event(if i % 3 == 0 { "b" } else { "a" }, "t", 0))
    });
    producer.flush();
    let stats = eventually("six events", Duration::from_secs(20), async || {
        let stats = tidecast.get("/api/stats").await.expect(200);
        (stats["processor"]["total_events"] == 6).then_some(stats)
    })
    .await;
    let numbers = [
        (
            "processor",
            &["events_per_second", "total_events", "processing_time_ms", "p99_latency_ms", "errors"][..],
        ),
        ("buffer", &["utilization", "drop_rate", "size", "capacity"]),
        ("service", &["uptime_seconds", "registered_models", "forecast_count", "error_count", "error_rate"]),
        ("websocket", &["active_connections", "queued_messages"]),
        ("kafka", &["messages_sent", "errors"]),
    ];
    for (section, names) in numbers {
        for name in names {
            assert!(stats[section][name].is_number(), "{section}.{name}: {stats}");
        }
    }
    assert_eq!(stats["kafka"]["is_connected"], true);
    assert_eq!(stats["distribution"]["t"], 6, "{stats}");
    assert_eq!(stats["top_sources"][0], serde_json::json!({"source": "a", "count": 4}));
    let utilization = stats["buffer"]["utilization"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&utilization));
    assert!(stats["service"].as_object().unwrap().contains_key("last_forecast_time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_lag_are_seen() {
    let kafka = Kafka::shared();
    let setup = Setup::new("gauges", &kafka);
    let tidecast = setup.start().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(tidecast.subscribe_socket().await);
    }
    tidecast.metric_becomes("websocket_connections_active", &[], 3.0).await;
    sockets.pop();
    eventually("two are left", Duration::from_secs(10), async || {
        let active = tidecast.metric("websocket_connections_active", &[]).await;
        let left = tidecast.metric("websocket_disconnects_total", &[]).await;
        (active == Some(2.0) && left >= Some(1.0)).then_some(())
    })
    .await;
    tidecast.metric_becomes("kafka_consumer_lag", &[], 0.0).await;
}
