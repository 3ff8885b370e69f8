//! Sessions as time lines, and against an engine that keeps every event in a list.

mod play;

use play::{KEYS, Play, SECOND, Step, grace, lateness, session, step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidecast_event::Aggregate;
use tidecast_window::{Outcome, SeriesSpec};

#[test]
fn events_at_most_a_gap_apart_belong_together() {
    let closed = Play::new(session(5)).draw(
        0,
        "   0    5    10   15   20   25
          a|1    2   3       4         -
          b|     1                     -
        ",
    );
    assert_eq!(closed, ["b 5-10 1/1 r0", "a 0-14 3/6 r0", "a 17-22 1/4 r0"]);
}

#[test]
fn an_event_exactly_a_gap_after_the_last_joins_also_when_it_moves_the_watermark_itself() {
    let mut play = Play::new(session(5));
    assert!(play.draw(0, "a|1    2").is_empty());
    assert_eq!(play.draw(10, "b|1"), ["a 0-10 2/3 r0"]);
    // Closed by another's event at the same instant: a session of its own.
    assert_eq!(play.draw(10, "a|1     -"), ["a 10-15 1/1 r0", "b 10-15 1/1 r0"]);
}

#[test]
fn an_event_between_two_sessions_joins_them() {
    let mut play = Play::new(lateness(10, session(5)));
    play.draw(0, "a|1        2");
    assert_eq!(play.late("a", 5, 4.0), (Outcome::Taken, vec![]));
    assert_eq!(play.draw(30, "b|1"), ["a 0-14 3/7 r0"]);
}

#[test]
fn a_late_event_joins_closed_sessions_within_grace_and_supersedes_them() {
    let mut play = Play::new(grace(20, session(5)));
    assert_eq!(play.draw(0, "a|1        2     -"), ["a 0-5 1/1 r0", "a 9-14 1/2 r0"]);
    assert_eq!(play.late("a", 5, 4.0), (Outcome::Taken, vec!["a 0-14 3/7 r1".into()]));
    assert_eq!(play.late("a", 8, 1.0), (Outcome::Taken, vec!["a 0-14 4/8 r2".into()]));
    // End + grace = 34.
    assert_eq!(play.draw(34, "b|1"), Vec::<String>::new());
    assert_eq!(play.late("a", 8, 1.0), (Outcome::Late, vec![]));
    assert_eq!(play.late("a", 30, 1.0), (Outcome::Taken, vec![]));
    assert_eq!(play.draw(35, "b|-"), ["a 30-35 1/1 r0 late 1"]);
}

#[test]
fn idleness_closes_sessions_and_an_event_extends_them_at_once() {
    let mut play = Play::new(session(5));
    play.draw(0, "a|1  2");
    assert_eq!(play.idle(), ["a 0-8 2/3 r0"]);
    assert_eq!(play.late("a", 6, 3.0), (Outcome::Taken, vec!["a 0-11 3/6 r1".into()]));
    assert_eq!(play.draw(12, "a|1     -"), ["a 12-17 1/1 r0"]);
}

#[derive(Default)]
struct Naive {
    sessions: Vec<Session>,
    newest: Option<i64>,
    late: BTreeMap<String, u64>,
    emitted: Vec<String>,
}

#[derive(Clone)]
struct Session {
    key: String,
    times: Vec<i64>,
    values: Vec<f64>,
    types: Vec<bool>,
    emissions: u32,
}

impl Session {
    fn first(&self) -> i64 {
        *self.times.iter().min().unwrap()
    }

    fn end(&self, gap: i64) -> i64 {
        *self.times.iter().max().unwrap() + gap
    }
}

#[allow(clippy::too_many_arguments)] // the parts of one line
fn told(
    key: &str,
    start: i64,
    end: i64,
    count: u64,
    values: &[f64],
    mixed: bool,
    revision: u32,
    late: u64,
) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values[(values.len() - 1) / 2];
    format!(
        "{key} {start} {end} {count} {:?} {:?} {middle:?} {mixed} {revision} {late}",
        values[0],
        values[values.len() - 1]
    )
}

impl Naive {
    fn emit(&mut self, at: usize, gap: i64) {
        let session = &mut self.sessions[at];
        session.emissions += 1;
        let late = self.late.remove(&session.key).unwrap_or(0);
        let mixed = session.types.iter().any(|kind| *kind != session.types[0]);
        self.emitted.push(told(
            &session.key,
            session.first(),
            session.end(gap),
            session.times.len() as u64,
            &session.values,
            mixed,
            session.emissions - 1,
            late,
        ));
    }

