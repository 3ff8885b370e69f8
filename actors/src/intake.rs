//! What stands at the top of a partition's tree: turns records into closed windows. Pure, but for its metrics.

use crate::messages::BatchOutput;
use std::ops::Range;
use std::time::Duration;
use tidecast_event::EventTime;
use tidecast_ports::{RecordBatch, RecordMeta};

/// How far [`Intake::take`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Records that were taken.
    pub records: usize,
    /// The next one has more windows to close than there was room for: so many were closed for it now.
    pub midway: Option<u64>,
}

/// The state at the top of a partition's tree.
pub trait Intake: Send {
    /// Says what others have to know before the first record is taken.
    fn begin(&mut self, _output: &mut BatchOutput) {}

    /// Takes records of a batch in order. What follows from them is added to `output`.
    ///
    /// The windows that a record closes are taken off `room`. One that closes more than that is midway, and nothing else
    /// may happen before the next call, which begins with it and goes on. How often that happens, and where, makes no
    /// difference to what comes out.
    fn take(
        &mut self,
        batch: &RecordBatch,
        records: Range<usize>,
        room: &mut u64,
        output: &mut BatchOutput,
    ) -> Taken;

    /// The offset of the record that [`Intake::take`] is at; what it panicked at, when it did. `None` where a record is
    /// not to be set apart for that.
    fn taking(&self) -> Option<i64> {
        None
    }

    /// When a traced record happened and whom it is about (its source); `None` where one record stands for many.
    fn about(&mut self, _batch: &RecordBatch, _record: &RecordMeta) -> Option<(EventTime, Box<str>)> {
        None
    }

    /// The shortest `idle_after` among its series that have something to close, `None` when none has.
    fn idle_after(&self) -> Option<Duration>;

    /// Closes what a partition quiet for `quiet` holds back. `Some` when something changed: a decision, in a few
    /// characters, to be given to [`Intake::replay`] at the same offset by whoever recovers. As far as `room` goes: beside
    /// it is how many windows were closed when there are more, for [`Intake::go_on`].
    fn close_idle(
        &mut self,
        quiet: Duration,
        room: &mut u64,
        output: &mut BatchOutput,
    ) -> Option<(String, Option<u64>)>;

    /// Does again what a decision did, as far as `room` goes: how many windows were closed when there are more, for
    /// [`Intake::go_on`].
    fn replay(&mut self, decision: &str, room: &mut u64, output: &mut BatchOutput) -> Option<u64>;

    /// Goes on with a decision that is midway. As [`Intake::replay`].
    fn go_on(&mut self, _room: &mut u64, _output: &mut BatchOutput) -> Option<u64> {
        None
    }

    /// Nothing that comes changes a window that ends by `time`: the watermark and the grace of every series are past it.
    fn is_past(&self, _time: EventTime) -> bool {
        false
    }

    /// Appends the whole state.
    fn encode(&self, out: &mut Vec<u8>);

    /// What does not add up in the ledger, `None` where it does or where none is kept.
    fn imbalance(&self) -> Option<String> {
        None
    }

    /// Tells counters on `/metrics` where it stands.
    fn tell_metrics(&mut self);
}
