//! What an aggregator decides, and does again after others: windows closed because the partition is quiet, records set
//! apart.

use super::AggregatorState;
use crate::decisions::{Decision, Decisions, SET_APART};
use crate::messages::BatchOutput;
use ractor::ActorProcessingErr;

impl AggregatorState {
    /// Has the record at `offset` dead-lettered unseen if it was tried often enough: a decision, for whoever recovers has
    /// to do the same, whether or not it panics there.
    pub async fn set_apart(&mut self, offset: i64) -> Result<(), ActorProcessingErr> {
        if !self.condemned.contains(&offset) {
            return Ok(());
        }
        let what = format!("{SET_APART}{offset}");
        if self.decisions.from(offset).any(|known| known.what == what) {
            return Ok(());
        }
        tracing::error!(partition = %self.with.partition, offset, "a record that panics goes to the dead letters");
        let mut output = self.output(offset);
        self.with.intake.replay(&what, &mut output);
        if output.silent || self.decisions.is_full() {
            // What is committed already cannot be decided again; and without room for a decision the partition has to go
            // on all the same.
            return Ok(());
        }
        self.decisions.push(offset, what);
        output.decision = Some(self.decisions.to_metadata());
        self.decisions.told();
        self.emit(output).await
    }

    /// Forgets decisions that every snapshot has inside, when their room runs out; takes snapshots for that.
    pub async fn make_room(&mut self) -> Result<(), ActorProcessingErr> {
        if !self.decisions.nearly_full() {
            return Ok(());
        }
        if let Some(oldest) = self.written.oldest() {
            self.decisions.forget_before(oldest);
        }
        let under_way =
            self.making_room.is_some_and(|at| self.written.newest().is_none_or(|newest| newest < at));
        if self.decisions.nearly_full() && !under_way {
            self.making_room = Some(self.next_offset);
            self.snapshot(None).await?;
        }
        Ok(())
    }

    /// Those that are new are done at their offsets; doing one again changes nothing.
    pub fn follow(&mut self, decisions: Decisions) {
        let mut due: Vec<Decision> = decisions.from(self.next_offset).cloned().collect();
        // The owner may have forgotten some that are still to come here.
        due.extend(
            self.replay.drain(..).filter(|known| decisions.from(known.offset).all(|new| new != known)),
        );
        due.sort_by_key(|decision| decision.offset);
        self.replay = due.into();
        self.decisions = decisions;
    }

    /// Does again what was decided at or before `offset`.
    pub async fn replay_decisions(&mut self, offset: i64) -> Result<(), ActorProcessingErr> {
        while self.replay.front().is_some_and(|decision| decision.offset <= offset) {
            let Some(Decision { offset: at, what, untold }) = self.replay.pop_front() else { break };
            let before = if untold { self.decisions.said() } else { 0 };
            let mut output = self.piece(before);
            // What a committed decision led to was committed with it, but for one still to be told.
            output.silent |= !untold;
            tracing::debug!(partition = %self.with.partition, at, what, untold, "a decision is done again");
            self.with.intake.replay(&what, &mut output);
            self.finish(output, untold, before).await?;
        }
        Ok(())
    }

    /// Sends on what a decision closed, and goes on with it while it is midway. `before`: so many of its windows were said
    /// before.
    async fn finish(
        &mut self,
        mut output: Box<BatchOutput>,
        untold: bool,
        before: u64,
    ) -> Result<(), ActorProcessingErr> {
        while let Some(closed) = self.with.intake.midway() {
            if untold {
                self.decisions.say(closed.max(before));
            }
            self.emit(output).await?;
            output = self.piece(before);
            output.silent |= !untold;
            self.with.intake.go_on(&mut output);
        }
        if untold {
            // Not before: what is committed until here has not told it either.
            self.decisions.told();
            self.decisions.say(0);
        }
        self.emit(output).await
    }

    /// Closes windows of a partition that has been quiet, as a decision.
    pub async fn close_idle(&mut self) -> Result<(), ActorProcessingErr> {
        if !self.caught_up || self.next_offset < self.committed {
            return Ok(());
        }
        let quiet = self.last_record.elapsed();
        if self.with.intake.idle_after().is_none_or(|after| quiet < after) {
            return Ok(());
        }
        if self.decisions.is_full() {
            // Windows stay open until a record closes them, rather than by a decision that nobody could repeat.
            return self.make_room().await;
        }
        // A record that was midway is no longer there.
        self.decisions.say(0);
        let mut output = self.output(self.next_offset);
        if let Some(what) = self.with.intake.close_idle(quiet, &mut output) {
            self.decisions.push(self.next_offset, what);
            output.decision = Some(self.decisions.to_metadata());
            self.followed.leave_with(&mut output);
            self.finish(output, true, 0).await?;
        }
        Ok(())
    }
}
