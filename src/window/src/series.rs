//! One series of one partition: its windows, its fields, what it refused as late.

use crate::closed::{Outcome, Sink};
use crate::emit::{Emitter, Scratch};
use crate::fields::{Fields, MAX_FIELDS};
use crate::group::Interned;
use crate::keys::Keys;
use crate::spec::{SeriesSpec, SpecError};
use crate::state::{Reader, StateError, Writer};
use crate::windows::Windows;
use hashbrown::HashMap;
use std::sync::Arc;

/// Keys whose late events are counted at one time for `late_count`; those of further keys are told by their
/// [`Outcome`] only.
pub const MAX_LATE_KEYS: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Series {
    pub spec: SeriesSpec,
    index: usize,
    name: Arc<str>,
    partial: bool,
    pub fields: Fields,
    pub windows: Windows,
    /// Events refused as late, by key, since the key's last emission.
    pub late: HashMap<u32, u64, foldhash::fast::FixedState>,
    scratch: Scratch,
    /// Windows have closed since the last [`Series::advance`].
    worked: bool,
    /// A longer grace than that in force, and the watermark from which on it is: until then there are windows that were
    /// forgotten under the shorter one, and an event for such a window would open it a second time.
    longer_grace: Option<(i64, i64)>,
    /// Lateness and grace that are wanted, while those that its state was made under are in force.
    wanted: Option<(i64, i64)>,
}

impl Series {
    pub fn new(index: usize, spec: SeriesSpec, partial: bool) -> Result<Self, SpecError> {
        spec.validate()?;
        Ok(Series {
            index,
            name: spec.name.as_str().into(),
            partial,
            fields: Fields::new(spec.values.as_deref()),
            windows: Windows::new(&spec),
            late: HashMap::default(),
            scratch: Scratch::default(),
            worked: false,
            longer_grace: None,
            wanted: None,
            spec,
        })
    }

    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// The parts that work together on an event.
    #[inline(always)]
    fn split<'a>(
        &'a mut self,
        keys: &'a Keys,
        types: &'a Keys,
    ) -> (&'a mut Windows, &'a mut Fields, Emitter<'a>) {
        let emitter = Emitter {
            series_index: self.index,
            series: &self.name,
            percentiles: self.spec.percentiles,
            partial: self.partial,
            keys,
            types,
            late: &mut self.late,
            scratch: &mut self.scratch,
        };
        (&mut self.windows, &mut self.fields, emitter)
    }

    fn watermark(&self, newest: i64) -> i64 {
        newest.saturating_sub(self.spec.lateness_micros)
    }

    #[inline]
    #[allow(clippy::too_many_arguments)] // the group lends its parts one by one
    pub fn observe<'n>(
        &mut self,
        who: Interned,
        time: i64,
        numbers: impl Iterator<Item = (&'n str, f64)>,
        newest: i64,
        keys: &Keys,
        types: &Keys,
        sink: &mut Sink<'_>,
    ) -> Outcome {
        let watermark = self.watermark(newest);
        let (windows, fields, mut emitter) = self.split(keys, types);
        let (outcome, worked) = windows.observe(who, time, numbers, watermark, fields, &mut emitter, sink);
        self.worked |= worked;
        if outcome == Outcome::Late {
            self.count_late(who.key);
        }
        outcome
    }

    #[inline]
    pub fn advance(&mut self, newest: i64, keys: &Keys, types: &Keys, sink: &mut Sink<'_>) -> bool {
        self.advance_to(self.watermark(newest), &mut { u64::MAX }, keys, types, sink);
        std::mem::take(&mut self.worked) && self.tidied()
    }

    /// Closes what an event at `newest` leaves no doubt about, as far as `room` goes; false when more is left.
    #[inline]
    pub fn prepare(
        &mut self,
        newest: i64,
        room: &mut u64,
        keys: &Keys,
        types: &Keys,
        sink: &mut Sink<'_>,
    ) -> bool {
        let mut watermark = self.watermark(newest);
        if matches!(self.windows, Windows::Sessions(_)) {
            // One that ends just there may still be reached by the event.
            watermark = watermark.saturating_sub(1);
        }
        self.advance_to(watermark, room, keys, types, sink)
    }

    /// False when `room` is used up and more is left.
    #[inline(always)]
    fn advance_to(
        &mut self,
        watermark: i64,
        room: &mut u64,
        keys: &Keys,
        types: &Keys,
        sink: &mut Sink<'_>,
    ) -> bool {
        let (windows, fields, mut emitter) = self.split(keys, types);
        let worked = windows.advance(watermark, room, fields, &mut emitter, sink);
        let done = !windows.is_midway();
        self.worked |= worked && done;
        done
    }

    /// After windows have closed: gives the numbers of unused fields back when there are none left.
    #[cold]
    fn tidied(&mut self) -> bool {
        if let Some((from, grace)) = self.longer_grace
            && from <= self.windows.watermark()
        {
            self.set_grace(grace);
            self.longer_grace = None;
        }
        if self.fields.is_full() {
            self.fields.retain(&self.windows.fields_in_use());
        }
        true
    }

    /// See [`Group::adopt`](crate::Group::adopt).
    pub fn adopt(&mut self) {
        let Some((lateness, grace)) = self.wanted.take() else { return };
        self.spec.lateness_micros = lateness;
        if grace > self.spec.grace_micros {
            self.longer_grace = Some((self.windows.watermark().saturating_add(grace), grace));
        } else {
            self.set_grace(grace);
        }
    }

    fn set_grace(&mut self, grace: i64) {
        self.spec.grace_micros = grace;
        self.windows.set_grace(grace);
    }

    #[cold]
    fn count_late(&mut self, key: u32) {
        if self.late.len() < MAX_LATE_KEYS || self.late.contains_key(&key) {
            *self.late.entry(key).or_insert(0) += 1;
        }
    }

    /// False when `room` is used up and more is left.
    pub fn close_idle(&mut self, room: &mut u64, keys: &Keys, types: &Keys, sink: &mut Sink<'_>) -> bool {
        let (windows, fields, mut emitter) = self.split(keys, types);
        windows.close_idle(room, fields, &mut emitter, sink);
        !windows.is_midway()
    }

    /// Marks the keys and types that are in use.
    pub fn mark(&self, keys: &mut [bool], types: &mut [bool]) {
        self.windows.mark(keys, types);
        for &key in self.late.keys() {
            keys[key as usize] = true;
        }
    }

    /// Follows a renumbering of the keys.
    pub fn renumber_keys(&mut self, renumbered: &[u32]) {
        self.windows.renumber_keys(renumbered);
        self.late = self.late.drain().map(|(key, count)| (renumbered[key as usize], count)).collect();
    }
}

