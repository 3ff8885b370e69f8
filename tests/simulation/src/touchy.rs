//! An intake that some records make panic, each time, whatever else is the case.

use std::collections::BTreeSet;
use std::time::Duration;
use tidecast_actors::decisions::SET_APART;
use tidecast_actors::intake::Intake;
use tidecast_actors::messages::BatchOutput;
use tidecast_ports::{RecordBatch, RecordMeta};

/// A record with these bytes in it makes the intake panic.
pub const TRIPS: &[u8] = b"\"trips\"";

/// The product's intake behind a step that panics.
pub struct Touchy {
    /// What it stands before.
    pub intake: Box<dyn Intake>,
    /// Offsets that are set apart.
    apart: BTreeSet<i64>,
    taking: i64,
}

impl Touchy {
    /// Before `intake`.
    pub fn new(intake: impl Intake + 'static) -> Self {
        Touchy { intake: Box::new(intake), apart: BTreeSet::new(), taking: 0 }
    }
}

/// Windows closed at one go, so that what one record closes goes out, is committed and is found again in pieces.
const ROOM: u64 = 3;

/// Gives the step less room than there is.
fn cramped<T>(output: &mut BatchOutput, step: impl FnOnce(&mut BatchOutput) -> T) -> T {
    let kept = output.room.saturating_sub(ROOM);
    output.room -= kept;
    let went = step(output);
    output.room += kept;
    went
}

impl Intake for Touchy {
    fn begin(&mut self, output: &mut BatchOutput) {
        self.intake.begin(output);
    }

    fn take_one(&mut self, batch: &RecordBatch, record: &RecordMeta, output: &mut BatchOutput) {
        self.taking = record.offset;
        let trips = batch.value(record).is_some_and(|value| value.windows(TRIPS.len()).any(|w| w == TRIPS));
        if trips && !self.apart.contains(&record.offset) {
            // Without the hook that would write each one down.
            std::panic::resume_unwind(Box::new("a record that nobody can bear"));
        }
        cramped(output, |output| self.intake.take_one(batch, record, output));
    }

    fn speak(&mut self) {
        self.intake.speak();
    }

    fn is_of_events(&self) -> bool {
        self.intake.is_of_events()
    }

    fn midway(&self) -> Option<u64> {
        self.intake.midway()
    }

    fn taking(&self) -> Option<i64> {
        Some(self.taking)
    }

    fn idle_after(&self) -> Option<Duration> {
        self.intake.idle_after()
    }

    fn close_idle(&mut self, quiet: Duration, output: &mut BatchOutput) -> Option<String> {
        cramped(output, |output| self.intake.close_idle(quiet, output))
    }

    fn replay(&mut self, decision: &str, output: &mut BatchOutput) {
        if let Some(offset) = decision.strip_prefix(SET_APART) {
            self.apart.extend(offset.parse::<i64>());
        }
        cramped(output, |output| self.intake.replay(decision, output));
    }

    fn go_on(&mut self, output: &mut BatchOutput) {
        cramped(output, |output| self.intake.go_on(output));
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.intake.encode(out);
    }

    fn imbalance(&self) -> Option<String> {
        self.intake.imbalance()
    }

    fn tell_metrics(&mut self) {
        self.intake.tell_metrics();
    }
}
