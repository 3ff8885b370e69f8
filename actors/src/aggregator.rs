//! The aggregator of a partition: owns its windows, receives what the source polled, emits what closed.
//!
//! It parses where it aggregates. Records before the committed offset are a replay: they rebuild the state and say
//! nothing. When the next stage has no room it waits, its own mailbox fills, and the source leaves the partition alone.
//!
//! A record, or a decision, may close millions of windows. They go on in pieces, each of which can be committed: how many of
//! them were said is committed with it, and whoever recovers says the rest.

mod deciding;

use crate::decisions::{Decision, Decisions};
use crate::intake::Intake;
use crate::ledger::AGGREGATOR;
use crate::messages::{AggregatorMessage, BatchOutput, ForecastingMessage, SnapshotParts, Written};
use crate::metrics::PipelineMetrics;
use crate::rebuild::Rebuild;
use crate::snapshots::Aggregation;
use crate::suspects::{Suspects, TRIES};
use crate::trace::Followed;
use prometheus::IntGauge;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_mailbox::{Envelope, Mailbox, Reply};
use tidecast_ports::source::{BatchPool, Wake};
use tidecast_ports::{RecordBatch, Tracing};
use tokio::time::Instant;

/// How long what only says how far the input was read may wait for more of it: the stages after this one are then passed once
/// for many small batches.
const HOLD: Duration = Duration::from_millis(10);
/// Records taken between two looks at what came of them.
const RECORDS: usize = 256;
/// Windows and records that make a piece of a batch go on by itself: weeks of history read at once would else be one
/// message with everything in it.
const PIECE: usize = 256;

/// Records that a partition may be behind before what it says is no longer urgent: more than are under way at the highest
/// rates.
const BACKLOG: i64 = 50_000;

/// The actor.
pub struct Aggregator;

/// What an aggregator is started with.
pub struct AggregatorArguments {
    /// The input partition.
    pub partition: TopicPartition,
    /// Which life of its tree this is.
    pub life: u64,
    /// The topic's id, where the broker tells.
    pub topic_id: Option<u128>,
    /// Windows, as restored.
    pub intake: Box<dyn Intake>,
    /// The offset of the first record it will get.
    pub start: i64,
    /// The committed offset: records before it are a replay.
    pub speak_from: i64,
    /// Decisions committed with it.
    pub decisions: Decisions,
    /// The next stage.
    pub forecasting: Mailbox<ForecastingMessage>,
    /// Where read batches go back to.
    pub pool: BatchPool,
    /// Tells the source that there is room.
    pub wake: Arc<OnceLock<Wake>>,
    /// Counters.
    pub metrics: PipelineMetrics,
    /// Records that made earlier lives panic.
    pub suspects: Arc<Suspects>,
    /// Follows sampled events, where a collector is set.
    pub tracing: Tracing,
    /// Set in a rebuild of the past.
    pub rebuild: Option<Arc<Rebuild>>,
}

/// The actor's state.
pub struct AggregatorState {
    with: AggregatorArguments,
    next_offset: i64,
    decisions: Decisions,
    replay: std::collections::VecDeque<Decision>,
    written: Written,
    /// Offset of the newest snapshot taken to make room for decisions.
    making_room: Option<i64>,
    last_record: Instant,
    /// When the intake's counts were told last.
    told: Instant,
    caught_up: bool,
    lag: IntGauge,
    committed: i64,
    /// Offsets of records that are to be set apart.
    condemned: BTreeSet<i64>,
    followed: Followed,
    myself: Reply<AggregatorMessage>,
    /// When something was sent on last.
    sent: Instant,
    /// Held back for a moment.
    held: Option<Box<BatchOutput>>,
}

