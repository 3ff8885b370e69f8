//! The events: a thousand sensors, 20,000 events a second of event time, one in fifty up to three seconds late.

use std::collections::HashMap;
use std::io::Write;
use tidecast_tests::oracle::Seeded;

/// Sensors, each of which always lies in the same partition.
pub const SOURCES: u64 = 1_000;
/// Partitions of the input topic.
pub const PARTITIONS: i32 = 4;
/// Watermarks stand this far behind, in every run.
pub const LATENESS_MS: i64 = 5_000;
const EPOCH_MS: i64 = 1_732_150_000_000;
const EVENTS_PER_MS: i64 = 20;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Which sensor, below [`SOURCES`].
    pub source: u64,
    /// How far its time is behind the stream's.
    pub behind_ms: i64,
    /// Hundredths of what is read, so that sums are exact.
    pub hundredths: i64,
}

/// Who measures.
#[derive(Clone, Copy, Debug)]
pub struct Sensors {
    /// How many.
    pub count: u64,
    /// One of them has half of all readings.
    pub one_is_hot: bool,
}

impl Default for Sensors {
    fn default() -> Self {
        Sensors { count: SOURCES, one_is_hot: false }
    }
}

impl Sensors {
    /// The reading with that number, the same in every run.
    pub fn reading(&self, number: u64) -> Reading {
        /// So many have readings in turn, for each is to have some; fewer at random.
        const MANY: u64 = 1_000_000;
        let mut reading = Reading::number(number);
        if self.one_is_hot && number.is_multiple_of(2) {
            reading.source = 0;
        } else if self.count >= MANY {
            reading.source = number.wrapping_mul(7_919) % self.count;
        } else if self.count != SOURCES {
            reading.source = Seeded::new(number).below(self.count);
        }
        reading
    }
}

impl Reading {
    /// The reading with that number of a thousand sensors.
    pub fn number(number: u64) -> Reading {
        let mut random = Seeded::new(number.wrapping_mul(0xA24B_AED4_963E_E407));
        let source = random.below(SOURCES);
        let behind_ms = if random.below(50) == 0 { random.below(3_001) as i64 } else { 0 };
        Reading { source, behind_ms, hundredths: random.below(10_000) as i64 }
    }

    /// The partition of its sensor.
    pub fn partition(&self) -> i32 {
        (self.source % PARTITIONS as u64) as i32
    }

    /// Its sensor's name.
    pub fn key(&self) -> String {
        format!("sensor_{:04}", self.source)
    }

    /// The event in JSON, about 128 bytes, replacing what is in `out`.
    pub fn write(&self, number: u64, kind: &str, at_ms: i64, out: &mut Vec<u8>) {
        out.clear();
        let (seconds, millis) = (at_ms / 1000, at_ms % 1000);
        let (whole, part) = (self.hundredths / 100, self.hundredths % 100);
        let source = self.source;
        // A Vec takes every write.
        let _ = write!(
            out,
            r#"{{"id":"e-{number:07}","source":"sensor_{source:04}","type":"{kind}","timestamp":{seconds}.{millis:03},"data":{{"value":{whole}.{part:02},"unit":"celsius"}}}}"#
        );
    }
}

/// Event time of the reading with that number in a topic that is filled at once.
pub fn filled_at_ms(number: u64, reading: &Reading) -> i64 {
    EPOCH_MS + number as i64 / EVENTS_PER_MS - reading.behind_ms
}

/// Past every window of `events` readings: where one event per sensor moves the watermarks.
pub fn flush_at_ms(events: u64) -> i64 {
    EPOCH_MS + events as i64 / EVENTS_PER_MS + 7_200_000
}

/// What a window must hold.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Events.
    pub count: u64,
    /// Sum in hundredths.
    pub sum: i64,
    /// Least, in hundredths.
    pub min: i64,
    /// Most, in hundredths.
    pub max: i64,
    /// How many times it was seen with revision 0.
    pub seen: u32,
}

/// Every window of `events` readings by (sensor, start in ms): the whole answer, computed apart from the program.
pub fn expected(
    events: u64,
    sensors: Sensors,
    size_ms: i64,
    advance_ms: i64,
) -> HashMap<(u64, i64), Expected> {
    let mut windows = HashMap::new();
    for number in 0..events {
        let reading = sensors.reading(number);
        let at = filled_at_ms(number, &reading);
        let mut start = at - at.rem_euclid(advance_ms);
        while start + size_ms > at {
            let new = Expected { count: 0, sum: 0, min: i64::MAX, max: i64::MIN, seen: 0 };
            let window: &mut Expected = windows.entry((reading.source, start)).or_insert(new);
            window.count += 1;
            window.sum += reading.hundredths;
            window.min = window.min.min(reading.hundredths);
            window.max = window.max.max(reading.hundredths);
            start -= advance_ms;
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_the_same_event_and_about_128_bytes() {
        let (mut once, mut again) = (Vec::new(), Vec::new());
        for number in [0, 7, 3_999_999] {
            let reading = Reading::number(number);
            reading.write(number, "sensor_data", filled_at_ms(number, &reading), &mut once);
            Reading::number(number).write(number, "sensor_data", filled_at_ms(number, &reading), &mut again);
            assert_eq!(once, again);
            assert!((115..=130).contains(&once.len()), "{} bytes", once.len());
            let event: serde_json::Value = serde_json::from_slice(&once).unwrap();
            assert_eq!(event["source"], reading.key());
        }
    }

    #[test]
    fn every_event_is_in_a_window_and_in_ten_when_hopping() {
        let total = |windows: HashMap<(u64, i64), Expected>| windows.values().map(|w| w.count).sum::<u64>();
        assert_eq!(total(expected(50_000, Sensors::default(), 1_000, 1_000)), 50_000);
        assert_eq!(total(expected(50_000, Sensors::default(), 10_000, 1_000)), 500_000);
    }
}
