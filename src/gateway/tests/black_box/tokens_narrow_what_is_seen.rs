//! Section 12: the claims `models` and `topics`, and what a group keeps for itself, on every way that data takes out.

use crate::house::{House, aggregate, anomaly, forecast};
use crate::tokens_are_asked_for::{connect, house, status, token, with};
use serde_json::{Value, json};
use tidecast_ports::OutputKind;

async fn records(house: &House, topic: &str, token: &str) -> (u16, String) {
    let url = house.url(&format!("/api/kafka/topics/{topic}/records?limit=4"));
    let response = house.http.get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn rules_of_other_groups_are_nobodys_to_read() {
    let house = house().await;
    for role in ["viewer", "operator", "admin"] {
        let (status, text) = records(&house, "theirs-rules", &token(&[role])).await;
        assert_eq!(status, 403, "{role}");
        assert!(!text.contains("canary") && text.contains("GET /api/rules"), "{role}: {text}");
    }
    assert_eq!(records(&house, "theirs-notes", &token(&["operator"])).await.0, 403);
    assert_eq!(records(&house, "theirs-notes", &token(&["admin"])).await.0, 200);
    // Where nobody has to say who it is, the secrets stay secrets.
    let open = House::open().await;
    assert_eq!(open.get("/api/kafka/topics/theirs-rules/records").await.0, 403);
    assert_eq!(open.get("/api/kafka/topics/tidecast-rules/records").await.0, 404);
}

#[tokio::test]
async fn records_are_of_the_models_that_the_token_names() {
    let house = house().await;
    let narrow = with("models", json!(["m/JFK"]));
    for topic in ["ml-predictions", "streaming-alerts"] {
        let (status, text) = records(&house, topic, &narrow).await;
        let page: Value = serde_json::from_str(&text).unwrap();
        // As many as asked for, from further back.
        assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 4), "{text}");
        assert!(!text.contains("EWR") && page["next"] == "0:4", "{text}");
        assert!(records(&house, topic, &token(&["viewer"])).await.1.contains("EWR"));
    }
}

#[tokio::test]
async fn what_is_live_is_of_the_topics_that_the_token_names() {
    let house = house().await;
    let narrow = with("topics", json!(["streaming-aggregates"]));
    let mut client = connect(&house, Some(&narrow)).await.unwrap();
    client
        .say(&json!({"type": "subscribe", "update_types": ["aggregation", "new_forecast", "metrics", "alert"]}))
        .await;
    for _ in 0..3 {
        let error = client.hear().await;
        assert_eq!(error["data"]["code"], "invalid_update_type", "{error}");
    }
    assert_eq!(client.hear().await["data"]["update_types"], json!(["aggregation"]));
    let publish_all = || {
        house.publish(OutputKind::Aggregate, &aggregate("by_type", "x"));
        house.publish(OutputKind::Forecast, &forecast("m", 1.0));
        house.publish(OutputKind::Alert, &anomaly("m"));
        house.publish(OutputKind::Metrics, &json!({"instance": "i"}));
    };
    publish_all();
    let types = |heard: Vec<Value>| -> Vec<Value> { heard.iter().map(|m| m["type"].clone()).collect() };
    assert_eq!(types(client.hear_until_quiet().await), ["aggregation_update"]);

    // A token that names none of them gets nothing, and a session is narrowed by the token it has now.
    let elsewhere = with("topics", json!(["zz"]));
    let mut nothing = connect(&house, Some(&elsewhere)).await.unwrap();
    nothing.say(&json!({"type": "subscribe", "update_types": ["aggregation"]})).await;
    client.say(&json!({"type": "auth", "token": elsewhere})).await;
    client.hear_until_quiet().await;
    publish_all();
    assert_eq!(types(nothing.hear_until_quiet().await), ["error"]);
    assert_eq!(client.hear_until_quiet().await, Vec::<Value>::new());

    assert_eq!(status(&house, "GET", "/stream/metrics", Some(&elsewhere)).await, 403);
    assert_eq!(status(&house, "GET", "/stream/metrics", Some(&narrow)).await, 200);
    let alerts = async |token: &str| -> Value {
        house
            .http
            .get(house.url("/api/alerts"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    assert_eq!(alerts(&elsewhere).await["items"], json!([]));
    assert_ne!(alerts(&token(&["viewer"])).await["items"], json!([]));
}

#[tokio::test]
async fn the_end_of_a_page_names_no_model_that_is_hidden() {
    let house = house().await;
    for model in ["a", "b", "c", "d", "e"] {
        let spec = json!({"model_id": model, "model_type": "ETS", "series": "by_source:s", "horizon": 7});
        let request = house.http.post(house.url("/api/models")).bearer_auth(token(&["operator"])).json(&spec);
        assert_eq!(request.send().await.unwrap().status(), 201);
    }
    let page = async |token: &str, cursor: &str| {
        let url = house.url(&format!("/api/models?limit=1&cursor={cursor}"));
        house.http.get(url).bearer_auth(token).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["model_id"].as_str().unwrap().to_owned()).collect()
    };
    let narrow = with("models", json!(["b", "d"]));
    let first = page(&narrow, "").await;
    assert_eq!((names(&first), &first["next"]), (vec!["b".to_owned()], &json!("b")));
    let second = page(&narrow, "b").await;
    assert_eq!(names(&second), ["d"]);
    let nothing = page(&with("models", json!(["zz"])), "").await;
    assert_eq!((names(&nothing), &nothing["next"]), (Vec::new(), &Value::Null), "{nothing}");
}

#[tokio::test]
async fn dead_letters_go_back_by_tokens_that_may_write_where_they_came_from() {
    let house = house().await;
    let again = async |token: String| {
        let request = house.http.post(house.url("/api/dlq/replay")).bearer_auth(token);
        request.json(&json!({"ids": ["0-0"], "payload": {"source": "x"}})).send().await.unwrap().status()
    };
    assert_eq!(again(token(&["operator"])).await, 200);
    assert_eq!(again(with("topics", json!(["nothing*"]))).await, 403);
}
