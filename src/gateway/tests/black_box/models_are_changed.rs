//! `/api/models/**`.

use crate::house::House;
use serde_json::{Value, json};

fn model(id: &str) -> Value {
    json!({"model_id": id, "model_type": "SARIMA", "order": [1, 1, 1], "seasonal_order": [1, 1, 1, 7],
        "series": "by_source:s", "horizon": 7})
}

#[tokio::test]
async fn a_models_life() {
    let house = House::open().await;
    let created =
        house.http.post(house.url("/api/models")).json(&model("departures/JFK é")).send().await.unwrap();
    assert_eq!(created.status(), 201);
    assert_eq!(created.headers()["location"], "/api/models/departures%2FJFK%20%C3%A9");
    let tag = created.headers()["etag"].clone();
    let made: Value = created.json().await.unwrap();
    assert_eq!((&made["model_id"], &made["state"]), (&json!("departures/JFK é"), &json!("warming_up")));
    let path = "/api/models/departures%2FJFK%20%C3%A9";
    let (status, read) = house.get(path).await;
    assert_eq!((status, &read["needed"]), (200, &json!(24)));
    assert_eq!(house.post("/api/models", &model("departures/JFK é")).await.0, 409);

    // What was read can be written back, with a change.
    let mut changed = read.clone();
    changed["horizon"] = json!(9);
    let put =
        |tag: &str| house.http.put(house.url(path)).header("if-match", tag.to_owned()).json(&changed).send();
    let answer = put(tag.to_str().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.headers()["etag"], tag);
    assert_eq!(put(tag.to_str().unwrap()).await.unwrap().status(), 412, "it has changed since");
    assert_eq!(put("sometag").await.unwrap().status(), 412);
    assert_eq!(
        put(&format!("W/{}", answer.headers()["etag"].to_str().unwrap())).await.unwrap().status(),
        412
    );
    let either = format!("{}, {}", tag.to_str().unwrap(), answer.headers()["etag"].to_str().unwrap());
    assert_eq!(put(&either).await.unwrap().status(), 200, "one of several fits");
    let only_new = house.http.put(house.url(path)).header("if-none-match", "*").json(&changed);
    assert_eq!(only_new.send().await.unwrap().status(), 412, "it is there");

    let (status, forecast) = house.get(&format!("{path}/forecast?horizon=3")).await;
    assert_eq!((status, &forecast["forecast_horizon"]), (200, &json!(3)));
    assert_eq!(house.get(&format!("{path}/history?limit=2")).await.1["items"].as_array().unwrap().len(), 2);
    let delete = || house.http.delete(house.url(path)).send();
    let gone = delete().await.unwrap();
    assert_eq!((gone.status().as_u16(), gone.content_length()), (204, Some(0)));
    assert_eq!(delete().await.unwrap().status(), 404);
    assert_eq!(house.get(path).await.0, 404);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let house = House::open().await;
    for n in 0..5 {
        assert_eq!(house.post("/api/models", &model(&format!("m{n}"))).await.0, 201);
    }
    let (mut seen, mut path) = (Vec::new(), "/api/models?limit=2".to_owned());
    loop {
        let (status, page) = house.get(&path).await;
        assert_eq!(status, 200);
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|m| m["model_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/models?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4"]);
    for wrong in ["limit=0", "limit=1001", "limit=x", "limit=-1"] {
        let (status, problem) = house.get(&format!("/api/models?{wrong}")).await;
        assert_eq!((status, &problem["field"]), (400, &json!("limit")), "{wrong}: {problem}");
    }
}

#[tokio::test]
async fn faults_are_problems_that_name_their_field() {
    let house = House::open().await;
    let response = house.http.post(house.url("/api/models")).body("{").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].as_bytes()),
        (400, &b"application/problem+json"[..])
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(400), &json!("Bad Request")));
    for (field, value) in [
        ("order", json!("x")),
        ("model_type", json!("PROPHET")),
        ("horizon", json!(0)),
        ("hue", json!(1)),
        ("model_id", json!("..")),
    ] {
        let mut wrong = model("m");
        wrong[field] = value;
        let (status, problem) = house.post("/api/models", &wrong).await;
        assert_eq!(status, 422, "{field}: {problem}");
        assert!(problem["field"].as_str().unwrap().starts_with(field), "{problem}");
    }
    assert_eq!(house.post("/api/models", &model("m")).await.0, 201);
    let (status, problem) = house.get("/api/models/m/forecast?horizon=0").await;
    assert_eq!((status, &problem["field"]), (400, &json!("horizon")));
    let mut renamed = model("other");
    renamed["horizon"] = json!(2);
    let put = house.http.put(house.url("/api/models/m")).json(&renamed).send().await.unwrap();
    assert_eq!(put.json::<Value>().await.unwrap()["field"], "model_id");
    assert_eq!(house.get("/api/nothing").await.0, 404);
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let house = House::open().await;
    let patch = house.http.patch(house.url("/api/models/m")).send().await.unwrap();
    assert_eq!(
        (patch.status().as_u16(), patch.headers()["allow"].to_str().unwrap()),
        (405, "GET, HEAD, PUT, DELETE, OPTIONS")
    );
    assert_eq!(patch.headers()["content-type"], "application/problem+json");
    let options =
        house.http.request(reqwest::Method::OPTIONS, house.url("/api/models")).send().await.unwrap();
    assert_eq!(
        (options.status().as_u16(), options.headers()["allow"].to_str().unwrap()),
        (204, "GET, HEAD, POST, OPTIONS")
    );
    let head = house.http.head(house.url("/api/stats")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.text().await.unwrap(), "");
}
