//! Times as files write them: whole numbers, decimals, dates, months, quarters and ISO 8601 date-times, each printed again
//! the way it was written.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde_json::Value;
use std::cmp::Ordering;

/// Where an observation is in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stamp {
    /// A whole number: an index, a year, an epoch time.
    Whole(i64),
    /// A decimal, and how many digits are written behind its point.
    Decimal(f64, usize),
    /// A time of the calendar.
    Time(Moment),
}

/// A time of the calendar, as on the wall, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Date and time of day as written.
    pub local: NaiveDateTime,
    /// Seconds east of UTC, where written.
    pub offset: Option<i32>,
    /// How it is written.
    pub form: Form,
}

/// Ways to write a time, from the coarse to the fine.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Form {
    /// `2026Q1`, or `2026-Q1` with a dash.
    Quarter { dash: bool },
    /// `2026-01`
    Month { separator: char },
    /// `2026-01-31`, `2026/01/31`, or `20260131` without a separator.
    Date { separator: Option<char> },
    /// `2026-01-31T10:30:00.5Z` and less.
    Time { date: char, between: char, seconds: bool, digits: usize, zone: Zone },
}

/// How an offset from UTC is written.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Zone {
    /// Not at all.
    None,
    /// `Z`
    Utc,
    /// `+0130`, or `+01:30` with a colon.
    Offset { colon: bool },
}

impl Stamp {
    /// Reads one; `None` for what is none of the forms.
    pub fn parse(text: &str) -> Option<Stamp> {
        let text = text.trim();
        if let Ok(whole) = text.parse::<i64>() {
            return Some(Stamp::Whole(whole));
        }
        if let Ok(value) = text.parse::<f64>() {
            let digits = text.split_once('.').map_or(0, |(_, tail)| tail.len());
            let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
            return value.is_finite().then_some(Stamp::Decimal(value, if plain { digits } else { 6 }));
        }
        Moment::parse(text).map(Stamp::Time)
    }

    /// A number like `20260131` as the date it is, if it is one between 1800 and 2200.
    pub fn compact_date(self) -> Option<Stamp> {
        let Stamp::Whole(number @ 18_000_101..=22_001_231) = self else { return None };
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
        let form = Form::Date { separator: None };
        Some(Stamp::Time(Moment { local: date.and_time(NaiveTime::MIN), offset: None, form }))
    }

    /// In order of time. Numbers and times are not comparable; see [`Stamp::is_number`].
    pub fn order(&self, other: &Stamp) -> Ordering {
        match (self, other) {
            (Stamp::Whole(a), Stamp::Whole(b)) => a.cmp(b),
            (Stamp::Time(a), Stamp::Time(b)) => a.utc().cmp(&b.utc()),
            (a, b) => a.value().total_cmp(&b.value()),
        }
    }

    /// A number, not a time of the calendar.
    pub fn is_number(&self) -> bool {
        !matches!(self, Stamp::Time(_))
    }

    /// The number, or seconds from 1970.
    pub fn value(&self) -> f64 {
        match self {
            Stamp::Whole(whole) => *whole as f64,
            Stamp::Decimal(value, _) => *value,
            Stamp::Time(moment) => {
                let utc = moment.utc().and_utc();
                utc.timestamp() as f64 + f64::from(utc.timestamp_subsec_nanos()) / 1e9
            }
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        match self {
            Stamp::Whole(whole) => whole.to_string(),
            Stamp::Decimal(value, digits) => format!("{value:.digits$}"),
            Stamp::Time(moment) => moment.text(),
        }
    }

    /// A number as a number, anything else as text.
    pub fn json(&self) -> Value {
        match self {
            Stamp::Whole(whole) => Value::from(*whole),
            // As it is printed, so that 0.1 + 0.2 is 0.3.
            Stamp::Decimal(..) => self.text().parse::<f64>().map_or(Value::Null, Value::from),
            Stamp::Time(_) => Value::from(self.text()),
        }
    }
}

impl Moment {
    fn parse(text: &str) -> Option<Moment> {
        if !text.is_ascii() {
            return None;
        }
        let digits = |range: std::ops::Range<usize>| -> Option<u32> {
            let part = text.get(range)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let year = digits(0..4)? as i32;
        let at = |local: NaiveDate, form| {
            Some(Moment { local: local.and_time(NaiveTime::MIN), offset: None, form })
        };
        let rest = &text[4..];
        if let Some(quarter) = rest.strip_prefix("-Q").or_else(|| rest.strip_prefix('Q')) {
            let quarter: u32 = quarter.parse().ok().filter(|q| (1..=4).contains(q))?;
            let form = Form::Quarter { dash: rest.starts_with('-') };
            return at(NaiveDate::from_ymd_opt(year, 3 * quarter - 2, 1)?, form);
        }
        let separator = rest.chars().next().filter(|c| matches!(c, '-' | '/'))?;
        let month = digits(5..7)?;
        if text.len() == 7 {
            return at(NaiveDate::from_ymd_opt(year, month, 1)?, Form::Month { separator });
        }
        let date = NaiveDate::from_ymd_opt(year, month, digits(8..10)?)?;
        if !text[7..].starts_with(separator) {
            return None;
        }
        if text.len() == 10 {
            return at(date, Form::Date { separator: Some(separator) });
        }
        let between = text[10..].chars().next().filter(|c| matches!(c, 'T' | 't' | ' '))?;
        let (time, zone, offset) = zone(text[11..].trim_end())?;
        let (hour, minute) = (pair(time.get(0..2)?)?, pair(time.get(3..5)?)?);
        let (seconds, fraction) = match time.get(5..)? {
            "" => (None, ""),
            tail => {
                let second = pair(tail.strip_prefix(':')?.get(0..2)?)?;
                (Some(second), tail[3..].strip_prefix(['.', ',']).or(tail[3..].is_empty().then_some(""))?)
            }
        };
        if time.as_bytes()[2] != b':' || !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
            return None;
        }
        let nanos = format!("{fraction:0<9}").parse().ok()?;
        let time = NaiveTime::from_hms_nano_opt(hour, minute, seconds.unwrap_or(0), nanos)?;
        let form =
            Form::Time { date: separator, between, seconds: seconds.is_some(), digits: fraction.len(), zone };
        Some(Moment { local: date.and_time(time), offset, form })
    }

