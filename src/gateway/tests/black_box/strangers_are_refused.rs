//! Pages of other sites, rebound names, broken handshakes, heads without end.

use crate::house::{House, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

async fn status_with(house: &House, header: &'static str, value: &str) -> u16 {
    house.http.get(house.url("/api/stats")).header(header, value).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn rest_refuses_other_sites_and_rebound_names() {
    let house = House::open().await;
    assert_eq!(status_with(&house, "origin", "http://localhost:3000").await, 200);
    assert_eq!(status_with(&house, "origin", "https://attacker.example").await, 403);
    assert_eq!(status_with(&house, "origin", "null").await, 403);
    assert_eq!(status_with(&house, "host", "attacker.example").await, 403);
}

#[tokio::test]
async fn websockets_refuse_them_too() {
    let house = House::open().await;
    for url in [format!("ws://{}/forecast-updates", house.websocket), format!("ws://{}/ws/ingest", house.app)]
    {
        for (origin, welcome) in [("https://attacker.example", false), ("http://127.0.0.1:1", true)] {
            let mut request = url.as_str().into_client_request().unwrap();
            request.headers_mut().insert("origin", origin.parse().unwrap());
            let answer = tokio_tungstenite::connect_async(request).await;
            assert_eq!(answer.is_ok(), welcome, "{url} {origin}");
        }
    }
}

#[tokio::test]
async fn a_site_that_is_named_may_call_and_its_browser_is_told_so() {
    let house = House::with(&["allowed_origins=https://ops.example:8443/"]).await;
    let origin = "https://ops.example:8443";
    let asked = house.http.request(reqwest::Method::OPTIONS, house.url("/api/models/m"));
    let asked =
        asked.header("origin", origin).header("access-control-request-method", "PUT").send().await.unwrap();
    assert_eq!(asked.status(), 204);
    assert_eq!(asked.headers()["access-control-allow-origin"], origin);
    assert!(asked.headers()["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
    assert!(asked.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    let read = house.http.get(house.url("/api/stats")).header("origin", origin).send().await.unwrap();
    assert_eq!(
        (read.status().as_u16(), read.headers()["access-control-allow-origin"].to_str().unwrap()),
        (200, origin)
    );
    let own =
        house.http.get(house.url("/api/stats")).header("origin", "http://localhost:1").send().await.unwrap();
    assert!(!own.headers().contains_key("access-control-allow-origin"));
    assert_eq!(status_with(&house, "origin", "https://ops.example").await, 403);
    for url in [format!("ws://{}/forecast-updates", house.websocket), format!("ws://{}/ws/ingest", house.app)]
    {
        for (origin, welcome) in [(origin, true), ("https://other.example:8443", false)] {
            let mut request = url.as_str().into_client_request().unwrap();
            request.headers_mut().insert("origin", origin.parse().unwrap());
            assert_eq!(tokio_tungstenite::connect_async(request).await.is_ok(), welcome, "{url} {origin}");
        }
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let house = House::with(&["limits.connections_per_address=2"]).await;
    let (first, second) = (house.connect().await, house.connect().await);
    let url = format!("ws://{}/forecast-updates", house.websocket);
    assert!(tokio_tungstenite::connect_async(&url).await.is_err());
    drop((first, second));
    house.wait_for_metric("websocket_connections_active", |open| open == 0.0).await;
    let again = async {
        while tokio_tungstenite::connect_async(&url).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the places were given back");
}

/// What a raw client is answered before the server closes.
async fn raw(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the server should have closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_websocket_listener_answers_what_is_no_websocket() {
    let house = House::open().await;
    let ask = async |request: &str| raw(house.websocket, request.as_bytes()).await;
    let plain = ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 426"), "{plain}");
    assert!(plain.contains("application/problem+json"));
    assert!(ask("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    assert!(
        ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405")
    );
    assert!(ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(house.metric("websocket_refused_total").await, 3.0);
}

#[tokio::test]
async fn heads_are_bounded_and_two_lengths_are_refused() {
    let house = House::open().await;
    let huge = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(raw(house.app, huge.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let smuggled = "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!";
    assert!(raw(house.app, smuggled.as_bytes()).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_handshake_is_accepted_with_upgrade_alone_and_for_one_request() {
    let house = House::open().await;
    let mut stream = TcpStream::connect(house.websocket).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let connection: Vec<&str> = head.lines().filter(|line| line.starts_with("connection:")).collect();
    assert_eq!(connection, ["connection: upgrade"], "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
}
