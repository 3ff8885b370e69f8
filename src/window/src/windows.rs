//! Aligned windows or sessions, behind one face.

use crate::closed::{Outcome, Sink};
use crate::emit::Emitter;
use crate::fields::Fields;
use crate::grid::Grid;
use crate::group::Interned;
use crate::panes::Panes;
use crate::sessions::Sessions;
use crate::spec::{SeriesSpec, WindowKind};
use crate::state::{Reader, StateError, Writer};

#[derive(Debug)]
pub(crate) enum Windows {
    Panes(Box<Panes>),
    Sessions(Box<Sessions>),
}

/// The same call on whichever it is.
macro_rules! each {
    ($self:expr, $windows:ident => $call:expr) => {
        match $self {
            Windows::Panes($windows) => $call,
            Windows::Sessions($windows) => $call,
        }
    };
}

impl Windows {
    pub fn new(spec: &SeriesSpec) -> Self {
        let panes = |size, advance| {
            let grid = Grid::new(size, advance);
            Windows::Panes(Box::new(Panes::new(
                grid,
                spec.grace_micros,
                spec.empty_windows,
                spec.percentiles,
            )))
        };
        match spec.window {
            WindowKind::Tumbling { size_micros } => panes(size_micros, size_micros),
            WindowKind::Hopping { size_micros, advance_micros } => panes(size_micros, advance_micros),
            WindowKind::Session { gap_micros } => {
                Windows::Sessions(Box::new(Sessions::new(gap_micros, spec.grace_micros, spec.percentiles)))
            }
        }
    }

    /// Advances to `watermark`, then takes one event. Tells the outcome, and whether the advance closed or forgot
    /// anything.
    #[inline]
    #[allow(clippy::too_many_arguments)] // the series lends its parts one by one
    pub fn observe<'n>(
        &mut self,
        who: Interned,
        time: i64,
        numbers: impl Iterator<Item = (&'n str, f64)>,
        watermark: i64,
        fields: &mut Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> (Outcome, bool) {
        match self {
            Windows::Panes(panes) => {
                let worked = panes.advance(watermark, &mut { u64::MAX }, fields, emitter, sink);
                (panes.observe(who, time, numbers, fields, emitter, sink), worked)
            }
            Windows::Sessions(sessions) => {
                sessions.reach(who, time, watermark);
                let worked = sessions.advance(watermark, &mut { u64::MAX }, fields, emitter, sink);
                (sessions.observe(who, time, numbers, fields, emitter, sink), worked)
            }
        }
    }

    #[inline]
    pub fn advance(
        &mut self,
        watermark: i64,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        each!(self, windows => windows.advance(watermark, room, fields, emitter, sink))
    }

    pub fn close_idle(
        &mut self,
        room: &mut u64,
        fields: &Fields,
        emitter: &mut Emitter<'_>,
        sink: &mut Sink<'_>,
    ) {
        each!(self, windows => windows.close_idle(room, fields, emitter, sink));
    }

    /// A close has begun and waits for room.
    #[inline]
    pub fn is_midway(&self) -> bool {
        each!(self, windows => windows.is_midway())
    }

    /// What has been closed is forgotten so long after.
    pub fn set_grace(&mut self, grace: i64) {
        each!(self, windows => windows.grace = grace);
    }

    pub fn len(&self) -> usize {
        each!(self, windows => windows.len())
    }

    pub fn watermark(&self) -> i64 {
        each!(self, windows => windows.watermark)
    }

    /// Marks the keys and types that are in use.
    pub fn mark(&self, keys: &mut [bool], types: &mut [bool]) {
        each!(self, windows => windows.mark(keys, types));
    }

    /// The fields that some cell is of.
    pub fn fields_in_use(&self) -> Vec<bool> {
        each!(self, windows => windows.fields_in_use())
    }

    pub fn renumber_keys(&mut self, renumbered: &[u32]) {
        each!(self, windows => windows.renumber_keys(renumbered));
    }

    pub fn renumber_types(&mut self, renumbered: &[u32]) {
        each!(self, windows => windows.renumber_types(renumbered));
    }

    pub fn encode(&self, renumbered: &[u32], out: &mut Writer<'_>) {
        each!(self, windows => windows.encode(renumbered, out));
    }

    pub fn decode(&mut self, fields: &[u16], input: &mut Reader<'_>) -> Result<(), StateError> {
        each!(self, windows => windows.decode(fields, input))
    }
}
