//! `/ws/ingest` and `POST /api/events`: stored as it came, acknowledged once Kafka has it, refused with a reason and an index.

use serde_json::{Value, json};
use std::time::Duration;
use tidecast_tests::socket::{Came, Socket};
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(20);

fn event(i: usize) -> String {
    format!(
        r#"{{ "source":"s{}", "type":"t","timestamp":1732150000.{i:03}, "data":{{"value":{i}}} }}"#,
        i % 7
    )
}

/// Reads answers until `accepted` frames are acknowledged; returns the errors met on the way.
async fn acknowledged(socket: &mut Socket, accepted: u64) -> Vec<(u64, String)> {
    let (mut last, mut errors) = (0, Vec::new());
    while last < accepted {
        match socket.next(WAIT).await {
            Some(Came::Message(message, _)) if message["type"] == "ack" => {
                let now = message["data"]["accepted"].as_u64().unwrap();
                assert!(now > last, "cumulative and never back: {now} after {last}");
                last = now;
            }
            Some(Came::Message(message, _)) if message["type"] == "error" => {
                let data = &message["data"];
                assert!(data["message"].as_str().is_some_and(|m| !m.is_empty()), "{message}");
                errors.push((data["index"].as_u64().unwrap(), data["code"].as_str().unwrap().to_string()));
            }
            other => panic!("{other:?} with {last} of {accepted} acknowledged"),
        }
    }
    assert_eq!(last, accepted);
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_stored_as_it_came() {
    let kafka = Kafka::shared();
    let setup = Setup::new("ingest", &kafka);
    let tidecast = setup.start().await;
    let mut socket = tidecast.ingest_socket().await;
    let count = 3_000;
    for i in 0..count {
        socket.feed_text(event(i)).await;
    }
    socket.flush().await;
    let errors = acknowledged(&mut socket, count as u64).await;
    assert!(errors.is_empty(), "{errors:?}");
    // Acknowledged means that Kafka has it: it can be read at once, the bytes untouched, keyed by source, in order.
    let mut reader = kafka.reader(&setup.topic("events"));
    let records = reader.until("all are stored", Duration::from_secs(5), |records| records.len() >= count);
    for source in 0..7 {
        let of = |r: &&tidecast_tests::kafka::Record| r.key_text() == format!("s{source}");
        let stored: Vec<_> = records
            .iter()
            .filter(of)
            .map(|r| String::from_utf8(r.payload.clone().unwrap()).unwrap())
            .collect();
        let sent: Vec<_> = (0..count).filter(|i| i % 7 == source).map(event).collect();
        assert_eq!(stored, sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_frame_is_told_with_its_index_and_not_stored() {
    let kafka = Kafka::shared();
    let setup = Setup::new("refused", &kafka);
    let tidecast = setup.start().await;
    let mut socket = tidecast.ingest_socket().await;
    socket.send_text(event(0)).await;
    socket.send_text("{").await;
    socket.send_text(event(1)).await;
    socket.send_text(r#"{"source":"a","type":"t"}"#).await;
    socket.send_text(r#"{"source":5,"type":"t","data":{}}"#).await;
    socket.send_text("").await;
    socket
        .send_bytes(
            b"\x84\xa6source\xa2s9\xa4type\xa1t\xa9timestamp\xce\x67\x3e\x82\xf0\xa4data\x81\xa5value\x01"
                .to_vec(),
        )
        .await;
    socket.send_bytes(vec![0x81, 0xA1, b'a', 0xC1]).await;
    socket.send_bytes(event(2).into_bytes()).await;
    let mut errors = acknowledged(&mut socket, 4).await;
    while errors.len() < 5 {
        let error = socket.expect("error", WAIT).await;
        errors.push((
            error["data"]["index"].as_u64().unwrap(),
            error["data"]["code"].as_str().unwrap().to_string(),
        ));
    }
    errors.sort();
    let told: Vec<_> = errors.iter().map(|(index, code)| (*index, code.as_str())).collect();
    let expected = [
        (1, "invalid_json"),
        (3, "missing_field"),
        (4, "wrong_type"),
        (5, "empty"),
        (7, "invalid_messagepack"),
    ];
    assert_eq!(told, expected);
    let mut reader = kafka.reader(&setup.topic("events"));
    let stored = reader.for_a_while(Duration::from_secs(1)).len();
    assert_eq!(stored, 4);
    assert!(
        kafka.reader(&setup.topic("dlq")).for_a_while(Duration::from_millis(500)).is_empty(),
        "told to its sender alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_its_answers_is_not_slowed() {
    let kafka = Kafka::shared();
    let setup = Setup::new("deaf", &kafka);
    let tidecast = setup.start().await;
    let mut socket = tidecast.ingest_socket().await;
    let count = 20_000;
    for i in 0..count {
        // Every tenth is refused, so that answers would pile up.
        socket.feed_text(if i % 10 == 0 { "nonsense".into() } else { event(i) }).await;
    }
    socket.flush().await;
    let mut reader = kafka.reader(&setup.topic("events"));
    reader.until("all good ones are stored", WAIT, |records| records.len() >= count * 9 / 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_at_most_ten_times_a_second() {
    let kafka = Kafka::shared();
    let setup = Setup::new("rate", &kafka);
    let tidecast = setup.start().await;
    let mut socket = tidecast.ingest_socket().await;
    let start = std::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    for i in 0..300 {
        socket.send_text(event(i)).await;
        tick.tick().await;
    }
    let mut acks = 0;
    loop {
        let ack = socket.expect("ack", WAIT).await;
        acks += 1;
        if ack["data"]["accepted"] == 300 {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(f64::from(acks) <= seconds * 10.0 + 2.0, "{acks} answers in {seconds:.2} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_post_one_an_array_or_lines() {
    let kafka = Kafka::shared();
    let setup = Setup::new("post", &kafka);
    let tidecast = setup.start().await;
    let one: serde_json::Value = serde_json::from_str(&event(0)).unwrap();
    let answer = tidecast.post("/api/events", one.clone()).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let answer = tidecast.post("/api/events", json!([one, one])).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let url = format!("http://127.0.0.1:{}/api/events", tidecast.ports().app);
    let lines = format!("{}\n{}\n", event(1), event(2));
    let client = tidecast_tests::process::http();
    let answer =
        client.post(&url).header("content-type", "application/x-ndjson").body(lines).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    let mut reader = kafka.reader(&setup.topic("events"));
    reader.until("five are stored", WAIT, |records| records.len() == 5);
    let refused = tidecast.post("/api/events", json!({"source": "a"})).await;
    assert!(
        refused.status.is_client_error() && refused.kind.starts_with("application/problem+json"),
        "{refused:?}"
    );
    assert!(
        refused.text.contains("type") || refused.text.contains("data"),
        "the field at fault: {}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_generator_sends_is_stored_each_time() {
    let setup = Setup::new("generated", &Kafka::shared());
    let tidecast = setup.start().await;
    let url = format!("ws://127.0.0.1:{}/ws/ingest", setup.ports.app);
    let mut sent = 0;
    for _ in 0..2 {
        let arguments = ["generate", "--url", &url, "--rate", "2000", "--sources", "10", "--duration", "0.5"];
        let ended = tidecast_tests::shell::in_folder(setup.folder(), &arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let told = ended.out.lines().last().unwrap_or_default();
        let told: Value = serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {told}"));
        assert!(told["sent"] == told["acknowledged"] && told["refused"] == 0, "{told}");
        sent += told["sent"].as_u64().expect("a count");
    }
    assert!(sent > 0);
    let topic = setup.topic("events");
    eventually("all of it is in Kafka and was read", Duration::from_secs(20), async || {
        let read = tidecast.metric("events_in_total", &[("topic", &topic)]).await.unwrap_or(0.0);
        (read == sent as f64).then_some(())
    })
    .await;
}
