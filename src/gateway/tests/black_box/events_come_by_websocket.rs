//! `/ws/ingest`.

use crate::house::{House, event};
use bytes::Bytes;
use serde_json::json;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn events_are_stored_as_they_came_and_acknowledged_by_count() {
    let house = House::open().await;
    let mut client = house.connect_ingest().await;
    let text = " {\"source\" : \"a\", \"n\": 1.50}";
    client.say_text(text.trim_start()).await;
    let packed = rmp_serde::to_vec_named(&event("b")).unwrap();
    client.say_bytes(packed.clone()).await;
    client.say_bytes(event("c").to_string().into_bytes()).await;
    let mut accepted = 0;
    while accepted < 3 {
        let ack = client.hear().await;
        assert_eq!(ack["type"], "ack");
        let now = ack["data"]["accepted"].as_u64().unwrap();
        assert!(now > accepted, "cumulative");
        accepted = now;
    }
    let taken = house.ingest.taken.lock().unwrap().clone();
    assert_eq!(taken[..2], [Bytes::from_static(b"{\"source\" : \"a\", \"n\": 1.50}"), packed.into()]);
    assert_eq!(house.metric("ingest_events_accepted_total").await, 3.0);
}

#[tokio::test]
async fn a_refused_frame_is_told_by_its_place_and_the_others_are_taken() {
    let house = House::open().await;
    let mut client = house.connect_ingest().await;
    for text in [&*event("a").to_string(), "nonsense", &event("b").to_string(), "{\"type\":\"x\"}", ""] {
        client.say_text(text).await;
    }
    let (mut refused, mut accepted) = (Vec::new(), 0);
    while refused.len() < 3 || accepted < 2 {
        let message = client.hear().await;
        match message["type"].as_str().unwrap() {
            "error" => {
                refused.push((message["data"]["index"].as_u64().unwrap(), message["data"]["code"].clone()))
            }
            "ack" => accepted = message["data"]["accepted"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, [(1, json!("invalid_json")), (3, json!("missing_field")), (4, json!("empty"))]);
    assert_eq!((accepted, house.ingest.count()), (2, 2));
}

#[tokio::test]
async fn nothing_is_acknowledged_before_kafka_has_it() {
    let house = House::open().await;
    house.ingest.acknowledging.send_replace(false);
    let mut client = house.connect_ingest().await;
    client.say(&event("a")).await;
    house.ingest.wait_for(1).await;
    client.say_text("nonsense").await;
    assert_eq!(client.hear().await["type"], "error", "the refusal comes, the acknowledgement does not");
    house.ingest.acknowledging.send_replace(true);
    assert_eq!(client.hear().await, json!({"type": "ack", "data": {"accepted": 1}}));
}

#[tokio::test]
async fn what_kafka_did_not_take_is_told() {
    let house = House::open().await;
    house.ingest.failing.store(true, Ordering::Relaxed);
    let mut client = house.connect_ingest().await;
    client.say(&event("a")).await;
    let error = client.hear().await;
    assert_eq!((&error["data"]["code"], &error["data"]["index"]), (&json!("unavailable"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_not_slowed_and_answers_come_ten_times_a_second() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let house = House::with(&["limits.ingest_events_per_second=1000000"]).await;
    let mut client = house.connect_ingest().await;
    let text = event("a").to_string();
    let events = 50_000;
    let started = std::time::Instant::now();
    for n in 0..events {
        // Every tenth is refused, so that there is much to tell.
        client.0.feed(Message::text(if n % 10 == 0 { "nonsense" } else { &*text })).await.unwrap();
    }
    client.0.flush().await.unwrap();
    house.ingest.wait_for(events * 9 / 10).await;
    let took = started.elapsed();
    let (mut acks, mut refused, mut accepted) = (0, 0, 0);
    while accepted < events as u64 * 9 / 10 || refused < events / 10 {
        match client.0.next().await.unwrap().unwrap() {
            Message::Text(text) if text.contains("\"ack\"") => {
                acks += 1;
                let ack: serde_json::Value = serde_json::from_str(&text).unwrap();
                accepted = ack["data"]["accepted"].as_u64().unwrap();
            }
            Message::Text(text) if text.contains("answers_dropped") => panic!("{text}"),
            Message::Text(_) => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(accepted, events as u64 * 9 / 10);
    let most = started.elapsed().as_millis() / 100 + 1;
    assert!(acks <= most, "{acks} acknowledgements in {took:?}, at most {most}");
}

#[tokio::test]
async fn an_end_waits_for_what_is_on_its_way() {
    let house = House::open().await;
    house.ingest.acknowledging.send_replace(false);
    let mut client = house.connect_ingest().await;
    client.say(&event("a")).await;
    house.ingest.wait_for(1).await;
    client.0.close(None).await.unwrap();
    house.ingest.acknowledging.send_replace(true);
    assert_eq!(client.hear().await, json!({"type": "ack", "data": {"accepted": 1}}));
    assert_eq!(client.close_code().await, 1000);
}

#[tokio::test]
async fn a_plain_request_is_told_what_to_do() {
    let house = House::open().await;
    let (status, problem) = house.get("/ws/ingest").await;
    assert_eq!(status, 426);
    assert!(problem["detail"].as_str().unwrap().contains("ws://"));
}

#[tokio::test]
async fn a_client_over_its_limit_is_slowed_and_told_and_one_that_goes_on_is_closed() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let house = House::with(&["limits.ingest_events_per_second=20"]).await;
    // Half as much again as a second allows: it takes a second and a half, and everything is taken.
    let mut bursts = house.connect_ingest().await;
    for _ in 0..30 {
        bursts.0.feed(Message::text(event("a").to_string())).await.unwrap();
    }
    bursts.0.flush().await.unwrap();
    let (mut accepted, mut told) = (0, 0);
    while accepted < 30 {
        let answer = bursts.hear().await;
        match answer["type"].as_str().unwrap() {
            "ack" => accepted = answer["data"]["accepted"].as_u64().unwrap(),
            "error" => {
                assert_eq!(
                    (&answer["data"]["code"], &answer["data"]["index"]),
                    (&json!("rate_limited"), &serde_json::Value::Null)
                );
                told += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(told, 1);
    // Fifty times as much, and no end of it.
    let mut floods = house.connect_ingest().await;
    for _ in 0..1_000 {
        floods.0.feed(Message::text(event("b").to_string())).await.unwrap();
    }
    floods.0.flush().await.unwrap();
    let mut accepted = 0;
    loop {
        match floods.0.next().await.unwrap().unwrap() {
            Message::Close(frame) => {
                let frame = frame.unwrap();
                assert_eq!(
                    (u16::from(frame.code), frame.reason.as_str()),
                    (4429, "went on past the limit of events")
                );
                break;
            }
            Message::Text(text) => {
                let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
                match answer["type"].as_str().unwrap() {
                    "ack" => accepted = answer["data"]["accepted"].as_u64().unwrap(),
                    _ => assert_eq!(answer["data"]["code"], "rate_limited"),
                }
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(
        accepted as usize,
        house.ingest.count() - 30,
        "what was taken was acknowledged before the close"
    );
    assert!(accepted < 1_000);
}

#[tokio::test]
async fn the_credit_is_shown_to_who_asks_for_it() {
    let house = House::open().await;
    house.ingest.acknowledging.send_replace(false);
    let url = format!("ws://{}/ws/ingest?credit=true", house.app);
    let mut client = crate::house::Client::connect(&url).await;
    let all = client.hear().await;
    assert_eq!((&all["type"], &all["data"]["events_per_second"]), (&json!("credit"), &json!(50_000)));
    let whole = all["data"]["bytes"].as_u64().unwrap();
    client.say(&event("a")).await;
    house.ingest.wait_for(1).await;
    house.ingest.acknowledging.send_replace(true);
    let ack = client.hear().await;
    assert_eq!((&ack["data"], ack["credit"]["bytes"].as_u64().unwrap()), (&json!({"accepted": 1}), whole));
}
