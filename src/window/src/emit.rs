//! From the parts of a window to what leaves the engine.

use crate::cells::{Cells, Held, Place, Portable};
use crate::closed::{Closed, Sink};
use crate::fields::Fields;
use crate::gather::Gather;
use crate::keys::Keys;
use crate::types::TypeSeen;
use hashbrown::HashMap;
use std::sync::Arc;
use tidecast_event::{EventTime, FieldStats};

/// Scratch of a series' emissions; reused.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    gather: Gather,
    /// Rank of the field, place among the parts' fields, field.
    found: Vec<(u16, u32, u16)>,
    places: Vec<Place>,
    fields: Vec<(Arc<str>, FieldStats)>,
    portable: Vec<(Arc<str>, Portable)>,
}

/// What a series needs to emit.
pub(crate) struct Emitter<'a> {
    pub series_index: usize,
    pub series: &'a Arc<str>,
    pub percentiles: bool,
    /// Emit mergeable parts and no statistics.
    pub partial: bool,
    pub keys: &'a Keys,
    pub types: &'a Keys,
    pub late: &'a mut HashMap<u32, u64, foldhash::fast::FixedState>,
    pub scratch: &'a mut Scratch,
}

/// Which window is emitted.
pub(crate) struct Window {
    pub key: u32,
    pub start: i64,
    pub end: i64,
    pub revision: u32,
}

/// One part of a window: events, their type, and their values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub count: u64,
    pub event_type: TypeSeen,
    pub held: Held,
}

impl Emitter<'_> {
    /// Puts the parts together, in their order, and hands the window over.
    pub fn emit(
        &mut self,
        window: Window,
        parts: impl Iterator<Item = Part>,
        cells: &Cells,
        fields: &Fields,
        sink: &mut Sink<'_>,
    ) {
        let Scratch { gather, found, places, fields: stats, portable } = &mut *self.scratch;
        found.clear();
        places.clear();
        stats.clear();
        portable.clear();
        let mut count = 0;
        let mut event_type = TypeSeen::default();
        for part in parts {
            count += part.count;
            event_type.add(part.event_type);
            for (field, place) in cells.fields(part.held) {
                found.push((fields.rank(field), found.len() as u32, field));
                places.push(place);
            }
        }
        found.sort_unstable();
        for of_field in found.chunk_by(|a, b| a.0 == b.0) {
            gather.clear();
            for &(_, at, _) in of_field {
                cells.gather(places[at as usize], gather);
            }
            let name = fields.name(of_field[0].2);
            if self.partial {
                portable.push((name.clone(), gather.export()));
            } else if let Some(found) = gather.stats(self.percentiles) {
                stats.push((name.clone(), found));
            }
        }
        sink(Closed {
            series_index: self.series_index,
            series: self.series,
            key: self.keys.get(window.key),
            event_type: event_type.one().map(|number| self.types.get(number)),
            start: EventTime(window.start),
            end: EventTime(window.end),
            count,
            fields: stats,
            revision: window.revision,
            late_count: self.late.remove(&window.key).unwrap_or(0),
            parts: portable,
            mixed: count > 0 && event_type.one().is_none(),
            open: false,
        });
    }

    /// In a partial group: tells that a session has begun.
    pub fn announce(&mut self, window: Window, sink: &mut Sink<'_>) {
        sink(Closed {
            series_index: self.series_index,
            series: self.series,
            key: self.keys.get(window.key),
            event_type: None,
            start: EventTime(window.start),
            end: EventTime(window.end),
            count: 0,
            fields: &[],
            revision: 0,
            late_count: 0,
            parts: &[],
            mixed: false,
            open: true,
        });
    }
}