impl Actor for Aggregator {
    type Msg = Envelope<AggregatorMessage>;
    type State = AggregatorState;
    type Arguments = AggregatorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        with: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let replay = with.decisions.from(with.start).cloned().collect();
        let number = with.partition.partition.to_string();
        let lag = with.metrics.lag.with_label_values(&[&*with.partition.topic, number.as_str()]);
        let mut state = AggregatorState {
            next_offset: with.start,
            decisions: with.decisions.clone(),
            replay,
            written: Written::default(),
            making_room: None,
            last_record: Instant::now(),
            told: Instant::now(),
            caught_up: false,
            lag,
            committed: with.speak_from,
            condemned: with.suspects.condemned(&with.partition),
            followed: Followed::default(),
            myself: Mailbox::reply_address(&myself),
            sent: Instant::now(),
            held: None,
            with,
        };
        state.with.intake.tell_metrics();
        let mut output = state.output(state.next_offset);
        state.with.intake.begin(&mut output);
        if !output.records.is_empty() {
            output.next_offset = None;
            state.emit(output).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Envelope { message, permit } = envelope;
        match message {
            AggregatorMessage::Batch(batch) => {
                let taken = if state.has_rebuilt() { Ok(()) } else { state.take(&batch).await };
                state.tell_rebuild(None);
                state.with.pool.give(batch);
                drop(permit);
                state.wake();
                return taken;
            }
            AggregatorMessage::CaughtUp(position) => {
                state.caught_up = true;
                // What the log has after the last record are markers of transactions, which nobody gets.
                state.lag.set(0);
                state.replay_decisions(i64::MAX).await?;
                state.close_idle().await?;
                state.tell_rebuild(Some(position));
            }
            AggregatorMessage::LetGo => {
                if let Some(held) = state.held.take() {
                    state.send(held).await?;
                }
            }
            AggregatorMessage::Tick => {
                state.tell_metrics();
                state.close_idle().await?;
            }
            AggregatorMessage::Follow(decisions) => state.follow(decisions),
            AggregatorMessage::Snapshot => state.snapshot(None).await?,
            AggregatorMessage::Drain { snapshot: true, done } => state.snapshot(Some(done)).await?,
            AggregatorMessage::Drain { snapshot: false, done } => {
                let mut output = state.output(state.next_offset);
                output.drained = Some(done);
                state.emit(output).await?;
            }
        }
        drop(permit);
        state.wake();
        Ok(())
    }
}

impl AggregatorState {
    async fn take(&mut self, batch: &RecordBatch) -> Result<(), ActorProcessingErr> {
        let started = Instant::now();
        self.last_record = started;
        self.caught_up = false;
        let records = &batch.records;
        if let Some(tracer) = &self.with.tracing {
            let told = records.partition_point(|record| record.offset < self.with.speak_from);
            let intake = &mut *self.with.intake;
            self.followed.read(tracer, intake, &self.with.partition, batch, told..records.len());
        }
        let mut from = 0;
        while from < records.len() {
            // A piece ends where a decision was made and where the replay ends.
            let offset = records[from].offset;
            self.replay_decisions(offset).await?;
            self.set_apart(offset).await?;
            let next_decision = self.replay.front().map_or(i64::MAX, |decision| decision.offset);
            let condemned = self.condemned.range(offset + 1..).next().copied().unwrap_or(i64::MAX);
            let next_decision = next_decision.min(condemned);
            let silent = offset < self.with.speak_from;
            let speak = if silent { self.with.speak_from } else { i64::MAX };
            let end = next_decision.min(speak);
            let to = from + records[from..].partition_point(|record| record.offset < end);
            if !silent && self.resume(batch, from).await? {
                from += 1;
                self.next_offset = offset + 1;
                continue;
            }
            if !silent {
                self.with.intake.speak();
            }
            let mut output = self.output(self.next_offset);
            output.silent = silent;
            output.polled_at = started;
            output.backlog = batch.high_watermark - offset > BACKLOG;
            // And where enough has come of it: what follows waits here until the next stage has room.
            let mut at = from;
            while at < to && output.closed.len() + output.records.len() < PIECE {
                let next = (at + RECORDS).min(to);
                at += self.take_some(batch, at..next, &mut output)?;
                if self.with.intake.midway().is_some() {
                    break;
                }
            }
            if !silent {
                self.decisions.say(self.with.intake.midway().unwrap_or(0));
            }
            let next_offset = match records.get(at) {
                Some(next) => next.offset,
                None => batch.next_offset.max(records[at - 1].offset + 1),
            };
            output.next_offset = Some(next_offset.min(end));
            output.input_records = (at - from) as u32;
            self.followed.leave_with(&mut output);
            if !silent && self.with.intake.is_of_events() {
                self.with.metrics.processed.inc_by((at - from) as u64);
            }
            self.next_offset = next_offset;
            self.emit(output).await?;
            from = at;
        }
        if records.is_empty() && batch.next_offset > self.next_offset {
            // Markers only: the offset moves, nothing else.
            let output = self.output(batch.next_offset);
            self.next_offset = batch.next_offset;
            self.emit(output).await?;
        }
        if batch.high_watermark >= 0 {
            self.lag.set((batch.high_watermark - self.next_offset).max(0));
        }
        if started.duration_since(self.told) >= TICK {
            self.tell_metrics();
        }
        self.make_room().await
    }

