//! A series played from drawings: a row for each key, a column for each second, a digit for an event with that value.

#![allow(dead_code)] // each test file uses its part

use proptest::prelude::*;
use std::cell::RefCell;
use tidecast_event::{Aggregate, EventTime};
use tidecast_window::{Group, Outcome, SeriesSpec, WindowKind};

pub const SECOND: i64 = 1_000_000;
/// Windows that are closed at one go.
pub const AT_ONCE: u64 = 2;

pub fn tumbling(size: i64) -> SeriesSpec {
    SeriesSpec { lateness_micros: 0, ..SeriesSpec::tumbling("s", size * SECOND) }
}

pub fn hopping(size: i64, advance: i64) -> SeriesSpec {
    let window = WindowKind::Hopping { size_micros: size * SECOND, advance_micros: advance * SECOND };
    SeriesSpec { window, ..tumbling(1) }
}

pub fn session(gap: i64) -> SeriesSpec {
    SeriesSpec { window: WindowKind::Session { gap_micros: gap * SECOND }, ..tumbling(1) }
}

pub fn lateness(seconds: i64, spec: SeriesSpec) -> SeriesSpec {
    SeriesSpec { lateness_micros: seconds * SECOND, ..spec }
}

pub fn grace(seconds: i64, spec: SeriesSpec) -> SeriesSpec {
    SeriesSpec { grace_micros: seconds * SECOND, ..spec }
}

/// A group of one series and the newest event time of its partition.
pub struct Play {
    pub group: Group,
    pub newest: EventTime,
    pub closed: RefCell<Vec<Aggregate>>,
    /// Windows that are closed at one go.
    pub room: u64,
}

impl Play {
    pub fn new(spec: SeriesSpec) -> Self {
        Play {
            group: Group::new(vec![spec]).unwrap(),
            newest: EventTime::MIN,
            closed: RefCell::default(),
            room: AT_ONCE,
        }
    }

    /// One event at a time in microseconds.
    pub fn event(&mut self, key: &str, event_type: &str, time: i64, numbers: &[(&str, f64)]) -> Outcome {
        self.newest = self.newest.max(EventTime(time));
        let who = self.group.intern(key, event_type);
        let mut sink =
            |closed: tidecast_window::Closed<'_>| self.closed.borrow_mut().push(closed.to_aggregate());
        // As the stream does it: what the event's time ends comes out by and by.
        while !self.group.prepare(self.newest, &mut { self.room }, &mut sink) {}
        let numbers = numbers.iter().copied();
        let outcome = self.group.observe(0, who, EventTime(time), numbers, self.newest, &mut sink);
        self.group.advance(self.newest, &mut sink);
        outcome
    }

    /// A record that the series does not want.
    pub fn passes(&mut self, time: i64) {
        self.newest = self.newest.max(EventTime(time));
        let mut sink =
            |closed: tidecast_window::Closed<'_>| self.closed.borrow_mut().push(closed.to_aggregate());
        self.group.advance(self.newest, &mut sink);
    }

    pub fn idle_aggregates(&mut self) {
        let mut sink =
            |closed: tidecast_window::Closed<'_>| self.closed.borrow_mut().push(closed.to_aggregate());
        while !self.group.close_idle(&mut { self.room }, &mut sink) {}
    }

    pub fn idle(&mut self) -> Vec<String> {
        self.idle_aggregates();
        self.taken()
    }

    /// Replaces the group by what its state gives.
    pub fn restart(&mut self) {
        let mut bytes = Vec::new();
        self.group.encode(&mut bytes);
        let specs = self.group.specs().cloned().collect();
        self.group = Group::decode(specs, &bytes).unwrap();
    }

    /// What was emitted since the last call: `key start-end events/sum revision`, seconds.
    pub fn taken(&mut self) -> Vec<String> {
        self.closed.borrow_mut().drain(..).map(|closed| shown(&closed)).collect()
    }

    /// Plays the columns of a drawing from left to right, from `start` seconds on, and tells what was emitted.
    pub fn draw(&mut self, start: i64, drawing: &str) -> Vec<String> {
        let rows: Vec<(&str, &[u8])> = drawing
            .lines()
            .filter_map(|line| line.trim_start().split_once('|'))
            .map(|(key, cells)| (key.trim(), cells.as_bytes()))
            .collect();
        for column in 0..rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0) {
            for (key, cells) in &rows {
                match cells.get(column) {
                    Some(digit @ b'0'..=b'9') => {
                        let value = f64::from(digit - b'0');
                        let time = (start + column as i64) * SECOND;
                        assert_eq!(
                            self.event(key, "t", time, &[("v", value)]),
                            Outcome::Taken,
                            "{key} {column}"
                        );
                    }
                    Some(b'-') => self.passes((start + column as i64) * SECOND),
                    _ => {}
                }
            }
        }
        self.taken()
    }

    /// One event that comes out of order.
    pub fn late(&mut self, key: &str, second: i64, value: f64) -> (Outcome, Vec<String>) {
        let outcome = self.event(key, "t", second * SECOND, &[("v", value)]);
        (outcome, self.taken())
    }
}

pub fn shown(closed: &Aggregate) -> String {
    let sum = closed.aggregates.get("v").map_or(0.0, |stats| stats.sum);
    let late = if closed.late_count > 0 { format!(" late {}", closed.late_count) } else { String::new() };
    let seconds = |time: EventTime| time.0 / SECOND;
    let (start, end) = (seconds(closed.window_start), seconds(closed.window_end));
    format!("{} {start}-{end} {}/{sum} r{}{late}", closed.key, closed.event_count, closed.revision)
}

pub const KEYS: [&str; 4] = ["a", "b", "key", "key of more than sixteen bytes"];

/// One thing that happens to a series: an event `back` seconds behind the stream's clock, and so on.
#[derive(Debug, Clone)]
pub enum Step {
    Event { key: usize, kind: bool, back: i64, ahead: i64, value: f64 },
    Passes { ahead: i64 },
    Idle,
    Restart,
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..KEYS.len(), any::<bool>(), 0..40i64, 0..4i64, -100.0..100.0f64)
            .prop_map(|(key, kind, back, ahead, value)| Step::Event { key, kind, back: back.saturating_sub(20).max(0), ahead, value }),
        2 => (0..25i64).prop_map(|ahead| Step::Passes { ahead }),
        1 => Just(Step::Idle),
        1 => Just(Step::Restart),
    ]
}
