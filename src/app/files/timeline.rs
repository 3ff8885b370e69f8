//! What comes after the last time of a series, and what was left out before it: the spacing, as the times show it.

use super::stamp::{Form, Moment, Stamp};
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use std::collections::BTreeMap;

/// The times of the steps ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeline {
    last: Stamp,
    step: Step,
    /// From the times as written to those on the wall, where days begin at midnight.
    zone: Zone,
}

/// From one observation to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Whole(i64),
    Decimal(f64),
    /// Calendar months, and the day in them.
    Months(u32, Day),
    /// Monday to Friday.
    Weekdays,
    /// Days of the calendar: over a change to daylight saving time one has 23 hours.
    Days(i64),
    Nanos(i64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Day {
    Last,
    /// This one, or the month's last where it has none.
    Of(u32),
    FirstWeekday,
    LastWeekday,
}

/// Whose days the times are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Zone {
    /// Those of the times as they are written.
    Written,
    /// Those of a place with daylight saving time: its midnights are written as two times of day, an hour apart.
    Midnights,
}

/// Nanoseconds in a day, and in an hour.
const DAY: i64 = 86_400_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
/// The last year that four digits write.
const YEAR_MAX: i32 = 9_999;

impl Timeline {
    /// From the times of a series, in order: all numbers, or all of the calendar. Without any they are 1, 2, 3...
    pub fn of(stamps: &[Stamp], observations: usize) -> Timeline {
        let numbers = |value: fn(&Stamp) -> f64| -> Vec<f64> { stamps.iter().map(value).collect() };
        let Some(last) = stamps.last().copied() else {
            let last = Stamp::Whole(observations as i64);
            return Timeline { last, step: Step::Whole(1), zone: Zone::Written };
        };
        if let Some(whole) = all(stamps, |s| if let Stamp::Whole(w) = s { Some(*w) } else { None }) {
            let step = Step::Whole(usual(differences(&whole)).unwrap_or(1));
            return Timeline { last, step, zone: Zone::Written };
        }
        if let Some(moments) = all(stamps, |s| if let Stamp::Time(m) = s { Some(*m) } else { None }) {
            // The finest way of writing among them: midnight is often written as a date alone.
            let finest = moments.iter().fold(moments[0].form, |a, m| if m.form > a { m.form } else { a });
            let end = Moment { form: finest, ..moments[moments.len() - 1] };
            let zone = Zone::of(&moments);
            return Timeline { last: Stamp::Time(end), step: calendar(&moments, zone), zone };
        }
        let digits = stamps.iter().map(|s| if let Stamp::Decimal(_, d) = s { *d } else { 0 }).max();
        let digits = digits.unwrap_or(0);
        let unit = 10_f64.powi(digits.min(15) as i32);
        let steps = numbers(Stamp::value).windows(2).map(|w| ((w[1] - w[0]) * unit).round() as i64).collect();
        let step = usual(steps).unwrap_or(unit as i64) as f64 / unit;
        let last = Stamp::Decimal(last.value(), digits);
        Timeline { last, step: Step::Decimal(step), zone: Zone::Written }
    }

