//! `rules` and `replay`: what REST calls do, from a shell, against a running service and against none.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tidecast_tests::kafka::Out;
use tidecast_tests::shell::{Ended, in_folder};
use tidecast_tests::{Kafka, Setup, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "a secret of at least thirty-two bytes, for HS256";

fn write(folder: &Path, name: &str, value: &Value) {
    std::fs::write(folder.join(name), value.to_string()).unwrap();
}

/// Runs a command against the service of that setup.
fn run(setup: &Setup, arguments: &str) -> Ended {
    let url = format!("http://127.0.0.1:{}", setup.ports.app);
    let arguments: Vec<&str> = arguments.split(' ').chain(["--url", &url]).collect();
    in_folder(setup.folder(), &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_tested_and_listed() {
    let rule = r#"
        [[rules]]
        name = "big_ahead"
        event_type = "FORECAST_GENERATED"
        condition = "data.get('predicted_value', 0) > 5000"
        action = "log"
    "#;
    let setup = Setup::new("rules-cli", &Kafka::shared()).with(rule);
    let _tidecast = setup.start().await;
    let condition = "data.get('predicted_value', 0) > 5000";
    let folder = setup.folder();
    write(
        folder,
        "rule.json",
        &json!({"name": "r", "event_type": "FORECAST_GENERATED", "condition": condition, "action": "log"}),
    );
    for (value, fires) in [(6000, true), (10, false)] {
        write(
            folder,
            "event.json",
            &json!({"event_type": "FORECAST_GENERATED", "data": {"predicted_value": value}}),
        );
        for which in
            ["--rule rule.json", "--name big_ahead", "--condition data.get('predicted_value',0)>5000"]
        {
            let ended = run(&setup, &format!("rules test {which} --event event.json --format json"));
            ended.well();
            assert_eq!(ended.objects()[0]["matched"], fires, "{which} {value}: {}", ended.out);
        }
    }
    let table = run(&setup, "rules test --name big_ahead --event event.json");
    assert!(
        table.well().lines().any(|line| line.split_whitespace().eq(["matched", "false"])),
        "{}",
        table.out
    );
    let listed = run(&setup, "rules list --format json");
    listed.well();
    let objects = listed.objects();
    let items = objects[0].as_array().unwrap();
    let names: Vec<&str> = items.iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    for name in [
        "big_ahead",
        "log_all_events",
        "save_anomalies",
        "alert_critical_anomalies",
        "update_performance_metrics",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    // What the service refuses is told with the field at fault, in one line.
    write(
        folder,
        "broken.json",
        &json!({"name": "r", "event_type": "SUNSHINE", "condition": "true", "action": "log"}),
    );
    let broken = run(&setup, "rules test --rule broken.json --event event.json");
    assert!(broken.refused(1).contains("event_type"), "{}", broken.err);
    assert!(run(&setup, "rules test --name nobody --event event.json").refused(1).contains("404"));
    assert!(
        run(&setup, "rules test --rule absent.json --event event.json").refused(1).contains("absent.json")
    );
    std::fs::write(folder.join("event.json"), "{").unwrap();
    assert!(
        run(&setup, "rules test --name big_ahead --event event.json")
            .refused(1)
            .contains("event.json is no JSON")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_back_repaired() {
    let kafka = Kafka::shared();
    let setup = Setup::new("replay-cli", &kafka);
    let events = setup.topic("events");
    kafka.create(&events, 2).await;
    let producer = kafka.producer();
    for payload in ["{\"source\"", "{\"source\":\"s\",\"data\":{}}"] {
        producer.send(&events, Out { key: Some(b"s"), payload: Some(payload.as_bytes()), ..Out::default() });
    }
    producer.flush();
    let tidecast = setup.start().await;
    let letters = async |reason: &str| -> Vec<String> {
        let page = tidecast.get(&format!("/api/dlq?reason={reason}")).await.expect(200);
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|letter| letter["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let id = eventually("both letters are there", LIMIT, async || {
        let (broken, incomplete) = (letters("invalid_json").await, letters("missing_field").await);
        (incomplete.len() == 1).then(|| broken.first().cloned()).flatten()
    })
    .await;
    let repaired = json!({"source": "s", "type": "t", "timestamp": 1_732_150_000, "data": {"value": 1}});
    write(setup.folder(), "repaired.json", &repaired);
    let ended = run(&setup, &format!("replay --from-dlq --id {id} --payload repaired.json --format json"));
    ended.well();
    assert_eq!(ended.objects()[0]["replayed"], 1, "{}", ended.out);
    eventually("the repaired event is counted", LIMIT, async || {
        let stats = tidecast.get("/api/stats").await.expect(200);
        (stats["processor"]["total_events"] == 1).then_some(())
    })
    .await;
    let again = run(&setup, &format!("replay --from-dlq --id {id}"));
    assert!(again.refused(1).contains("went back already"), "{}", again.err);
    // The other one goes back as it was, and is refused once more.
    let ended = run(&setup, "replay --from-dlq --reason missing_field");
    assert!(ended.well().lines().any(|line| line.split_whitespace().eq(["replayed", "1"])), "{}", ended.out);
    eventually("it is refused again", LIMIT, async || {
        (letters("missing_field").await.len() >= 2).then_some(())
    })
    .await;
    let unknown = run(&setup, "replay --from-dlq --reason sunshine");
    assert!(unknown.refused(1).contains("invalid_json"), "the reasons are told: {}", unknown.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_and_one_that_asks_for_a_token() {
    let setup = Setup::at("nobody", "127.0.0.1:1");
    assert!(run(&setup, "rules list").refused(1).contains("--url"));
    assert!(in_folder(setup.folder(), &["rules", "list", "--url", "nowhere"]).refused(2).contains("http://"));
    let setup =
        Setup::new("token-cli", &Kafka::shared()).with(&format!("[auth]\nhs256_secret = \"{SECRET}\""));
    let _tidecast = setup.start().await;
    assert!(run(&setup, "rules list").refused(1).contains("TIDECAST_TOKEN"));
    let refused = run(&setup, "rules list --token not.a.token");
    assert!(refused.refused(1).contains("401") && !refused.err.contains("not.a.token"), "{}", refused.err);
    let url = format!("ws://127.0.0.1:{}/ws/ingest", setup.ports.app);
    let refused = in_folder(setup.folder(), &["generate", "--url", &url, "--rate", "50", "--duration", "30"]);
    assert!(refused.refused(1).contains("token"), "{}", refused.err);
}
