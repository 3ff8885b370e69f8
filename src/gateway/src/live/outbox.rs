//! A client's bounded queue: what the hub has for it and it has not taken yet.
//!
//! At the bound the newest value of each name wins, then the oldest values go, then the oldest alerts; what went is
//! counted and told to the client by a `gap`. Nobody ever waits for a client.

use super::update::{Update, UpdateType};
use bytes::Bytes;
use futures::task::AtomicWaker;
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

/// More names than this are not told one by one in a `gap`.
const GAP_NAMES_MAX: usize = 100;

/// What was skipped since the client was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gap {
    /// Updates that were not sent.
    pub skipped: u64,
    /// The models they were about; `["*"]` where they are too many to name.
    pub names: Vec<Arc<str>>,
    too_many: bool,
}

impl Gap {
    fn add(&mut self, update: &Update) {
        self.skipped += 1;
        if self.too_many || !update.is_model || self.names.contains(&update.name) {
            return;
        }
        if self.names.len() == GAP_NAMES_MAX {
            self.too_many = true;
            self.names = vec![Arc::from("*")];
        } else {
            self.names.push(update.name.clone());
        }
    }
}

/// Why and how the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The close code.
    pub code: u16,
    /// A sentence for the client.
    pub reason: &'static str,
}

/// A heartbeat, encoded for each kind of client; shared by all that get it at this tick.
#[derive(Debug)]
pub struct Heartbeat {
    /// A WebSocket text frame.
    pub text: Bytes,
    /// A WebSocket binary frame.
    pub binary: Bytes,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Update>>,
    bytes: usize,
    gap: Gap,
    /// Updates not sent since the client connected.
    skipped: u64,
    heartbeat: Option<Arc<Heartbeat>>,
    closing: Option<Closing>,
    last_offer: u64,
    gone: bool,
    missed_beats: u32,
    deadline: Option<(Instant, Closing)>,
}

/// The queue of one client, shared by the hub (which offers) and the client's own task (which takes).
#[derive(Debug)]
pub struct Outbox {
    /// Tells clients apart.
    pub id: u64,
    bytes_max: usize,
    state: Mutex<State>,
    waker: AtomicWaker,
    /// Something is waiting: lets an idle poll pass without the lock.
    waiting: AtomicBool,
    cut: AtomicBool,
    /// When updates were last told of, by the flusher's clock.
    pub(super) flushed_micros: AtomicU64,
}

/// What one take gives.
#[derive(Debug, Default)]
pub struct Taken {
    /// A gap to be told before the updates.
    pub gap: Option<Gap>,
    /// A heartbeat that is due.
    pub heartbeat: Option<Arc<Heartbeat>>,
    /// The end.
    pub closing: Option<Closing>,
}

