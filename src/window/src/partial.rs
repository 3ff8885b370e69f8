//! What travels through a repartition topic: parts of windows, and how far each upstream partition has come.

use crate::cells::Portable;
use crate::closed::Closed;
use crate::state::{StateError, get, put};
use tidecast_event::EventTime;

/// Written first, so that a reader of an older version refuses what it does not know.
const VERSION: u8 = 1;

/// One upstream partition's part of a window. It replaces the part of a lower revision, and is idempotent by
/// (series, upstream, key, window, revision).
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Partial {
    /// The family.
    pub series: String,
    /// The partition of the input that the events came from.
    pub upstream: u32,
    /// The grouping key.
    pub key: String,
    /// First instant, in epoch microseconds.
    start: i64,
    /// First instant after.
    end: i64,
    /// 0 for the first, one more for each correction there.
    pub revision: u32,
    /// The events' type; see `mixed`.
    pub(crate) event_type: Option<String>,
    pub(crate) mixed: bool,
    /// A session that has begun and will be sent when it closes; without events yet.
    pub(crate) open: bool,
    /// Events.
    pub count: u64,
    /// Events of the key refused as late by that partition since its part before this one.
    pub late_count: u64,
    /// In the order of their names.
    pub(crate) fields: Vec<(String, Portable)>,
}

impl Partial {
    /// First instant of the window.
    pub fn start(&self) -> EventTime {
        EventTime(self.start)
    }

    /// First instant after it.
    pub fn end(&self) -> EventTime {
        EventTime(self.end)
    }
}

/// How far an upstream partition has come with a series: every part of windows that end by `watermark` was sent before.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Mark {
    /// The family.
    pub series: String,
    /// The partition of the input.
    pub upstream: u32,
    /// Its watermark, in epoch microseconds.
    watermark: i64,
    /// It is quiet: all its windows were sent, and it holds no other back.
    pub idle: bool,
}

impl Mark {
    /// A mark.
    pub fn new(series: impl Into<String>, upstream: u32, watermark: EventTime, idle: bool) -> Self {
        Mark { series: series.into(), upstream, watermark: watermark.0, idle }
    }

    /// The watermark.
    pub fn watermark(&self) -> EventTime {
        EventTime(self.watermark)
    }
}

/// A message of a repartition topic.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub enum UpstreamMessage {
    /// A part of a window; goes to the partition of its key.
    Partial(Partial),
    /// Goes to every partition.
    Mark(Mark),
}

impl UpstreamMessage {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put(self, out);
    }

    /// Reads what [`UpstreamMessage::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&found) if found > VERSION => return Err(StateError::Newer { found }),
            _ => return Err(StateError::Broken { at: 0, what: "no version".to_owned() }),
        }
        let mut at = 1;
        let message = get(bytes, &mut at)?;
        if at != bytes.len() {
            return Err(StateError::Broken { at, what: "more than was expected".to_owned() });
        }
        Ok(message)
    }
}

impl Closed<'_> {
    /// What to send of it, in a group made by [`Group::partial`](crate::Group::partial); without values elsewhere. All
    /// that such a group hands over is to be sent: sessions are told when they begin, too.
    pub fn to_partial(&self, upstream: u32) -> Partial {
        Partial {
            series: self.series.to_string(),
            upstream,
            key: self.key.to_owned(),
            start: self.start.0,
            end: self.end.0,
            revision: self.revision,
            event_type: self.event_type.map(str::to_owned),
            mixed: self.mixed,
            open: self.open,
            count: self.count,
            late_count: self.late_count,
            fields: self.parts.iter().map(|(name, part)| (name.to_string(), part.clone())).collect(),
        }
    }
}
