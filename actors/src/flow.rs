//! Where the flow is held up, how far behind it is, and when it will have caught up: from two looks at the counters.

use std::time::Duration;
use tidecast_mailbox::Reading;

/// Stages from the last to the first: what is full because the one behind it is full is not to blame.
const STAGES: [&str; 5] = ["publisher", "rules", "forecaster", "forecasting", "aggregator"];
/// Part of the time that senders waited for a stage, from which on it holds them up.
const WAITED: f64 = 0.1;
/// Part of a stage's room that is taken, likewise.
const FULL: f64 = 0.9;

/// One input partition at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Place {
    /// Records read since the group began.
    pub read: u64,
    /// Records between the newest and the last one processed.
    pub lag: u64,
    /// Newest event time processed, epoch seconds; 0 before the first.
    pub newest: f64,
}

/// The stage that holds the others up, the last one that is full or waited for; `source` where none is and records wait
/// in Kafka for more than a second at the present rate; `None` where nothing is held up.
pub fn bottleneck(
    before: &[Reading],
    now: &[Reading],
    over: Duration,
    lag: u64,
    events_per_second: f64,
) -> Option<&'static str> {
    let of = |readings: &[Reading], name: &str| readings.iter().find(|reading| reading.name == name).copied();
    let holds = |name: &&str| {
        let Some(reading) = of(now, name) else { return false };
        let waited_before = of(before, name).map_or(Duration::ZERO, |reading| reading.waited);
        let waited = reading.waited.saturating_sub(waited_before).as_secs_f64();
        let full = reading.capacity > 0 && reading.depth as f64 >= FULL * reading.capacity as f64;
        full || (!over.is_zero() && waited >= WAITED * over.as_secs_f64())
    };
    let stage = STAGES.iter().copied().find(holds);
    stage.or((lag > 0 && lag as f64 > events_per_second).then_some("source"))
}

/// Seconds of event time that a partition is behind: its lag in records at the pace in which event time has gone by with
/// its records lately. `None` where nothing was read between the two looks.
pub fn lag_seconds(before: &Place, now: &Place) -> Option<f64> {
    if now.lag == 0 {
        return Some(0.0);
    }
    let records = now.read.checked_sub(before.read).filter(|records| *records > 0 && before.newest > 0.0)?;
    Some(now.lag as f64 * (now.newest - before.newest).max(0.0) / records as f64)
}

/// Seconds until a lag is gone, if it goes on shrinking as it does; `None` where it does not.
pub fn seconds_to_clear(before: u64, now: u64, over: Duration) -> Option<f64> {
    if now == 0 {
        return Some(0.0);
    }
    let cleared = before.checked_sub(now).filter(|cleared| *cleared > 0)?;
    Some(now as f64 * over.as_secs_f64() / cleared as f64)
}

/// What a group has to do, and with how many.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Processes that work on partitions now.
    pub workers: u64,
    /// Input partitions: more processes than these have nothing to do.
    pub partitions: u64,
    /// Records behind the newest.
    pub lag: u64,
    /// As [`seconds_to_clear`] has it.
    pub seconds_to_clear: Option<f64>,
    /// Events a second.
    pub rate: f64,
    /// Of the fullest stage, 0 to 1.
    pub utilization: f64,
}

/// A lag of so many seconds at the present rate is nothing that one worker more would be asked for.
const LAG_SECONDS_BORNE: f64 = 10.0;
/// A lag that is gone within this is left to those who are at it.
const CLEARED_WITHIN: f64 = 60.0;
/// Below it, and without a lag, one worker less would do.
const IDLE: f64 = 0.05;

/// How many workers are wanted, and why: one more while a lag grows or stays (twice as many while it grows), one less when
/// nothing waits anywhere. Never more than there are partitions.
pub fn wanted_workers(load: &Load) -> (u64, &'static str) {
    let most = load.partitions.max(1);
    let behind = load.lag as f64 > load.rate.max(1.0) * LAG_SECONDS_BORNE;
    let (wanted, why) = match load.seconds_to_clear {
        None if behind => (load.workers.max(1) * 2, "the lag grows"),
        Some(seconds) if behind && seconds > CLEARED_WITHIN => (load.workers + 1, "the lag shrinks slowly"),
        _ if load.lag as f64 <= load.rate && load.utilization < IDLE => {
            (load.workers.saturating_sub(1), "nothing waits")
        }
        _ => (load.workers, "they keep up"),
    };
    (wanted.clamp(1, most), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_asked_for_while_a_lag_stays_and_let_go_when_nothing_waits() {
        let load = Load {
            workers: 2,
            partitions: 8,
            lag: 100_000,
            seconds_to_clear: None,
            rate: 1_000.0,
            utilization: 0.5,
        };
        assert_eq!(wanted_workers(&load).0, 4);
        assert_eq!(wanted_workers(&Load { seconds_to_clear: Some(600.0), ..load }).0, 3);
        assert_eq!(wanted_workers(&Load { seconds_to_clear: Some(5.0), ..load }).0, 2);
        assert_eq!(wanted_workers(&Load { partitions: 3, ..load }).0, 3);
        let quiet = Load { lag: 0, seconds_to_clear: Some(0.0), utilization: 0.0, ..load };
        assert_eq!(wanted_workers(&quiet).0, 1);
        assert_eq!(wanted_workers(&Load { workers: 1, ..quiet }).0, 1);
        assert_eq!(wanted_workers(&Load { utilization: 0.3, ..quiet }).0, 2);
    }

    fn reading(name: &'static str, depth: u64, waited_ms: u64) -> Reading {
        Reading { name, depth, capacity: 10, sent: 100, waited: Duration::from_millis(waited_ms) }
    }

    #[test]
    fn the_last_stage_that_holds_others_up_is_named() {
        let over = Duration::from_secs(10);
        let quiet = [reading("publisher", 1, 500), reading("rules", 1, 0), reading("aggregator", 3, 0)];
        assert_eq!(bottleneck(&quiet, &quiet, over, 0, 100.0), None);
        assert_eq!(bottleneck(&quiet, &quiet, over, 500, 100.0), Some("source"));
        // The rules wait for the publisher, and so the aggregator's room is taken.
        let now = [reading("publisher", 5, 4_000), reading("rules", 10, 3_000), reading("aggregator", 10, 0)];
        assert_eq!(bottleneck(&quiet, &now, over, 500, 100.0), Some("publisher"));
        let now = [reading("publisher", 1, 600), reading("rules", 1, 0), reading("aggregator", 10, 0)];
        assert_eq!(bottleneck(&quiet, &now, over, 500, 100.0), Some("aggregator"));
    }

    #[test]
    fn lag_is_told_in_event_time_and_in_time_to_go() {
        let before = Place { read: 1_000, lag: 5_000, newest: 100.0 };
        let now = Place { read: 2_000, lag: 4_500, newest: 110.0 };
        // A hundred records are a second.
        assert_eq!(lag_seconds(&before, &now), Some(45.0));
        assert_eq!(lag_seconds(&now, &now), None);
        assert_eq!(lag_seconds(&before, &Place { lag: 0, ..now }), Some(0.0));
        assert_eq!(seconds_to_clear(5_000, 4_500, Duration::from_secs(10)), Some(90.0));
        assert_eq!(seconds_to_clear(4_500, 5_000, Duration::from_secs(10)), None);
        assert_eq!(seconds_to_clear(9, 0, Duration::from_secs(10)), Some(0.0));
    }
}
