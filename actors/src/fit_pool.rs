//! Where models are fitted: a bounded number of threads, never those that poll or serve.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Runs work that takes long. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FitPool {
    running: Arc<Semaphore>,
}

impl FitPool {
    /// As many fits at once as `threads`, at least one. What waits is bounded by the models: each has one fit at most.
    pub fn new(threads: usize) -> Self {
        FitPool { running: Arc::new(Semaphore::new(threads.max(1))) }
    }

    /// Runs `work` when a thread is free. The receiver fails when the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        let running = self.running.clone();
        tokio::spawn(async move {
            let Ok(permit) = running.acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
                    // Nobody waits any more: the model was removed.
                    let _ = done.send(value);
                }
                drop(permit);
            });
        });
        result
    }
}
