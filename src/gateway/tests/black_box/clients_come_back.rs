//! Resuming: nothing missed, nothing twice, on whichever gateway; or told that it cannot be.

use crate::house::{Client, House, PATIENCE, aggregate, forecast};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tidecast_ports::{LiveRecord, LiveSink, OutputKind};

/// A forecast whose value is its number, at a place.
fn at(house: &House, partition: i32, offset: i64, model: &str, number: u64) -> LiveRecord {
    let record = house.record(OutputKind::Forecast, &forecast(model, number as f64));
    LiveRecord { partition, offset, timestamp_ms: number as i64, ..record }
}

/// A client that keeps its place, as one should.
struct Follower {
    place: Option<String>,
    seen: Vec<u64>,
}

impl Follower {
    fn note(&mut self, message: &Value) {
        if let Some(place) = message["position"].as_str() {
            self.place = Some(place.to_owned());
        }
        if message["type"] == "forecast_update" {
            self.seen.push(message["data"]["predicted_value"].as_f64().unwrap() as u64);
        }
    }

    async fn connect(&mut self, house: &House, models: &[&str], format: &str) -> Client {
        let mut client = house.connect().await;
        let mut request = json!({"type": "subscribe", "model_ids": models, "data_format": format});
        if let Some(place) = &self.place {
            request["resume"] = json!(place);
        }
        client.say(&request).await;
        let subscribed = client.hear_type("subscribed").await;
        assert_eq!(subscribed.get("resumed"), self.place.is_some().then_some(&json!(true)));
        self.note(&subscribed);
        client
    }

    /// Takes `most` messages, or what comes until it is quiet.
    async fn follow(&mut self, client: &mut Client) {
        for message in client.hear_until_quiet().await {
            self.note(&message);
        }
    }
}

#[tokio::test]
async fn what_was_missed_comes_once_and_in_order_in_either_format() {
    let house = House::open().await;
    for format in ["json", "msgpack"] {
        let mut follower = Follower { place: None, seen: Vec::new() };
        let mut client = follower.connect(&house, &["a", "b*"], format).await;
        house.publish(OutputKind::Forecast, &forecast("a", 1.0));
        house.publish(OutputKind::Forecast, &forecast("other", 2.0));
        follower.follow(&mut client).await;
        drop(client);
        for (model, number) in [("a", 3.0), ("other", 4.0), ("b1", 5.0), ("a", 6.0)] {
            house.publish(OutputKind::Forecast, &forecast(model, number));
        }
        let mut client = follower.connect(&house, &["a", "b*"], format).await;
        house.publish(OutputKind::Forecast, &forecast("b2", 7.0));
        follower.follow(&mut client).await;
        assert_eq!(follower.seen, [1, 3, 5, 6, 7], "{format}");
        // From the second round on there is a newest value to begin with.
        for model in ["a", "b1", "b2"] {
            house.hub.forget(model);
        }
    }
}

#[tokio::test]
async fn the_newest_value_does_not_move_a_client_and_subscribing_gives_it_a_place() {
    let house = House::open().await;
    house.publish(OutputKind::Forecast, &forecast("a", 1.0));
    house.publish(OutputKind::Forecast, &forecast("b", 2.0));
    let mut client = house.connect().await;
    let subscribed = client.subscribe(&["a"], &["new_forecast"]).await;
    let newest = client.hear().await;
    assert_eq!((&newest["data"]["predicted_value"], newest.get("position")), (&json!(1.0), None));
    drop(client);
    house.publish(OutputKind::Forecast, &forecast("a", 3.0));
    let mut follower =
        Follower { place: Some(subscribed["position"].as_str().unwrap().to_owned()), seen: vec![] };
    let mut client = follower.connect(&house, &["a"], "json").await;
    follower.follow(&mut client).await;
    assert_eq!(follower.seen, [3]);
}

/// Two gateways read the same partitions, each in an order of its own and one behind the other; a client goes from one
/// to the other again and again, at any moment.
#[tokio::test]
async fn a_client_that_changes_gateways_misses_nothing_and_sees_nothing_twice() {
    for seed in 1..=4u64 {
        let mut random = seed;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let houses = [House::open().await, House::open().await];
        let mut logs: [Vec<LiveRecord>; 3] = Default::default();
        for number in 0..300u64 {
            let partition = next(3) as usize;
            let offset = logs[partition].last().map_or(0, |last| last.offset + 1 + next(2) as i64);
            logs[partition].push(at(
                &houses[0],
                partition as i32,
                offset,
                &format!("m{}", number % 7),
                number,
            ));
        }
        let mut read = [[0usize; 3]; 2];
        let mut follower = Follower { place: None, seen: Vec::new() };
        let mut client = follower.connect(&houses[0], &["m*"], "json").await;
        let mut where_now = 0;
        while read[where_now].iter().zip(&logs).any(|(read, log)| *read < log.len()) {
            for (gateway, house) in houses.iter().enumerate() {
                let partition = next(3) as usize;
                let upto = (read[gateway][partition] + next(6) as usize).min(logs[partition].len());
                house.hub.publish(logs[partition][read[gateway][partition]..upto].to_vec());
                read[gateway][partition] = upto;
            }
            // Before it goes it takes some of what waits for it, or nothing.
            for _ in 0..next(4) {
                client.say(&json!({"type": "ping"})).await;
                loop {
                    let message = client.hear().await;
                    follower.note(&message);
                    if message["type"] == "heartbeat" {
                        break;
                    }
                }
            }
            if next(3) == 0 {
                where_now = 1 - where_now;
                // Kafka has everything, also what this gateway has not come to yet.
                *houses[where_now].past.records.lock().unwrap() = logs.concat();
                client = follower.connect(&houses[where_now], &["m*"], "json").await;
            }
        }
        follower.follow(&mut client).await;
        let twice = follower.seen.len();
        let mut seen = follower.seen;
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), twice, "nothing twice (seed {seed})");
        assert_eq!(seen, (0..300).collect::<Vec<_>>(), "nothing missed (seed {seed})");
    }
}

