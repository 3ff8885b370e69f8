//! Where work that blocks is done: on threads of its own, or in turn with everything else.
//!
//! A service uses threads. In a simulation all is done on one thread in one order, so that a seed is a whole history;
//! what a thread would have taken in time is then an await, and a step that a crash may fall on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A blocking step, named for who decides how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A producer is made.
    Connect,
    /// Outputs and offsets are committed.
    Commit,
    /// A snapshot is written.
    Snapshot,
    /// A model is fitted.
    Fit,
}

/// Decides how long a step takes.
pub trait Pace: Send + Sync {
    /// Resolves when the step is to be done.
    fn before(&self, step: Step) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Where blocking work is done. Cheap to clone.
#[derive(Clone, Default)]
pub enum Workplace {
    /// On threads.
    #[default]
    Threads,
    /// On the runtime's own thread, each step when the pace lets it.
    InTurn(Arc<dyn Pace>),
}

impl std::fmt::Debug for Workplace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Workplace::Threads => "Threads",
            Workplace::InTurn(_) => "InTurn",
        })
    }
}

impl Workplace {
    /// Waits until a step is to be done; on threads that is now.
    pub async fn before(&self, step: Step) {
        if let Workplace::InTurn(pace) = self {
            pace.before(step).await;
        }
    }

    /// Runs a worker that blocks: on a thread of that name, or in turn.
    pub fn run(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Handle::current();
        match self {
            Workplace::Threads => {
                std::thread::Builder::new().name(name.into()).spawn(move || runtime.block_on(work))?;
            }
            Workplace::InTurn(_) => {
                runtime.spawn(work);
            }
        }
        Ok(())
    }
}
