//! One series downstream of a repartition topic: partial aggregates of each upstream partition become windows.
//!
//! A window closes when the least watermark of the upstream partitions that are not idle has reached its end; parts are
//! put together in the order of their partitions. A part for a window that was emitted corrects it at once. Lateness
//! was judged upstream: a part is never late here.
//!
//! Bounds: a window is kept until every upstream partition has passed its end + grace, and while there are few, for
//! [`NEW_RETENTION_MICROS`] longer: a partition that the input topic got meanwhile may have parts for it. Idle partitions
//! that lag behind hold it for [`IDLE_RETENTION_MICROS`], measured by the others' watermark. However that may be, the newest
//! windows are kept as long as all of them take [`RETAINED_BYTES`] at most: for a partition that was away for days. A part that
//! comes later still is told as [`Merged::Expired`].
//!
//! A session is announced by its partition when it begins, and what it touches waits here until it has closed there. A
//! part that joins what was emitted already makes a longer session that supersedes it, with the next revision.

mod stored;
mod windows;

use crate::cells::Portable;
use crate::closed::{Closed, Sink};
use crate::gather::Gather;
use crate::grid::Grid;
use crate::panes::EMPTY_WINDOWS_UNTIL_FORGOTTEN;
use crate::partial::{Mark, Partial, UpstreamMessage};
use crate::series::MAX_LATE_KEYS;
use crate::spec::{SeriesSpec, SpecError, WindowKind};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidecast_event::{EventTime, FieldStats};
use windows::{Part, Window, window_at};

/// How long, in event time, windows are kept for idle upstream partitions that have not passed them.
pub const IDLE_RETENTION_MICROS: i64 = 3_600_000_000;

/// How long, in event time, windows are kept for upstream partitions that nobody knows of yet: it takes consumers some ten
/// seconds to find that a topic has more partitions, and what is written there meanwhile is not late.
pub const NEW_RETENTION_MICROS: i64 = 60_000_000;

/// With more windows than these none is kept for a partition that may never be.
pub const RETAINED_WINDOWS_MAX: usize = 10_000;

/// What windows may take beyond what has to be kept.
pub const RETAINED_BYTES: usize = 4 << 20;

/// Windows looked at between two looks at the order.
const AT_ONCE: usize = 256;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It counts.
    Applied,
    /// It, or a newer one, was there already.
    Repeated,
    /// Its window is no longer kept, for its partition was idle for too long, or is new: so many events are in no window. They
    /// are in the `late_count` of the key's next.
    Expired {
        /// Events.
        events: u64,
    },
}

#[derive(Debug, Clone, Copy, bincode::Encode, bincode::Decode)]
struct Upstream {
    /// Where it stands: what it told, or where the others had come to when it was added.
    watermark: i64,
    idle: bool,
    /// What it told last.
    told: i64,
}

/// The windows of one series in one partition of a repartition topic.
#[derive(Debug)]
pub struct Merger {
    spec: SeriesSpec,
    series: Arc<str>,
    upstreams: Vec<Upstream>,
    /// The greatest that the least watermark has been.
    watermark: i64,
    /// In the order of their starts.
    windows: HashMap<Arc<str>, Vec<Window>, foldhash::fast::FixedState>,
    /// (end, key, start) of every window.
    order: BTreeSet<(i64, Arc<str>, i64)>,
    /// What all windows take.
    weight: usize,
    late: HashMap<Arc<str>, u64, foldhash::fast::FixedState>,
    /// With `empty_windows`: number of the first and the last window with an event of each key.
    known: BTreeMap<Arc<str>, (i64, i64)>,
    gather: Gather,
    stats: Vec<(Arc<str>, FieldStats)>,
    names: HashMap<String, Arc<str>, foldhash::fast::FixedState>,
    closing: Option<Closing>,
    /// Windows whose end + grace is not after this are forgotten.
    forgotten: i64,
    gave_up: bool,
}

/// A close that has begun and waits for room.
#[derive(Debug)]
struct Closing {
    /// The watermark that it goes to; none when all upstream partitions are idle.
    until: Option<i64>,
    /// What comes next in the order.
    next: (i64, Arc<str>, i64),
}

impl Merger {
    /// A merger that waits for `upstreams` partitions, none of which has been heard of.
    pub fn new(spec: SeriesSpec, upstreams: u32) -> Result<Self, SpecError> {
        spec.validate()?;
        let mut merger = Merger {
            series: spec.name.as_str().into(),
            spec,
            upstreams: Vec::new(),
            watermark: i64::MIN,
            windows: HashMap::default(),
            order: BTreeSet::new(),
            weight: 0,
            late: HashMap::default(),
            known: BTreeMap::new(),
            gather: Gather::default(),
            stats: Vec::new(),
            names: HashMap::default(),
            closing: None,
            forgotten: i64::MIN,
            gave_up: false,
        };
        merger.grow(upstreams);
        Ok(merger)
    }

