//! The broker is away: at the start it says so, is not ready, and goes on trying; later it pauses, and loses nothing.

use std::time::Duration;
use tidecast_tests::wait::never;
use tidecast_tests::{Kafka, Setup, eventually};

const SERIES: &str =
    "[[series]]\nname = \"s\"\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"\n";

fn event(at: u64) -> String {
    format!(r#"{{"source":"a","type":"t","timestamp":{},"data":{{"value":1}}}}"#, 1_732_150_000 + at)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_and_then_works() {
    let mut kafka = Kafka::own();
    let setup = Setup::new("away", &kafka).with(SERIES);
    kafka.stop();
    let tidecast = setup.spawn(&[]);
    let alive = async || {
        tidecast.try_get(tidecast.ports().admin, "/health/live").await.filter(|a| a.status == 200).map(|_| ())
    };
    eventually("it is alive without a broker", Duration::from_secs(20), alive).await;
    eventually("it says who does not answer", Duration::from_secs(20), async || {
        tidecast.log().contains(kafka.bootstrap()).then_some(())
    })
    .await;
    never("ready without a broker, or ended", Duration::from_secs(3), async || {
        let ready = tidecast.admin("/health/ready").await.status;
        (ready != 503 || !tidecast.is_running()).then_some(ready)
    })
    .await;
    let health = tidecast.admin("/health/kafka").await;
    assert_eq!(health.status, 503, "{health:?}");
    kafka.start();
    tidecast.ready().await;
    let producer = kafka.producer();
    for at in 0..10 {
        producer.send_json(&setup.topic("events"), "a", &event(at));
    }
    producer.flush();
    kafka
        .reader(&setup.topic("aggregates"))
        .until("windows close", Duration::from_secs(30), |records| records.len() >= 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn away_in_the_middle_it_pauses_and_catches_up() {
    let mut kafka = Kafka::own();
    let setup = Setup::new("middle", &kafka).with(SERIES);
    let tidecast = setup.start().await;
    let topic = setup.topic("events");
    let send = |kafka: &Kafka, range: std::ops::Range<u64>| {
        let producer = kafka.producer();
        range.for_each(|at| producer.send_json(&topic, "a", &event(at)));
        producer.flush();
    };
    send(&kafka, 0..2_000);
    kafka
        .reader(&setup.topic("aggregates"))
        .until("windows close", Duration::from_secs(30), |records| records.len() >= 1_000);
    kafka.stop();
    eventually("readiness falls", Duration::from_secs(60), async || {
        (tidecast.admin("/health/ready").await.status == 503).then_some(())
    })
    .await;
    assert!(tidecast.is_running());
    kafka.start();
    send(&kafka, 2_000..4_000);
    tidecast.ready().await;
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    reader.until("all windows close", Duration::from_secs(60), |records| records.len() >= 3_999);
    let mut starts: Vec<i64> = reader
        .for_a_while(Duration::from_secs(1))
        .iter()
        .map(|r| r.json()["window_start"].as_f64().unwrap() as i64)
        .collect();
    starts.sort();
    let expected: Vec<i64> = (0..3_999).map(|at| 1_732_150_000 + at).collect();
    assert_eq!(starts, expected, "each window once");
}
