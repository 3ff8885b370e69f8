//! What leaves the engine: a window that closed, or was corrected.

use crate::cells::Portable;
use std::sync::Arc;
use tidecast_event::{Aggregate, EventTime, FieldStats};

/// One closed (or corrected) window, borrowed from the engine for the time of the call. See
/// [`Aggregate`] for the meaning of each field.
#[derive(Debug, Clone, Copy)]
pub struct Closed<'a> {
    /// Place of the series in its group.
    pub series_index: usize,
    /// The family's name.
    pub series: &'a Arc<str>,
    /// The grouping key.
    pub key: &'a str,
    /// The events' type; none when they differ or there is no event.
    pub event_type: Option<&'a str>,
    /// First instant.
    pub start: EventTime,
    /// First instant after.
    pub end: EventTime,
    /// Events.
    pub count: u64,
    /// Statistics by field, in the order of the fields' names.
    pub fields: &'a [(Arc<str>, FieldStats)],
    /// 0 for the first emission, one more for each correction.
    pub revision: u32,
    /// Events of the key refused as late since its aggregate before this one.
    pub late_count: u64,
    /// In a partial group: what `to_partial` takes, instead of `fields`.
    pub(crate) parts: &'a [(Arc<str>, Portable)],
    /// Of several types.
    pub(crate) mixed: bool,
    /// In a partial group: a session that has begun, told so that others downstream wait for it.
    pub(crate) open: bool,
}

impl Closed<'_> {
    /// An owned copy.
    pub fn to_aggregate(&self) -> Aggregate {
        Aggregate {
            series: self.series.clone(),
            key: self.key.into(),
            event_type: self.event_type.map(Into::into),
            window_start: self.start,
            window_end: self.end,
            event_count: self.count,
            aggregates: self.fields.iter().cloned().collect(),
            revision: self.revision,
            late_count: self.late_count,
        }
    }
}

/// Where closed windows go, in order.
pub type Sink<'s> = dyn FnMut(Closed<'_>) + 's;

/// Whether a series took an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Counted in at least one window.
    Taken,
    /// Every window that it belongs to is past its grace.
    Late,
}