    /// Waits for more upstream partitions: the input topic has grown. It never waits for fewer. A new one stands where windows
    /// were forgotten until: one made anew would be told a second time.
    fn grow(&mut self, upstreams: u32) {
        let len = self.upstreams.len().max(upstreams as usize);
        self.upstreams.resize(len, Upstream { watermark: self.forgotten, idle: false, told: i64::MIN });
    }

    /// The series.
    pub fn spec(&self) -> &SeriesSpec {
        &self.spec
    }

    /// The state it was decoded from was of another series under its name, and is given up.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// What all upstream partitions but the idle ones have reached.
    pub fn watermark(&self) -> EventTime {
        EventTime(self.watermark)
    }

    /// Windows held now.
    pub fn window_count(&self) -> usize {
        self.order.len()
    }

    /// Takes one message, in the order of the repartition topic. A message of another series is the caller's mistake
    /// and counts as repeated. A mark closes windows as far as `room` goes, one each: see [`Merger::is_midway`].
    pub fn observe(&mut self, message: UpstreamMessage, room: &mut u64, sink: &mut Sink<'_>) -> Merged {
        match message {
            UpstreamMessage::Partial(partial) if partial.series == self.spec.name => {
                self.partial(partial, sink)
            }
            UpstreamMessage::Mark(mark) if mark.series == self.spec.name => self.mark(&mark, room, sink),
            _ => Merged::Repeated,
        }
    }

    /// A mark has more to close: [`Merger::go_on`] has to be called before anything else.
    pub fn is_midway(&self) -> bool {
        self.closing.is_some()
    }

    fn partial(&mut self, partial: Partial, sink: &mut Sink<'_>) -> Merged {
        let (start, end) = (partial.start().0, partial.end().0);
        let key: Arc<str> = match self.windows.get_key_value(partial.key.as_str()) {
            Some((key, _)) => key.clone(),
            None => partial.key.as_str().into(),
        };
        let past = end.saturating_add(self.spec.grace_micros);
        if past <= self.forgotten {
            let told =
                self.upstreams.get(partial.upstream as usize).map_or(i64::MIN, |upstream| upstream.told);
            if partial.open || past <= told {
                // What a partition has passed it has said before.
                return Merged::Repeated;
            }
            // A correction has the events of what it corrects; one of them is new.
            let events = if partial.revision == 0 { partial.count } else { 1 };
            self.count_late(&key, events + partial.late_count);
            return Merged::Expired { events };
        }
        let session = matches!(self.spec.window, WindowKind::Session { .. });
        let windows = self.windows.entry(key.clone()).or_default();
        // A session's parts touch; an aligned window's are the same window.
        let joins = |window: &Window| {
            if session { window.start <= end && start <= window.end } else { window.start == start }
        };
        let stands = |part: &Part| {
            part.upstream == partial.upstream
                && part.start <= start
                && part.end >= end
                && part.revision >= partial.revision
                && (partial.open || !part.open)
        };
        if windows.iter().filter(|window| joins(window)).flat_map(|window| &window.parts).any(stands) {
            return Merged::Repeated;
        }
        let mut joined = Window { start, end, emissions: 0, parts: Vec::new() };
        for window in windows.extract_if(.., |window| joins(window)) {
            self.weight -= window.weight();
            self.order.remove(&(window.end, key.clone(), window.start));
            joined.start = joined.start.min(window.start);
            joined.end = joined.end.max(window.end);
            joined.emissions = joined.emissions.max(window.emissions);
            joined.parts.extend(window.parts);
        }
        joined.parts.retain(|part| part.upstream != partial.upstream || part.start < start || part.end > end);
        let late = partial.late_count;
        let part = Part {
            upstream: partial.upstream,
            start,
            end,
            revision: partial.revision,
            count: partial.count,
            event_type: partial.event_type,
            mixed: partial.mixed,
            open: partial.open,
            fields: partial.fields,
        };
        let place = (part.upstream, part.start);
        let at = joined.parts.partition_point(|other| (other.upstream, other.start) < place);
        joined.parts.insert(at, part);
        self.order.insert((joined.end, key.clone(), joined.start));
        let at = windows.partition_point(|window| window.start < joined.start);
        let (start, end) = (joined.start, joined.end);
        let now = !partial.open && (joined.emissions > 0 || (end <= self.watermark && !joined.is_open()));
        self.weight += joined.weight();
        windows.insert(at, joined);
        self.count_late(&key, late);
        self.know(&key, start);
        if now {
            self.emit(&key, start, sink);
        }
        Merged::Applied
    }

