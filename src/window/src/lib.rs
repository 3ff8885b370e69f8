//! Event-time windows: tumbling, hopping and session, per key, with watermarks, lateness and corrections. Pure: time is
//! an argument, and what closes is handed to the caller.
//!
//! A [`Group`] holds the series of one partition that share a grouping key. Its memory is some seventy bytes for a key
//! with one open window and one value, about a kilobyte for a busy one; it does not grow with events.

mod cells;
mod closed;
mod emit;
mod fields;
mod gather;
mod grid;
mod group;
mod keys;
mod members;
mod merger;
mod moments;
mod panes;
mod partial;
mod series;
mod sessions;
mod sketch;
mod slab;
mod spec;
mod state;
mod types;
mod windows;

pub use closed::{Closed, Outcome, Sink};
pub use fields::MAX_FIELDS;
pub use group::{Group, Interned};
pub use merger::{IDLE_RETENTION_MICROS, Merged, Merger, RETAINED_BYTES};
pub use panes::EMPTY_WINDOWS_UNTIL_FORGOTTEN;
pub use partial::{Mark, Partial, UpstreamMessage};
pub use series::MAX_LATE_KEYS;
pub use spec::{MAX_PANES, SeriesSpec, SpecError, WindowKind};
pub use state::StateError;
