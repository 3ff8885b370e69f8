//! Steps that are done on a thread of their own while the caller waits, however long they really take.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Steps under way at once. One that its caller no longer waits for goes on until the place answers (a folder of a network
/// may take hours) and counts until then: so what hangs is bounded, and its memory with it.
const UNDER_WAY: usize = 8;

/// The thread, and how many steps it has under way.
#[derive(Debug)]
pub(crate) struct Steps {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    room: Arc<Semaphore>,
}

impl Steps {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Steps> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            // Folders are read and written on these.
            .max_blocking_threads(UNDER_WAY)
            .thread_name("shared-state")
            .enable_all()
            .build()?;
        Ok(Steps { runtime: Some(runtime), room: Arc::new(Semaphore::new(UNDER_WAY)) })
    }

    /// Does a step and waits for its answer, no longer than `limit`.
    pub fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        step: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let Some(runtime) = &self.runtime else { return Err("it is closed".to_owned()) };
        let (done, answer) = sync_channel(1);
        let room = self.room.clone().acquire_owned();
        runtime.spawn(async move {
            // Nobody waits longer than this, so what finds no room is not begun at all.
            let Ok(Ok(room)) = tokio::time::timeout(limit, room).await else { return };
            let answer = step.await;
            drop(room);
            // Nobody may be waiting any more.
            let _ = done.try_send(answer);
        });
        let wait = || answer.recv_timeout(limit);
        // A worker of an async runtime hands its other tasks over before it waits.
        let answered = match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        };
        answered.map_err(|_| format!("no answer within {} s", limit.as_secs()))
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        // A runtime that is simply dropped waits for its steps, and panics on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Steps, UNDER_WAY};
    use std::time::Duration;

    #[test]
    fn a_step_that_hangs_is_not_waited_for_and_not_many_of_them_are_begun() {
        let steps = Steps::start().unwrap();
        assert_eq!(steps.wait(Duration::from_secs(60), async { 7 }), Ok(7));
        for _ in 0..UNDER_WAY {
            let error = steps.wait(Duration::from_millis(1), std::future::pending::<()>()).unwrap_err();
            assert!(error.contains("no answer"), "{error}");
        }
        let (begun, is_begun) = std::sync::mpsc::sync_channel(1);
        let step = async move { begun.try_send(()).unwrap() };
        assert!(steps.wait(Duration::from_millis(1), step).is_err());
        // Given up, not put off: the other end is gone and nothing came.
        assert!(is_begun.recv().is_err());
    }

    #[test]
    fn it_is_used_and_dropped_on_threads_of_any_runtime() {
        for mut builder in
            [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
        {
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(async {
                let steps = Steps::start().unwrap();
                assert_eq!(steps.wait(Duration::from_secs(60), async { 7 }), Ok(7));
            });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let task =
            runtime.spawn(async { Steps::start().unwrap().wait(Duration::from_secs(60), async { 7 }) });
        assert_eq!(runtime.block_on(task).unwrap(), Ok(7));
    }
}