    /// To be told with the next window of the key.
    fn count_late(&mut self, key: &Arc<str>, late: u64) {
        if late > 0 && (self.late.len() < MAX_LATE_KEYS || self.late.contains_key(key)) {
            *self.late.entry(key.clone()).or_insert(0) += late;
        }
    }

    fn mark(&mut self, mark: &Mark, room: &mut u64, sink: &mut Sink<'_>) -> Merged {
        self.grow(mark.upstream.saturating_add(1));
        let upstream = &mut self.upstreams[mark.upstream as usize];
        let before = (upstream.watermark, upstream.idle);
        if mark.watermark().0 < upstream.told {
            // Of a life of it that has not come as far as one before: what that said of idleness holds.
            return Merged::Repeated;
        }
        upstream.told = mark.watermark().0;
        upstream.watermark = upstream.watermark.max(upstream.told);
        upstream.idle = mark.idle;
        if (upstream.watermark, upstream.idle) == before {
            return Merged::Repeated;
        }
        let active = self.upstreams.iter().filter(|upstream| !upstream.idle);
        let until = active.map(|upstream| upstream.watermark).min();
        if until.is_none_or(|least| least > self.watermark) {
            self.closing = Some(Closing { until, next: bound(i64::MIN) });
        }
        self.go_on(room, sink);
        Merged::Applied
    }

    /// Goes on with what a mark closes, as far as `room` goes.
    pub fn go_on(&mut self, room: &mut u64, sink: &mut Sink<'_>) {
        if let Some(Closing { until, mut next }) = self.closing.take() {
            let done = match until {
                Some(watermark) => self.close_until(watermark, &mut next, room, sink),
                None => self.close_between(self.watermark, i64::MAX, &mut next, room, sink),
            };
            if !done {
                self.closing = Some(Closing { until, next });
                return;
            }
            self.watermark = self.watermark.max(until.unwrap_or(i64::MIN));
        }
        self.purge();
    }

    /// Emits what has not been emitted of the windows that end after `from` and by `to`, from `next` on, in the order of
    /// (end, key); false when there is no room for the next.
    fn close_between(
        &mut self,
        from: i64,
        to: i64,
        next: &mut (i64, Arc<str>, i64),
        room: &mut u64,
        sink: &mut Sink<'_>,
    ) -> bool {
        loop {
            let after = bound(from.saturating_add(1)).max(next.clone());
            let ended = self.order.range(after..).take_while(|(end, _, _)| *end <= to);
            let ended: Vec<_> = ended.take(AT_ONCE).cloned().collect();
            let Some(last) = ended.last().cloned() else { return true };
            for window in ended {
                let (_, key, start) = &window;
                let open = self.windows.get(key).and_then(|windows| window_at(windows, *start));
                if open.is_some_and(Window::is_ready) {
                    if *room == 0 {
                        *next = window;
                        return false;
                    }
                    *room -= 1;
                    self.emit(key, *start, sink);
                }
            }
            *next = (last.0, last.1, last.2.saturating_add(1));
        }
    }

    /// Closes by the watermark, with the empty windows of known keys; false when there is no room for the next.
    fn close_until(
        &mut self,
        watermark: i64,
        next: &mut (i64, Arc<str>, i64),
        room: &mut u64,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(grid) = self.grid().filter(|_| !self.known.is_empty()) else {
            return self.close_between(self.watermark, watermark, next, room, sink);
        };
        let earliest = self.known.values().map(|(first, _)| *first).min().unwrap_or(i64::MAX);
        let mut number = grid.first_open(self.watermark).max(earliest);
        let mut from = self.watermark;
        while grid.end(number) <= watermark && !self.known.is_empty() {
            let forgotten = number - EMPTY_WINDOWS_UNTIL_FORGOTTEN;
            self.known.retain(|_, (_, last)| *last > forgotten);
            let (start, end) = (grid.start(number), grid.end(number));
            let expected: Vec<Arc<str>> = self
                .known
                .iter()
                .filter(|(_, (first, _))| *first <= number)
                .map(|(key, _)| key.clone())
                .collect();
            for key in expected {
                let windows = self.windows.entry(key.clone()).or_default();
                if window_at(windows, start).is_none() {
                    let at = windows.partition_point(|window| window.start < start);
                    let empty = Window { start, end, emissions: 0, parts: Vec::new() };
                    self.weight += empty.weight();
                    windows.insert(at, empty);
                    self.order.insert((end, key, start));
                }
            }
            if !self.close_between(from, end, next, room, sink) {
                return false;
            }
            from = end;
            number += 1;
        }
        self.close_between(from, watermark, next, room, sink)
    }

