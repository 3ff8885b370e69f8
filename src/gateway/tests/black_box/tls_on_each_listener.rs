//! TLS: every listener, HTTP/2 where it is spoken, a certificate that changes while clients are connected.

use crate::house::{Client, House, PATIENCE, forecast};
use rustls::pki_types::ServerName;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tidecast_ports::OutputKind;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate for this machine, signed by itself, written where the house reads it.
fn certificate(folder: &Path) -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    certificate
}

async fn house(folder: &Path) -> House {
    let files = ["app", "websocket", "admin"].map(|listener| {
        let folder = folder.display();
        [
            format!("{listener}.tls_certfile={folder}/certificate.pem"),
            format!("{listener}.tls_keyfile={folder}/key.pem"),
        ]
    });
    let overrides: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
    House::with(&overrides).await
}

async fn connect(
    address: SocketAddr,
    trusted: &rcgen::Certificate,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[tokio::test]
async fn every_listener_speaks_it_and_http_2_by_choice() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let house = house(folder.path()).await;
    for (address, path) in [(house.app, "/api/client-config"), (house.admin, "/health")] {
        let stream = connect(address, &trusted, &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let request = axum::http::Request::get(format!("https://localhost{path}"));
        let answer = sender.send_request(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, axum::http::Version::HTTP_2));
        assert!(answer.headers().contains_key("strict-transport-security"));
    }
    let stream = connect(house.app, &trusted, &[b"http/1.1"]).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async("ws://localhost/ws/ingest", stream).await.unwrap();
    drop(socket);
    let stream = connect(house.websocket, &trusted, &[]).await.unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async("ws://localhost/forecast-updates", stream).await.unwrap();
    use futures::{SinkExt, StreamExt};
    let subscribe = json!({"type": "subscribe"}).to_string();
    socket.send(tokio_tungstenite::tungstenite::Message::text(subscribe)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(answer.contains("subscribed"), "{answer}");
    // In the clear nothing is answered.
    let plain = house.http.get(house.url("/health")).send().await;
    assert!(plain.is_err(), "{plain:?}");
}

#[tokio::test]
async fn a_changed_certificate_is_for_those_who_come_then_and_nobody_is_dropped() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let folder = tempfile::tempdir().unwrap();
    let before = certificate(folder.path());
    let house = house(folder.path()).await;
    let stream = connect(house.websocket, &before, &[]).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://localhost/", stream).await.unwrap();
    socket.send(Message::text(json!({"type": "subscribe"}).to_string())).await.unwrap();
    socket.next().await.unwrap().unwrap();
    // Broken files change nothing.
    std::fs::write(folder.path().join("certificate.pem"), "no certificate").unwrap();
    let after = certificate(folder.path());
    let changed = async {
        while connect(house.websocket, &after, &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("the new certificate is used");
    assert!(connect(house.websocket, &before, &[]).await.is_err());
    house.publish(OutputKind::Forecast, &forecast("m", 1.0));
    let update = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(update.contains("forecast_update"), "the connection from before goes on: {update}");
}

#[tokio::test]
async fn pages_are_told_the_scheme_and_policies_hold_nothing_inline() {
    let house = House::open().await;
    assert!(house.get("/api/client-config").await.1["websocket_url"].as_str().unwrap().starts_with("ws://"));
    for path in ["/", "/models", "/docs/", "/api/stats", "/nowhere.js"] {
        let answer = house.http.get(house.url(path)).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("unsafe") && policy.contains("default-src 'none'"), "{path}: {policy}");
        for (header, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
            assert_eq!(answer.headers()[header], value, "{path}");
        }
    }
    let mut client = Client::connect(&format!("ws://{}/", house.websocket)).await;
    client.hear_until_quiet().await;
}
