//! Published keys and TLS with the real binary: an issuer over HTTP, certificates that this machine signs itself.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidecast_tests::wait::eventually;
use tidecast_tests::{Kafka, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WAIT: Duration = Duration::from_secs(20);

struct Key {
    id: &'static str,
    key: EncodingKey,
}

impl Key {
    fn new(id: &'static str) -> Key {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Key { id, key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(&jwk).unwrap()
    }

    fn token(&self, roles: &[&str]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let claims = json!({"sub": "s", "exp": now + 600, "iss": "issuer", "roles": roles});
        encode(&header, &claims, &self.key).unwrap()
    }
}

/// Answers every request with the keys of now.
async fn issuer(keys: Arc<Mutex<Value>>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let body = json!({"keys": [*keys.lock().unwrap()]}).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_and_rotated_and_every_listener_speaks_tls() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let published = Arc::new(Mutex::new(old.public()));
    let port = issuer(published.clone()).await;
    let kafka = Kafka::shared();
    let setup = Setup::new("keys", &kafka);
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(setup.folder().join("key.pem"), pair.serialize_pem()).unwrap();
    std::fs::write(setup.folder().join("certificate.pem"), certificate.pem()).unwrap();
    let setup = setup.with(&format!(
        r#"
        [auth]
        jwks_url = "http://127.0.0.1:{port}/keys"
        jwks_refresh_seconds = 1
        issuer = "issuer"
        [app]
        tls_certfile = "certificate.pem"
        tls_keyfile = "key.pem"
        [websocket]
        tls_certfile = "certificate.pem"
        tls_keyfile = "key.pem"
        "#
    ));
    let tidecast = setup.start().await;
    tidecast_tests::process::http();
    let builder = || {
        let certificate = reqwest::Certificate::from_pem(certificate.pem().as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([certificate])
    };
    let client = builder().build().unwrap();
    let status = async |token: &str| {
        let url = format!("https://localhost:{}/api/stats", setup.ports.app);
        client.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(&old.token(&["viewer"])).await, status(&old.token(&["publisher"])).await), (200, 403));
    assert_eq!(status(&new.token(&["viewer"])).await, 401);
    *published.lock().unwrap() = new.public();
    let rotated = async || (status(&new.token(&["viewer"])).await == 200).then_some(());
    eventually("the new key is taken", WAIT, rotated).await;
    let forgotten = async || (status(&old.token(&["viewer"])).await == 401).then_some(());
    eventually("the old key is not", WAIT, forgotten).await;
    // By HTTP/2, as browsers do, which has no `Host`, and by HTTP/1.1.
    for (client, version) in [
        (client.clone(), reqwest::Version::HTTP_2),
        (builder().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
    ] {
        let url = format!("https://localhost:{}/api/client-config", setup.ports.app);
        let config = client.get(url).send().await.unwrap();
        assert_eq!(config.version(), version);
        assert!(config.headers().contains_key("strict-transport-security"));
        let config: Value = config.json().await.unwrap();
        assert!(config["websocket_url"].as_str().unwrap().starts_with("wss://localhost:"), "{config}");
    }
    // The admin listener speaks in the clear here, and asks for a token all the same.
    assert_eq!(tidecast.admin("/metrics").await.status, 401);
}
