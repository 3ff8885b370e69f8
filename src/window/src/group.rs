//! The series of one partition that share a grouping key: one table of keys, one state, one snapshot.

use crate::closed::{Outcome, Sink};
use crate::keys::Keys;
use crate::series::Series;
use crate::spec::{SeriesSpec, SpecError};
use crate::types::{MAX_TYPES, TypeSeen};
use tidecast_event::EventTime;

/// Keys are looked through for dead ones when there are this many, and again at each doubling.
const KEYS_BEFORE_COLLECTION: usize = 4_096;

/// A key and an event type, as numbers. Good until the next call of [`Group::advance`] or [`Group::close_idle`].
#[derive(Debug, Clone, Copy)]
pub struct Interned {
    pub(crate) key: u32,
    pub(crate) event_type: TypeSeen,
}

/// Windows of the series of one partition that are grouped by the same field.
///
/// It is a pure function of the calls made on it: for each valid record of the partition, in order, either `observe`
/// for each series that wants it or none, then `advance` with the newest event time so far. How calls are batched, and
/// whether the state was encoded and decoded between two of them, makes no difference to what is emitted.
#[derive(Debug)]
pub struct Group {
    pub(crate) keys: Keys,
    pub(crate) types: Keys,
    pub(crate) series: Vec<Series>,
    pub(crate) partial: bool,
    collect_at: usize,
    /// The series that [`Group::close_idle`] is at.
    closing: usize,
    pub(crate) given_up: Vec<String>,
}

impl Group {
    /// A group of series without events.
    pub fn new(specs: Vec<SeriesSpec>) -> Result<Self, SpecError> {
        Group::with_mode(specs, false)
    }

    /// A group whose closed windows carry mergeable parts ([`Closed::to_partial`](crate::Closed::to_partial))
    /// instead of statistics. It emits no empty windows: the merger does.
    pub fn partial(specs: Vec<SeriesSpec>) -> Result<Self, SpecError> {
        let specs = specs.into_iter().map(|spec| SeriesSpec { empty_windows: false, ..spec }).collect();
        Group::with_mode(specs, true)
    }

    pub(crate) fn with_mode(specs: Vec<SeriesSpec>, partial: bool) -> Result<Self, SpecError> {
        let mut series: Vec<Series> = Vec::with_capacity(specs.len());
        for spec in specs {
            if series.iter().any(|other| other.spec.name == spec.name) {
                let problem = "the name is taken by another series: names must differ".to_owned();
                return Err(SpecError { series: spec.name, problem });
            }
            series.push(Series::new(series.len(), spec, partial)?);
        }
        let (keys, types) = (Keys::default(), Keys::default());
        let collect_at = KEYS_BEFORE_COLLECTION;
        Ok(Group { keys, types, series, partial, collect_at, closing: 0, given_up: Vec::new() })
    }

    /// The series, in the order in which they were given: a series' place is its index.
    pub fn specs(&self) -> impl ExactSizeIterator<Item = &SeriesSpec> {
        self.series.iter().map(|series| &series.spec)
    }

    /// Names of series in the state that this was decoded from which are no series of it, or others than they were: what
    /// was open in them is in no window.
    pub fn given_up(&self) -> &[String] {
        &self.given_up
    }

    /// From here on lateness and grace are those of the definitions. Until then a decoded group has those that its state was
    /// made under, so that a replay closes what was closed the first time.
    pub fn adopt(&mut self) {
        self.series.iter_mut().for_each(Series::adopt);
    }

    /// Looks up an event's key and type, once for all the series that want it.
    #[inline]
    pub fn intern(&mut self, key: &str, event_type: &str) -> Interned {
        let event_type = TypeSeen::of(self.types.intern(event_type));
        Interned { key: self.keys.intern(key), event_type }
    }

    /// Counts an event of a key, for [`Group::take_counts`]: not part of the state.
    #[inline]
    pub fn count(&mut self, who: Interned) {
        self.keys.count(who.key);
    }

