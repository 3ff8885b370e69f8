//! The forms of `timestamp`: epoch seconds, epoch milliseconds, RFC 3339.

use crate::EventTime;

/// Above this a number is epoch milliseconds (10^11 s would be the year 5138; 10^11 ms is 1973).
const MILLISECONDS_ABOVE: f64 = 1e11;

/// From epoch seconds, or milliseconds above 10^11, to the nearest microsecond.
pub(super) fn from_number(number: f64) -> Result<EventTime, &'static str> {
    if number < 0.0 {
        return Err("timestamp is before 1970");
    }
    let micros = if number > MILLISECONDS_ABOVE { number * 1e3 } else { number * 1e6 };
    // A cast holds what is out of range at the ends.
    Ok(EventTime(micros.round() as i64))
}

/// From an RFC 3339 date-time. The offset may be missing (UTC); `t`, `z` and a space for the `T` are taken as the RFC
/// allows; a leap second is the first instant after it.
pub(super) fn from_rfc3339(text: &str) -> Result<EventTime, &'static str> {
    const FORM: &str = "timestamp is no RFC 3339 date-time such as 2026-01-16T11:50:32.665Z";
    const RANGE: &str = "timestamp names no moment of the calendar";
    let bytes = text.as_bytes();
    let digit =
        |at: usize| bytes.get(at).filter(|byte| byte.is_ascii_digit()).map(|&byte| i64::from(byte - b'0'));
    let two = |at: usize| Some(digit(at)? * 10 + digit(at + 1)?);
    let sign = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| allowed.contains(byte));

    let date = || Some((two(0)? * 100 + two(2)?, two(5)?, two(8)?));
    let clock = || Some((two(11)?, two(14)?, two(17)?));
    let (Some((year, month, day)), Some((hour, minute, second))) = (date(), clock()) else {
        return Err(FORM);
    };
    if !(sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt ") && sign(13, b":") && sign(16, b":")) {
        return Err(FORM);
    }

    let mut at = 19;
    let mut micros = 0;
    if sign(at, b".") {
        at += 1;
        let first = at;
        let mut weight = 100_000;
        while let Some(value) = digit(at) {
            micros += value * weight;
            weight /= 10;
            at += 1;
        }
        if at == first {
            return Err(FORM);
        }
    }

    let offset_seconds = match bytes.get(at) {
        None => 0,
        Some(b'Z' | b'z') if at + 1 == bytes.len() => 0,
        Some(&mark @ (b'+' | b'-')) if at + 6 == bytes.len() && sign(at + 3, b":") => {
            let (Some(hours), Some(minutes)) = (two(at + 1), two(at + 4)) else { return Err(FORM) };
            if hours > 23 || minutes > 59 {
                return Err(RANGE);
            }
            (hours * 60 + minutes) * if mark == b'+' { 60 } else { -60 }
        }
        Some(_) => return Err(FORM),
    };

    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(RANGE);
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err(RANGE);
    }
    let seconds =
        days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_seconds;
    // A leap second is inserted at the end of a month, in UTC: the second counted here is then the next month's first.
    if second == 60 && (seconds.rem_euclid(86_400) != 0 || !is_first_of_month(seconds.div_euclid(86_400))) {
        return Err(RANGE);
    }
    if seconds < 0 {
        return Err("timestamp is before 1970");
    }
    Ok(EventTime(seconds * 1_000_000 + micros))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: years counted from March, so that the leap day is last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01; (153 m + 2) / 5 sums the months March to February.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn is_first_of_month(days: i64) -> bool {
    // Rare (leap seconds only), so a search over the months of the years around is good enough.
    let year = 1970 + days.div_euclid(366);
    (year..=year + 30).any(|year| (1..=12).any(|month| days_from_epoch(year, month, 1) == days))
}

#[cfg(test)]
mod tests {
    use super::{from_number, from_rfc3339};

    #[test]
    fn rfc3339_agrees_with_chrono_over_four_centuries_of_days_and_every_offset() {
        for day in (0..150_000).step_by(7) {
            let at = chrono::DateTime::from_timestamp(day * 86_400 + day % 86_400, 123_456_000).unwrap();
            for minutes in [0, 1, 59, 60, 330, 845, 1439] {
                for sign in [1, -1] {
                    let offset = chrono::FixedOffset::east_opt(sign * minutes * 60).unwrap();
                    let text = at.with_timezone(&offset).to_rfc3339();
                    if at.timestamp() >= 0 {
                        assert_eq!(
                            from_rfc3339(&text).map(|time| time.0),
                            Ok(at.timestamp_micros()),
                            "{text}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn forms_that_are_taken() {
        let base = 1_768_564_232_000_000;
        for (text, micros) in [
            ("2026-01-16T11:50:32Z", base),
            ("2026-01-16T11:50:32", base),
            ("2026-01-16t11:50:32z", base),
            ("2026-01-16 11:50:32+00:00", base),
            ("2026-01-16T11:50:32-00:00", base),
            ("2026-01-16T13:50:32+02:00", base),
            ("2026-01-16T11:50:32.5", base + 500_000),
            ("2026-01-16T11:50:32.665Z", base + 665_000),
            ("2026-01-16T11:50:32.1234567890123Z", base + 123_456),
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T02:00:00+02:00", 0),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("1990-12-31T15:59:60-08:00", 662_688_000_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ] {
            assert_eq!(from_rfc3339(text).map(|time| time.0), Ok(micros), "{text}");
        }
    }

    #[test]
    fn forms_that_are_refused() {
        for text in [
            "",
            "now",
            "1732150000",
            "2026-01-16",
            "2026-01-16T11:50",
            "2026-01-16T11:50Z",
            "20260116T115032Z",
            "2026-01-16T11:50:32.",
            "2026-01-16T11:50:32.Z",
            "2026-01-16T11:50:32,5Z",
            "2026-01-16T11:50:32+0200",
            "2026-01-16T11:50:32+02",
            "2026-01-16T11:50:32+24:00",
            "2026-01-16T11:50:32+02:60",
            "2026-01-16T11:50:32ZZ",
            "2026-01-16T11:50:32Z ",
            " 2026-01-16T11:50:32Z",
            "2026-13-16T11:50:32Z",
            "2026-00-16T11:50:32Z",
            "2026-02-29T11:50:32Z",
            "1900-02-29T11:50:32Z",
            "2026-01-32T11:50:32Z",
            "2026-01-00T11:50:32Z",
            "2026-01-16T24:00:00Z",
            "2026-01-16T11:60:32Z",
            "2026-01-16T11:50:61Z",
            "2026-01-16T11:50:60Z",
            "2016-12-30T23:59:60Z",
            "2026-01-16T11:50:3２Z",
            "-2026-01-16T11:50:32Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:59:59+01:00",
        ] {
            assert!(from_rfc3339(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_up_to_1e11_and_milliseconds_above() {
        assert_eq!(from_number(1_732_150_000.25).map(|time| time.0), Ok(1_732_150_000_250_000));
        assert_eq!(from_number(1_732_150_000_250.0).map(|time| time.0), Ok(1_732_150_000_250_000));
        assert_eq!(from_number(1e11).map(|time| time.0), Ok(100_000_000_000_000_000));
        assert_eq!(from_number(100_000_000_001.0).map(|time| time.0), Ok(100_000_000_001_000));
        assert_eq!(from_number(1e300).map(|time| time.0), Ok(i64::MAX));
        assert_eq!(from_number(-0.0).map(|time| time.0), Ok(0));
        assert!(from_number(-1e-9).is_err());
    }
}