/// The state.
impl Series {
    pub fn encode(&self, renumbered: &[u32], out: &mut Writer<'_>) {
        out.put(&self.fields.dropped);
        out.put(&(self.fields.names().count() as u32));
        for (field, name) in self.fields.names() {
            out.put(&(field, &**name));
        }
        out.put(&(self.late.len() as u64));
        for (&key, &count) in &self.late {
            out.put(&(renumbered[key as usize], count));
        }
        self.windows.encode(renumbered, out);
    }

    /// Of a series that this one [continues](SeriesSpec::continues).
    pub fn decode(&mut self, earlier: &SeriesSpec, input: &mut Reader<'_>) -> Result<(), StateError> {
        self.wanted = Some((self.spec.lateness_micros, self.spec.grace_micros));
        self.spec.lateness_micros = earlier.lateness_micros;
        self.set_grace(earlier.grace_micros);
        self.fields.dropped = input.get()?;
        let mut fields = Vec::new();
        for _ in 0..input.get::<u32>()? {
            let (field, name): (u16, String) = input.get()?;
            if usize::from(field) >= MAX_FIELDS {
                return Err(input.broken("too many fields"));
            }
            fields.resize(fields.len().max(usize::from(field) + 1), 0);
            fields[usize::from(field)] = self.fields.of_earlier(&name);
        }
        for _ in 0..input.get::<u64>()? {
            let (key, count): (u32, u64) = input.get()?;
            self.late.insert(input.key(key)?, count);
        }
        self.windows.decode(&fields, input)
    }
}
