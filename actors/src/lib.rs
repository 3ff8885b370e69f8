//! The actors: thin shells around the pure rooms, one file each. `topology` is the only one that knows them all.
//!
//! The way of a batch: source's thread → [`aggregator`] → [`forecasting`] (and its [`forecaster`]s) →
//! [`rule_evaluator`] → [`publisher`]. Data goes forward only; what comes back is room in a mailbox.

pub mod actions;
pub mod aggregator;
pub mod brain;
mod by_series;
pub mod catalog;
pub mod changes;
pub mod closed_window;
pub mod control;
pub mod decisions;
pub mod elsewhere;
pub mod events_intake;
pub mod fit_pool;
pub mod flow;
pub mod forecaster;
pub mod forecasting;
pub mod further;
pub mod house;
pub mod intake;
pub mod ledger;
pub mod letters;
pub mod messages;
pub mod metrics;
pub mod nursery;
mod pacing;
mod paging;
pub mod partials_intake;
pub mod publisher;
pub mod rebuild;
pub mod registry;
pub mod regressors;
pub mod repartition;
pub mod reporter;
pub mod restored;
pub mod rule_book;
pub mod rule_evaluator;
pub mod rule_events;
pub mod snapshots;
pub mod standby;
pub mod stats;
pub mod submissions;
pub mod suspects;
pub mod tally;
pub mod topology;
pub mod trace;
pub mod tree;
mod trouble;
mod unwritten;
mod wire;
pub mod workplace;

/// Part of every output's identity: another number where the same input leads to other outputs.
pub const PIPELINE_VERSION: &[u8] = b"1";

/// The clock's now, epoch milliseconds: for what people are told, never for a stored value.
pub fn wall_clock_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
