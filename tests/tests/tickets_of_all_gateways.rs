//! Two gateways behind one address: a ticket that one of them gave opens a WebSocket on the other, once.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidecast_tests::socket::Socket;
use tidecast_tests::{Kafka, Setup, Tidecast};

const SECRET: &str = "of thirty-two bytes and some more";

fn token(roles: &[&str]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": "ann", "exp": now + 600, "roles": roles, "models": ["sales_*"]});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn ticket(gateway: &Tidecast) -> String {
    let url = format!("http://127.0.0.1:{}/api/ws-tickets", gateway.ports().app);
    let answer =
        tidecast_tests::process::http().post(url).bearer_auth(token(&["viewer"])).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.unwrap();
    answer["ticket"].as_str().unwrap().to_owned()
}

async fn open(gateway: &Tidecast, ticket: &str) -> Option<Socket> {
    let url = format!("ws://127.0.0.1:{}/forecast-updates?ticket={ticket}", gateway.ports().websocket);
    Socket::try_open(&url).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_on_each_gateway_and_once_on_all() {
    let setup = Setup::new("tickets", &Kafka::shared()).with(&format!("[auth]\nhs256_secret = \"{SECRET}\""));
    let gateways = [setup.spawn(&["--role", "gateway"]), setup.beside("other", &["--role", "gateway"])];
    for gateway in &gateways {
        gateway.ready().await;
    }
    let [one, other] = &gateways;
    for (giver, taker, neither) in [(one, other, one), (other, one, other), (one, one, other)] {
        let ticket = ticket(giver).await;
        let mut socket = open(taker, &ticket).await.expect("the ticket is good");
        // The token's claims came along.
        socket.send(json!({"type": "subscribe", "model_ids": ["cost_1"]})).await;
        let answer = socket.expect("error", Duration::from_secs(10)).await;
        assert!(answer.to_string().contains("unknown_model"), "{answer}");
        assert!(open(neither, &ticket).await.is_none(), "it was used on another");
        assert!(open(taker, &ticket).await.is_none(), "it was used here");
    }
    assert!(open(one, "c29tZXRoaW5n.ZWxzZQ").await.is_none());
}
