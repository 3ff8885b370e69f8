//! The dashboard, the description, and what browsers are told with them.

use crate::house::House;
use serde_json::Value;

#[tokio::test]
async fn client_side_routes_get_the_page_and_files_are_cached() {
    let house = House::open().await;
    let page = house.http.get(house.url("/")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(!policy.contains("unsafe-inline"), "{policy}");
    assert!(policy.contains(&format!("ws://127.0.0.1:{}", house.websocket.port())), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(page.headers()["x-frame-options"], "DENY");
    let tag = page.headers()["etag"].clone();
    let html = page.text().await.unwrap();
    assert!(html.contains("<title>Tidecast</title>"));
    for path in ["/models/departures%2FJFK", "/models/sales.2026", "/kafka/a.b", "/kafka", "/scheduler"] {
        let response = house.http.get(house.url(path)).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.text().await.unwrap()),
            (200, html.clone()),
            "{path}"
        );
    }
    let again = house.http.get(house.url("/")).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let script = html.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".js")).unwrap();
    let script = house.http.get(house.url(script)).send().await.unwrap();
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    assert!(script.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    for nothing in
        ["/assets/missing.js", "/missing.js", "/favicon.ico", "/alerts/x.map", "//api/stats", "/API/stats"]
    {
        let (status, problem) = house.get(nothing).await;
        assert_eq!((status, &problem["status"]), (404, &Value::from(404)), "{nothing}");
    }
    assert_eq!(house.http.post(house.url("/models")).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn the_description_and_its_pages_come_from_here() {
    let house = House::open().await;
    let (status, openapi) = house.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3."));
    assert!(openapi["paths"]["/api/models/{id}"]["put"].is_object());
    let docs = house.http.get(house.url("/docs/")).send().await.unwrap();
    assert_eq!(docs.status(), 200);
    let html = docs.text().await.unwrap();
    assert!(!html.contains("//unpkg") && !html.contains("//cdn"), "{html}");
    let docs = house.http.get(house.url("/docs")).send().await.unwrap();
    assert_eq!(docs.status(), 200, "with and without the slash");
}

#[tokio::test]
async fn pages_learn_where_the_live_connection_is() {
    let house = House::open().await;
    let (_, config) = house.get("/api/client-config").await;
    assert_eq!(
        config["websocket_url"],
        format!("ws://127.0.0.1:{}/forecast-updates", house.websocket.port())
    );
    assert_eq!(config["auth_required"], Value::Bool(false));
    // Nobody has to say who they are to read this: nothing of what is configured is in it.
    let mut told: Vec<&str> = config.as_object().unwrap().keys().map(String::as_str).collect();
    told.sort_unstable();
    assert_eq!(told, ["auth_required", "heartbeat_interval_seconds", "version", "websocket_url"]);
    let mut client = crate::house::Client::connect(config["websocket_url"].as_str().unwrap()).await;
    client.hear_until_quiet().await;
}
