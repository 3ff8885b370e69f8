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
        let mut text = Vec::with_capacity(27);
        self.put_rfc3339(&mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Appends [`EventTime::to_rfc3339`]; every forecast has one for each step of its path.
    pub fn put_rfc3339(self, text: &mut Vec<u8>) {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000) as u32);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
        let (year, month, day) = civil(days);
        if !(0..=9_999).contains(&year) {
            return text.extend_from_slice(far_rfc3339(self.0).as_bytes());
        }
        let mut digits = *b"0000-00-00T00:00:00.000000Z";
        put_digits(&mut digits[0..4], year as u32);
        put_digits(&mut digits[5..7], month);
        put_digits(&mut digits[8..10], day);
        put_digits(&mut digits[11..13], second / 3_600);
        put_digits(&mut digits[14..16], second / 60 % 60);
        put_digits(&mut digits[17..19], second % 60);
        put_digits(&mut digits[20..26], micros);
        let end = if micros == 0 {
            19
        } else if micros.is_multiple_of(1_000) {
            23
        } else {
            26
        };
        text.extend_from_slice(&digits[..end]);
        text.push(b'Z');
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar without an end (H. Hinnant,
/// *chrono-Compatible Low-Level Date Algorithms*, `civil_from_days`).
fn civil(days: i64) -> (i64, u32, u32) {
    let since = days + 719_468;
    let (era, day_of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years that begin in March: a leap day is then their last.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * from_march + 2) / 5 + 1) as u32;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn put_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Beyond the years of four digits.
#[cold]
fn far_rfc3339(micros: i64) -> String {
    let format = if micros % 1_000_000 == 0 {
        chrono::SecondsFormat::Secs
    } else if micros % 1_000 == 0 {
        chrono::SecondsFormat::Millis
    } else {
        chrono::SecondsFormat::Micros
    };
    match chrono::DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(format, true),
        None => if micros < 0 { "-262143-01-01T00:00:00Z" } else { "+262142-12-31T23:59:59Z" }.to_owned(),
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
    use super::{EventTime, far_rfc3339};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_what_chrono_writes(
            micros in prop_oneof![any::<i64>(), -62_200_000_000_000_000..253_500_000_000_000_000_i64],
            unit in prop_oneof![Just(1), Just(1_000), Just(1_000_000), Just(86_400_000_000_i64)],
        ) {
            let micros = micros / unit * unit;
            prop_assert_eq!(EventTime(micros).to_rfc3339(), far_rfc3339(micros));
        }
    }

    #[test]
    fn writes_only_the_digits_it_needs() {
        assert_eq!(EventTime(1_768_564_232_665_000).to_rfc3339(), "2026-01-16T11:50:32.665Z");
        assert_eq!(EventTime(1_768_564_232_000_000).to_rfc3339(), "2026-01-16T11:50:32Z");
        assert_eq!(EventTime(1).to_rfc3339(), "1970-01-01T00:00:00.000001Z");
    }
}