    /// The time `steps` after the last, `None` where the calendar ends.
    pub fn ahead(&self, steps: usize) -> Option<Stamp> {
        let count = i64::try_from(steps).ok()?;
        let last = match (self.last, self.step) {
            (Stamp::Whole(last), Step::Whole(step)) => {
                return Some(Stamp::Whole(last.checked_add(step.checked_mul(count)?)?));
            }
            (Stamp::Decimal(last, digits), Step::Decimal(step)) => {
                return Some(Stamp::Decimal(last + step * count as f64, digits));
            }
            (Stamp::Time(last), _) => last,
            _ => return None,
        };
        let today = self.zone.date(&last);
        let date = match self.step {
            Step::Months(months, day) => {
                let months = Months::new(months.checked_mul(u32::try_from(steps).ok()?)?);
                day.of_month(today.with_day(1)?.checked_add_months(months)?)?
            }
            Step::Weekdays => {
                // From the last weekday, whole weeks first.
                let date = today.checked_add_days(Days::new(steps as u64 / 5 * 7))?;
                let beyond = steps as u64 % 5;
                let at = u64::from(date.weekday().num_days_from_monday());
                let weekend = if at + beyond >= 5 { 2 } else { 0 };
                date.checked_add_days(Days::new(beyond + weekend))?
            }
            Step::Days(days) => {
                today.checked_add_days(Days::new(u64::try_from(days.checked_mul(count)?).ok()?))?
            }
            Step::Nanos(step) => {
                let elapsed = chrono::Duration::nanoseconds(step).checked_mul(i32::try_from(steps).ok()?)?;
                let then = last.at_utc(last.utc().and_utc().checked_add_signed(elapsed)?)?;
                return (then.local.year() <= YEAR_MAX).then_some(Stamp::Time(then));
            }
            Step::Whole(_) | Step::Decimal(_) => return None,
        };
        // As far before or after midnight as the last was: which days to come have another offset nothing here tells.
        let local = last.local.checked_add_signed(date - today)?;
        (local.year() <= YEAR_MAX).then_some(Stamp::Time(Moment { local, ..last }))
    }
}

impl Timeline {
    /// How many steps each of the times it was made of, in order, is after the first; `None` where they are in no even steps.
    pub fn places(&self, stamps: &[Stamp]) -> Option<Vec<u64>> {
        let first = stamps.first()?;
        let apart = |number: i64, first: i64, step: i64| {
            let apart = u64::try_from(number.checked_sub(first)?).ok()?;
            let step = u64::try_from(step).ok().filter(|step| *step > 0)?;
            apart.is_multiple_of(step).then_some(apart / step)
        };
        let place = |stamp: &Stamp| match (self.step, first, stamp) {
            (Step::Whole(step), Stamp::Whole(first), Stamp::Whole(whole)) => apart(*whole, *first, step),
            (Step::Decimal(step), ..) => {
                let steps = (stamp.value() - first.value()) / step;
                // As near as decimals of a few digits come.
                ((steps - steps.round()).abs() < 0.01 && (0.0..1e15).contains(&steps.round()))
                    .then_some(steps.round() as u64)
            }
            (Step::Months(months, _), Stamp::Time(first), Stamp::Time(moment)) => apart(
                month_number(self.zone.date(moment)),
                month_number(self.zone.date(first)),
                months.into(),
            ),
            (Step::Weekdays, Stamp::Time(first), Stamp::Time(moment)) => {
                apart(weekday_number(self.zone.date(moment)), weekday_number(self.zone.date(first)), 1)
            }
            (Step::Days(days), Stamp::Time(first), Stamp::Time(moment)) => {
                apart(day_number(self.zone.date(moment)), day_number(self.zone.date(first)), days)
            }
            (Step::Nanos(step), Stamp::Time(first), Stamp::Time(moment)) => {
                let apart = nanos(moment) - nanos(first);
                let step = i128::from(step);
                (step > 0 && apart % step == 0).then(|| u64::try_from(apart / step).ok()).flatten()
            }
            _ => None,
        };
        let places: Vec<u64> = stamps.iter().map(place).collect::<Option<_>>()?;
        // Two rows in one place are no even steps.
        places.is_sorted_by(|before, after| before < after).then_some(places)
    }
}

