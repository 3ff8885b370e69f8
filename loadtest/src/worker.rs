//! Workers over the readings: processes that do nothing but windows, alone or in a group.

use crate::workload::{LATENESS_MS, PARTITIONS};
use tidecast_tests::{Kafka, Setup, Tidecast};

/// Events that are in their windows.
pub const WINDOWED: &str = "events_windowed_total";

/// A worker with tumbling windows of `window_ms` in a group and topics of its own.
pub fn worker(what: &str, kafka: &Kafka, window_ms: i64) -> Setup {
    Setup::new(what, kafka).with(&format!(
        r#"
        roles = ["worker"]
        [topics]
        partitions = {PARTITIONS}
        [[series]]
        name = "readings"
        key = "source"
        values = ["value"]
        window = {{ kind = "tumbling", size = "{window_ms}ms" }}
        lateness = "{LATENESS_MS}ms"
        idle_after = "10m"
        "#
    ))
}

/// The same in the group of that name, whose topics all members share.
pub fn member(what: &str, kafka: &Kafka, group: &str, window_ms: i64) -> Setup {
    worker(what, kafka, window_ms).with(&format!(
        r#"
        [kafka]
        group_id = "{group}"
        [topics]
        events = "{group}.events"
        aggregates = "{group}.aggregates"
        predictions = "{group}.predictions"
        alerts = "{group}.alerts"
        metrics = "{group}.metrics"
        dlq = "{group}.dlq"
        "#
    ))
}

/// What the ledgers of these workers say of a topic's events, together: [`WINDOWED`] or another of their counters.
pub async fn counted(workers: impl IntoIterator<Item = &Tidecast>, counter: &str, topic: &str) -> u64 {
    let mut sum = 0.0;
    for worker in workers {
        sum += worker.metric(counter, &[("topic", topic)]).await.unwrap_or(0.0);
    }
    sum as u64
}
