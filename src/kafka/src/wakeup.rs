//! Waking the source's thread: a token that cannot be lost, as `Thread::unpark` keeps one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;
use tidecast_ports::Wake;

/// Wakes one thread from any other, librdkafka's own included.
#[derive(Default)]
pub(crate) struct Wakeup {
    sleeper: OnceLock<Thread>,
    /// Wakes the same thread from where it sleeps otherwise.
    also: OnceLock<Wake>,
    /// The client's main queue stopped being empty.
    events: AtomicBool,
}

impl Wakeup {
    /// The current thread is the one to wake from now on.
    pub fn register(&self) {
        let _ = self.sleeper.set(std::thread::current());
    }

    /// Has `also` called at each wake, by the thread that wakes.
    pub fn call(&self, also: Wake) {
        let _ = self.also.set(also);
    }

    /// Ends the current wait, or the next one at once.
    pub fn wake(&self) {
        if let Some(also) = self.also.get() {
            also();
        }
        if let Some(thread) = self.sleeper.get() {
            thread.unpark();
        }
    }

    /// [`Wakeup::wake`] for an event of the client's main queue.
    pub fn wake_for_events(&self) {
        self.events.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether events came since the last call.
    pub fn take_events(&self) -> bool {
        self.events.swap(false, Ordering::AcqRel)
    }

    /// Waits for a wake or the timeout. For the registered thread.
    pub fn wait(&self, timeout: Duration) {
        std::thread::park_timeout(timeout);
    }
}