impl Zone {
    /// Midnights of a place with daylight saving time are told by two times of day, an hour apart, each of which stays for months.
    fn of(moments: &[Moment]) -> Zone {
        let time = |moment: &Moment| nanos(moment).rem_euclid(i128::from(DAY));
        let other = moments.iter().map(time).find(|other| *other != time(&moments[0]));
        let (Some(other), Some(span)) = (other, moments.last().map(|last| nanos(last) - nanos(&moments[0])))
        else {
            return Zone::Written;
        };
        let apart = (other - time(&moments[0])).rem_euclid(i128::from(DAY));
        let an_hour = apart == i128::from(HOUR) || apart == i128::from(DAY - HOUR);
        let one_of_both = moments.iter().all(|m| time(m) == other || time(m) == time(&moments[0]));
        let no_offset = moments.iter().all(|m| m.offset.unwrap_or(0) == 0);
        let days = moments.windows(2).all(|w| nanos(&w[1]) - nanos(&w[0]) >= i128::from(DAY - HOUR));
        let changes = moments.windows(2).filter(|w| time(&w[0]) != time(&w[1])).count() as i128;
        // Twice a year, some five to seven months apart.
        let seldom = moments.len() > 2 && changes <= 1 + span / i128::from(140 * DAY);
        if an_hour && one_of_both && no_offset && days && seldom { Zone::Midnights } else { Zone::Written }
    }

    /// The date on the wall.
    fn date(self, moment: &Moment) -> NaiveDate {
        let half_a_day = chrono::Duration::hours(12);
        match self {
            Zone::Written => moment.local.date(),
            // The nearest midnight is the one that it is.
            Zone::Midnights => {
                moment.local.checked_add_signed(half_a_day).map_or(moment.local.date(), |m| m.date())
            }
        }
    }
}

fn day_number(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce())
}

fn month_number(date: NaiveDate) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

/// Mondays to Fridays since the year 1, which began on a Monday.
fn weekday_number(date: NaiveDate) -> i64 {
    let days = i64::from(date.num_days_from_ce()) - 1;
    days.div_euclid(7) * 5 + days.rem_euclid(7).min(4)
}

/// From the epoch: in 64 bits they reach from 1677 to 2262.
fn nanos(moment: &Moment) -> i128 {
    let utc = moment.utc().and_utc();
    i128::from(utc.timestamp()) * 1_000_000_000 + i128::from(utc.timestamp_subsec_nanos())
}

impl Day {
    fn of_month(self, first: NaiveDate) -> Option<NaiveDate> {
        let last = last_day(first)?;
        // Days from the weekend to the weekday before, and to the one after.
        let since = |date: NaiveDate| date.weekday().num_days_from_monday().saturating_sub(4);
        let until = |date: NaiveDate| match date.weekday() {
            Weekday::Sat => 2,
            Weekday::Sun => 1,
            _ => 0,
        };
        first.with_day(match self {
            Day::Last => last,
            Day::Of(day) => day.min(last),
            Day::FirstWeekday => 1 + until(first.with_day(1)?),
            Day::LastWeekday => last - since(first.with_day(last)?),
        })
    }
}

fn last_day(date: NaiveDate) -> Option<u32> {
    Some(date.with_day(1)?.checked_add_months(Months::new(1))?.pred_opt()?.day())
}

fn all<T>(stamps: &[Stamp], kind: impl Fn(&Stamp) -> Option<T>) -> Option<Vec<T>> {
    stamps.iter().map(kind).collect()
}

fn differences(values: &[i64]) -> Vec<i64> {
    values.windows(2).map(|w| w[1].saturating_sub(w[0])).collect()
}

/// The difference that most have (the smallest of several such), or the middle one where times are irregular.
fn usual(mut differences: Vec<i64>) -> Option<i64> {
    differences.retain(|d| *d > 0);
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    differences.iter().for_each(|d| *counts.entry(*d).or_default() += 1);
    let (most, count) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
    if 2 * count >= differences.len() {
        return Some(most);
    }
    let middle = differences.len() / 2;
    Some(*differences.select_nth_unstable(middle).1)
}

