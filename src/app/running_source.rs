//! A source from its start to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidecast_kafka::{Source, SourceControl, SourceError, SourceThread};
use tidecast_ports::SourceHandler;

/// A source that runs, or is about to. Cheap to clone.
#[derive(Clone)]
pub struct RunningSource {
    /// Tells it what to do, running or not.
    pub control: SourceControl,
    /// Taken by whoever sees it end.
    thread: Arc<Mutex<Option<SourceThread>>>,
}

impl RunningSource {
    /// Nothing runs before [`RunningSource::start`].
    pub fn new(source: &Source) -> Self {
        RunningSource { control: source.control(), thread: Arc::default() }
    }

    /// Starts the thread of the source that this was made for.
    pub fn start(&self, source: Source, handler: Box<dyn SourceHandler>) -> Result<(), SourceError> {
        let thread = source.start(handler)?;
        *self.thread() = Some(thread);
        Ok(())
    }

    /// Closes it, where it runs, and waits for its end.
    pub async fn close(&self) -> Result<(), SourceError> {
        let thread = self.thread().take();
        let Some(thread) = thread else { return Ok(()) };
        self.control.close();
        joined(thread).await
    }

    /// How it has ended by itself; nothing while it runs.
    pub async fn ended(&self) -> Option<Result<(), SourceError>> {
        let thread = self.thread().take_if(|thread| thread.is_finished())?;
        Some(joined(thread).await)
    }

    fn thread(&self) -> MutexGuard<'_, Option<SourceThread>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn joined(thread: SourceThread) -> Result<(), SourceError> {
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap_or(Ok(()))
}
