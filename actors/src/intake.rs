//! What stands at the top of a partition's tree: turns records into closed windows. Pure, but for its metrics.

use crate::messages::BatchOutput;
use std::ops::Range;
use std::time::Duration;
use tidecast_event::EventTime;
use tidecast_ports::{RecordBatch, RecordMeta};

/// The state at the top of a partition's tree.
pub trait Intake: Send {
    /// Says what others have to know before the first record is taken.
    fn begin(&mut self, _output: &mut BatchOutput) {}

    /// Takes records of a batch in order; tells how many. What follows from them is added to `output`.
    ///
    /// A record that closes more windows than `output` has room for is not taken yet, and [`Intake::midway`]: nothing else
    /// may happen before the next call, which begins with it and goes on. How often that happens, and where, makes no
    /// difference to what comes out.
    fn take(&mut self, batch: &RecordBatch, records: Range<usize>, output: &mut BatchOutput) -> usize {
        let first = records.start;
        for at in records.clone() {
            self.take_one(batch, &batch.records[at], output);
            if self.midway().is_some() {
                return at - first;
            }
        }
        records.len()
    }

    /// One record, as far as there is room for what it closes.
    fn take_one(&mut self, batch: &RecordBatch, record: &RecordMeta, output: &mut BatchOutput);

    /// What comes from here on has not been said before: settings that have changed since are in force now.
    fn speak(&mut self) {}

    /// Its records are events, not what was made of them.
    fn is_of_events(&self) -> bool {
        true
    }

    /// How many windows were closed so far of a record, or of a decision, that has more to close. `None` where nothing is
    /// midway.
    fn midway(&self) -> Option<u64> {
        None
    }

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
    /// characters, to be given to [`Intake::replay`] at the same offset by whoever recovers. It may be
    /// [`Intake::midway`] then.
    fn close_idle(&mut self, quiet: Duration, output: &mut BatchOutput) -> Option<String>;

    /// Does again what a decision did. It may be [`Intake::midway`] then.
    fn replay(&mut self, decision: &str, output: &mut BatchOutput);

    /// Goes on with a decision that is midway.
    fn go_on(&mut self, _output: &mut BatchOutput) {}

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

/// What [`Intake::midway`] is when windows were closed until so much room was left in the output.
pub(crate) fn went(midway: Option<u64>, room: u64, done: bool, output: &mut BatchOutput) -> Option<u64> {
    let closed = std::mem::replace(&mut output.room, room) - room;
    (!done).then(|| midway.unwrap_or(0) + closed)
}