    fn grid(&self) -> Option<Grid> {
        match self.spec.window {
            WindowKind::Tumbling { size_micros } => Some(Grid::new(size_micros, size_micros)),
            WindowKind::Hopping { size_micros, advance_micros } => {
                Some(Grid::new(size_micros, advance_micros))
            }
            WindowKind::Session { .. } => None,
        }
    }

    fn know(&mut self, key: &Arc<str>, start: i64) {
        if let Some(grid) = self.grid().filter(|_| self.spec.empty_windows) {
            let number = grid.number(start);
            let known = self.known.entry(key.clone()).or_insert((number, number));
            *known = (number.min(known.0), number.max(known.1));
        }
    }

    fn passed_by_all(&self) -> i64 {
        self.upstreams.iter().map(|upstream| upstream.watermark).min().unwrap_or(i64::MIN)
    }

    /// Forgets the oldest windows, where no part can come for them or they take too much.
    fn purge(&mut self) {
        let few = self.order.len() <= RETAINED_WINDOWS_MAX;
        let kept = if few { NEW_RETENTION_MICROS } else { 0 };
        let passed = self.passed_by_all().saturating_sub(kept);
        let mut forgotten = Vec::new();
        for (end, key, start) in &self.order {
            let past = end.saturating_add(self.spec.grace_micros);
            let is_old = past.saturating_add(IDLE_RETENTION_MICROS) <= self.watermark;
            if *end > self.watermark || self.weight <= RETAINED_BYTES || (past > passed && !is_old) {
                break;
            }
            let window = self.windows.get(key).and_then(|windows| window_at(windows, *start));
            let waits = window.is_some_and(Window::is_open);
            if waits && end.saturating_add(IDLE_RETENTION_MICROS) > self.watermark {
                continue;
            }
            self.forgotten = self.forgotten.max(past);
            self.weight -= window.map_or(0, Window::weight);
            forgotten.push((*end, key.clone(), *start));
        }
        for (end, key, start) in forgotten {
            self.order.remove(&(end, key.clone(), start));
            if let Some(windows) = self.windows.get_mut(&key) {
                windows.retain(|window| window.start != start);
                if windows.is_empty() {
                    self.windows.remove(&key);
                }
            }
        }
        if self.names.len() > crate::MAX_FIELDS {
            self.names.clear();
        }
    }

    fn emit(&mut self, key: &Arc<str>, start: i64, sink: &mut Sink<'_>) {
        let Some(window) = self.windows.get_mut(key).and_then(|windows| {
            let at = windows.binary_search_by_key(&start, |window| window.start).ok()?;
            windows.get_mut(at)
        }) else {
            return;
        };
        window.emissions += 1;
        let mut fields: Vec<(&str, usize, &Portable)> = Vec::new();
        for (at, part) in window.parts.iter().enumerate() {
            fields.extend(part.fields.iter().map(|(name, portable)| (name.as_str(), at, portable)));
        }
        fields.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        self.stats.clear();
        for of_field in fields.chunk_by(|a, b| a.0 == b.0) {
            self.gather.clear();
            for (_, _, portable) in of_field {
                self.gather.import(portable);
            }
            let name = of_field[0].0;
            let name = match self.names.get(name) {
                Some(name) => name.clone(),
                None => self.names.entry(name.to_owned()).or_insert_with(|| name.into()).clone(),
            };
            self.stats.extend(self.gather.stats(self.spec.percentiles).map(|stats| (name, stats)));
        }
        let mut types = window.parts.iter().filter(|part| part.count > 0);
        let event_type = types.next().and_then(|part| part.event_type.as_deref());
        let mixed = types.any(|part| part.event_type.as_deref() != event_type);
        sink(Closed {
            series_index: 0,
            series: &self.series,
            key,
            event_type: event_type.filter(|_| !mixed),
            start: EventTime(window.start),
            end: EventTime(window.end),
            count: window.parts.iter().map(|part| part.count).sum(),
            fields: &self.stats,
            revision: window.emissions - 1,
            late_count: self.late.remove(key).unwrap_or(0),
            parts: &[],
            mixed,
            open: false,
        });
    }
}

/// Before all windows with that end.
fn bound(end: i64) -> (i64, Arc<str>, i64) {
    (end, "".into(), i64::MIN)
}
