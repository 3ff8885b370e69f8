//! Measurements of the real binary beside a real Kafka: how fast ([`rate`]), how soon ([`latency`]), how many models
//! ([`models`]), how many clients ([`delivery`]), and whether all of it is exact while processes and the broker are killed
//! and stopped ([`chaos`]); [`correctness`] is all of the latter in one table, and [`peers`] the same task given to other
//! stream processors in the same run. Each prints a table, and each checks what came out: a fast wrong answer is no answer.
//!
//! The input is made from a seed ([`workload`]), so every run of any version reads the same bytes.

pub mod chaos;
pub mod correctness;
pub mod delivery;
pub mod latency;
pub mod models;
pub mod network;
pub mod peers;
pub mod process;
pub mod rate;
pub mod rebalance;
pub mod table;
pub mod topics;
pub mod trial;
pub mod verdict;
pub mod worker;
pub mod workload;