impl Outbox {
    /// An empty queue of at most `bytes_max` bytes.
    pub fn new(id: u64, bytes_max: usize) -> Arc<Self> {
        Arc::new(Outbox {
            id,
            bytes_max,
            state: Mutex::default(),
            waker: AtomicWaker::new(),
            waiting: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            flushed_micros: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an update, unless this offer (numbered by the hub) has been made already by another of the client's
    /// subscriptions. Wakes nobody: that is the caller's to gather.
    pub fn offer(&self, update: &Arc<Update>, number: u64) -> Offered {
        let mut state = self.state();
        if state.last_offer == number || state.gone {
            return Offered::Not;
        }
        state.last_offer = number;
        state.queue.push_back(update.clone());
        state.bytes += update.weight();
        let dropped = if state.bytes > self.bytes_max { state.make_room(self.bytes_max) } else { 0 };
        state.skipped += dropped;
        // Under the lock, as `take` resets it: a client that has not taken the last offer has its wake still to come.
        let wake = !self.waiting.swap(true, Ordering::AcqRel);
        Offered::Queued { dropped, wake }
    }

    /// Has a heartbeat sent. A client that has not taken the last one gets one, not two; one that has taken none for
    /// `missed_max` heartbeats is cut off.
    pub fn beat(&self, heartbeat: &Arc<Heartbeat>, missed_max: u32) {
        let mut state = self.state();
        let missed = state.heartbeat.replace(heartbeat.clone()).is_some();
        state.missed_beats = if missed { state.missed_beats + 1 } else { 0 };
        let lost = state.missed_beats >= missed_max;
        drop(state);
        if lost { self.cut() } else { self.wake() }
    }

    /// Ends the connection without a word: its client takes nothing, not even the close.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`Outbox::cut`] was called.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Has the connection closed. The first reason given stands.
    pub fn close(&self, code: u16, reason: &'static str) {
        let mut state = self.state();
        if state.closing.is_none() {
            state.closing = Some(Closing { code, reason });
        }
        drop(state);
        self.wake();
    }

    /// Sets (or moves, or takes away) the time at which the connection closes by itself.
    pub fn set_deadline(&self, deadline: Option<(Instant, Closing)>) {
        self.state().deadline = deadline;
    }

    /// The wheel came to a deadline that was set once; it may have been moved since. Answers whether it has come.
    pub fn deadline_reached(&self, now: Instant) -> bool {
        let due = match &self.state().deadline {
            Some((at, closing)) if *at <= now => Some(closing.clone()),
            _ => None,
        };
        match due {
            Some(Closing { code, reason }) => {
                self.close(code, reason);
                true
            }
            None => false,
        }
    }

    /// Lets the client's task run.
    pub fn wake(&self) {
        self.waiting.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Registers who is woken by the next offer. Call before [`Outbox::take`], so that none falls between.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes what waits, in order: at most `updates_max` updates, each handed to `each`.
    pub fn take(&self, updates_max: usize, mut each: impl FnMut(Arc<Update>)) -> Taken {
        if !self.waiting.load(Ordering::Acquire) {
            return Taken::default();
        }
        let mut state = self.state();
        let gap = (state.gap.skipped > 0).then(|| std::mem::take(&mut state.gap));
        state.missed_beats = 0;
        let heartbeat = state.heartbeat.take();
        for _ in 0..updates_max {
            let Some(update) = state.queue.pop_front() else { break };
            state.bytes -= update.weight();
            each(update);
        }
        if state.queue.is_empty() {
            // An idle client holds no memory for a queue it once needed.
            if state.queue.capacity() > 64 {
                state.queue = VecDeque::new();
            }
            self.waiting.store(false, Ordering::Release);
        }
        let closing = if state.queue.is_empty() { state.closing.clone() } else { None };
        Taken { gap, heartbeat, closing }
    }

    /// Drops what waits and is no longer wanted; it is not a gap, for the client asked.
    pub fn forget(&self, unwanted: impl Fn(&Update) -> bool) {
        let mut state = self.state();
        let State { queue, bytes, .. } = &mut *state;
        queue.retain(|update| {
            let keep = !unwanted(update);
            if !keep {
                *bytes -= update.weight();
            }
            keep
        });
    }

    /// Models of which a forecast waits.
    pub fn forecasts_waiting(&self) -> HashSet<Arc<str>> {
        let state = self.state();
        let forecasts = state.queue.iter().filter(|update| update.kind == UpdateType::Forecast);
        forecasts.map(|update| update.name.clone()).collect()
    }

    /// The close that was asked for, if any, whether or not updates still wait.
    pub fn closing(&self) -> Option<Closing> {
        self.state().closing.clone()
    }

    /// The client's task is over: nothing is queued any more.
    pub fn hang_up(&self) {
        let mut state = self.state();
        state.gone = true;
        state.queue = VecDeque::new();
        state.bytes = 0;
    }

    /// What waits, and what did not.
    pub fn waiting(&self) -> Waiting {
        let state = self.state();
        Waiting { updates: state.queue.len(), bytes: state.bytes, skipped: state.skipped }
    }

    /// Updates waiting.
    pub fn len(&self) -> usize {
        if self.waiting.load(Ordering::Acquire) { self.state().queue.len() } else { 0 }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A queue's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Updates in it.
    pub updates: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Updates skipped since the client connected.
    pub skipped: u64,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// The client has it from another subscription, or is gone.
    Not,
    /// It waits; so many others were skipped for it.
    Queued {
        /// Updates that were skipped to make room.
        dropped: u64,
        /// The client's task has to be woken, now or soon: [`Outbox::wake`].
        wake: bool,
    },
}

impl State {
    /// Comes down to three quarters of the bound, so that the work is shared by the next quarter's offers.
    fn make_room(&mut self, bytes_max: usize) -> u64 {
        let before = self.gap.skipped;
        let target = bytes_max - bytes_max / 4;
        let mut newer: HashSet<(u8, Arc<str>), foldhash::fast::FixedState> = HashSet::default();
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for update in std::mem::take(&mut self.queue).into_iter().rev() {
            if update.kind.newest_wins() && !newer.insert((update.kind.bit(), update.name.clone())) {
                self.drop_one(&update);
            } else {
                kept.push_front(update);
            }
        }
        self.queue = kept;
        if self.bytes > target {
            self.drop_oldest(target, |update| update.kind.newest_wins());
        }
        // Alerts alone are past the bound. The newest update is kept whatever its size.
        if self.bytes > bytes_max {
            self.drop_oldest(target, |_| true);
        }
        self.gap.skipped - before
    }

    fn drop_oldest(&mut self, target: usize, may_go: impl Fn(&Update) -> bool) {
        let newest = self.queue.len().saturating_sub(1);
        let mut place = 0;
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue
            .into_iter()
            .filter(|update| {
                let goes = place != newest && self.bytes > target && may_go(update);
                place += 1;
                if goes {
                    self.bytes -= update.weight();
                    self.gap.add(update);
                }
                !goes
            })
            .collect();
    }

    fn drop_one(&mut self, update: &Update) {
        self.bytes -= update.weight();
        self.gap.add(update);
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::tests::record;
    use super::*;
    use serde_json::json;
    use tidecast_ports::OutputKind;

    fn forecast(model: &str, offset: i64) -> Arc<Update> {
        let value = json!({"model_id": model, "predicted_value": offset, "pad": "x".repeat(850)});
        Arc::new(Update::read(&record(OutputKind::Forecast, offset, &value)).unwrap())
    }

    fn anomaly(offset: i64) -> Arc<Update> {
        let value = json!({"model_id": "m", "anomaly_score": 1.0, "pad": "x".repeat(850)});
        Arc::new(Update::read(&record(OutputKind::Alert, offset, &value)).unwrap())
    }

    fn take_all(outbox: &Outbox) -> (Vec<String>, Option<Gap>) {
        let mut positions = Vec::new();
        let taken = outbox.take(usize::MAX, |update| positions.push(update.name_of_place()));
        (positions, taken.gap)
    }

    #[test]
    fn below_the_bound_everything_comes_in_order() {
        let outbox = Outbox::new(1, 1 << 20);
        for offset in 0..50 {
            outbox.offer(&forecast("m", offset), offset as u64 + 1);
        }
        let (positions, gap) = take_all(&outbox);
        assert_eq!(positions, (0..50).map(|n| format!("f2-{n}")).collect::<Vec<_>>());
        assert_eq!(gap, None);
    }

    #[test]
    fn at_the_bound_the_newest_of_each_model_and_every_alert_stay() {
        let outbox = Outbox::new(1, 10_000);
        let mut dropped = 0;
        for offset in 0..40 {
            let update = match offset {
                3 => anomaly(offset),
                _ => forecast(if offset % 2 == 0 { "even" } else { "odd" }, offset),
            };
            if let Offered::Queued { dropped: more, .. } = outbox.offer(&update, offset as u64 + 1) {
                dropped += more;
            }
        }
        let (positions, gap) = take_all(&outbox);
        let gap = gap.unwrap();
        assert_eq!(gap.skipped, dropped);
        assert_eq!(positions.len() as u64 + gap.skipped, 40, "what did not come was told");
        assert!(positions.contains(&"a2-3".to_owned()), "the alert stayed");
        assert_eq!(positions[positions.len() - 2..], ["f2-38", "f2-39"]);
        assert_eq!(gap.names.len(), 2);
        assert_eq!(take_all(&outbox), (vec![], None), "a gap is told once");
    }

    #[test]
    fn alerts_too_are_bounded_and_the_oldest_go() {
        let outbox = Outbox::new(1, 10_000);
        for offset in 0..1_000 {
            outbox.offer(&anomaly(offset), offset as u64 + 1);
            assert!(outbox.len() <= 11);
        }
        let (positions, gap) = take_all(&outbox);
        assert_eq!(positions.last().unwrap(), "a2-999");
        assert_eq!(positions.len() as u64 + gap.unwrap().skipped, 1_000);
    }

    #[test]
    fn many_models_past_the_bound_are_not_named_one_by_one() {
        let outbox = Outbox::new(1, 10_000);
        for offset in 0..300 {
            outbox.offer(&forecast(&format!("m{offset}"), offset), offset as u64 + 1);
        }
        assert_eq!(take_all(&outbox).1.unwrap().names, [Arc::from("*")]);
    }

    #[test]
    fn two_subscriptions_that_match_give_one_update() {
        let outbox = Outbox::new(1, 10_000);
        let update = forecast("m", 1);
        assert_ne!(outbox.offer(&update, 1), Offered::Not);
        assert_eq!(outbox.offer(&update, 1), Offered::Not);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_close_comes_after_what_waits() {
        let outbox = Outbox::new(1, 10_000);
        outbox.offer(&forecast("m", 1), 1);
        outbox.offer(&forecast("m", 2), 2);
        outbox.close(1012, "restarting");
        assert_eq!(outbox.take(1, |_| ()).closing, None);
        assert_eq!(outbox.take(1, |_| ()).closing.unwrap().code, 1012);
    }
}
