//! When clients are woken: at once while it is quiet; while it is busy, together and at most every two milliseconds,
//! so that one system call carries what came in between.

use super::outbox::Outbox;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Between two rounds while it is busy.
const GATHER: Duration = Duration::from_millis(2);
/// So many clients are woken at once in any case: it is cheap.
const FEW: usize = 32;

/// Clients that have something queued and are not woken yet.
#[derive(Debug, Default)]
pub struct Flusher {
    state: Mutex<State>,
    busy: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Arc<Outbox>>,
    last: Option<Instant>,
}

impl Flusher {
    /// Wakes `outboxes`, now or within [`GATHER`].
    pub fn wake(&self, mut outboxes: Vec<Arc<Outbox>>, now: Instant) {
        if outboxes.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = state.last.is_some_and(|last| now.saturating_duration_since(last) < GATHER);
        if state.waiting.len() + outboxes.len() > FEW {
            if busy {
                state.waiting.append(&mut outboxes);
                drop(state);
                self.busy.notify_one();
                return;
            }
            state.last = Some(now);
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().chain(&outboxes).for_each(|outbox| outbox.wake());
    }

    fn wake_waiting(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut state.waiting);
        if !waiting.is_empty() {
            state.last = Some(Instant::now());
        }
        drop(state);
        waiting.iter().for_each(|outbox| outbox.wake());
    }

    /// Wakes those that wait, round by round, until it is dropped.
    pub async fn run(&self) {
        loop {
            self.busy.notified().await;
            tokio::time::sleep(GATHER).await;
            self.wake_waiting();
        }
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

    fn clients(count: Arc<Count>) -> Vec<Arc<Outbox>> {
        (0..FEW as u64 + 1)
            .map(|id| {
                let outbox = Outbox::new(id, 1);
                outbox.register(&futures::task::waker(count.clone()));
                outbox
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_round_is_at_once_and_the_next_is_gathered() {
        let flusher = Arc::new(Flusher::default());
        let (first, second) = (Arc::new(Count(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
        let now = Instant::now();
        flusher.wake(clients(first.clone()), now);
        assert_eq!(first.0.load(Ordering::Relaxed), FEW + 1);
        flusher.wake(clients(second.clone()), now + GATHER / 2);
        assert_eq!(second.0.load(Ordering::Relaxed), 0, "gathered");
        let running = tokio::spawn({
            let flusher = flusher.clone();
            async move { flusher.run().await }
        });
        tokio::time::sleep(GATHER * 2).await;
        assert_eq!(second.0.load(Ordering::Relaxed), FEW + 1);
        running.abort();
    }
}
