//! Live delivery: from an output record to each client's queue.

pub mod alerts;
pub mod flusher;
pub mod hub;
pub mod index;
pub mod latest;
pub mod outbox;
pub mod position;
pub mod pulse;
mod recent;
pub mod replay;
pub mod roster;
pub mod update;

pub use hub::Hub;
