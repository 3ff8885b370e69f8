//! Where models are fitted: a bounded number of threads, never those that poll or serve.

use crate::workplace::{Step, Workplace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Runs work that takes long. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FitPool {
    running: Arc<Semaphore>,
    workplace: Workplace,
}

impl FitPool {
    /// As many fits at once as `threads`, at least one. What waits is bounded by the models: each has one fit at most.
    pub fn new(threads: usize) -> Self {
        FitPool::at(Workplace::Threads, threads)
    }

    /// The same at another workplace.
    pub fn at(workplace: Workplace, threads: usize) -> Self {
        FitPool { running: Arc::new(Semaphore::new(threads.max(1))), workplace }
    }

    /// Runs `work` when a thread is free. The receiver fails when the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        let (running, workplace) = (self.running.clone(), self.workplace.clone());
        tokio::spawn(async move {
            let Ok(permit) = running.acquire_owned().await else { return };
            let fit = move || {
                if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
                    // Nobody waits any more: the model was removed.
                    let _ = done.send(value);
                }
                drop(permit);
            };
            match workplace {
                Workplace::Threads => {
                    tokio::task::spawn_blocking(fit);
                }
                workplace @ Workplace::InTurn(_) => {
                    workplace.before(Step::Fit).await;
                    fit();
                }
            }
        });
        result
    }
}
