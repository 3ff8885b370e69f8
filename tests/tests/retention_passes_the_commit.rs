//! Retention takes records that nobody has read: nothing is skipped in silence, and what the snapshot has is kept.

use std::time::Duration;
use tidecast_tests::kafka::Record;
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(30);
const AT: u64 = 1_768_564_800;
const SERIES: &str = r#"
[[series]]
name = "t"
key = "source"
window = { kind = "tumbling", size = "1h" }
lateness = "1s"
idle_after = "1h"
"#;

fn counts(records: &[Record]) -> Vec<(u64, u64)> {
    let of = |a: serde_json::Value| (a["event_count"].as_u64().unwrap(), a["revision"].as_u64().unwrap());
    records.iter().map(|record| of(record.json())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_stops_and_says_the_choice_and_goes_on_from_the_snapshot() {
    let kafka = Kafka::shared();
    let setup = Setup::new("retention", &kafka).with(SERIES);
    let (topic, group) = (setup.topic("events"), setup.name.clone());
    kafka.create(&topic, 1).await;
    kafka.send_seconds(&topic, AT, 0..500);
    let mut tidecast = setup.start().await;
    eventually("all of it is read", WAIT, async || (kafka.committed(&group, &topic) == [500]).then_some(()))
        .await;
    tidecast.terminate(Duration::from_secs(10)).await;

    // What the commit has passed may go: the snapshot has it.
    kafka.forget(&topic, 0, 450).await;
    let mut tidecast = setup.start().await;
    kafka.send_seconds(&topic, AT, 500..600);
    eventually("more is read", WAIT, async || (kafka.committed(&group, &topic) == [600]).then_some(())).await;
    tidecast.terminate(Duration::from_secs(10)).await;

    // Ten records go that nobody has read.
    kafka.send_seconds(&topic, AT, 600..700);
    kafka.forget(&topic, 0, 610).await;
    let mut tidecast = setup.spawn(&[]);
    eventually("it says why it is not ready", WAIT, async || {
        let health = tidecast.try_get(tidecast.ports().admin, "/health/ready").await?;
        (health.status == 503
            && health.text.contains("offset 600")
            && health.text.contains("--reset-offsets"))
        .then_some(())
    })
    .await;
    assert_eq!(kafka.committed(&group, &topic), [600], "nothing was skipped");
    tidecast.terminate(Duration::from_secs(10)).await;

    // Its operator chooses to go on without them.
    kafka.reset_offset(&group, &topic, 0, 610);
    let tidecast = setup.start().await;
    kafka.send_seconds(&topic, AT, 3_700..3_701);
    let mut aggregates = kafka.reader(&setup.topic("aggregates"));
    let closed = aggregates.until("the window closes", WAIT, |records| !records.is_empty());
    assert_eq!(counts(closed), [(690, 0)], "what the snapshot has is kept");
    assert!(tidecast.log().contains("no longer has 10 records"), "{}", tidecast.log());
    // Of the last start, too, the ledger adds up: what was never read was not counted.
    tidecast.metric_becomes("events_in_total", &[("topic", &topic)], 691.0).await;
}
