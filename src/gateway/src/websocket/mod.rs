//! `/forecast-updates`: frames, the handshake, the messages of the protocol, and a session per connection.

pub mod frame;
pub mod handshake;
pub mod protocol;
pub mod session;
