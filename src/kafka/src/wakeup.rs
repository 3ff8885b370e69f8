//! Waking the source's thread: a token that cannot be lost, as `Thread::unpark` keeps one.

use std::sync::OnceLock;
use std::thread::Thread;
use std::time::Duration;

/// Wakes one thread from any other, librdkafka's own included.
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    sleeper: OnceLock<Thread>,
}

impl Wakeup {
    /// The current thread is the one to wake from now on.
    pub fn register(&self) {
        let _ = self.sleeper.set(std::thread::current());
    }

    /// Ends the current wait, or the next one at once.
    pub fn wake(&self) {
        if let Some(thread) = self.sleeper.get() {
            thread.unpark();
        }
    }

    /// Waits for a wake or the timeout. For the registered thread.
    pub fn wait(&self, timeout: Duration) {
        std::thread::park_timeout(timeout);
    }
}
