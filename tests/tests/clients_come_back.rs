//! Resuming against a real Kafka: after the gateway was killed, and from further back than it remembers.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidecast_tests::socket::{Came, Socket};
use tidecast_tests::wait::eventually;
use tidecast_tests::{Kafka, Setup, Tidecast};

const WAIT: Duration = Duration::from_secs(30);

fn forecast(number: u64) -> Value {
    let value = number as f64;
    json!({"model_id": format!("m{}", number % 5), "timestamp": "2026-01-20T10:30:00Z", "predicted_value": value,
        "confidence_interval": [value, value], "forecast_horizon": 1, "model_type": "External", "metadata": {}})
}

async fn tell(tidecast: &Tidecast, numbers: std::ops::Range<u64>) {
    let messages: Vec<Value> = numbers.map(forecast).collect();
    tidecast.post("/api/forecasts", json!(messages)).await.expect(201);
}

/// Keeps its place and what it has seen.
#[derive(Default)]
struct Follower {
    place: Option<String>,
    seen: Vec<u64>,
}

impl Follower {
    fn note(&mut self, message: &Value) {
        if let Some(place) = message["position"].as_str() {
            self.place = Some(place.to_owned());
        }
        if message["type"] == "forecast_update" && message["position"].is_string() {
            self.seen.push(message["data"]["predicted_value"].as_f64().unwrap() as u64);
        }
    }

    /// Connects and subscribes, again when the gateway goes in the middle of it.
    async fn connect(&mut self, url: &str) -> Socket {
        let mut request = json!({"type": "subscribe", "model_ids": ["m*"], "update_types": ["new_forecast"]});
        if let Some(place) = &self.place {
            request["resume"] = json!(place);
        }
        let connected = async || {
            let mut socket = Socket::try_open(url).await.ok()?;
            if !socket.try_send(request.clone()).await {
                return None;
            }
            loop {
                match socket.next(WAIT).await {
                    Some(Came::Message(message, _)) if message["type"] == "subscribed" => {
                        return Some((socket, message));
                    }
                    Some(Came::Message(message, _)) => assert_ne!(message["type"], "error", "{message}"),
                    _ => return None,
                }
            }
        };
        let (socket, subscribed) = eventually("the gateway is back", WAIT, connected).await;
        assert_eq!(subscribed.get("resumed"), self.place.is_some().then_some(&json!(true)), "{subscribed}");
        self.note(&subscribed);
        socket
    }

    /// Follows until it has seen so many, connecting again whenever the connection is lost.
    async fn follow(&mut self, url: &str, wanted: usize) {
        let mut socket = self.connect(url).await;
        while self.seen.len() < wanted {
            match socket.next(WAIT).await {
                Some(Came::Message(message, _)) => self.note(&message),
                Some(Came::Closed(_)) => socket = self.connect(url).await,
                None => panic!("{} of {wanted} came", self.seen.len()),
            }
        }
    }

    fn saw_each_once(mut self, numbers: u64) {
        self.seen.sort_unstable();
        assert_eq!(self.seen, (0..numbers).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_gateway_that_was_killed_miss_nothing_and_see_nothing_twice() {
    const NUMBERS: u64 = 600;
    let kafka = Kafka::shared();
    let setup = Setup::new("resume", &kafka);
    let mut tidecast = setup.start().await;
    let url = format!("ws://127.0.0.1:{}/forecast-updates", setup.ports.websocket);
    let connected = AtomicU64::new(0);
    let clients = (0..50).map(async |_| {
        let mut follower = Follower::default();
        // The place that subscribing gave is enough to come back with.
        drop(follower.connect(&url).await);
        connected.fetch_add(1, Ordering::Relaxed);
        follower.follow(&url, NUMBERS as usize).await;
        follower
    });
    let tells = async {
        let all_there = async || (connected.load(Ordering::Relaxed) == 50).then_some(());
        eventually("everybody is there", WAIT, all_there).await;
        for start in (0..NUMBERS).step_by(50) {
            tell(&tidecast, start..start + 50).await;
            if start == 200 {
                tidecast.kill();
                tidecast = setup.start().await;
            }
        }
    };
    let everything = async { tokio::join!(futures::future::join_all(clients), tells) };
    let (followers, ()) = tokio::time::timeout(4 * WAIT, everything).await.expect("everything came");
    followers.into_iter().for_each(|follower| follower.saw_each_once(NUMBERS));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_does_not_remember_is_read_from_kafka_and_too_much_is_told() {
    let kafka = Kafka::shared();
    let setup = Setup::new("resume-far", &kafka)
        .with("[limits]\nresume_buffer_size = 0\nresume_records = 500\n[kafka]\nexactly_once = true");
    let tidecast = setup.start().await;
    let url = format!("ws://127.0.0.1:{}/forecast-updates", setup.ports.websocket);
    let mut follower = Follower::default();
    drop(follower.connect(&url).await);
    tell(&tidecast, 0..100).await;
    follower.follow(&url, 100).await;
    tell(&tidecast, 100..200).await;
    follower.follow(&url, 200).await;
    tell(&tidecast, 200..1_500).await;
    let mut late = Socket::open(&url).await;
    // Newest values that were not there when it came show that the gateway has read everything.
    let newest = async || {
        let mut other = Socket::open(&url).await;
        other.send(json!({"type": "subscribe", "model_ids": ["m4"], "update_types": ["new_forecast"]})).await;
        let update = other.expect("forecast_update", WAIT).await;
        (update["data"]["predicted_value"] == 1_499.0).then_some(())
    };
    eventually("the last one is there", WAIT, newest).await;
    late.send(json!({"type": "subscribe", "model_ids": ["m*"], "resume": follower.place})).await;
    let error = late.expect("error", WAIT).await;
    assert_eq!(error["data"]["code"], "resume_unavailable", "{error}");
    assert_eq!(late.expect("subscribed", WAIT).await["resumed"], false);
    late.expect("forecast_update", WAIT).await;
    follower.saw_each_once(200);
}