fn calendar(moments: &[Moment], zone: Zone) -> Step {
    let form = moments[moments.len() - 1].form;
    let dates: Vec<NaiveDate> = moments.iter().map(|m| zone.date(m)).collect();
    if moments.len() == 1 {
        return match form {
            Form::Quarter { .. } => Step::Months(3, Day::Of(1)),
            Form::Month { .. } => Step::Months(1, Day::Of(1)),
            _ => Step::Days(1),
        };
    }
    let same_time = moments.iter().all(|m| m.local.time() == moments[0].local.time());
    if same_time || zone == Zone::Midnights {
        let days = differences(&dates.iter().copied().map(day_number).collect::<Vec<_>>());
        if let Some(step) = months(&dates, &days) {
            return step;
        }
        let usually = usual(days);
        let weekend = |d: &NaiveDate| matches!(d.weekday(), Weekday::Sat | Weekday::Sun);
        let over_weekend =
            dates.windows(2).any(|w| (w[1] - w[0]).num_days() == 3 && w[0].weekday() == Weekday::Fri);
        if over_weekend && usually == Some(1) && !dates.iter().any(weekend) {
            return Step::Weekdays;
        }
        return Step::Days(usually.unwrap_or(1));
    }
    let nanos: Vec<i128> = moments.iter().map(nanos).collect();
    // More than three hundred years apart is no step.
    let apart = |w: &[i128]| i64::try_from(w[1] - w[0]).unwrap_or(i64::MAX);
    Step::Nanos(usual(nanos.windows(2).map(apart).collect()).unwrap_or(DAY))
}

