//! The limit of events a second on one `/ws/ingest` connection: a client over it is slowed, told, and in the end closed.

use std::time::{Duration, Instant};

/// Seconds in a row that a client may be over its limit: it is slowed and told in each, and closed in the last.
const SECONDS_OVER_MAX: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);

/// Counts events in seconds that begin with the first event after the last one ended.
#[derive(Debug)]
pub(super) struct EventRate {
    most: u32,
    started: Instant,
    events: u32,
    told: bool,
    /// Seconds over the limit that followed on each other.
    seconds_over: u32,
}

/// What becomes of a client that has more waiting than its second allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It has been told in this second.
    Told,
    /// It is to be told.
    Tell,
    /// It was told before and goes on: told once more, and closed.
    Close,
}

impl EventRate {
    pub(super) fn new(most: u32, now: Instant) -> Self {
        EventRate { most, started: now, events: 0, told: false, seconds_over: 0 }
    }

    /// The limit.
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// Begins another second when the last one is over; how many events it still allows.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        let gone = now.saturating_duration_since(self.started);
        if gone >= SECOND {
            if !self.told || gone >= 2 * SECOND {
                self.seconds_over = 0;
            }
            (self.started, self.events, self.told) = (now, 0, false);
        }
        self.most.saturating_sub(self.events) as usize
    }

    /// Counts events that were taken.
    pub(super) fn count(&mut self, events: usize) {
        self.events = self.events.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
    }

    /// There is more than this second allows.
    pub(super) fn over(&mut self) -> Over {
        if std::mem::replace(&mut self.told, true) {
            return Over::Told;
        }
        self.seconds_over += 1;
        if self.seconds_over >= SECONDS_OVER_MAX { Over::Close } else { Over::Tell }
    }

    /// Until when the client is not read from, so that it is slowed and nothing is lost.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        let until = self.started + SECOND;
        (self.events >= self.most && now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_slowed_then_told_then_closed() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rate = EventRate::new(10, start);
        assert_eq!(rate.room(at(10)), 10);
        rate.count(10);
        assert_eq!((rate.room(at(20)), rate.paused_until(at(20))), (0, Some(at(1_000))));
        assert_eq!((rate.over(), rate.over()), (Over::Tell, Over::Told));
        assert_eq!(rate.room(at(1_000)), 10);
        rate.count(10);
        assert_eq!(rate.over(), Over::Tell);
        assert_eq!(rate.room(at(2_010)), 10);
        assert_eq!(rate.over(), Over::Close);
    }

    #[test]
    fn a_second_within_the_limit_begins_the_count_anew() {
        let start = Instant::now();
        let mut rate = EventRate::new(1, start);
        for second in 0..20 {
            assert_eq!(rate.room(start + second * SECOND), 1);
            if second % 3 != 2 {
                assert_eq!(rate.over(), Over::Tell, "second {second}");
            }
        }
        assert_eq!(rate.room(start + 3_600 * SECOND), 1);
        assert_eq!(rate.over(), Over::Tell, "an hour later nobody remembers");
    }
}