    fn emit_open(&mut self, gap: i64, until: i64) {
        let mut open: Vec<usize> = (0..self.sessions.len())
            .filter(|&at| self.sessions[at].emissions == 0 && self.sessions[at].end(gap) <= until)
            .collect();
        open.sort_by_key(|&at| (self.sessions[at].end(gap), self.sessions[at].key.clone()));
        for at in open {
            self.emit(at, gap);
        }
    }

    fn passes(&mut self, spec: &SeriesSpec, gap: i64, time: i64) -> i64 {
        self.newest = self.newest.max(Some(time));
        let watermark = self.newest.unwrap() - spec.lateness_micros;
        self.emit_open(gap, watermark);
        self.sessions.retain(|session| session.end(gap) + spec.grace_micros > watermark);
        watermark
    }

    fn event(
        &mut self,
        spec: &SeriesSpec,
        gap: i64,
        key: &str,
        kind: bool,
        time: i64,
        value: f64,
    ) -> Outcome {
        let watermark = self.newest.max(Some(time)).unwrap() - spec.lateness_micros;
        let mut event = Session {
            key: key.to_owned(),
            times: vec![time],
            values: vec![value],
            types: vec![kind],
            emissions: 0,
        };
        // The session that this event reaches by the last microsecond is not closed by it.
        let reached = self.sessions.iter().position(|session| {
            session.key == key && session.end(gap) == time && watermark == time && session.emissions == 0
        });
        let kept = reached.map(|at| self.sessions.remove(at));
        self.passes(spec, gap, time);
        self.sessions.extend(kept);
        let (joined, others): (Vec<_>, Vec<_>) = self.sessions.drain(..).partition(|session| {
            session.key == key && session.first() - gap <= time && time <= session.end(gap)
        });
        self.sessions = others;
        if joined.is_empty() && time + gap + spec.grace_micros <= watermark {
            *self.late.entry(key.to_owned()).or_default() += 1;
            return Outcome::Late;
        }
        for session in joined {
            event.times.extend(session.times);
            event.values.extend(session.values);
            event.types.extend(session.types);
            event.emissions = event.emissions.max(session.emissions);
        }
        let changed = event.emissions > 0 || event.end(gap) <= watermark;
        self.sessions.push(event);
        if changed {
            self.emit(self.sessions.len() - 1, gap);
        }
        Outcome::Taken
    }
}

fn shown(closed: &Aggregate) -> String {
    let stats = closed.aggregates["v"];
    let (start, end) = (closed.window_start.0, closed.window_end.0);
    let count = closed.event_count;
    assert_eq!(stats.count, count);
    format!(
        "{} {start} {end} {count} {:?} {:?} {:?} {} {} {}",
        closed.key,
        stats.min,
        stats.max,
        stats.p50.unwrap(),
        closed.event_type.is_none(),
        closed.revision,
        closed.late_count
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_session_is_the_oracles(
        gap in 1..6i64, late in 0..8i64, kept in 0..15i64, steps in prop::collection::vec(step(), 1..150)
    ) {
        let spec = lateness(late, grace(kept, session(gap)));
        let gap = gap * SECOND;
        let mut naive = Naive::default();
        let mut play = Play::new(spec.clone());
        let mut now = 1_000 * SECOND;
        for step in &steps {
            match *step {
                Step::Event { key, kind, back, ahead, value } => {
                    now += ahead * SECOND;
                    let time = now - back * SECOND;
                    let theirs = naive.event(&spec, gap, KEYS[key], kind, time, value);
                    let event_type = if kind { "x" } else { "y" };
                    prop_assert_eq!(play.event(KEYS[key], event_type, time, &[("v", value)]), theirs, "{:?}", step);
                }
                Step::Passes { ahead } => {
                    now += ahead * SECOND;
                    naive.passes(&spec, gap, now);
                    play.passes(now);
                }
                Step::Idle => {
                    naive.emit_open(gap, i64::MAX);
                    play.idle_aggregates();
                }
                Step::Restart => play.restart(),
            }
            let ours: Vec<String> = play.closed.borrow_mut().drain(..).map(|closed| shown(&closed)).collect();
            prop_assert_eq!(ours, std::mem::take(&mut naive.emitted), "{:?}", step);
        }
    }
}
