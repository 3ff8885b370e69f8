//! Partial aggregates of several upstream partitions, through their codec, against what the events say.

mod play;

use play::{AT_ONCE, KEYS, SECOND, Step, grace, hopping, lateness, session, shown, step, tumbling};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidecast_event::{Aggregate, EventTime};
use tidecast_window::{Closed, Group, Mark, Merged, Merger, Outcome, SeriesSpec, UpstreamMessage};

/// Input partitions, each with its group and clock, and the one downstream partition.
struct Flow {
    spec: SeriesSpec,
    groups: Vec<Group>,
    newest: Vec<EventTime>,
    merger: Merger,
    closed: Vec<Aggregate>,
    /// Every message sent, to be sent again.
    sent: Vec<Vec<u8>>,
}

impl Flow {
    fn new(spec: SeriesSpec, partitions: usize) -> Self {
        let groups = (0..partitions).map(|_| Group::partial(vec![spec.clone()]).unwrap()).collect();
        let merger = Merger::new(spec.clone(), partitions as u32).unwrap();
        Flow {
            spec,
            groups,
            newest: vec![EventTime::MIN; partitions],
            merger,
            closed: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn send(&mut self, messages: Vec<UpstreamMessage>) {
        for message in messages {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            self.deliver(&bytes);
            self.sent.push(bytes);
        }
    }

    fn deliver(&mut self, bytes: &[u8]) -> Merged {
        let message = UpstreamMessage::decode(bytes).unwrap();
        let mut sink = |closed: Closed<'_>| self.closed.push(closed.to_aggregate());
        let merged = self.merger.observe(message, &mut { AT_ONCE }, &mut sink);
        while self.merger.is_midway() {
            self.merger.go_on(&mut { AT_ONCE }, &mut sink);
        }
        merged
    }

    fn event(&mut self, partition: usize, key: &str, kind: bool, time: i64, value: Option<f64>) -> Outcome {
        let group = &mut self.groups[partition];
        let newest = self.newest[partition].max(EventTime(time));
        self.newest[partition] = newest;
        let mut messages = Vec::new();
        let mut sink = |closed: tidecast_window::Closed<'_>| {
            messages.push(UpstreamMessage::Partial(closed.to_partial(partition as u32)));
        };
        while !group.prepare(newest, &mut { AT_ONCE }, &mut sink) {}
        let mut outcome = Outcome::Taken;
        if let Some(value) = value {
            let who = group.intern(key, if kind { "x" } else { "y" });
            outcome = group.observe(0, who, EventTime(time), [("v", value)].into_iter(), newest, &mut sink);
        }
        group.advance(newest, &mut sink);
        let watermark = group.watermark(0);
        messages.push(UpstreamMessage::Mark(Mark::new("s", partition as u32, watermark, false)));
        self.send(messages);
        outcome
    }

    fn idle(&mut self, partition: usize) {
        let mut messages = Vec::new();
        let group = &mut self.groups[partition];
        let mut sink =
            |closed: Closed<'_>| messages.push(UpstreamMessage::Partial(closed.to_partial(partition as u32)));
        while !group.close_idle(&mut { AT_ONCE }, &mut sink) {}
        messages.push(UpstreamMessage::Mark(Mark::new("s", partition as u32, group.watermark(0), true)));
        self.send(messages);
    }

    fn restart(&mut self) {
        let mut bytes = Vec::new();
        self.merger.encode(&mut bytes);
        self.merger = Merger::decode(self.spec.clone(), self.groups.len() as u32, &bytes).unwrap();
        for group in &mut self.groups {
            bytes.clear();
            group.encode(&mut bytes);
            *group = Group::decode(vec![self.spec.clone()], &bytes).unwrap();
        }
    }

    fn taken(&mut self) -> Vec<String> {
        self.closed.drain(..).map(|closed| shown(&closed)).collect()
    }
}

#[test]
fn a_window_closes_when_every_partition_has_passed_it() {
    let mut flow = Flow::new(tumbling(10), 2);
    // Partition 0:  a at 1, then 12.  Partition 1:  a at 3, then 15.
    flow.event(0, "a", true, SECOND, Some(1.0));
    flow.event(0, "a", true, 12 * SECOND, Some(2.0));
    assert!(flow.taken().is_empty());
    flow.event(1, "a", true, 3 * SECOND, Some(5.0));
    assert!(flow.taken().is_empty());
    flow.event(1, "b", true, 15 * SECOND, Some(7.0));
    assert_eq!(flow.taken(), ["a 0-10 2/6 r0"]);
    assert_eq!(flow.merger.watermark(), EventTime(12 * SECOND));
}

#[test]
fn a_partition_that_begins_again_is_as_idle_as_it_was() {
    let mut flow = Flow::new(tumbling(10), 2);
    flow.event(0, "a", true, SECOND, Some(1.0));
    flow.event(1, "a", true, 3 * SECOND, Some(5.0));
    flow.idle(1);
    // It says that it is there, before it has read again what it had read.
    flow.send(vec![UpstreamMessage::Mark(Mark::new("s", 1, EventTime::MIN, false))]);
    flow.event(0, "a", true, 12 * SECOND, Some(2.0));
    assert_eq!(flow.taken(), ["a 0-10 2/6 r0"]);
}

/// The input topic gets a partition that has an event of the first second, and others have come to `newest` seconds meanwhile,
/// with `keys` keys in each.
fn grown(newest: i64, keys: usize) -> Flow {
    let mut flow = Flow::new(tumbling(1), 1);
    flow.event(0, "a", true, SECOND / 2, Some(1.0));
    for at in 1..newest {
        for key in 0..keys {
            flow.event(0, &format!("k{key}"), true, at * SECOND, Some(1.0));
        }
    }
    flow.event(0, "a", true, newest * SECOND, Some(2.0));
    assert_eq!(flow.taken()[0], "a 0-1 1/1 r0");
    let spec = flow.spec.clone();
    flow.groups.push(Group::partial(vec![spec]).unwrap());
    flow.newest.push(EventTime::MIN);
    flow.event(1, "a", true, SECOND / 2, Some(5.0));
    flow.event(1, "a", true, newest * SECOND, Some(7.0));
    flow.event(1, "a", true, (newest + 60) * SECOND, Some(7.0));
    flow
}

#[test]
fn a_new_partition_corrects_what_was_closed_before_it_was_known() {
    let mut flow = grown(100_000, 0);
    assert_eq!(flow.taken(), ["a 0-1 2/6 r1"], "the first is corrected, the second waits for partition 0");
    flow.restart();
    flow.event(0, "a", true, 100_060 * SECOND, Some(2.0));
    assert_eq!(flow.taken(), ["a 100000-100001 2/9 r0"]);
}

#[test]
fn a_new_partition_tells_no_forgotten_window_a_second_time() {
    let mut flow = grown(1_500, 10);
    let none = Vec::<String>::new();
    assert_eq!(flow.taken(), none, "the first is not told again, the second waits for partition 0");
    flow.restart();
    flow.event(0, "a", true, 1_560 * SECOND, Some(2.0));
    assert_eq!(flow.taken(), ["a 1500-1501 2/9 r0 late 1"], "what the first lost is told");
}

#[test]
fn a_partition_that_was_away_for_a_day_is_in_every_window() {
    let mut flow = Flow::new(tumbling(60), 2);
    let ten_minutes = 600;
    for at in 0..ten_minutes {
        flow.event(0, "a", true, at * SECOND, Some(1.0));
        flow.event(1, "a", true, at * SECOND, Some(1.0));
    }
    flow.idle(1);
    let day = 86_400;
    for at in (ten_minutes..day).step_by(10) {
        flow.event(0, "a", true, at * SECOND, Some(1.0));
    }
    flow.restart();
    // It comes back with its own day, in order: nothing of it is late there.
    for at in (ten_minutes..day).step_by(10) {
        assert_eq!(flow.event(1, "a", true, at * SECOND, Some(1.0)), Outcome::Taken);
    }
    flow.event(0, "b", true, (day + 60) * SECOND, None);
    flow.event(1, "b", true, (day + 60) * SECOND, None);
    let mut last: BTreeMap<i64, u64> = BTreeMap::new();
    for closed in &flow.closed {
        last.insert(closed.window_start.0, closed.event_count);
    }
    let sent = 2 * (ten_minutes + (day - ten_minutes) / 10);
    assert_eq!(last.values().sum::<u64>(), sent as u64);
}

#[test]
fn an_idle_partition_holds_no_other_back_and_corrects_when_it_wakes() {
    let mut flow = Flow::new(tumbling(10), 2);
    flow.event(1, "a", true, 3 * SECOND, Some(5.0));
    flow.event(0, "a", true, 12 * SECOND, Some(2.0));
    assert!(flow.taken().is_empty());
    flow.idle(1);
    assert_eq!(flow.taken(), ["a 0-10 1/5 r0"]);
    // Its own watermark is still 3, so nothing there is late.
    assert_eq!(flow.event(1, "a", true, 4 * SECOND, Some(1.0)), Outcome::Taken);
    assert_eq!(flow.taken(), ["a 0-10 2/6 r1"]);
    // When all are idle, what is open closes.
    flow.idle(0);
    flow.idle(1);
    assert_eq!(flow.taken(), ["a 10-20 1/2 r0"]);
}

#[test]
fn events_late_in_their_partition_are_told_with_the_next_window_of_the_key() {
    let mut flow = Flow::new(tumbling(10), 2);
    flow.event(0, "a", true, 12 * SECOND, Some(2.0));
    assert_eq!(flow.event(0, "a", true, SECOND, Some(2.0)), Outcome::Late);
    flow.event(0, "b", true, 20 * SECOND, None);
    flow.event(1, "b", true, 20 * SECOND, None);
    assert_eq!(flow.taken(), ["a 10-20 1/2 r0 late 1"]);
}

#[test]
fn parts_of_a_session_join_across_partitions() {
    let mut flow = Flow::new(session(5), 2);
    // Partition 0:  1--4       Partition 1:     6  9         a gap of 5 joins them.
    for (partition, time) in [(0, 1), (0, 4), (1, 6), (1, 9)] {
        flow.event(partition, "a", true, time * SECOND, Some(1.0));
    }
    flow.event(0, "b", true, 30 * SECOND, None);
    assert!(flow.taken().is_empty());
    flow.event(1, "b", true, 30 * SECOND, None);
    assert_eq!(flow.taken(), ["a 1-14 4/4 r0"]);
}

#[test]
fn empty_windows_are_emitted_downstream() {
    let spec = SeriesSpec { empty_windows: true, ..tumbling(10) };
    let mut flow = Flow::new(spec, 2);
    flow.event(0, "a", true, SECOND, Some(1.0));
    flow.event(0, "b", true, 45 * SECOND, Some(1.0));
    flow.event(1, "b", true, 35 * SECOND, None);
    assert_eq!(flow.taken(), ["a 0-10 1/1 r0", "a 10-20 0/0 r0", "a 20-30 0/0 r0"]);
    flow.restart();
    flow.event(1, "b", true, 50 * SECOND, None);
    assert_eq!(flow.taken(), ["a 30-40 0/0 r0"]);
}

#[test]
fn state_is_bounded_while_a_partition_is_idle() {
    let mut flow = Flow::new(tumbling(1), 2);
    flow.event(1, "a", true, 0, Some(1.0));
    flow.event(1, "a", true, SECOND, Some(1.0));
    flow.idle(1);
    for at in 0..20_000 {
        flow.event(0, "a", true, at * SECOND, Some(1.0));
    }
    let windows = flow.merger.window_count();
    assert!((5_000..15_000).contains(&windows), "{windows}");
    let mut state = Vec::new();
    flow.merger.encode(&mut state);
    assert!(state.len() < tidecast_window::RETAINED_BYTES, "{}", state.len());
    // A repeat of what was said long ago is one.
    let mut parts = flow
        .sent
        .iter()
        .filter(|bytes| matches!(UpstreamMessage::decode(bytes), Ok(UpstreamMessage::Partial(_))));
    let first = parts.next().unwrap().clone();
    flow.closed.clear();
    assert_eq!(flow.deliver(&first), Merged::Repeated);
    // What the idle partition says of times long gone is told as expired, and counted with the next window.
    for _ in 0..3 {
        assert_eq!(flow.event(1, "a", true, 2 * SECOND, Some(1.0)), Outcome::Taken);
    }
    flow.event(1, "a", true, 20_000 * SECOND, None);
    assert!(flow.taken().is_empty());
    flow.event(0, "b", true, 20_000 * SECOND, None);
    assert_eq!(flow.taken(), ["a 19999-20000 1/1 r0 late 3"]);
}

#[test]
fn a_newer_message_is_refused() {
    let mut bytes = Vec::new();
    UpstreamMessage::Mark(Mark::new("s", 0, EventTime(1), false)).encode(&mut bytes);
    assert!(UpstreamMessage::decode(&bytes[..bytes.len() - 1]).is_err());
    bytes[0] = 9;
    assert!(UpstreamMessage::decode(&bytes).unwrap_err().to_string().contains("version 9"));
}

fn spec() -> impl Strategy<Value = SeriesSpec> {
    let kinds = prop::sample::select(vec![tumbling(10), hopping(10, 5), hopping(5, 3), session(3)]);
    (kinds, 0..8i64, 0..15i64).prop_map(|(spec, late, kept)| lateness(late, grace(kept, spec)))
}

/// What the events that were taken should give in the end: (key, start, end) → values.
fn expected(spec: &SeriesSpec, taken: &[(usize, i64, f64)]) -> BTreeMap<(usize, i64, i64), Vec<f64>> {
    use tidecast_window::WindowKind;
    let mut windows: BTreeMap<(usize, i64, i64), Vec<f64>> = BTreeMap::new();
    let (size, advance) = match spec.window {
        WindowKind::Tumbling { size_micros } => (size_micros, size_micros),
        WindowKind::Hopping { size_micros, advance_micros } => (size_micros, advance_micros),
        WindowKind::Session { gap_micros: gap } => {
            let mut sorted = taken.to_vec();
            sorted.sort_by_key(|(key, time, _)| (*key, *time));
            for of_key in sorted.chunk_by(|a, b| a.0 == b.0 && b.1 - a.1 <= gap) {
                let bounds = (of_key[0].0, of_key[0].1, of_key[of_key.len() - 1].1 + gap);
                windows.insert(bounds, of_key.iter().map(|(_, _, value)| *value).collect());
            }
            return windows;
        }
    };
    for &(key, time, value) in taken {
        let mut start = time.div_euclid(advance) * advance;
        while start + size > time {
            windows.entry((key, start, start + size)).or_default().push(value);
            start -= advance;
        }
    }
    windows
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn merged_parts_are_what_the_events_say(
        spec in spec(), steps in prop::collection::vec((0..3usize, step(), any::<u8>()), 1..120)
    ) {
        let mut flow = Flow::new(spec.clone(), 3);
        let mut now = [1_000 * SECOND; 3];
        let mut taken = Vec::new();
        // An aligned window that is past grace for some event of it gives up that event there, though others take it.
        let mut refused_in_part = false;
        for (partition, step, again) in &steps {
            let partition = *partition;
            match *step {
                Step::Event { key, kind, back, ahead, value } => {
                    now[partition] += ahead * SECOND;
                    let time = now[partition] - back * SECOND;
                    if flow.event(partition, KEYS[key], kind, time, Some(value)) == Outcome::Taken {
                        taken.push((key, time, value));
                        let watermark = flow.groups[partition].watermark(0).0;
                        refused_in_part |= match spec.window {
                            // A session that closed a moment ago may be forgotten when an event comes for it.
                            tidecast_window::WindowKind::Session { .. } => time <= watermark,
                            _ => time + SECOND + spec.grace_micros <= watermark,
                        };
                    }
                }
                Step::Passes { ahead } => {
                    now[partition] += ahead * SECOND;
                    flow.event(partition, "", true, now[partition], None);
                }
                Step::Idle => flow.idle(partition),
                Step::Restart => flow.restart(),
            }
            // What was sent is now and then sent again: it changes nothing.
            if *again < 40 && !flow.sent.is_empty() {
                let bytes = flow.sent[usize::from(*again) * 7_919 % flow.sent.len()].clone();
                if matches!(UpstreamMessage::decode(&bytes), Ok(UpstreamMessage::Partial(_))) {
                    let emitted = flow.closed.len();
                    prop_assert_ne!(flow.deliver(&bytes), Merged::Applied);
                    prop_assert_eq!(flow.closed.len(), emitted);
                }
            }
        }
        for partition in 0..3 {
            flow.event(partition, "", true, 10_000 * SECOND, None);
        }
        let is_tumbling = matches!(spec.window, tidecast_window::WindowKind::Tumbling { .. });
        if !is_tumbling && refused_in_part {
            return Ok(());
        }

        // The last word on each window, by the highest revision; a session by the highest that covers it.
        let mut last: BTreeMap<(usize, i64, i64), &Aggregate> = BTreeMap::new();
        for closed in &flow.closed {
            let key = KEYS.iter().position(|key| **key == *closed.key).unwrap();
            let bounds = (key, closed.window_start.0, closed.window_end.0);
            last.retain(|other, before| {
                let covered = other.0 == key && bounds.1 <= other.1 && other.2 <= bounds.2;
                !covered || {
                    assert!(before.revision < closed.revision || *other != bounds);
                    false
                }
            });
            last.insert(bounds, closed);
        }
        let expected = expected(&spec, &taken);
        let told: BTreeMap<_, u64> = last.iter().map(|(bounds, closed)| (*bounds, closed.event_count)).collect();
        let counts: BTreeMap<_, u64> = expected.iter().map(|(bounds, values)| (*bounds, values.len() as u64)).collect();
        prop_assert_eq!(told, counts);
        for (bounds, values) in &expected {
            let stats = last[bounds].aggregates["v"];
            let mut values = values.clone();
            values.sort_by(f64::total_cmp);
            let sum: f64 = values.iter().sum();
            prop_assert!((stats.sum - sum).abs() < 1e-9 * (1.0 + sum.abs()));
            prop_assert_eq!((stats.min, stats.max), (values[0], values[values.len() - 1]));
            let middle = values[(values.len() - 1) / 2];
            prop_assert!((stats.p50.unwrap() - middle).abs() <= middle.abs() * 0.01);
        }
    }
}
