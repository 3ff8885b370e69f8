//! The engine against the plainest possible one: every event kept, every window looked at each time.

mod play;

use play::{KEYS, Play, SECOND, Step, grace, hopping, lateness, step, tumbling};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidecast_event::{Aggregate, Fields};
use tidecast_window::{EMPTY_WINDOWS_UNTIL_FORGOTTEN, Outcome, SeriesSpec, WindowKind};

/// Windows by (end, key).
#[derive(Default)]
struct Naive {
    windows: BTreeMap<(i64, String), Window>,
    newest: Option<i64>,
    late: BTreeMap<String, u64>,
    emitted: Vec<Aggregate>,
}

#[derive(Default, Clone)]
struct Window {
    values: Vec<f64>,
    types: Vec<String>,
    emissions: u32,
}

impl Naive {
    fn sizes(spec: &SeriesSpec) -> (i64, i64) {
        match spec.window {
            WindowKind::Tumbling { size_micros } => (size_micros, size_micros),
            WindowKind::Hopping { size_micros, advance_micros } => (size_micros, advance_micros),
            WindowKind::Session { .. } => unreachable!("sessions have their own oracle"),
        }
    }

    fn watermark(&self, spec: &SeriesSpec) -> i64 {
        self.newest.map_or(i64::MIN, |newest| newest - spec.lateness_micros)
    }

    /// Emits one window as it is.
    fn emit(&mut self, spec: &SeriesSpec, end: i64, key: &str) {
        let window = self.windows.get_mut(&(end, key.to_owned())).unwrap();
        let mut play = Play::new(SeriesSpec { lateness_micros: 0, ..SeriesSpec::tumbling("s", 1 << 60) });
        for (value, event_type) in window.values.iter().zip(&window.types) {
            play.event("x", event_type, 0, &[("v", *value)]);
        }
        play.idle_aggregates();
        let statistics = play.closed.borrow().first().cloned();
        window.emissions += 1;
        self.emitted.push(Aggregate {
            series: "s".into(),
            key: key.into(),
            event_type: statistics.as_ref().and_then(|closed| closed.event_type.clone()),
            window_start: tidecast_event::EventTime(end - Naive::sizes(spec).0),
            window_end: tidecast_event::EventTime(end),
            event_count: window.values.len() as u64,
            aggregates: statistics.map(|closed| closed.aggregates).unwrap_or_default(),
            revision: window.emissions - 1,
            late_count: self.late.remove(key).unwrap_or(0),
        });
    }

    /// Every end up to `watermark` in order, with what closes there.
    fn close(&mut self, spec: &SeriesSpec, before: i64, watermark: i64) {
        let (size, advance) = Naive::sizes(spec);
        let Some(((first, _), _)) = self.windows.first_key_value() else { return };
        let mut end = *first;
        while end <= watermark {
            if end > before {
                if spec.empty_windows {
                    for key in KEYS {
                        let ends: Vec<i64> = self.with_events(key).collect();
                        let known = ends.iter().min().is_some_and(|first| *first < end)
                            && ends
                                .iter()
                                .max()
                                .is_some_and(|last| end < last + EMPTY_WINDOWS_UNTIL_FORGOTTEN * advance);
                        if known {
                            self.windows.entry((end, key.to_owned())).or_default();
                        }
                    }
                }
                let keys: Vec<String> = self
                    .windows
                    .range((end, String::new())..(end + 1, String::new()))
                    .map(|((_, key), _)| key.clone())
                    .collect();
                for key in keys {
                    if self.windows[&(end, key.clone())].emissions == 0 {
                        self.emit(spec, end, &key);
                    }
                }
            }
            end += advance;
        }
        let _ = size;
    }

    fn with_events(&self, key: &str) -> impl Iterator<Item = i64> {
        let ends = self.windows.iter().filter(|((_, of), window)| of == key && !window.values.is_empty());
        ends.map(|((end, _), _)| *end).collect::<Vec<_>>().into_iter()
    }

    fn passes(&mut self, spec: &SeriesSpec, time: i64) {
        let before = self.watermark(spec);
        self.newest = self.newest.max(Some(time));
        self.close(spec, before, self.watermark(spec));
    }

