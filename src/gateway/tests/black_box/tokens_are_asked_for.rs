//! Section 12: every route with every kind of token, tickets, `auth` messages, the end of a token's life.

use crate::house::{Client, House, event, forecast};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tidecast_gateway::access::{ROUTES, Right, Role};
use tidecast_ports::OutputKind;
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};

const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims(roles: &[&str]) -> Value {
    json!({"sub": "somebody", "exp": now() + 600, "iss": "house", "aud": "tidecast", "roles": roles})
}

pub fn token(roles: &[&str]) -> String {
    signed(&claims(roles), Algorithm::HS256, SECRET)
}

pub fn with(field: &str, value: Value) -> String {
    let mut claims = claims(&["admin"]);
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(field)),
        value => claims[field] = value,
    }
    signed(&claims, Algorithm::HS256, SECRET)
}

/// A good token but for `crit` (RFC 7515, 4.1.11).
fn critical() -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["x".into()]);
    encode(&header, &claims(&["admin"]), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

pub async fn house() -> House {
    let secret = format!("auth.hs256_secret={SECRET}");
    House::with(&[&secret, "auth.issuer=house", "auth.audience=tidecast"]).await
}

pub async fn status(house: &House, method: &str, path: &str, token: Option<&str>) -> u16 {
    let base = if path == "/metrics" { house.admin } else { house.app };
    let path = path.replace("{id}", "m").replace("{name}", "m");
    let mut request = house.http.request(method.parse().unwrap(), format!("http://{base}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_route_answers_every_token_as_its_right_says() {
    let house = house().await;
    let roles = [
        ("viewer", Role::Viewer),
        ("publisher", Role::Publisher),
        ("operator", Role::Operator),
        ("admin", Role::Admin),
        ("metrics", Role::Metrics),
    ];
    for (method, path, right) in ROUTES {
        let anonymous = status(&house, method.as_str(), path, None).await;
        if *right == Right::Anyone {
            assert!(anonymous != 401 && anonymous != 403, "{method} {path}: {anonymous}");
            continue;
        }
        // A WebSocket may show its token in its first message, so that the handshake itself is not refused.
        let nobody = if *path == "/ws/ingest" { 426 } else { 401 };
        assert_eq!(anonymous, nobody, "{method} {path} without a token");
        for (name, role) in roles {
            let got = status(&house, method.as_str(), path, Some(&token(&[name]))).await;
            assert_eq!(got == 403, !role.gives(*right), "{method} {path} as {name}: {got}");
            assert_ne!(got, 401, "{method} {path} as {name}");
        }
        assert_eq!(
            status(&house, method.as_str(), path, Some(&token(&["poet"]))).await,
            403,
            "{method} {path}"
        );
    }
}

/// Tokens that are of no use, each for a reason of its own.
fn unusable() -> Vec<(String, &'static str)> {
    let head = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let body = token(&["admin"]).split('.').nth(1).unwrap().to_owned();
    let good = token(&["admin"]);
    vec![
        (with("exp", json!(now() - 1)), "expired"),
        (with("exp", Value::Null), "without an end"),
        (with("sub", Value::Null), "nobody's"),
        (with("sub", json!(" ")), "one without a name"),
        (critical(), "with an extension that has to be understood"),
        (with("nbf", json!(now() + 60)), "not yet good"),
        (with("iss", json!("other")), "another issuer"),
        (with("aud", json!("other")), "another audience"),
        (
            signed(&claims(&["admin"]), Algorithm::HS256, "another-secret-of-thirty-two-bytes!"),
            "another secret",
        ),
        (signed(&claims(&["admin"]), Algorithm::HS384, SECRET), "another algorithm"),
        (format!("{head}.{body}."), "no signature"),
        (good[..good.len() - 2].to_owned(), "a signature cut short"),
        ("nonsense".into(), "no token"),
    ]
}

#[tokio::test]
async fn every_route_refuses_every_token_that_cannot_be_used() {
    let house = house().await;
    for (method, path, right) in ROUTES {
        for (token, why) in unusable() {
            let got = status(&house, method.as_str(), path, Some(&token)).await;
            match right {
                Right::Anyone => assert!(got != 401 && got != 403, "{method} {path}, {why}: {got}"),
                _ => assert_eq!(got, 401, "{method} {path}, {why}"),
            }
        }
    }
    for (token, why) in unusable() {
        assert_eq!(connect(&house, Some(&token)).await.err(), Some(401), "{why}");
    }
    for (role, welcome) in [
        ("viewer", true),
        ("publisher", false),
        ("operator", true),
        ("admin", true),
        ("metrics", false),
        ("poet", false),
    ] {
        let refused = connect(&house, Some(&token(&[role]))).await.err();
        assert_eq!(refused, (!welcome).then_some(403), "{role}");
    }
}

#[tokio::test]
async fn tokens_that_cannot_be_used() {
    let house = house().await;
    let stats = async |token: &str| status(&house, "GET", "/api/stats", Some(token)).await;
    assert_eq!(stats(&token(&["viewer"])).await, 200);
    let head = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let body = token(&["admin"]).split('.').nth(1).unwrap().to_owned();
    for (token, why) in [
        (with("exp", json!(now() - 1)), "expired"),
        (with("exp", Value::Null), "without an end"),
        (with("exp", json!("soon")), "an end that is no number"),
        (with("nbf", json!(now() + 60)), "not yet good"),
        (with("iss", json!("other")), "another issuer"),
        (with("iss", Value::Null), "no issuer"),
        (with("aud", json!("other")), "another audience"),
        (with("aud", Value::Null), "no audience"),
        (
            signed(&claims(&["admin"]), Algorithm::HS256, "another-secret-of-thirty-two-bytes!"),
            "another secret",
        ),
        (signed(&claims(&["admin"]), Algorithm::HS512, SECRET), "another algorithm"),
        (format!("{head}.{body}."), "no signature"),
        ("nonsense".into(), "no token"),
        ("x".repeat(10_000), "too long"),
    ] {
        assert_eq!(stats(&token).await, 401, "{why}");
    }
    let good = token(&["admin"]);
    let in_address = house.get(&format!("/api/stats?token={good}")).await;
    assert_eq!(in_address.0, 401, "a token in the address is refused");
    let challenged = house.http.get(house.url("/api/stats")).send().await.unwrap();
    assert_eq!(challenged.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn models_that_may_not_be_seen_do_not_exist() {
    let house = house().await;
    let narrow = with("models", json!(["sales_*"]));
    let admin = token(&["admin"]);
    for id in ["sales_1", "cost_1"] {
        let model = json!({"model_id": id, "model_type": "Theta", "series": "by_source:s"});
        let made =
            house.http.post(house.url("/api/models")).bearer_auth(&admin).json(&model).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    assert_eq!(status(&house, "GET", "/api/models/sales_1", Some(&narrow)).await, 200);
    for (method, path) in [
        ("GET", "/api/models/cost_1"),
        ("DELETE", "/api/models/cost_1"),
        ("PUT", "/api/models/cost_1"),
        ("GET", "/api/models/cost_1/forecast"),
        ("GET", "/api/models/cost_1/history"),
    ] {
        assert_eq!(status(&house, method, path, Some(&narrow)).await, 404, "{method} {path}");
    }
    let list = house.http.get(house.url("/api/models")).bearer_auth(&narrow).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap()["items"].as_array().unwrap().len(), 1);
    let mut client = connect(&house, Some(&narrow)).await.unwrap();
    client.say(&json!({"type": "subscribe", "model_ids": ["cost_1"]})).await;
    assert_eq!(client.hear().await["data"]["code"], "unknown_model");
    house.publish(OutputKind::Forecast, &forecast("cost_1", 1.0));
    house.publish(OutputKind::Forecast, &forecast("sales_1", 1.0));
    client.subscribe(&["*"], &["new_forecast"]).await;
    house.publish(OutputKind::Forecast, &forecast("cost_1", 2.0));
    house.publish(OutputKind::Forecast, &forecast("sales_1", 2.0));
    let heard = client.hear_until_quiet().await;
    assert_eq!(
        heard.iter().map(|m| m["model_id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["sales_1", "sales_1"]
    );
}

pub async fn connect(house: &House, token: Option<&str>) -> Result<Client, u16> {
    connect_to(&format!("ws://{}/forecast-updates", house.websocket), token).await
}

async fn connect_to(url: &str, token: Option<&str>) -> Result<Client, u16> {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(Client(socket)),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn websockets_take_a_header_a_first_message_or_a_ticket() {
    let house = house().await;
    let viewer = token(&["viewer"]);
    connect(&house, Some(&viewer)).await.unwrap().hear_until_quiet().await;
    assert_eq!(connect(&house, Some("nonsense")).await.err(), Some(401));
    assert_eq!(connect(&house, Some(&token(&["publisher"]))).await.err(), Some(403));

    let mut first = connect(&house, None).await.unwrap();
    first.say(&json!({"type": "auth", "token": viewer})).await;
    first.hear_until_quiet().await;
    let mut mute = connect(&house, None).await.unwrap();
    mute.say(&json!({"type": "subscribe"})).await;
    assert_eq!(mute.close_code().await, 4401);
    let mut wrong = connect(&house, None).await.unwrap();
    wrong.say(&json!({"type": "auth", "token": token(&["metrics"])})).await;
    assert_eq!(wrong.close_code().await, 4403);

    let given = house.http.post(house.url("/api/ws-tickets")).bearer_auth(&viewer).send().await.unwrap();
    assert_eq!(given.status(), 201);
    let given: Value = given.json().await.unwrap();
    assert_eq!(given["expires_in"], 60);
    let url =
        format!("ws://{}/forecast-updates?ticket={}", house.websocket, given["ticket"].as_str().unwrap());
    connect_to(&url, None).await.unwrap().hear_until_quiet().await;
    assert_eq!(connect_to(&url, None).await.err(), Some(401), "a ticket is good once");
    let url = format!("ws://{}/forecast-updates?token={viewer}", house.websocket);
    assert_eq!(connect_to(&url, None).await.err(), Some(401));
}

#[tokio::test]
async fn ingest_takes_them_too() {
    let house = house().await;
    let url = format!("ws://{}/ws/ingest", house.app);
    let publisher = token(&["publisher"]);
    let mut by_header = connect_to(&url, Some(&publisher)).await.unwrap();
    by_header.say(&event("a")).await;
    assert_eq!(by_header.hear().await["data"]["accepted"], 1);
    let mut by_message = connect_to(&url, None).await.unwrap();
    by_message.say(&json!({"type": "auth", "token": publisher})).await;
    by_message.say(&event("a")).await;
    assert_eq!(by_message.hear().await["data"]["accepted"], 1);
    let mut nobody = connect_to(&url, None).await.unwrap();
    nobody.say(&event("a")).await;
    assert_eq!(nobody.close_code().await, 4401);
    let mut viewer = connect_to(&url, None).await.unwrap();
    viewer.say(&json!({"type": "auth", "token": token(&["viewer"])})).await;
    assert_eq!(viewer.close_code().await, 4403);
    assert_eq!(connect_to(&url, Some(&token(&["viewer"]))).await.err(), Some(403));
    assert_eq!(house.ingest.count(), 2);
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_a_fresh_one_comes() {
    let house = house().await;
    let short = |roles: &[&str]| {
        let mut claims = claims(roles);
        claims["exp"] = json!(now() + 2);
        signed(&claims, Algorithm::HS256, SECRET)
    };
    let mut ends = connect(&house, Some(&short(&["viewer"]))).await.unwrap();
    let mut stays = connect(&house, Some(&short(&["viewer"]))).await.unwrap();
    stays.say(&json!({"type": "auth", "token": token(&["viewer"])})).await;
    let mut sends =
        connect_to(&format!("ws://{}/ws/ingest", house.app), Some(&short(&["publisher"]))).await.unwrap();
    assert_eq!(ends.close_code().await, 4401);
    assert_eq!(sends.close_code().await, 4401);
    stays.hear_until_quiet().await;
}

#[tokio::test]
async fn pages_ask_for_no_token_and_metrics_may_be_public() {
    let secret = format!("auth.hs256_secret={SECRET}");
    let house = House::with(&[&secret, "admin.public_metrics=true"]).await;
    for path in ["/", "/models/x", "/docs/", "/openapi.json", "/health", "/api/client-config"] {
        assert_eq!(status(&house, "GET", path, None).await, 200, "{path}");
    }
    assert_eq!(status(&house, "GET", "/metrics", None).await, 200);
}

#[tokio::test]
async fn too_many_calls_are_told() {
    let house = House::with(&["limits.rest_calls_per_second=5"]).await;
    // Sixty at once take less than the ten seconds that five a second would need.
    let calls = (0..60).map(|_| status(&house, "GET", "/api/stats", None));
    let statuses = futures::future::join_all(calls).await;
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
}