    /// Tells how many events of each key were counted since the last time, in no order.
    pub fn take_counts(&mut self, tell: impl FnMut(&str, u64)) {
        self.keys.take_counts(tell);
    }

    /// Gives one event to one series. `newest` is the newest event time of all valid events of the partition up to and
    /// including this one; windows that it closes go to the sink before those that the event corrects.
    #[inline]
    pub fn observe<'n>(
        &mut self,
        series: usize,
        who: Interned,
        time: EventTime,
        numbers: impl Iterator<Item = (&'n str, f64)>,
        newest: EventTime,
        sink: &mut Sink<'_>,
    ) -> Outcome {
        self.series[series].observe(who, time.0, numbers, newest.0, &self.keys, &self.types, sink)
    }

    /// Moves every series' watermark to `newest` less its lateness, and closes what has ended. To be called after
    /// every valid record, also one that no series wanted; it costs a comparison for each series when nothing closes.
    #[inline]
    pub fn advance(&mut self, newest: EventTime, sink: &mut Sink<'_>) {
        let mut worked = false;
        for series in &mut self.series {
            worked |= series.advance(newest.0, &self.keys, &self.types, sink);
        }
        if worked && (self.keys.len() >= self.collect_at || self.types.len() >= MAX_TYPES) {
            self.collect();
        }
    }

    /// Before the events of a record are observed: closes what [`Group::advance`] would, as far as `room` goes, a window
    /// each. False when more is left: nothing else may be called until it has been called again with the same `newest`
    /// and returned true. Sessions that end at the very watermark are left to `observe` and `advance`.
    ///
    /// One record may end millions of windows, which need not all be in memory at once.
    #[inline]
    pub fn prepare(&mut self, newest: EventTime, room: &mut u64, sink: &mut Sink<'_>) -> bool {
        self.series.iter_mut().all(|series| series.prepare(newest.0, room, &self.keys, &self.types, sink))
    }

    /// Closes every open window (revision 0) without moving a watermark: the partition is quiet. An event for such a
    /// window corrects it at once. As far as `room` goes, a window each; false when more is left: nothing else may be
    /// called until it has been called again and returned true.
    pub fn close_idle(&mut self, room: &mut u64, sink: &mut Sink<'_>) -> bool {
        while let Some(series) = self.series.get_mut(self.closing) {
            if !series.close_idle(room, &self.keys, &self.types, sink) {
                return false;
            }
            self.closing += 1;
        }
        self.closing = 0;
        true
    }

    /// A series' watermark: every window that ends by it has been closed.
    pub fn watermark(&self, series: usize) -> EventTime {
        EventTime(self.series[series].windows.watermark())
    }

    /// Numeric values that a series left out because it has too many fields, since it was made or decoded.
    pub fn values_dropped(&self, series: usize) -> u64 {
        self.series[series].fields.dropped
    }

    /// Keys held now, those of closed windows not yet collected among them.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Windows, panes and sessions held now, over all series.
    pub fn record_count(&self) -> usize {
        self.series.iter().map(Series::len).sum()
    }

    /// Forgets keys and types that no window holds. When keys go makes no difference to what is emitted; types go only
    /// when their numbers are used up, which is so at the same record after a restart.
    fn collect(&mut self) {
        let (keys, types) = self.live();
        if keys.iter().filter(|live| **live).count() <= keys.len() / 2 {
            let renumbered = self.keys.retain(&keys);
            for series in &mut self.series {
                series.renumber_keys(&renumbered);
            }
        }
        if self.types.len() >= MAX_TYPES {
            let renumbered = self.types.retain(&types);
            for series in &mut self.series {
                series.windows.renumber_types(&renumbered);
            }
        }
        self.collect_at = KEYS_BEFORE_COLLECTION.max(self.keys.len() * 2);
    }

    /// Which keys and types some series holds.
    pub(crate) fn live(&self) -> (Vec<bool>, Vec<bool>) {
        let mut keys = vec![false; self.keys.len()];
        let mut types = vec![false; self.types.len()];
        for series in &self.series {
            series.mark(&mut keys, &mut types);
        }
        (keys, types)
    }
}
