//! `/forecast-updates`: frames, the handshake, the messages of the protocol, and a session per connection.
//!
//! # Close codes
//!
//! | class | code | when | what the client does |
//! | --- | --- | --- | --- |
//! | come back | 1012 | the service restarts | connects again, after a moment |
//! | come back, changed | 4401 | no token in time, none that can be used, or its life is over | connects with a fresh token |
//! | come back, slower | 4429 | went on past the limit of control messages | connects again, and says less |
//! | final | 1002, 1007, 1009 | broke the protocol, the encoding or the size limit | is mended first |
//! | final | 4403 | its token may not | asks for another role |
//!
//! # Order
//!
//! Answers go before updates; the newest value of each model comes right after `subscribed`; a `gap` stands before the
//! updates that came after what was skipped; a `ping` is answered, with a `heartbeat`, after what waited when it came.
//! Every update has a `position`, a text that means nothing to clients, and so has `subscribed`; the newest values that
//! come right after it have none, for a client that has them does not stand where they stood.
//!
//! # Coming back
//!
//! `{"type":"subscribe", ..., "resume": "<the last position seen>"}`, best with all names in one message: `subscribed`
//! says `"resumed": true`, and what was missed follows in its order, then what is live; nothing is missed, nothing comes
//! twice, on whichever gateway. Where that cannot be (retention took it, or it is more than `limits.resume_records`) an
//! `error` `resume_unavailable` says so, and it goes on as for a client that comes for the first time.
//!
//! # What a subscription means
//!
//! A name is a model's id, or a series as `<family>:<key>`; a `*` at its end matches any rest. Forecasts, anomalies
//! and alerts come by the model they are about; aggregates by their series, and to who subscribed by name to the model
//! that reads it; alerts without a model by their series, else by the name of their rule; metrics to all who ask.
//! Subscribing again adds types to a name; `unsubscribe` takes the types that it names, or all.

pub mod deflate;
mod delivery;
pub mod frame;
pub mod handshake;
pub mod protocol;
mod requests;
mod resume;
pub(crate) mod series;
pub mod session;
