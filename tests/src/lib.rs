//! What the black-box tests stand on: a real broker ([`kafka`]), the real binary ([`process`]), commands that end by
//! themselves ([`shell`]), clients that know the interface and nothing of the code ([`socket`], [`process::Tidecast::get`]),
//! windows computed a second way ([`oracle`]), events that must be refused ([`poison`]), and the one way to wait ([`wait`]).
//!
//! A test is named for its scenario and takes topics, a group, ports and a state folder of its own from [`setup::Setup`].
//! Only `tests/run` knows how to get what is needed; a single scenario also runs alone, with `cargo test -p
//! tidecast-tests --test NAME`, and then starts a broker for itself.

pub mod house;
pub mod kafka;
pub mod oracle;
pub mod poison;
pub mod process;
pub mod setup;
pub mod shell;
pub mod socket;
pub mod wait;

pub use kafka::Kafka;
pub use process::Tidecast;
pub use setup::Setup;
pub use wait::eventually;
