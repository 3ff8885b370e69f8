//! When clients are woken: at once one that had nothing for a while; one that had something just now with what comes
//! for it in the next few milliseconds, so that one system call carries all of it.

use super::outbox::Outbox;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long updates of a client are gathered after those before them: the least, and the most where many clients take
/// much.
const GATHER: Duration = Duration::from_millis(2);
const GATHER_MOST: Duration = Duration::from_millis(10);
/// What the writing to one client takes, about: rounds leave time between them for the rest of the machine, and each
/// carries more.
const WRITE: Duration = Duration::from_micros(10);

/// Clients that have something queued and are not woken yet.
#[derive(Debug)]
pub struct Flusher {
    state: Mutex<State>,
    busy: Notify,
    /// The outboxes' times count from here.
    start: Instant,
}

#[derive(Debug)]
struct State {
    waiting: Vec<Arc<Outbox>>,
    gather: Duration,
}

impl Default for Flusher {
    fn default() -> Self {
        Flusher {
            state: Mutex::new(State { waiting: Vec::new(), gather: GATHER }),
            busy: Notify::new(),
            // A client that was never told of anything was not told of it just now.
            start: Instant::now().checked_sub(GATHER_MOST).unwrap_or_else(Instant::now),
        }
    }
}

impl Flusher {
    /// Wakes `outboxes`, now or within a few milliseconds.
    pub fn wake(&self, mut outboxes: Vec<Arc<Outbox>>, now: Instant) {
        if outboxes.is_empty() {
            return;
        }
        let micros = self.micros(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gather = state.gather.as_micros() as u64;
        let before = state.waiting.len();
        let just_now = |outbox: &mut Arc<Outbox>| {
            micros.saturating_sub(outbox.flushed_micros.load(Ordering::Relaxed)) < gather
        };
        state.waiting.extend(outboxes.extract_if(.., just_now));
        let wait = before == 0 && !state.waiting.is_empty();
        drop(state);
        if wait {
            self.busy.notify_one();
        }
        tell(&outboxes, micros);
    }

    fn wake_waiting(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut state.waiting);
        let writing = WRITE.saturating_mul(u32::try_from(waiting.len()).unwrap_or(u32::MAX));
        state.gather = writing.clamp(GATHER, GATHER_MOST);
        drop(state);
        tell(&waiting, self.micros(Instant::now()));
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_micros() as u64
    }

    /// Wakes those that wait, round by round, until it is dropped.
    pub async fn run(&self) {
        loop {
            self.busy.notified().await;
            let gather = self.state.lock().unwrap_or_else(PoisonError::into_inner).gather;
            tokio::time::sleep(gather).await;
            self.wake_waiting();
        }
    }
}

fn tell(outboxes: &[Arc<Outbox>], micros: u64) {
    for outbox in outboxes {
        outbox.flushed_micros.store(micros, Ordering::Relaxed);
        outbox.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::ArcWake;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn clients(number: usize, count: &Arc<Count>) -> Vec<Arc<Outbox>> {
        (0..number as u64)
            .map(|id| {
                let outbox = Outbox::new(id, 1);
                outbox.register(&futures::task::waker(count.clone()));
                outbox
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_had_nothing_is_told_at_once_and_who_had_something_just_now_with_what_follows() {
        let flusher = Arc::new(Flusher::default());
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let woken = || count.0.load(Ordering::Relaxed);
        let (first, others) = (clients(40, &count), clients(40, &count));
        let now = Instant::now();
        flusher.wake(first.clone(), now);
        flusher.wake(others, now + GATHER / 2);
        assert_eq!(woken(), 80, "each of them for the first time");
        first.iter().for_each(|outbox| outbox.register(&futures::task::waker(count.clone())));
        flusher.wake(first.clone(), now + GATHER / 2);
        assert_eq!(woken(), 80, "gathered");
        let running = tokio::spawn({
            let flusher = flusher.clone();
            async move { flusher.run().await }
        });
        tokio::time::sleep(GATHER * 2).await;
        assert_eq!(woken(), 120);
        first.iter().for_each(|outbox| outbox.register(&futures::task::waker(count.clone())));
        flusher.wake(first, Instant::now() + GATHER * 2);
        assert_eq!(woken(), 160, "after a pause at once again");
        running.abort();
    }

    #[test]
    fn rounds_of_many_clients_are_further_apart() {
        let flusher = Flusher::default();
        let gather = |number: usize| {
            let count = Arc::new(Count(AtomicUsize::new(0)));
            let (all, now) = (clients(number, &count), Instant::now());
            flusher.wake(all.clone(), now);
            flusher.wake(all, now);
            flusher.wake_waiting();
            flusher.state.lock().unwrap().gather
        };
        assert_eq!(gather(500), WRITE * 500);
        assert_eq!(gather(10_000), GATHER_MOST);
        assert_eq!(gather(10), GATHER);
    }
}
