//! `/api/audit`, acknowledgements and silences.

use crate::house::{House, anomaly};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tidecast_ports::OutputKind;

const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

fn token(subject: &str, role: &str) -> String {
    let claims = json!({"sub": subject, "exp": 4_000_000_000u64, "roles": [role]});
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn call(house: &House, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = house.http.request(method.parse().unwrap(), house.url(path)).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn every_change_is_written_down_with_who_what_before_and_after_and_without_secrets() {
    let house = House::with(&[&format!("auth.hs256_secret={SECRET}")]).await;
    let (anna, root) = (token("anna", "operator"), token("root", "admin"));
    let rule = json!({"name": "hot", "event_type": "FORECAST_GENERATED", "condition": "true",
        "action": {"type": "webhook", "url": "https://hooks.example/canary"}});
    assert_eq!(call(&house, "POST", "/api/rules", &anna, Some(rule.clone())).await.0, 201);
    let mut off = rule;
    off["enabled"] = json!(false);
    assert_eq!(call(&house, "PUT", "/api/rules/hot", &anna, Some(off)).await.0, 200);
    assert_eq!(
        call(&house, "POST", "/api/rules/test", &anna, Some(json!({"rule": "hot", "event": {"data": {}}})))
            .await
            .0,
        200
    );
    assert_eq!(call(&house, "POST", "/api/rules", &anna, Some(json!({"name": "x"}))).await.0, 422);
    assert_eq!(call(&house, "DELETE", "/api/rules/hot", &root, None).await.0, 204);
    let (status, page) = call(&house, "GET", "/api/audit?limit=2", &root, None).await;
    assert_eq!(status, 200);
    let actions = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| {
                (item["action"].as_str().unwrap().to_owned(), item["subject"].as_str().unwrap().to_owned())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        actions(&page),
        [("rule.delete".to_owned(), "root".to_owned()), ("rule.replace".to_owned(), "anna".to_owned())]
    );
    let replaced = &page["items"][1];
    assert_eq!(
        (&replaced["before"]["enabled"], &replaced["after"]["enabled"]),
        (&json!(true), &json!(false))
    );
    assert_eq!((&replaced["path"], &replaced["address"]), (&json!("/api/rules/hot"), &json!("127.0.0.1")));
    assert_eq!(
        (&page["items"][0]["before"]["name"], &page["items"][0]["after"]),
        (&json!("hot"), &Value::Null)
    );
    let next = page["next"].as_str().unwrap();
    let (_, rest) = call(&house, "GET", &format!("/api/audit?cursor={next}"), &root, None).await;
    assert_eq!((actions(&rest).len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(rest["items"][0]["before"], Value::Null);
    let (_, found) = call(&house, "GET", "/api/audit?search=ANNA", &root, None).await;
    assert_eq!(found["items"].as_array().unwrap().len(), 2);
    for (asked, expected) in [("rule.replace", 1), ("rule.*", 3), ("*", 3), ("model.create", 0)] {
        let (status, found) = call(&house, "GET", &format!("/api/audit?action={asked}"), &root, None).await;
        assert_eq!((status, found["items"].as_array().unwrap().len()), (200, expected), "{asked}");
    }
    let (_, found) = call(&house, "GET", "/api/audit?action=rule.*&search=root", &root, None).await;
    assert_eq!(actions(&found), [("rule.delete".to_owned(), "root".to_owned())]);
    let (status, problem) = call(&house, "GET", "/api/audit?action=rule.paint", &root, None).await;
    assert_eq!((status, &problem["field"]), (400, &json!("action")));
    assert!(
        problem["detail"].as_str().unwrap().contains("rule.replace"),
        "it names those there are: {problem}"
    );
    assert_eq!(
        call(&house, "GET", "/api/audit", &anna, None).await.0,
        403,
        "the log is for those who may do all"
    );
    let written = format!("{:?}", house.notes.0.lock().unwrap());
    assert!(written.contains("rule.create") && !written.contains("canary"), "{written}");
}

#[tokio::test]
async fn somebody_sees_to_an_alert() {
    let house = House::with(&[&format!("auth.hs256_secret={SECRET}")]).await;
    let (anna, viewer) = (token("anna", "operator"), token("v", "viewer"));
    house.publish(OutputKind::Alert, &anomaly("a"));
    let (_, page) = call(&house, "GET", "/api/alerts", &viewer, None).await;
    let alert = &page["items"][0];
    assert_eq!((&alert["acknowledged"], &alert["silenced"]), (&Value::Null, &json!(false)));
    let path = format!("/api/alerts/{}/acknowledge", alert["id"].as_str().unwrap());
    assert_eq!(call(&house, "POST", &path, &viewer, None).await.0, 403);
    assert_eq!(call(&house, "POST", &path, &anna, Some(json!({"remark": 1}))).await.0, 422);
    let (status, made) = call(&house, "POST", &path, &anna, Some(json!({"note": "a known outage"}))).await;
    assert_eq!((status, &made["by"], &made["note"]), (201, &json!("anna"), &json!("a known outage")));
    let (_, page) = call(&house, "GET", "/api/alerts", &viewer, None).await;
    assert_eq!(page["items"][0]["acknowledged"], made);
    let entries = async |token: &str| {
        call(&house, "GET", "/api/audit", token, None).await.1["items"].as_array().unwrap().len()
    };
    let (of_a, of_b) = (narrow("admin", json!(["a"])), narrow("admin", json!(["b"])));
    assert_eq!((entries(&of_a).await, entries(&of_b).await), (1, 0), "it is about a model");
    assert_eq!(call(&house, "DELETE", &path, &anna, None).await.0, 204);
    assert_eq!(call(&house, "DELETE", &path, &anna, None).await.0, 404);
    assert_eq!(call(&house, "POST", "/api/alerts/a0-99/acknowledge", &anna, None).await.0, 404);
}

#[tokio::test]
async fn a_silence_marks_what_it_covers_and_has_an_end() {
    let house = House::open().await;
    house.publish(OutputKind::Alert, &anomaly("sales_1"));
    house.publish(OutputKind::Alert, &anomaly("cost_1"));
    let silence = json!({"name": "stock taking", "model_id": "sales_*", "until": "2100-01-01T00:00:00Z"});
    let (status, made) = house.post("/api/silences", &silence).await;
    assert_eq!((status, &made["until"]), (201, &json!("2100-01-01T00:00:00Z")));
    assert_eq!(house.post("/api/silences", &silence).await.0, 409);
    for (wrong, field) in [
        (json!({"name": "", "until": "2100-01-01T00:00:00Z"}), "name"),
        (json!({"name": "n", "until": "tomorrow"}), "until"),
        (json!({"name": "n", "until": "2000-01-01T00:00:00Z"}), "until"),
        (json!({"name": "n", "until": "2100-01-01T00:00:00Z", "models": []}), "models"),
    ] {
        let (status, problem) = house.post("/api/silences", &wrong).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
    let (_, page) = house.get("/api/alerts").await;
    assert_eq!((&page["items"][1]["silenced"], &page["items"][0]["silenced"]), (&json!(true), &json!(false)));
    assert_eq!(house.get("/api/silences").await.1["items"], json!([made]));
    let gone = house.http.delete(house.url("/api/silences/stock%20taking")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(house.get("/api/alerts").await.1["items"][1]["silenced"], false);
    assert_eq!(house.get("/api/audit").await.1["items"][0]["before"]["name"], "stock taking");
}

fn narrow(role: &str, models: Value) -> String {
    let claims = json!({"sub": "n", "exp": 4_000_000_000u64, "roles": [role], "models": models});
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[tokio::test]
async fn whoever_is_shown_some_models_silences_those_alone() {
    let house = House::with(&[&format!("auth.hs256_secret={SECRET}")]).await;
    let (all, some) = (token("anna", "operator"), narrow("operator", json!(["sales_*", "cost_1"])));
    let silence = |name: &str, models: Value| json!({"name": name, "model_id": models, "until": "2100-01-01T00:00:00Z"});
    for (name, models, allowed) in [
        ("one", json!("sales_1"), 201),
        ("some", json!("sales_2*"), 201),
        ("too many", json!("s*"), 403),
        ("another", json!("cost_10"), 403),
        ("costs", json!("cost_1*"), 403),
        ("everything", Value::Null, 403),
        ("everything", json!(""), 403),
    ] {
        let (status, answer) =
            call(&house, "POST", "/api/silences", &some, Some(silence(name, models))).await;
        assert_eq!(status, allowed, "{name}: {answer}");
    }
    for (name, models) in [("hidden", json!("cost_2")), ("wide", json!("cost*")), ("total", Value::Null)] {
        assert_eq!(call(&house, "POST", "/api/silences", &all, Some(silence(name, models))).await.0, 201);
    }
    let (_, page) = call(&house, "GET", "/api/silences", &some, None).await;
    let names: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "some", "total", "wide"], "what concerns their models");
    for (name, status) in [("hidden", 404), ("wide", 403), ("total", 403), ("one", 204)] {
        assert_eq!(
            call(&house, "DELETE", &format!("/api/silences/{name}"), &some, None).await.0,
            status,
            "{name}"
        );
    }
    for name in [".", ".."] {
        let (status, problem) =
            call(&house, "POST", "/api/silences", &all, Some(silence(name, json!("a")))).await;
        assert_eq!((status, &problem["field"]), (422, &json!("name")), "an address cannot name it");
    }
}

#[tokio::test]
async fn of_silences_of_one_name_that_come_at_once_one_is_made() {
    let house = House::open().await;
    let silence = json!({"name": "night", "until": "2100-01-01T00:00:00Z"});
    let calls = (0..16).map(|_| house.post("/api/silences", &silence));
    let mut statuses: Vec<u16> = futures::future::join_all(calls).await.into_iter().map(|(s, _)| s).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201], vec![409; 15]].concat());
    let by_place = json!(["arr", null, null, "2100-01-01T00:00:00Z", null]);
    assert_eq!(house.post("/api/silences", &by_place).await.0, 422, "a list has no fields");
}

#[tokio::test]
async fn rules_are_changed_by_those_who_may_see_all_that_rules_see() {
    let house = House::with(&[&format!("auth.hs256_secret={SECRET}")]).await;
    let rule = |name: &str, action: Value| json!({"name": name, "event_type": "ANOMALY_DETECTED", "condition": "true", "action": action});
    let with_topics = |topics: Value| {
        let claims = json!({"sub": "n", "exp": 4_000_000_000u64, "roles": ["operator"], "topics": topics});
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    };
    let (all, some) = (token("anna", "operator"), narrow("operator", json!(["pub/*"])));
    let outputs = json!(["ml-*", "streaming-*"]);
    let to = |topic: &str| json!([{"type": "chain", "actions": [{"type": "publish", "topic": topic}]}]);
    for (token, name, action, status) in [
        (&some, "a", json!("log"), 403),
        (&with_topics(json!(["streaming-alerts"])), "a", json!("log"), 403),
        (&with_topics(outputs.clone()), "a", to("hidden"), 403),
        (&with_topics(outputs.clone()), "a", to("streaming-mine"), 201),
        (&all, "audit/1", to("tidecast-notes"), 403),
        (&all, "m", to("theirs-models"), 403),
        (&all, "b", to("anywhere"), 201),
    ] {
        let (got, answer) = call(&house, "POST", "/api/rules", token, Some(rule(name, action))).await;
        assert_eq!(got, status, "{answer}");
    }
    assert_eq!(call(&house, "PUT", "/api/rules/b", &all, Some(rule("b", to("tidecast-rules")))).await.0, 403);
    assert_eq!(call(&house, "PUT", "/api/rules/b", &some, Some(rule("b", json!("log")))).await.0, 403);
    assert_eq!(call(&house, "DELETE", "/api/rules/b", &some, None).await.0, 403);
    let root = token("root", "admin");
    let forged = json!({"topic": "tidecast-notes", "key": "audit/1", "message": ""});
    assert_eq!(call(&house, "POST", "/api/kafka/send", &root, Some(forged)).await.0, 403);
}

#[tokio::test]
async fn the_log_says_what_was_asked_for_and_is_of_the_models_and_topics_of_the_token() {
    let house = House::with(&[&format!("auth.hs256_secret={SECRET}")]).await;
    let root = token("root", "admin");
    let said = json!({"topic": "orders", "key": "k", "message": {"n": 1}});
    assert_eq!(call(&house, "POST", "/api/kafka/send", &root, Some(said.clone())).await.0, 201);
    assert_eq!(call(&house, "POST", "/api/dlq/replay", &root, Some(json!({"reason": "late"}))).await.0, 200);
    let history: Vec<f64> = (0..8_000).map(|n| f64::from(n) / 7.0).collect();
    let large = json!({"model_id": "sales/é", "model_type": "SeasonalNaive", "series": "by_source:s", "season": 4, "history": history});
    assert_eq!(call(&house, "POST", "/api/models", &root, Some(large)).await.0, 201);
    let silence = json!({"name": "s", "model_id": "cost_1", "until": "2100-01-01T00:00:00Z"});
    assert_eq!(call(&house, "POST", "/api/silences", &root, Some(silence)).await.0, 201);
    let (_, page) = call(&house, "GET", "/api/audit", &root, None).await;
    let entry = |action: &str| {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["action"] == action).unwrap_or_else(|| panic!("{action} in {page}"))
    };
    assert_eq!(entry("kafka.send")["request"], said);
    assert_eq!(
        (&entry("dlq.replay")["request"]["reason"], &entry("dlq.replay")["request"]["all"]),
        (&json!("late"), &json!(false))
    );
    let made = entry("model.create");
    assert_eq!((&made["after"]["season"], &made["request"]), (&json!(4), &Value::Null));
    assert!(made["after"]["history"]["omitted_bytes"].as_u64() > Some(60_000), "{made}");

    let actions = async |token: String| -> Vec<String> {
        let (status, page) = call(&house, "GET", "/api/audit", &token, None).await;
        assert_eq!(status, 200);
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        actions(narrow("admin", json!(["sales/*"]))).await,
        ["model.create", "dlq.replay", "kafka.send"]
    );
    assert_eq!(
        actions(narrow("admin", json!(["cost_1"]))).await,
        ["silence.create", "dlq.replay", "kafka.send"]
    );
    let claims = json!({"sub": "n", "exp": 4_000_000_000u64, "roles": ["admin"], "topics": ["analytics-*"]});
    let topics =
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes()));
    assert_eq!(actions(topics.unwrap()).await, ["silence.create", "model.create", "dlq.replay"]);
}

#[tokio::test]
async fn publishing_is_told_by_period_hour_and_topic() {
    let house = House::open().await;
    assert_eq!(house.get("/api/kafka/metrics/summary").await.1["period"], "today");
    assert_eq!(house.get("/api/kafka/metrics/summary?period=last_7_days").await.1["period"], "last_7_days");
    assert_eq!(house.get("/api/kafka/metrics/summary?period=ever").await.1["field"], "period");
    assert_eq!(house.get("/api/kafka/metrics/hourly").await.1["items"].as_array().unwrap().len(), 24);
    assert_eq!(house.get("/api/kafka/metrics/hourly?hours=0").await.0, 400);
    let (_, rows) = house.get("/api/kafka/metrics/topic/a.b?limit=2").await;
    assert_eq!(rows, json!({"items": [{"topic": "a.b"}, {"topic": "a.b"}], "next": null}));
    let cleaned = house.http.post(house.url("/api/kafka/metrics/cleanup?days=7")).send().await.unwrap();
    assert_eq!(
        (cleaned.status().as_u16(), cleaned.json::<Value>().await.unwrap()),
        (200, json!({"deleted": 7}))
    );
}
