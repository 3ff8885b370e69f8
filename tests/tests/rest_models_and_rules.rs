//! Models and rules over REST, while running: made, listed, changed, removed; and what is wrong is told by its field.

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::process::Answer;
use tidecast_tests::{Kafka, Setup, Tidecast, eventually};

const SERIES: &str = "[[series]]\nname = \"departures\"\nwindow = { kind = \"tumbling\", size = \"1h\" }";

async fn started(what: &str) -> (Setup, Tidecast) {
    let setup = Setup::new(what, &Kafka::shared()).with(SERIES);
    let tidecast = setup.start().await;
    (setup, tidecast)
}

fn model(id: &str) -> Value {
    json!({"model_id": id, "model_type": "SeasonalNaive", "series": "departures:JFK", "field": "event_count",
        "history": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], "horizon": 3, "season": 4, "metadata": {"region": "North"}})
}

/// A problem document (RFC 9457) of that status.
fn problem(answer: &Answer, status: u16) -> Value {
    let body = answer.expect(status);
    assert!(answer.kind.starts_with("application/problem+json"), "{answer:?}");
    assert_eq!(body["status"], status, "{body}");
    assert!(body["title"].is_string(), "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_lives_through_all_its_calls() {
    let (_setup, tidecast) = started("models").await;
    // A slash in a name is percent-encoded in a path.
    let made = tidecast.post("/api/models", model("sales/JFK")).await.expect(201);
    assert_eq!((&made["model_id"], &made["horizon"]), (&json!("sales/JFK"), &json!(3)));
    let one = tidecast.get("/api/models/sales%2FJFK").await.expect(200);
    assert_eq!((&one["model_type"], &one["metadata"]["region"]), (&json!("SeasonalNaive"), &json!("North")));
    let list = tidecast.get("/api/models").await.expect(200);
    assert_eq!((list["items"].as_array().unwrap().len(), &list["next"]), (1, &Value::Null), "{list}");
    let forecast = tidecast.get("/api/models/sales%2FJFK/forecast?horizon=5").await.expect(200);
    assert_eq!(
        (forecast["forecast_horizon"].as_u64(), forecast["metadata"]["path"].as_array().unwrap().len()),
        (Some(5), 5),
        "{forecast}"
    );
    let path = forecast["metadata"]["path"].as_array().unwrap();
    assert_eq!(path[4]["mean"], forecast["predicted_value"], "the value at the last step");
    for step in path {
        let of = |name: &str| step[name].as_f64().unwrap();
        assert!(of("lower") <= of("mean") && of("mean") <= of("upper"), "{step}");
    }
    let mut changed = model("sales/JFK");
    changed["horizon"] = json!(12);
    tidecast.call(Method::PUT, "/api/models/sales%2FJFK", Some(changed)).await.expect(200);
    eventually("the change is seen", Duration::from_secs(10), async || {
        (tidecast.get("/api/models/sales%2FJFK").await.expect(200)["horizon"] == 12).then_some(())
    })
    .await;
    tidecast.call(Method::DELETE, "/api/models/sales%2FJFK", None).await.expect(204);
    eventually("it is gone", Duration::from_secs(10), async || {
        (tidecast.get("/api/models/sales%2FJFK").await.status == 404).then_some(())
    })
    .await;
    problem(&tidecast.get("/api/models/sales%2FJFK/forecast").await, 404);
}

/// Answers to the same call, made many times at once, by their status.
async fn at_once(
    tidecast: &Tidecast,
    method: &Method,
    path: &str,
    tag: Option<&str>,
    body: &Value,
) -> Vec<u16> {
    let url = format!("http://127.0.0.1:{}{path}", tidecast.ports().app);
    let http = tidecast_tests::process::http();
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let call = http.request(method.clone(), &url).json(body);
            let call = tag.map_or(call.try_clone().unwrap(), |tag| call.header("if-match", tag.to_owned()));
            tokio::spawn(async move { call.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    statuses.sort_unstable();
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_that_come_at_once_one_is_made() {
    let (_setup, tidecast) = started("at-once").await;
    let one_of = |first: u16, others: u16| [vec![first], vec![others; 15]].concat();
    let rule = json!({"name": "r", "event_type": "FORECAST_GENERATED", "condition": "true", "action": "log"});
    for (kind, name, thing) in [("models", "m", model("m")), ("rules", "r", rule)] {
        let (all, path) = (format!("/api/{kind}"), format!("/api/{kind}/{name}"));
        assert_eq!(at_once(&tidecast, &Method::POST, &all, None, &thing).await, one_of(201, 409), "{kind}");
        let tag = |answer: &Answer| format!("\"{}\"", answer.expect(200)["version"]);
        let first = tag(&tidecast.get(&path).await);
        let answers = at_once(&tidecast, &Method::PUT, &path, Some(&first), &thing).await;
        assert_eq!(answers, one_of(200, 412), "{kind}: the others have not seen what it is now");
        // The name is another thing's by now, which nobody has read: what they know of the first does not change it.
        let second = tag(&tidecast.get(&path).await);
        tidecast.call(Method::DELETE, &path, None).await.expect(204);
        tidecast.post(&all, thing.clone()).await.expect(201);
        for old in [first, second] {
            let answers = at_once(&tidecast, &Method::PUT, &path, Some(&old), &thing).await;
            assert_eq!(answers, [412; 16], "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_history_says_how_much_it_needs() {
    let (_setup, tidecast) = started("warming").await;
    let mut young = model("young");
    young.as_object_mut().unwrap().remove("history");
    tidecast.post("/api/models", young).await.expect(201);
    let state = tidecast.get("/api/models/young").await.expect(200);
    assert_eq!((&state["state"], &state["observations"]), (&json!("warming_up"), &json!(0)), "{state}");
    assert!(state["needed"].as_u64() > Some(0), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_model_is_told_by_its_field() {
    let (_setup, tidecast) = started("wrong").await;
    tidecast.post("/api/models", model("there")).await.expect(201);
    assert_eq!(tidecast.post("/api/models", model("there")).await.status, 409, "a name that is taken");
    for (field, value) in [
        ("model_type", json!("Oracle")),
        ("horizon", json!(0)),
        ("horizon", json!("seven")),
        ("level", json!(1.5)),
        ("anomaly_threshold", json!(-1)),
        ("model_id", json!("")),
        ("history", json!(["a"])),
        ("order", json!([1, 1])),
        ("colour", json!("blue")),
    ] {
        let mut wrong = model("wrong");
        wrong[field] = value.clone();
        let answer = tidecast.post("/api/models", wrong).await;
        assert!(answer.status.is_client_error(), "{field} = {value}: {answer:?}");
        let body = problem(&answer, answer.status.as_u16());
        assert!(body.to_string().contains(field), "the field at fault, {field}: {body}");
    }
    let broken = tidecast_tests::process::http();
    let url = format!("http://127.0.0.1:{}/api/models", tidecast.ports().app);
    let answer = broken.post(url).header("content-type", "application/json").body("{").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(tidecast.get("/api/models").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_four_rules_are_there_and_more_can_be_made() {
    let (_setup, tidecast) = started("rules").await;
    let names = async || -> Vec<String> {
        let list = tidecast.get("/api/rules").await.expect(200);
        list["items"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_string()).collect()
    };
    let first = names().await;
    for built_in in
        ["log_all_events", "save_anomalies", "alert_critical_anomalies", "update_performance_metrics"]
    {
        assert!(first.iter().any(|name| name == built_in), "{built_in} in {first:?}");
    }
    let rule = json!({"name": "big", "event_type": "FORECAST_GENERATED", "condition": "data.get('predicted_value', 0) > 5000",
        "action": "log", "priority_filter": null, "enabled": true});
    tidecast.post("/api/rules", rule.clone()).await.expect(201);
    let one = tidecast.get("/api/rules/big").await.expect(200);
    assert_eq!((&one["condition"], &one["enabled"]), (&rule["condition"], &json!(true)));
    let mut off = rule.clone();
    off["enabled"] = json!(false);
    tidecast.call(Method::PUT, "/api/rules/big", Some(off)).await.expect(200);
    eventually("the change is seen", Duration::from_secs(10), async || {
        (tidecast.get("/api/rules/big").await.expect(200)["enabled"] == false).then_some(())
    })
    .await;
    tidecast.call(Method::DELETE, "/api/rules/big", None).await.expect(204);
    eventually("it is gone", Duration::from_secs(10), async || {
        (tidecast.get("/api/rules/big").await.status == 404).then_some(())
    })
    .await;
    for (field, value) in [
        ("condition", json!("data.get(")),
        ("event_type", json!("SUNSHINE")),
        ("action", json!("dance")),
        ("name", json!("")),
    ] {
        let mut wrong = rule.clone();
        wrong[field] = value;
        let answer = tidecast.post("/api/rules", wrong).await;
        assert!(answer.status.is_client_error() && answer.text.contains(field), "{field}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_whether_a_rule_would_fire() {
    let (_setup, tidecast) = started("dry").await;
    let cases = [
        ("data.get('predicted_value', 0) > 5000", json!({"predicted_value": 6000}), true),
        ("data.get('predicted_value', 0) > 5000", json!({"predicted_value": 4000}), false),
        ("data.get('predicted_value', 0) > 5000", json!({}), false),
        ("data.get('model_accuracy', 1) < 0.7", json!({"model_accuracy": 0.5}), true),
        ("data.get('model_accuracy', 1) < 0.7", json!({}), false),
        ("priority == EventPriority.CRITICAL", json!({}), true),
        ("data.x > 1", json!({}), false),
        ("data.x > 1", json!({"x": 2}), true),
    ];
    for (condition, data, fires) in cases {
        let rule =
            json!({"name": "r", "event_type": "FORECAST_GENERATED", "condition": condition, "action": "log"});
        let event = json!({"event_type": "FORECAST_GENERATED", "priority": "CRITICAL", "model_id": "m", "timestamp": "2026-01-20T10:30:00Z", "data": data, "metadata": {}});
        let answer = tidecast.post("/api/rules/test", json!({"rule": rule, "event": event})).await;
        let body = answer.expect(200);
        let told = body["matched"].as_bool();
        assert_eq!(told, Some(fires), "{condition} over {data}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_rule_with_secrets_needs_none() {
    let (_setup, tidecast) = started("dry").await;
    let rule = json!({"name": "hot", "event_type": "FORECAST_GENERATED", "condition": "data.x > 1",
        "action": {"type": "webhook", "url": "https://hooks.example/canary"}});
    tidecast.post("/api/rules", rule).await.expect(201);
    let read = tidecast.get("/api/rules/hot").await.expect(200).clone();
    let spec = json!({"name": "hot", "event_type": "FORECAST_GENERATED", "condition": "data.x > 2", "action": read["action"]});
    for (rule, matched) in [(json!("hot"), true), (spec, false)] {
        let answer =
            tidecast.post("/api/rules/test", json!({"rule": rule, "event": {"data": {"x": 2}}})).await;
        let body = answer.expect(200);
        assert_eq!(body["matched"], matched, "{body}");
        assert!(!body.to_string().contains("canary"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_by_cursor() {
    let (_setup, tidecast) = started("pages").await;
    for i in 0..5 {
        tidecast.post("/api/models", model(&format!("m{i}"))).await.expect(201);
    }
    let (mut seen, mut path) = (Vec::new(), "/api/models?limit=2".to_string());
    for _ in 0..3 {
        let page = tidecast.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        seen.extend(items.iter().map(|m| m["model_id"].as_str().unwrap().to_string()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/models?limit=2&cursor={next}");
    }
    seen.sort();
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_interface_names_every_call() {
    let (_setup, tidecast) = started("openapi").await;
    let described = tidecast.get("/openapi.json").await.expect(200);
    for path in [
        "/api/stats",
        "/api/models",
        "/api/models/{id}",
        "/api/models/{id}/forecast",
        "/api/rules",
        "/api/rules/{name}",
        "/api/rules/test",
        "/api/events",
        "/api/forecasts",
        "/api/anomalies",
        "/api/dlq",
    ] {
        assert!(described["paths"][path].is_object(), "{path}");
    }
    let docs = tidecast.get("/docs").await;
    assert!(docs.status.is_success() || docs.status.is_redirection(), "{docs:?}");
    problem(&tidecast.get("/api/nothing").await, 404);
}