    /// In UTC, which is what it is where no offset is written.
    pub fn utc(&self) -> NaiveDateTime {
        let offset = chrono::Duration::seconds(i64::from(self.offset.unwrap_or(0)));
        self.local.checked_sub_signed(offset).unwrap_or(self.local)
    }

    /// The same way of writing for another time, which is in UTC.
    pub fn at_utc(self, utc: DateTime<chrono::Utc>) -> Option<Moment> {
        let offset = chrono::Duration::seconds(i64::from(self.offset.unwrap_or(0)));
        Some(Moment { local: utc.naive_utc().checked_add_signed(offset)?, ..self })
    }

    fn text(&self) -> String {
        let (date, time) = (self.local.date(), self.local.time());
        let (year, month, day) = (date.year(), date.month(), date.day());
        match self.form {
            Form::Quarter { dash } => {
                format!("{year:04}{}Q{}", if dash { "-" } else { "" }, month.div_ceil(3))
            }
            Form::Month { separator } => format!("{year:04}{separator}{month:02}"),
            Form::Date { separator: None } => format!("{year:04}{month:02}{day:02}"),
            Form::Date { separator: Some(c) } => format!("{year:04}{c}{month:02}{c}{day:02}"),
            Form::Time { date: c, between, seconds, digits, zone } => {
                let mut text = format!(
                    "{year:04}{c}{month:02}{c}{day:02}{between}{:02}:{:02}",
                    time.hour(),
                    time.minute()
                );
                if seconds || time.second() != 0 {
                    text += &format!(":{:02}", time.second());
                }
                if digits > 0 {
                    text += &format!(".{}", &format!("{:09}", time.nanosecond() % 1_000_000_000)[..digits]);
                }
                let minutes = self.offset.unwrap_or(0) / 60;
                match zone {
                    Zone::None => {}
                    Zone::Utc => text.push('Z'),
                    Zone::Offset { colon } => {
                        let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
                        let colon = if colon { ":" } else { "" };
                        text += &format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60);
                    }
                }
                text
            }
        }
    }
}

fn pair(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Time of day, and the offset behind it.
fn zone(text: &str) -> Option<(&str, Zone, Option<i32>)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, Zone::Utc, Some(0)));
    }
    if let Some(time) = text.strip_suffix(" UTC") {
        return Some((time, Zone::Utc, Some(0)));
    }
    let Some(sign_at) = text.rfind(['+', '-']) else { return Some((text, Zone::None, None)) };
    let (time, offset) = text.split_at(sign_at);
    let digits = &offset[1..];
    let (hours, minutes, colon) = match (digits.len(), digits.split_once(':')) {
        (5, Some((hours, minutes))) => (pair(hours)?, pair(minutes)?, true),
        (4, None) => (pair(&digits[..2])?, pair(&digits[2..])?, false),
        (2, None) => (pair(digits)?, 0, true),
        _ => return None,
    };
    let seconds = (hours * 3_600 + minutes * 60) as i32;
    let seconds = if offset.starts_with('-') { -seconds } else { seconds };
    (hours < 24 && minutes < 60).then_some((time.trim_end(), Zone::Offset { colon }, Some(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_printed_as_it_was() {
        for text in [
            "17",
            "-3",
            "0.25",
            "2026Q4",
            "2026-Q1",
            "1949-01",
            "2026-02-28",
            "2026/02/28",
            "2026-02-28T10:30",
            "2026-02-28 10:30:05",
            "2026-02-28T10:30:05.250Z",
            "2026-02-28T10:30:05+01:30",
            "2026-02-28 10:30:05-0800",
        ] {
            assert_eq!(Stamp::parse(text).map(|s| s.text()).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "Jan-60",
            "2026-13",
            "2026-02-30",
            "2026-02-28T25:00",
            "2026Q5",
            "2026-02-28T1",
            "inf",
            "é026-01-01",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn offsets_count_in_the_order_and_in_the_value() {
        let [a, b] = ["2026-01-01T00:30:00+01:00", "2025-12-31T23:45:00Z"].map(|t| Stamp::parse(t).unwrap());
        assert_eq!(a.order(&b), Ordering::Less);
        assert_eq!(b.value() - a.value(), 900.0);
        assert_eq!(Stamp::parse("1970-01-02").unwrap().value(), 86_400.0);
    }

    #[test]
    fn eight_digits_can_be_a_date() {
        let date = Stamp::Whole(20_260_228).compact_date().unwrap();
        assert_eq!((date.text().as_str(), date.is_number()), ("20260228", false));
        assert_eq!(Stamp::Whole(20_260_230).compact_date(), None);
        assert_eq!(Stamp::Whole(1_700_000_000).compact_date(), None);
    }
}