/// Steps of whole months: the same day of each, the last day of each, the first or the last weekday of each, or about the same
/// day in even steps.
fn months(dates: &[NaiveDate], days: &[i64]) -> Option<Step> {
    if days.iter().min().is_none_or(|shortest| *shortest < 28) {
        return None;
    }
    let number: Vec<i64> = dates.iter().map(|d| month_number(*d)).collect();
    let between = differences(&number);
    let step = u32::try_from(usual(between.clone())?).ok()?;
    if between.contains(&0) {
        return None;
    }
    let greatest = dates.iter().map(Datelike::day).max()?;
    let each = [Day::Last, Day::Of(greatest), Day::LastWeekday, Day::FirstWeekday];
    if let Some(day) = each.into_iter().find(|day| dates.iter().all(|d| day.of_month(*d) == Some(*d))) {
        return Some(Step::Months(step, day));
    }
    // The last days of trade and the like: months are even where days are not.
    let even = between.iter().all(|b| *b == between[0]) && !days.iter().all(|d| *d == days[0]);
    even.then(|| Step::Months(step, Day::Of(dates[dates.len() - 1].day())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(times: &[&str], steps: usize) -> Vec<String> {
        let stamps: Vec<Stamp> = times.iter().map(|t| Stamp::parse(t).unwrap()).collect();
        let timeline = Timeline::of(&stamps, stamps.len());
        (1..=steps).map(|s| timeline.ahead(s).unwrap().text()).collect()
    }

    #[test]
    fn numbers_go_on_in_their_usual_step() {
        assert_eq!(ahead(&["1", "2", "3"], 2), ["4", "5"]);
        assert_eq!(ahead(&["1949", "1951", "1953", "1957"], 2), ["1959", "1961"]);
        assert_eq!(ahead(&["0.1", "0.2", "0.3"], 3), ["0.4", "0.5", "0.6"]);
        assert_eq!(ahead(&["7"], 1), ["8"]);
        assert_eq!(Timeline::of(&[], 144).ahead(1), Some(Stamp::Whole(145)));
    }

    #[test]
    fn months_quarters_and_years_go_by_the_calendar() {
        assert_eq!(ahead(&["2020-11-01", "2020-12-01"], 2), ["2021-01-01", "2021-02-01"]);
        assert_eq!(
            ahead(&["2019-11-30", "2019-12-31", "2020-01-31"], 3),
            ["2020-02-29", "2020-03-31", "2020-04-30"]
        );
        assert_eq!(ahead(&["2020-03-31", "2020-06-30", "2020-09-30"], 2), ["2020-12-31", "2021-03-31"]);
        assert_eq!(ahead(&["2019-01-31", "2019-02-28", "2019-03-31"], 1), ["2019-04-30"]);
        assert_eq!(ahead(&["2019-01-30", "2019-02-28", "2019-03-30"], 2), ["2019-04-30", "2019-05-30"]);
        assert_eq!(ahead(&["2018-01-01", "2019-01-01", "2020-01-01"], 2), ["2021-01-01", "2022-01-01"]);
        assert_eq!(ahead(&["1960-11", "1960-12"], 2), ["1961-01", "1961-02"]);
        assert_eq!(ahead(&["2020Q3", "2020Q4"], 2), ["2021Q1", "2021Q2"]);
        assert_eq!(ahead(&["2020-01-01 06:00:00", "2020-02-01 06:00:00"], 1), ["2020-03-01 06:00:00"]);
        // The last weekday of each, one of them missing, and the first.
        assert_eq!(
            ahead(&["2024-01-31", "2024-02-29", "2024-03-29", "2024-05-31"], 2),
            ["2024-06-28", "2024-07-31"]
        );
        assert_eq!(
            ahead(&["2024-07-01", "2024-08-01", "2024-09-02"], 3),
            ["2024-10-01", "2024-11-01", "2024-12-02"]
        );
        // One month is missing.
        assert_eq!(ahead(&["2020-01-01", "2020-02-01", "2020-04-01", "2020-05-01"], 1), ["2020-06-01"]);
    }

    #[test]
    fn days_weeks_and_weekdays() {
        assert_eq!(ahead(&["2020-02-27", "2020-02-28"], 2), ["2020-02-29", "2020-03-01"]);
        assert_eq!(ahead(&["2020-02-01", "2020-02-08", "2020-02-15"], 1), ["2020-02-22"]);
        assert_eq!(ahead(&["2020-01-01", "2020-01-29", "2020-02-26"], 1), ["2020-03-25"]);
        // Thursday, Friday, Monday, Tuesday.
        let week = ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"];
        assert_eq!(
            ahead(&week, 6),
            ["2024-01-10", "2024-01-11", "2024-01-12", "2024-01-15", "2024-01-16", "2024-01-17"]
        );
        assert_eq!(
            ahead(&["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05", "2024-01-06"], 1),
            ["2024-01-07"]
        );
    }

    #[test]
    fn hours_and_less_go_by_the_clock_and_keep_their_form() {
        assert_eq!(
            ahead(&["2020-02-28T22:00:00Z", "2020-02-28T23:00:00Z"], 2),
            ["2020-02-29T00:00:00Z", "2020-02-29T01:00:00Z"]
        );
        assert_eq!(ahead(&["2014-04-01 00:00:00", "2014-04-01 00:05:00"], 1), ["2014-04-01 00:10:00"]);
        assert_eq!(
            ahead(&["2020-01-01T23:30+02:00", "2020-01-02T00:00+02:00"], 1),
            ["2020-01-02T00:30+02:00"]
        );
        assert_eq!(ahead(&["2020-01-01", "2020-01-01 12:00"], 2), ["2020-01-02 00:00", "2020-01-02 12:00"]);
        assert_eq!(ahead(&["2020-01-01T00:00:00.5", "2020-01-01T00:00:01.0"], 1), ["2020-01-01T00:00:01.5"]);
    }

    #[test]
    fn days_and_months_are_those_of_a_place_with_daylight_saving_time() {
        // With its offset, and as its midnights are in UTC.
        let days = ["2024-03-30T00:00:00+01:00", "2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"];
        assert_eq!(ahead(&days, 1), ["2024-04-02T00:00:00+02:00"]);
        let days = ["2024-03-29T23:00Z", "2024-03-30T23:00Z", "2024-03-31T22:00Z", "2024-04-01T22:00Z"];
        assert_eq!(ahead(&days, 1), ["2024-04-02T22:00Z"]);
        let months = ["2024-01-31T23:00Z", "2024-02-29T23:00Z", "2024-03-31T22:00Z", "2024-04-30T22:00Z"];
        assert_eq!(ahead(&months, 2), ["2024-05-31T22:00Z", "2024-06-30T22:00Z"]);
        let west =
            ["2024-01-01 05:00:00", "2024-02-01 05:00:00", "2024-03-01 05:00:00", "2024-04-01 04:00:00"];
        assert_eq!(ahead(&west, 1), ["2024-05-01 04:00:00"]);
        // Two times of day that are no offset of a place: an hour's data of two hours, and a shift in turns.
        assert_eq!(ahead(&["2024-01-01 00:00", "2024-01-02 01:00"], 1), ["2024-01-03 02:00"]);
        let turns = ["2024-01-01 00:00", "2024-01-02 01:00", "2024-01-03 00:00", "2024-01-04 01:00"];
        assert_eq!(ahead(&turns, 1), ["2024-01-05 02:00"]);
    }

    #[test]
    fn times_have_places_where_steps_are_even() {
        let places = |times: &[&str]| -> Option<Vec<u64>> {
            let stamps: Vec<Stamp> = times.iter().map(|t| Stamp::parse(t).unwrap()).collect();
            Timeline::of(&stamps, stamps.len()).places(&stamps)
        };
        let even: [(&[&str], &[u64]); 14] = [
            (&["1", "2", "5", "6"], &[0, 1, 4, 5]),
            (&["1949", "1951", "1953", "1957"], &[0, 1, 2, 4]),
            (&["0.1", "0.2", "0.3", "0.7"], &[0, 1, 2, 6]),
            (&["2020-01-31", "2020-02-29", "2020-03-31", "2020-05-31"], &[0, 1, 2, 4]),
            (&["1960-11", "1960-12", "1961-02"], &[0, 1, 3]),
            (&["2019Q4", "2020Q1", "2020Q2", "2021Q2"], &[0, 1, 2, 6]),
            (&["2010-01-01", "2011-01-01", "2012-01-01", "2015-01-01"], &[0, 1, 2, 5]),
            (&["2020-02-25", "2020-02-26", "2020-03-01", "2020-03-02"], &[0, 1, 5, 6]),
            // Thursday, Friday, Monday, Tuesday, Thursday.
            (&["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09", "2024-01-11"], &[0, 1, 2, 3, 5]),
            (&["2020-02-28T22:00Z", "2020-02-28T23:00Z", "2020-02-29T02:00Z"], &[0, 1, 4]),
            // Over the change to daylight saving time.
            (&["2024-03-29T00:00+01:00", "2024-03-30T00:00+01:00", "2024-04-01T00:00+02:00"], &[0, 1, 3]),
            (&["2024-03-28T23:00Z", "2024-03-29T23:00Z", "2024-03-31T22:00Z"], &[0, 1, 3]),
            // Last weekdays.
            (&["2024-01-31", "2024-02-29", "2024-03-29", "2024-05-31"], &[0, 1, 2, 4]),
            // Past what 64 bits of nanoseconds hold.
            (&["1600-01-01", "1600-01-02", "2300-01-01"], &[0, 1, 255_670]),
        ];
        for (times, expected) in even {
            assert_eq!(places(times).as_deref(), Some(expected), "{times:?}");
        }
        assert_eq!(places(&["1", "3", "6", "10", "11"]), None);
        assert_eq!(places(&["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:30"]), None);
        // Two rows in one place, one of which would be lost.
        assert_eq!(places(&["1.000", "2.000", "2.004", "3.004", "4.004"]), None);
    }

    #[test]
    fn what_is_past_the_calendar_is_none() {
        let far = Timeline::of(&[Stamp::parse("9999-12-01").unwrap()], 1);
        assert_eq!((far.ahead(30).is_some(), far.ahead(31), far.ahead(usize::MAX)), (true, None, None));
        let whole = Timeline::of(&[Stamp::Whole(i64::MAX - 1)], 1);
        assert_eq!((whole.ahead(1), whole.ahead(2)), (Some(Stamp::Whole(i64::MAX)), None));
    }
}
