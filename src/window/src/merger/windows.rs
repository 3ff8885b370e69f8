//! A window downstream, and what it is put together from.

use crate::cells::Portable;

/// One upstream partition's part.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub(super) struct Part {
    pub upstream: u32,
    pub start: i64,
    pub end: i64,
    pub revision: u32,
    pub count: u64,
    pub event_type: Option<String>,
    pub mixed: bool,
    pub open: bool,
    pub fields: Vec<(String, Portable)>,
}

/// A window of one key.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub(super) struct Window {
    pub start: i64,
    pub end: i64,
    pub emissions: u32,
    /// In the order of upstream partitions (and of their starts, in a session).
    pub parts: Vec<Part>,
}

impl Window {
    /// About what it takes, in bytes.
    pub fn weight(&self) -> usize {
        let portable = |portable: &Portable| {
            let summary = portable.summary.as_ref().map_or(0, |(_, buckets)| 80 + 8 * buckets.len());
            80 + 8 * portable.values.len() + summary
        };
        let part = |part: &Part| {
            140 + part.fields.iter().map(|(name, value)| name.len() + portable(value)).sum::<usize>()
        };
        200 + self.parts.iter().map(part).sum::<usize>()
    }

    /// Not emitted yet, and nothing of it is still to come.
    pub fn is_ready(&self) -> bool {
        self.emissions == 0 && !self.is_open()
    }

    pub fn is_open(&self) -> bool {
        self.parts.iter().any(|part| part.open)
    }
}

/// The window that begins then.
pub(super) fn window_at(windows: &[Window], start: i64) -> Option<&Window> {
    windows.binary_search_by_key(&start, |window| window.start).ok().map(|at| &windows[at])
}
