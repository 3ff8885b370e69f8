//! Simulation: the whole tree of a partition, its state and its commit protocol, run by one thread on a simulated
//! broker, disk and clock. One seed decides the input, the faults and every interleaving; an oracle that shares no
//! code with the engine says whether windows, forecasts and ledger are exact.
//!
//! A failing seed is printed with the command that replays it; see `tests/simulation/tests/seeds.rs`.

pub mod broker;
pub mod disk;
pub mod forecasts;
pub mod group;
pub mod histories;
pub mod oracle;
pub mod process;
pub mod producer;
pub mod random;
pub mod run;
pub mod source;
pub mod touchy;
pub mod verdict;
pub mod workload;

pub use broker::Mutation;
pub use histories::{Histories, run_all};
pub use run::{Report, run};
