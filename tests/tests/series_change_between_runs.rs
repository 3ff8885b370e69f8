//! Series change from one run to the next: what was decided of the others in the past holds for them, wherever they stand.

use std::time::Duration;
use tidecast_tests::kafka::Record;
use tidecast_tests::{Kafka, Setup, eventually};

const WAIT: Duration = Duration::from_secs(30);
const AT: u64 = 1_768_564_800;
const ALWAYS: &str = r#"
[state]
snapshot_interval_seconds = 3600
"#;
const PATIENT: &str = r#"
[[series]]
name = "patient"
key = "source"
window = { kind = "tumbling", size = "10s" }
lateness = "0s"
idle_after = "1h"
"#;
const QUICK: &str = r#"
[[series]]
name = "quick"
key = "type"
window = { kind = "tumbling", size = "10s" }
lateness = "0s"
grace = "1h"
idle_after = "1s"
"#;

/// What was said of a series' first window, as it came: events and revision.
fn first_window(records: &[Record], series: &str) -> Vec<(u64, u64)> {
    let of_series: Vec<_> = records.iter().map(Record::json).filter(|a| a["series"] == series).collect();
    let first = |a: &&serde_json::Value| a["window_start"] == of_series[0]["window_start"];
    let of = |a: &serde_json::Value| (a["event_count"].as_u64().unwrap(), a["revision"].as_u64().unwrap());
    of_series.iter().filter(first).map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_closed_by_quiet_is_corrected_though_a_series_before_its_own_is_gone() {
    let kafka = Kafka::shared();
    let setup = Setup::new("series", &kafka).with("[topics]\npartitions = 1").with(ALWAYS);
    let topic = setup.topic("events");
    kafka.create(&topic, 1).await;
    let both = setup.with(PATIENT).with(QUICK);
    kafka.send_seconds(&topic, AT, [0, 1]);
    let mut tidecast = both.start().await;
    let mut aggregates = kafka.reader(&both.topic("aggregates"));
    aggregates.until("the quiet one closes", WAIT, |records| first_window(records, "quick") == [(2, 0)]);
    eventually("what was decided is committed", WAIT, async || {
        (kafka.committed(&both.name, &topic) == [2]).then_some(())
    })
    .await;
    tidecast.kill();

    let alone = both.without("series").with(QUICK);
    let _tidecast = alone.start().await;
    kafka.send_seconds(&topic, AT, [2, 20]);
    aggregates.until("the third event is in its window", WAIT, |records| {
        first_window(records, "quick") == [(2, 0), (3, 1)]
    });
}
