//! The start's refusals and the end.

use crate::house::{House, PATIENCE, event, settings};
use serde_json::json;
use std::time::{Duration, Instant};
use tidecast_gateway::Listeners;

#[tokio::test]
async fn a_port_in_use_is_one_line_that_names_the_setting() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let refusal =
        Listeners::bind(&settings(&[&format!("websocket.port={port}")])).await.unwrap_err().to_string();
    assert!(refusal.contains("websocket.port") && refusal.contains(&port.to_string()), "{refusal}");
    assert!(!refusal.contains('\n'), "{refusal}");
    let refusal =
        Listeners::bind(&settings(&["admin.host=192.0.2.1", "insecure_listeners=[\"admin\"]"])).await;
    assert!(refusal.unwrap_err().to_string().contains("admin.host"));
}

#[tokio::test]
async fn every_client_is_told_and_what_is_on_its_way_is_acknowledged() {
    let mut house = House::open().await;
    let mut live = house.connect().await;
    live.subscribe(&["*"], &["new_forecast"]).await;
    let mut ingest = house.connect_ingest().await;
    house.ingest.acknowledging.send_replace(false);
    ingest.say(&event("a")).await;
    house.ingest.wait_for(1).await;
    let mut stream = house.http.get(house.url("/stream/metrics")).send().await.unwrap();
    house.ask_to_stop();
    assert_eq!(live.close_code().await, 1012);
    house.ingest.acknowledging.send_replace(true);
    assert_eq!(ingest.hear().await, json!({"type": "ack", "data": {"accepted": 1}}));
    assert_eq!(ingest.close_code().await, 1012);
    let ended = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream ends");
    assert!(tokio::net::TcpStream::connect(house.app).await.is_err(), "nobody is let in any more");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_close_does_not_hold_the_end_up() {
    let house = House::open().await;
    let _mute = house.connect().await;
    let _half_a_request = tokio::net::TcpStream::connect(house.app).await.unwrap();
    let started = Instant::now();
    house.close().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
