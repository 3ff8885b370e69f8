//! SIGTERM: what was taken in is finished, flushed and committed, the group is left, and all that in under five seconds.

use std::time::Duration;
use tidecast_tests::{Kafka, Setup, eventually};

const LIMIT: Duration = Duration::from_secs(5);

fn setup(what: &str, kafka: &Kafka) -> Setup {
    Setup::new(what, kafka).with(
        r#"
        [[series]]
        name = "s"
        window = { kind = "tumbling", size = "1s" }
        lateness = "0s"
        "#,
    )
}

fn event(at: u64) -> String {
    format!(r#"{{"source":"a","type":"t","timestamp":{},"data":{{"value":1}}}}"#, 1_732_150_000 + at)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_read_is_committed_and_the_exit_is_clean() {
    let kafka = Kafka::shared();
    let setup = setup("sigterm", &kafka);
    let mut tidecast = setup.start().await;
    let (topic, producer) = (setup.topic("events"), kafka.producer());
    for at in 0..5_000 {
        producer.send_json(&topic, "a", &event(at));
    }
    producer.flush();
    let mut reader = kafka.reader(&setup.topic("aggregates"));
    reader.until("windows close", Duration::from_secs(30), |records| records.len() > 10);
    let (status, took) = tidecast.terminate(LIMIT).await;
    assert!(status.success(), "{status}:\n{}", tidecast.log());
    assert!(took < LIMIT, "{took:?}");
    // Committed offsets and visible outputs agree: a record a second, each closed by the next one.
    let committed: i64 = kafka.committed(&setup.name, &topic).into_iter().filter(|o| *o > 0).sum();
    reader.until("what is committed is visible", LIMIT, |records| records.len() as i64 >= committed - 1);
    let closed = reader.for_a_while(Duration::from_millis(500)).len() as i64;
    assert!(
        committed > 10 && closed == committed - 1,
        "{committed} events committed, {closed} windows closed"
    );
    // A second start goes on where the first one stopped, and has no session to wait out.
    let _again = setup.start().await;
    let records = reader.until("the rest closes", Duration::from_secs(30), |records| records.len() >= 4_999);
    assert_eq!(records.iter().filter(|r| r.json()["revision"] != 0).count(), 0, "nothing is said twice");
    assert_eq!(records.len(), 4_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_do_it_is_quick() {
    let kafka = Kafka::shared();
    let setup = setup("quiet", &kafka);
    let mut tidecast = setup.start().await;
    let mut socket = tidecast.subscribe_socket().await;
    socket.subscribe(&[], &[]).await;
    let (status, took) = tidecast.terminate(LIMIT).await;
    assert!(status.success() && took < LIMIT, "{status} after {took:?}");
    let code = socket.closed(Duration::from_secs(2)).await;
    assert!(
        [1001, 1012].contains(&code),
        "a client is told that the server goes away or restarts, not {code}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_while_the_broker_is_away() {
    let mut kafka = Kafka::own();
    let setup = setup("orphan", &kafka);
    let mut tidecast = setup.start().await;
    kafka.stop();
    eventually("readiness falls", Duration::from_secs(60), async || {
        (tidecast.admin("/health/ready").await.status == 503).then_some(())
    })
    .await;
    let (status, took) = tidecast.terminate(LIMIT).await;
    assert!(took < LIMIT && status.code().is_some(), "{status} after {took:?}");
}
