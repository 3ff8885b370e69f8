//! Live delivery: from an output record to each client's queue.

pub mod alerts;
pub mod flusher;
pub mod hub;
pub mod index;
pub mod latest;
pub mod outbox;
pub mod pulse;
pub mod update;

pub use hub::Hub;
