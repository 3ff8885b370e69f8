//! Event time: when a thing happened, as its producer says; never when we saw it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z. The finest grain that an epoch-seconds double still tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event; the watermark of a partition that has had none.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every event.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// From epoch milliseconds, as in a Kafka record.
    pub fn from_millis(millis: i64) -> Self {
        EventTime(millis.saturating_mul(1_000))
    }

    /// Epoch milliseconds, rounded down.
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Epoch seconds; exact for whole seconds, within a microsecond otherwise.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Later by `micros` (earlier when negative), held at the ends of the range.
    pub fn plus_micros(self, micros: i64) -> Self {
        EventTime(self.0.saturating_add(micros))
    }

    /// Reads RFC 3339, to the microsecond.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| EventTime(time.timestamp_micros()))
    }

    /// RFC 3339 in UTC with as many fractional digits (0, 3 or 6) as are needed.
    pub fn to_rfc3339(self) -> String {
        let format = if self.0 % 1_000_000 == 0 {
            chrono::SecondsFormat::Secs
        } else if self.0 % 1_000 == 0 {
            chrono::SecondsFormat::Millis
        } else {
            chrono::SecondsFormat::Micros
        };
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(time) => time.to_rfc3339_opts(format, true),
            None => if self.0 < 0 { "-262143-01-01T00:00:00Z" } else { "+262142-12-31T23:59:59Z" }.to_owned(),
        }
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Epoch seconds as a JSON number: an integer when whole, a decimal fraction otherwise.
pub mod epoch_seconds {
    use super::EventTime;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the number.
    pub fn serialize<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        if time.0 % 1_000_000 == 0 {
            serializer.serialize_i64(time.0 / 1_000_000)
        } else {
            serializer.serialize_f64(time.as_seconds())
        }
    }

    /// Reads the number, to the nearest microsecond.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Ok(EventTime((seconds * 1e6).round() as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::EventTime;

    #[test]
    fn writes_only_the_digits_it_needs() {
        assert_eq!(EventTime(1_768_564_232_665_000).to_rfc3339(), "2026-01-16T11:50:32.665Z");
        assert_eq!(EventTime(1_768_564_232_000_000).to_rfc3339(), "2026-01-16T11:50:32Z");
        assert_eq!(EventTime(1).to_rfc3339(), "1970-01-01T00:00:00.000001Z");
    }
}
