//! Bounded mailboxes on ractor, and the policy by which what died is started again.
//!
//! ractor's own mailboxes have no bound. This crate is the one place that gives them one: a send takes a permit, the
//! permit rides in the message, and it is released when the message is dropped, handled or not. Nobody calls
//! `cast` past it (`clippy.toml` forbids it).

mod mailbox;
mod meter;
pub mod restart;

pub use mailbox::{Capacity, Envelope, Mailbox, Permit, Reply, SendError, TrySendError};
pub use meter::{Meter, Meters, Reading};
