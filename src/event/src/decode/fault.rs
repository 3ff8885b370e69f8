//! Why the bytes are no event: a fixed text and a place, turned into words only when it leaves.

use crate::{Reason, Rejection};

/// Found while scanning; nothing is allocated until it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: Reason,
    pub what: &'static str,
    pub at: usize,
}

impl Fault {
    pub fn into_rejection(self) -> Rejection {
        Rejection::new(self.reason, format!("{} at byte {}", self.what, self.at))
    }
}
