//! Durations as people write them: `250ms`, `10s`, `1h30m`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
];

/// Reads whole numbers, each with a unit (`us`, `ms`, `s`, `m`, `h`, `d`, `w`), greatest unit first. `0` needs none.
/// `None` for anything else, and past 100 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const LONGEST_MICROS: u64 = 100 * 366 * 86_400_000_000;
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total: u64 = 0;
    let mut unit_before = u64::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, micros) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        if *micros >= unit_before {
            return None;
        }
        unit_before = *micros;
        total = total.checked_add(number.checked_mul(*micros)?)?;
        rest = &rest[letters..];
    }
    (total <= LONGEST_MICROS).then(|| Duration::from_micros(total))
}

/// Writes the shortest text that [`parse_duration`] reads back to the same duration (to the microsecond).
pub fn format_duration(duration: Duration) -> String {
    let mut micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    // Weeks are never written: 7d reads better than 1w beside 8d.
    for (unit, size) in UNITS.iter().rev().skip(1) {
        if micros >= *size {
            out.push_str(&format!("{}{unit}", micros / size));
            micros %= size;
        }
    }
    out
}

/// Durations in serialised objects: written as text, in the form above.
pub mod as_text {
    use serde::Serializer;
    use std::time::Duration;

    /// Writes the text.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }
}

#[cfg(test)]
mod tests {
    use super::{format_duration, parse_duration};
    use std::time::Duration;

    #[test]
    fn reads_units_and_sums_and_nothing_else() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for wrong in
            ["", "5", "s", "1x", "-1s", "1.5s", "1s1h", "1s1s", "1 s", "99999999999999999999s", "9999999w"]
        {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(micros in 0u64..3_000_000_000_000_000) {
            let duration = Duration::from_micros(micros);
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
    }
}