    /// Closes again, and says nothing of it, what was said before of the windows that the record closes. True when that was
    /// all, and the record is taken.
    async fn resume(&mut self, batch: &RecordBatch, at: usize) -> Result<bool, ActorProcessingErr> {
        let before = self.decisions.said();
        while self.with.intake.midway().unwrap_or(0) < before {
            let mut output = self.piece(before);
            let taken = self.take_some(batch, at..at + 1, &mut output)?;
            self.emit(output).await?;
            if taken == 1 {
                // Fewer than there were: the series have changed meanwhile.
                self.decisions.say(0);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For what comes next of a record or a decision of which `before` windows were said before: those are closed again,
    /// and nothing is said of them.
    fn piece(&self, before: u64) -> Box<BatchOutput> {
        let mut output = self.output(self.next_offset);
        let left = before.saturating_sub(self.with.intake.midway().unwrap_or(0));
        if left > 0 {
            output.silent = true;
            output.room = output.room.min(left);
        }
        output
    }

    /// Has the intake take records. One that makes it panic is remembered beyond this life, which is over.
    fn take_some(
        &mut self,
        batch: &RecordBatch,
        records: Range<usize>,
        output: &mut BatchOutput,
    ) -> Result<usize, ActorProcessingErr> {
        let intake = &mut self.with.intake;
        // What the panic left half done is dropped with the actor.
        let panic = match catch_unwind(AssertUnwindSafe(|| intake.take(batch, records, output))) {
            Ok(taken) => return Ok(taken),
            Err(panic) => panic,
        };
        let Some(offset) = intake.taking() else { resume_unwind(panic) };
        let tries = self.with.suspects.panicked(&self.with.partition, offset);
        let words = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(format!("the record at offset {offset} made its actor panic (try {tries} of {TRIES}): {words}")
            .into())
    }

    fn tell_metrics(&mut self) {
        self.told = Instant::now();
        self.with.intake.tell_metrics();
    }

    fn output(&self, next_offset: i64) -> Box<BatchOutput> {
        let mut output = BatchOutput::new(self.with.partition.clone(), self.with.life, Some(next_offset));
        output.silent = next_offset < self.with.speak_from;
        Box::new(output)
    }

    async fn emit(&mut self, mut output: Box<BatchOutput>) -> Result<(), ActorProcessingErr> {
        output.metadata = self.decisions.to_metadata();
        let held = self.held.take();
        if let Some(held) = &held {
            output.follow(held);
        }
        if !output.is_bare() || self.sent.elapsed() >= HOLD {
            return self.send(output).await;
        }
        self.held = Some(output);
        if held.is_none() {
            let myself = self.myself.clone();
            tokio::spawn(async move {
                tokio::time::sleep(HOLD).await;
                // The partition may have gone meanwhile.
                let _ = myself.send(AggregatorMessage::LetGo);
            });
        }
        Ok(())
    }

    async fn send(&mut self, output: Box<BatchOutput>) -> Result<(), ActorProcessingErr> {
        self.sent = Instant::now();
        self.with.forecasting.send(ForecastingMessage::Batch(output)).await.map_err(ActorProcessingErr::from)
    }

    async fn snapshot(
        &mut self,
        done: Option<tokio::sync::oneshot::Sender<()>>,
    ) -> Result<(), ActorProcessingErr> {
        self.check_ledger();
        let mut output = self.output(self.next_offset);
        output.snapshot = Some(SnapshotParts {
            aggregation: Aggregation::of(|out| self.with.intake.encode(out)),
            models: Vec::new(),
            written: self.written.clone(),
            topic_id: self.with.topic_id,
        });
        output.drained = done;
        self.emit(output).await
    }

    /// What goes into a snapshot has to add up; where it does not, readiness says so until it does.
    fn check_ledger(&self) {
        let wrong = self.with.intake.imbalance();
        let TopicPartition { topic, partition } = &self.with.partition;
        let unbalanced = &self.with.metrics.unbalanced;
        let told = unbalanced.with_label_values(&[&**topic, &*partition.to_string(), AGGREGATOR]);
        told.set(wrong.is_some().into());
        if let Some(wrong) = wrong {
            tracing::error!(partition = %self.with.partition, stage = AGGREGATOR, wrong, "the ledger does not add up");
        }
    }

    /// Tells a rebuild how far this is; at the end of the log, or past the span, it has finished.
    /// The end may lie past the last record, behind markers of transactions.
    fn tell_rebuild(&self, end: Option<i64>) {
        if let Some(rebuild) = &self.with.rebuild {
            let finished = end.is_some() || self.with.intake.is_past(rebuild.to());
            let next_offset = end.unwrap_or(i64::MIN).max(self.next_offset);
            rebuild.tell(&self.with.partition, next_offset, finished);
        }
    }

    /// What is read now came after the log's end as it was, or is past the span: not for this rebuild.
    fn has_rebuilt(&self) -> bool {
        let rebuild = self.with.rebuild.as_ref();
        rebuild.is_some_and(|rebuild| {
            self.with.intake.is_past(rebuild.to()) && rebuild.progress(&self.with.partition).finished
        })
    }

    fn wake(&self) {
        if let Some(wake) = self.with.wake.get() {
            wake();
        }
    }
}

/// How often a quiet partition is looked at.
pub const TICK: Duration = Duration::from_millis(250);
