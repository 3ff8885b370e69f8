//! Whether the windows that came out are those that had to: every one compared with what was computed apart.

use crate::topics::each;
use crate::workload::{Sensors, expected, flush_at_ms};
use anyhow::Result;
use rdkafka::message::Message;
use serde::Deserialize;
use tidecast_tests::Kafka;

/// What was found wrong; all zero is exact.
#[derive(Default)]
pub struct Check {
    /// Windows that had to come.
    pub windows: usize,
    /// Of these, those that did not.
    pub missing: usize,
    /// That came more than once.
    pub doubled: u64,
    /// With another count, sum or extreme.
    pub wrong: u64,
    /// Of which there should be none.
    pub extra: u64,
}

impl Check {
    /// Nothing is.
    pub fn is_exact(&self) -> bool {
        (self.missing, self.doubled, self.wrong, self.extra) == (0, 0, 0, 0)
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_exact() {
            return f.write_str("yes");
        }
        let Check { missing, doubled, wrong, extra, .. } = self;
        write!(f, "no: {missing} missing, {doubled} doubled, {wrong} wrong, {extra} extra")
    }
}

#[derive(Deserialize)]
struct Aggregate<'a> {
    key: &'a str,
    window_start: f64,
    event_count: u64,
    aggregates: Fields,
    revision: u64,
}

#[derive(Deserialize)]
struct Fields {
    value: Option<Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    sum: f64,
    min: f64,
    max: f64,
}

/// Reads the committed aggregates of `events` readings, and compares.
pub fn check(kafka: &Kafka, topic: &str, events: u64, size: i64, advance: i64) -> Result<Check> {
    check_of(kafka, topic, events, Sensors::default(), size, advance)
}

/// The same of these sensors' readings.
pub fn check_of(
    kafka: &Kafka,
    topic: &str,
    events: u64,
    sensors: Sensors,
    size: i64,
    advance: i64,
) -> Result<Check> {
    let mut windows = expected(events, sensors, size, advance);
    let mut found = Check { windows: windows.len(), ..Check::default() };
    each(kafka, topic, |message| {
        let aggregate: Aggregate<'_> = serde_json::from_slice(message.payload().unwrap_or_default())?;
        let source =
            aggregate.key.strip_prefix("sensor_").and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
        let start = (aggregate.window_start * 1000.0).round() as i64;
        if start + size > flush_at_ms(events) {
            return Ok(());
        }
        let Some(window) = windows.get_mut(&(source, start)) else {
            found.extra += 1;
            return Ok(());
        };
        window.seen += u32::from(aggregate.revision == 0);
        found.doubled += u64::from(window.seen > 1 || aggregate.revision > 0);
        let near = |got: f64, hundredths: i64| {
            (got - hundredths as f64 / 100.0).abs() < 1e-6 * (hundredths.abs() as f64).max(1.0)
        };
        let right = aggregate
            .aggregates
            .value
            .is_some_and(|v| near(v.sum, window.sum) && near(v.min, window.min) && near(v.max, window.max));
        found.wrong += u64::from(!right || aggregate.event_count != window.count);
        Ok(())
    })?;
    found.missing = windows.values().filter(|window| window.seen == 0).count();
    Ok(found)
}