#[tokio::test]
async fn what_the_gateway_has_no_more_is_read_from_kafka_within_a_bound() {
    let house = House::with(&["limits.resume_buffer_size=0", "limits.resume_records=10"]).await;
    let publish = |offset: i64| {
        let record = at(&house, 0, offset, "a", offset as u64);
        house.past.records.lock().unwrap().push(record.clone());
        house.hub.publish(vec![record]);
    };
    let mut follower = Follower { place: None, seen: Vec::new() };
    let mut client = follower.connect(&house, &["*"], "json").await;
    publish(0);
    follower.follow(&mut client).await;
    drop(client);
    (1..8).for_each(&publish);
    let mut client = follower.connect(&house, &["*"], "json").await;
    follower.follow(&mut client).await;
    assert_eq!(follower.seen, (0..8).collect::<Vec<_>>());
    assert_eq!(house.past.asked.load(Ordering::Relaxed), 1);
    drop(client);
    (8..30).for_each(&publish);
    let mut client = house.connect().await;
    client.say(&json!({"type": "subscribe", "resume": follower.place})).await;
    assert_eq!(client.hear().await["data"]["code"], "resume_unavailable");
    let subscribed = client.hear().await;
    assert_eq!((&subscribed["type"], &subscribed["resumed"]), (&json!("subscribed"), &json!(false)));
    assert_eq!(client.hear().await["data"]["predicted_value"], 29.0, "the newest value instead");
    client.say(&json!({"type": "subscribe", "resume": "f0-7"})).await;
    assert_eq!(client.hear().await["data"]["code"], "resume_unavailable");
}

#[tokio::test]
async fn a_repeat_of_an_aborted_output_does_not_come_again() {
    let house = House::open().await;
    let mut follower = Follower { place: None, seen: Vec::new() };
    let mut client = follower.connect(&house, &["*"], "json").await;
    let repeated =
        |offset: i64| LiveRecord { id: Some(tidecast_event::OutputId(77)), ..at(&house, 0, offset, "a", 1) };
    house.hub.publish(vec![repeated(5)]);
    follower.follow(&mut client).await;
    drop(client);
    house.hub.publish(vec![repeated(9), at(&house, 0, 10, "a", 2)]);
    let mut client = follower.connect(&house, &["*"], "json").await;
    follower.follow(&mut client).await;
    assert_eq!(follower.seen, [1, 2]);
}

#[tokio::test]
async fn a_gateway_that_has_just_started_answers_once_it_knows() {
    let before = House::open().await;
    let mut follower = Follower { place: None, seen: Vec::new() };
    let mut client = follower.connect(&before, &["*"], "json").await;
    before.hub.publish(vec![at(&before, 0, 0, "a", 0)]);
    follower.follow(&mut client).await;
    drop(client);
    let after = House::starting(&[]).await;
    let mut client = after.connect().await;
    client.say(&json!({"type": "subscribe", "resume": follower.place})).await;
    // What is read again at the start is not pushed to those who come for the first time, but was missed by this one.
    let again = (0..3).map(|n| LiveRecord { replayed: true, ..at(&after, 0, n, "a", n as u64) });
    after.hub.publish(again.collect());
    LiveSink::caught_up(&*after.hub);
    assert_eq!(client.hear().await["resumed"], true);
    follower.follow(&mut client).await;
    assert_eq!(follower.seen, [0, 1, 2]);
}

#[tokio::test]
async fn a_stream_goes_on_from_its_last_event() {
    let house = House::open().await;
    let text = async |response: &mut reqwest::Response, wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            let piece =
                tokio::time::timeout(PATIENCE, response.chunk()).await.expect("nothing came").unwrap();
            text.push_str(std::str::from_utf8(&piece.expect("ended")).unwrap());
        }
        text
    };
    let mut stream = house.http.get(house.url("/stream/metrics")).send().await.unwrap();
    text(&mut stream, "follow").await;
    house.publish(OutputKind::Aggregate, &aggregate("by_type", "first"));
    let first = text(&mut stream, "\n\n").await;
    let id = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(stream);
    house.publish(OutputKind::Aggregate, &aggregate("by_type", "second"));
    house.publish(OutputKind::Aggregate, &aggregate("by_source", "other"));
    let mut stream =
        house.http.get(house.url("/stream/metrics")).header("last-event-id", id).send().await.unwrap();
    let missed = text(&mut stream, "\"second\"").await;
    assert!(!missed.contains("first") && !missed.contains("other"), "{missed}");
    house.publish(OutputKind::Aggregate, &aggregate("by_type", "third"));
    text(&mut stream, "\"third\"").await;
    let mut stream =
        house.http.get(house.url("/stream/metrics")).header("last-event-id", "7").send().await.unwrap();
    assert!(text(&mut stream, "follow").await.contains("cannot be replayed"));
}
