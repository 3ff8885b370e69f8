//! The one way to wait in a test: for a condition, with a limit.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks `attempt` until it answers something, and returns that. Panics with `what` when `limit` has passed.
pub async fn eventually<T>(what: &str, limit: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        if let Some(answer) = attempt().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        tick.tick().await;
    }
}

/// Watches that `broken` stays empty for `span`; panics with `what` and the answer when it does not. For what must
/// never happen, where a span is all that can be watched.
pub async fn never<T: std::fmt::Debug>(
    what: &str,
    span: Duration,
    mut broken: impl AsyncFnMut() -> Option<T>,
) {
    let start = Instant::now();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    while start.elapsed() < span {
        if let Some(found) = broken().await {
            panic!("{what}: {found:?} after {:?}", start.elapsed());
        }
        tick.tick().await;
    }
}
