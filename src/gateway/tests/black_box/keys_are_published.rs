//! Keys in a file or at an address (JWKS): several at once, rotated while running, taken away; what cannot be a key.

use crate::house::{Client, House, PATIENCE, event};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A key with its name.
struct Key {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Key {
    fn p256(id: &'static str) -> Key {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Key { id, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    fn rsa(id: &'static str) -> Key {
        use rsa::pkcs1::EncodeRsaPrivateKey;
        let pair = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap();
        let der = pair.to_pkcs1_der().unwrap();
        Key { id, algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_der(der.as_bytes()) }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(&jwk).unwrap()
    }

    fn token_for(&self, seconds: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, &json!({"sub": "s", "exp": now + seconds, "roles": ["operator"]}), &self.key).unwrap()
    }

    fn token(&self) -> String {
        self.token_for(600)
    }
}

fn set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

/// Publishes keys at an address, and counts who asks.
struct Issuer {
    address: SocketAddr,
    keys: Arc<Mutex<(Value, u32)>>,
}

impl Issuer {
    async fn with(keys: Value) -> Issuer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Arc::new(Mutex::new((keys, 0)));
        let published = keys.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let body = {
                    let mut keys = published.lock().unwrap();
                    keys.1 += 1;
                    keys.0.to_string()
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        Issuer { address, keys }
    }

    fn asked(&self) -> u32 {
        self.keys.lock().unwrap().1
    }

    fn publish(&self, keys: Value) {
        self.keys.lock().unwrap().0 = keys;
    }

    async fn house(&self, more: &[&str]) -> House {
        let url = format!("auth.jwks_url=http://{}/keys", self.address);
        House::with(&[&[&*url], more].concat()).await
    }
}

async fn stats(house: &House, token: &str) -> u16 {
    house.http.get(house.url("/api/stats")).bearer_auth(token).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn keys_of_both_kinds_and_a_rotation_in_one_step() {
    let (old, new, rsa) = (Key::p256("old"), Key::p256("new"), Key::rsa("rsa"));
    let issuer = Issuer::with(set(&[&old, &rsa])).await;
    let house = issuer.house(&["auth.jwks_refresh_seconds=1"]).await;
    // The first token may come before the keys do: it waits for them.
    assert_eq!((stats(&house, &old.token()).await, stats(&house, &rsa.token()).await), (200, 200));
    assert_eq!(stats(&house, &new.token()).await, 401, "not published yet");
    issuer.publish(set(&[&new, &rsa]));
    let rotated = async {
        while stats(&house, &new.token()).await != 200 {
            tokio::task::yield_now().await;
        }
        while stats(&house, &old.token()).await != 401 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rotated).await.expect("the new key is taken, the old one is not");
    assert_eq!(stats(&house, &rsa.token()).await, 200);
    let forged = Key { id: "new", ..Key::p256("other") };
    assert_eq!(stats(&house, &forged.token()).await, 401, "a known name, another key");
    let public = new.public().to_string();
    let mut confused = Header::new(Algorithm::HS256);
    confused.kid = Some("new".into());
    let claims = json!({"sub": "s", "exp": 4_000_000_000u64, "roles": ["admin"]});
    let confused = encode(&confused, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
    assert_eq!(stats(&house, &confused).await, 401, "a public key is no secret");
}

#[tokio::test]
async fn a_key_without_a_name_does_not_hide_that_a_named_one_was_published() {
    let (unnamed, new) = (Key::p256("unnamed"), Key::p256("new"));
    let mut of_no_name = set(&[&unnamed]);
    of_no_name["keys"][0].as_object_mut().unwrap().remove("kid");
    let issuer = Issuer::with(of_no_name.clone()).await;
    // Nobody looks again in time: only a token brings it about.
    let house = issuer.house(&["auth.jwks_refresh_seconds=3600"]).await;
    assert_eq!(stats(&house, &unnamed.token()).await, 200, "a key without a name may be any");
    let mut both = set(&[&unnamed, &new]);
    both["keys"][0] = of_no_name["keys"][0].clone();
    issuer.publish(both);
    let taken = async {
        while stats(&house, &new.token()).await != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the new key is looked for");
    assert_eq!(stats(&house, &unnamed.token()).await, 200);
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_again_and_again() {
    let key = Key::p256("known");
    let issuer = Issuer::with(set(&[&key])).await;
    let house = issuer.house(&[]).await;
    assert_eq!(stats(&house, &key.token()).await, 200);
    let stranger = Key::p256("unknown");
    for _ in 0..50 {
        assert_eq!(stats(&house, &stranger.token()).await, 401);
    }
    assert!(issuer.asked() <= 2, "asked {} times", issuer.asked());
    issuer.publish(json!("broken"));
    assert_eq!(stats(&house, &key.token()).await, 200, "what was read stays when there is nothing better");
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (old, new) = (Key::p256("old"), Key::rsa("new"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, set(&[&old]).to_string()).unwrap();
    let house = House::with(&[&format!("auth.jwks_file={}", file.display())]).await;
    assert_eq!((stats(&house, &old.token()).await, stats(&house, &new.token()).await), (200, 401));
    std::fs::write(&file, set(&[&new]).to_string()).unwrap();
    let rotated = async {
        while stats(&house, &new.token()).await != 200 || stats(&house, &old.token()).await != 401 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rotated).await.expect("the file's new key is taken");
}

#[tokio::test]
async fn websockets_end_with_their_token_and_go_on_with_a_fresh_one() {
    let key = Key::rsa("k");
    let issuer = Issuer::with(set(&[&key])).await;
    let house = issuer.house(&[]).await;
    let connect = async |url: String, token: &str| {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        Client(tokio_tungstenite::connect_async(request).await.unwrap().0)
    };
    let live = format!("ws://{}/forecast-updates", house.websocket);
    let ingest = format!("ws://{}/ws/ingest", house.app);
    let mut ends = connect(live.clone(), &key.token_for(2)).await;
    let mut stays = connect(live.clone(), &key.token_for(2)).await;
    stays.say(&json!({"type": "auth", "token": key.token()})).await;
    let mut sends = connect(ingest.clone(), &key.token_for(2)).await;
    sends.say(&json!({"type": "auth", "token": key.token()})).await;
    let mut stops = connect(ingest, &key.token_for(2)).await;
    assert_eq!((ends.close_code().await, stops.close_code().await), (4401, 4401));
    stays.hear_until_quiet().await;
    sends.say(&event("a")).await;
    assert_eq!(sends.hear().await["data"]["accepted"], 1);
    // A first message and what follows it come in one piece: nothing of it is lost.
    let mut first = house.connect().await;
    first.say(&json!({"type": "auth", "token": key.token()})).await;
    first.say(&json!({"type": "subscribe", "model_ids": ["m"], "update_types": ["aggregation"]})).await;
    assert_eq!(first.hear().await["type"], "subscribed");
}
