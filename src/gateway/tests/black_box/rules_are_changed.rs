//! `/api/rules/**`, `/api/dlq/**`, `/api/kafka/**`.

use crate::house::House;
use serde_json::{Value, json};

#[tokio::test]
async fn a_rules_life_and_its_secrets() {
    let house = House::open().await;
    let rule = json!({"name": "hot", "event_type": "FORECAST_GENERATED", "condition": "data.predicted_value > 5000",
        "action": {"type": "webhook", "url": "https://hooks.example/canary"}});
    let (status, made) = house.post("/api/rules", &rule).await;
    assert_eq!((status, &made["action"]["url"]), (201, &json!("[REDACTED]")));
    let (_, mut read) = house.get("/api/rules/hot").await;
    read["enabled"] = json!(false);
    let put = house.http.put(house.url("/api/rules/hot")).json(&read).send().await.unwrap();
    assert_eq!(put.status(), 200, "what was read can be written back");
    assert!(!put.text().await.unwrap().contains("canary"));
    let stored = house.control.rule_stored("hot");
    assert_eq!(stored.action["url"], "https://hooks.example/canary", "the secret outlived the change");
    assert!(!stored.enabled);
    read["action"] = json!({"type": "slack_notify", "url": "[REDACTED]"});
    let put = house.http.put(house.url("/api/rules/hot")).json(&read).send().await.unwrap();
    assert_eq!(put.status(), 422, "nothing is stored for another action");
    assert_eq!(put.json::<Value>().await.unwrap()["field"], "action.url");
    let (status, page) = house.get("/api/rules").await;
    assert_eq!((status, page["items"].as_array().unwrap().len(), &page["next"]), (200, 1, &Value::Null));
    let (status, problem) = house.post("/api/rules", &json!({"name": "x"})).await;
    assert_eq!((status, &problem["field"]), (422, &json!("event_type")));
    assert_eq!(house.http.delete(house.url("/api/rules/hot")).send().await.unwrap().status(), 204);
    assert_eq!(house.get("/api/rules/hot").await.0, 404);
}

#[tokio::test]
async fn a_dry_run_takes_a_rule_a_condition_or_a_name() {
    let house = House::open().await;
    let event = json!({"data": {"predicted_value": 1}});
    let (status, dry) = house.post("/api/rules/test", &json!({"condition": "true", "event": event})).await;
    assert_eq!((status, &dry["matched"]), (200, &json!(true)));
    let (status, _) =
        house.post("/api/rules/test", &json!({"rule": {"condition": "true"}, "event": event})).await;
    assert_eq!(status, 200);
    let wrong = json!({"rule": {"condition": "true", "event_type": "NOTHING"}, "event": event});
    let (status, problem) = house.post("/api/rules/test", &wrong).await;
    assert_eq!((status, &problem["field"]), (422, &json!("rule.event_type")), "{problem}");
    assert_eq!(house.post("/api/rules/test", &json!({"rule": "nobody", "event": event})).await.0, 404);
    for (wrong, field) in [
        (json!({"condition": "true"}), "event"),
        (json!({"event": {}}), "rule"),
        (json!({"event": {}, "condition": "true", "more": 1}), "more"),
        (json!({"event": {}, "rule": {"condition": 3}}), "rule.condition"),
    ] {
        let (status, problem) = house.post("/api/rules/test", &wrong).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
}

#[tokio::test]
async fn a_dry_run_looks_back() {
    let house = House::open().await;
    let (status, tried) = house.post("/api/rules/try", &json!({"condition": "true"})).await;
    // What there is here is older than two hours.
    assert_eq!((status, &tried["events"], &tried["complete"]), (200, &json!(0), &json!(true)), "{tried}");
    assert!(tried["since"].is_string() && tried["matches"] == json!([]), "{tried}");
    for (wrong, field) in [
        (json!({"hours": 2}), "rule"),
        (json!({"condition": "true", "hours": 0}), "hours"),
        (json!({"condition": "true", "hours": 25}), "hours"),
        (json!({"condition": "true", "hours": "2"}), "hours"),
        (json!({"condition": "true", "event": {}}), "event"),
        (json!({"rule": {"condition": "true", "event_type": "MODEL_RETRAINED"}}), "rule.event_type"),
    ] {
        let (status, problem) = house.post("/api/rules/try", &wrong).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
    assert_eq!(house.post("/api/rules/try", &json!({"rule": "nobody"})).await.0, 404);
}

#[tokio::test]
async fn replays_say_what_goes_back() {
    let house = House::open().await;
    let response = house.http.post(house.url("/api/dlq/replay")).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap(), json!({"replayed": 1, "skipped": 0}));
    assert_eq!(house.post("/api/dlq/replay", &json!({"reason": "late"})).await.0, 200);
    assert_eq!(house.post("/api/dlq/replay", &json!({"ids": ["0-1"], "payload": {"a": 1}})).await.0, 200);
    {
        let replays = house.letters.replays.lock().unwrap();
        assert!(replays[0].all && !replays[1].all);
        assert_eq!(replays[1].reason.as_deref(), Some("late"));
    }
    assert_eq!(house.post("/api/dlq/replay", &json!({"reason": "boredom"})).await.1["field"], "reason");
    assert_eq!(house.post("/api/dlq/replay", &json!({"all": true, "ids": ["0-1"]})).await.1["field"], "ids");
    // A selection that came out empty is not everything.
    for nothing in [json!({"ids": []}), json!({"all": false}), json!({"ids": [], "all": false})] {
        assert_eq!(house.post("/api/dlq/replay", &nothing).await.0, 422, "{nothing}");
    }
    assert_eq!(
        house.post("/api/dlq/replay", &json!({"reason": "late", "payload": 1})).await.1["field"],
        "payload"
    );
    assert_eq!(house.get("/api/dlq?reason=late&limit=10").await, (200, json!({"items": [], "next": null})));
    assert_eq!(house.get("/api/dlq?reason=boredom").await.0, 400);
}

#[tokio::test]
async fn kafka_as_operators_see_it() {
    let house = House::open().await;
    assert_eq!(house.get("/api/kafka/health").await.1["status"], "healthy");
    let (_, page) = house.get("/api/kafka/topics?limit=2").await;
    let names = |page: &Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!((names(&page), &page["next"]), (vec!["a".to_owned(), "b".to_owned()], &json!("b")));
    assert_eq!(names(&house.get("/api/kafka/topics?limit=2&cursor=b").await.1), ["c"]);
    assert_eq!(house.post("/api/kafka/test", &json!({"bootstrap_servers": ["a:1"]})).await.0, 200);
    let sent = house.post("/api/kafka/send", &json!({"topic": "t", "key": "k", "message": {"a": 1}})).await;
    assert_eq!(sent.0, 201);
    assert_eq!(
        house.post("/api/kafka/send", &json!({"topic": "a/b", "message": 1})).await.1["field"],
        "topic"
    );
    assert_eq!(house.post("/api/kafka/send", &json!({"topic": "a"})).await.1["field"], "message");
}
