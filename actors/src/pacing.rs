//! When to commit. Outputs are committed once no more of them come for a moment, so that what comes together goes together: a
//! transaction that begins while the broker still ends the one before it waits 20 ms in librdkafka. Offsets alone, which nobody
//! reads, wait longer. Each commit costs the broker a marker on every partition it touches, so on
//! average they are an interval apart, and only a few in a row may be closer.

use std::time::Duration;
use tokio::time::Instant;

/// From the newest uncommitted output to its commit.
const GATHER: Duration = Duration::from_millis(3);
/// From the first one to its commit, at most.
const GATHER_MOST: Duration = Duration::from_millis(12);
/// Between two commits, on average.
const INTERVAL: Duration = Duration::from_millis(25);
/// How far ahead of that average a few commits in a row may be.
const AHEAD: Duration = Duration::from_millis(75);
/// From the first uncommitted offset to its commit, without an output.
const OFFSETS: Duration = Duration::from_millis(50);
/// The same while a backlog is read, with outputs or without: fewer and larger requests leave the broker more time for
/// reading.
const BACKLOG: Duration = Duration::from_millis(100);

/// What is staged since the last commit, and how the last ones lay in time.
#[derive(Debug)]
pub struct Pacing {
    first: Option<Instant>,
    /// The first and the newest output.
    outputs: Option<(Instant, Instant)>,
    backlog: bool,
    /// When the next commit would be due were all of them evenly spaced.
    even: Instant,
}

impl Pacing {
    /// Nothing staged, nothing committed.
    pub fn new(now: Instant) -> Self {
        Pacing { first: None, outputs: None, backlog: false, even: now }
    }

    /// Something is staged: outputs among it or offsets alone, of a backlog or not.
    pub fn staged(&mut self, now: Instant, outputs: bool, backlog: bool) {
        self.backlog = backlog && (self.backlog || self.first.is_none());
        self.first.get_or_insert(now);
        if outputs {
            let first = self.outputs.map_or(now, |(first, _)| first);
            self.outputs = Some((first, now));
        }
    }

    /// Something is staged.
    pub fn is_staged(&self) -> bool {
        self.first.is_some()
    }

    /// Everything staged is of a backlog.
    pub fn is_backlog(&self) -> bool {
        self.backlog
    }

    /// When to commit; `None` with nothing staged.
    pub fn due(&self) -> Option<Instant> {
        let first = self.first?;
        Some(match self.outputs {
            _ if self.backlog => first + BACKLOG,
            Some((first, newest)) => {
                let gathered = (newest + GATHER).min(first + GATHER_MOST);
                gathered.max(self.even.checked_sub(AHEAD).unwrap_or(first))
            }
            None => first + OFFSETS,
        })
    }

    /// Everything staged is being committed.
    pub fn commit(&mut self, now: Instant) {
        self.forget();
        self.even = self.even.max(now) + INTERVAL;
    }

    /// What was staged is given up.
    pub fn forget(&mut self) {
        (self.first, self.outputs) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, BACKLOG, GATHER, GATHER_MOST, INTERVAL, OFFSETS, Pacing};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn outputs_are_soon_and_offsets_alone_later() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        assert_eq!(pacing.due(), None);
        pacing.staged(start, false, false);
        assert_eq!(pacing.due(), Some(start + OFFSETS));
        let later = start + Duration::from_millis(10);
        pacing.staged(later, true, false);
        assert_eq!(pacing.due(), Some(later + GATHER));
        let more = later + Duration::from_millis(2);
        pacing.staged(more, true, false);
        assert_eq!(pacing.due(), Some(more + GATHER));
        pacing.staged(later + GATHER_MOST - Duration::from_millis(1), true, false);
        assert_eq!(pacing.due(), Some(later + GATHER_MOST));
        pacing.commit(later + GATHER_MOST);
        assert!(!pacing.is_staged() && pacing.due().is_none());
    }

    #[test]
    fn a_backlog_waits_and_anything_else_among_it_does_not() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        pacing.staged(start, true, true);
        assert!(pacing.is_backlog());
        assert_eq!(pacing.due(), Some(start + BACKLOG));
        pacing.staged(start, false, false);
        pacing.staged(start, false, true);
        assert!(!pacing.is_backlog());
        assert_eq!(pacing.due(), Some(start + GATHER));
    }

    #[test]
    fn a_few_commits_may_follow_each_other_and_a_stream_of_them_keeps_its_distance() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..40 {
            pacing.staged(now, true, false);
            let due = pacing.due().expect("something is staged");
            waits.push(due - now);
            now = due;
            pacing.commit(now);
        }
        assert_eq!(&waits[..3], &[GATHER; 3]);
        assert!(now - start >= INTERVAL * 39 - AHEAD, "{:?}", now - start);
        assert!(waits.iter().all(|wait| *wait <= INTERVAL), "{waits:?}");
    }
}