    fn event(&mut self, spec: &SeriesSpec, key: &str, event_type: &str, time: i64, value: f64) -> Outcome {
        self.passes(spec, time);
        let watermark = self.watermark(spec);
        let (size, advance) = Naive::sizes(spec);
        let mut outcome = Outcome::Late;
        let mut end = time.div_euclid(advance) * advance + size;
        let mut ends = Vec::new();
        while end > time {
            ends.push(end);
            end -= advance;
        }
        ends.reverse();
        let mut corrected = Vec::new();
        for end in ends {
            if end + spec.grace_micros <= watermark {
                continue;
            }
            outcome = Outcome::Taken;
            let window = self.windows.entry((end, key.to_owned())).or_default();
            window.values.push(value);
            window.types.push(event_type.to_owned());
            if end <= watermark || window.emissions > 0 {
                corrected.push(end);
            }
        }
        for end in corrected {
            self.emit(spec, end, key);
        }
        if outcome == Outcome::Late {
            *self.late.entry(key.to_owned()).or_default() += 1;
        }
        outcome
    }

    fn idle(&mut self, spec: &SeriesSpec) {
        let open: Vec<(i64, String)> = self
            .windows
            .iter()
            .filter(|((end, _), window)| *end > self.watermark(spec) && window.emissions == 0)
            .map(|(window, _)| window.clone())
            .collect();
        for (end, key) in open {
            self.emit(spec, end, &key);
        }
    }
}

fn spec() -> impl Strategy<Value = SeriesSpec> {
    let sizes = prop::sample::select(vec![(10, 10), (10, 5), (10, 1), (9, 6), (5, 3), (4, 4), (7, 2)]);
    (sizes, 0..8i64, 0..15i64, any::<bool>(), any::<bool>()).prop_map(
        |((size, advance), late, kept, percentiles, empty_windows)| {
            let spec = if size == advance { tumbling(size) } else { hopping(size, advance) };
            SeriesSpec { percentiles, empty_windows, ..lateness(late, grace(kept, spec)) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_emission_is_the_oracles(spec in spec(), steps in prop::collection::vec(step(), 1..120)) {
        let mut naive = Naive::default();
        let mut play = Play::new(spec.clone());
        let mut undisturbed = Play::new(spec.clone());
        undisturbed.room = u64::MAX;
        let mut now = 1_000 * SECOND;
        for step in &steps {
            match *step {
                Step::Event { key, kind, back, ahead, value } => {
                    now += ahead * SECOND;
                    let time = now - back * SECOND;
                    let event_type = if kind { "x" } else { "y" };
                    let theirs = naive.event(&spec, KEYS[key], event_type, time, value);
                    prop_assert_eq!(play.event(KEYS[key], event_type, time, &[("v", value)]), theirs);
                    undisturbed.event(KEYS[key], event_type, time, &[("v", value)]);
                }
                Step::Passes { ahead } => {
                    now += ahead * SECOND;
                    naive.passes(&spec, now);
                    play.passes(now);
                    undisturbed.passes(now);
                }
                Step::Idle => {
                    naive.idle(&spec);
                    play.idle_aggregates();
                    undisturbed.idle_aggregates();
                }
                Step::Restart => play.restart(),
            }
            let mut ours: Vec<Aggregate> = play.closed.borrow_mut().drain(..).collect();
            let mut theirs: Vec<Aggregate> = naive.emitted.drain(..).collect();
            // Not even the order depends on restarts, or on how much was closed at one go.
            prop_assert_eq!(&ours, &*undisturbed.closed.borrow());
            undisturbed.closed.borrow_mut().clear();
            // Which key of a window comes first is not promised.
            for emitted in [&mut ours, &mut theirs] {
                emitted.sort_by(|a, b| (a.window_end, &a.key).cmp(&(b.window_end, &b.key)));
            }
            prop_assert_eq!(ours.len(), theirs.len(), "{:?}\n{:?}\n{:?}", step, ours, theirs);
            for (ours, theirs) in ours.iter().zip(&theirs) {
                same(ours, theirs, spec.percentiles);
            }
        }
    }
}

/// Equal, but for the last bits of sums that were made in another order.
fn same(ours: &Aggregate, theirs: &Aggregate, percentiles: bool) {
    let plain = |closed: &Aggregate| Aggregate { aggregates: Fields::default(), ..closed.clone() };
    assert_eq!(plain(ours), plain(theirs));
    let names = |of: &Aggregate| of.aggregates.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs));
    for (name, our) in ours.aggregates.iter() {
        let their = theirs.aggregates[name];
        assert_eq!((our.count, our.min, our.max), (their.count, their.min, their.max));
        let percents = if percentiles { [their.p50, their.p95, their.p99] } else { [None; 3] };
        assert_eq!([our.p50, our.p95, our.p99], percents, "{ours:?}");
        for statistic in ["sum", "avg", "std"] {
            let (our, their) = (our.statistic(statistic).unwrap(), their.statistic(statistic).unwrap());
            assert!((our - their).abs() <= 1e-9 * (1.0 + their.abs()), "{statistic}: {our} {their}");
        }
    }
}
