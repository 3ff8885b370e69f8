//! The configuration: as written (a tree of values, each with where it stands) → as valid ([`Settings`]).
//!
//! Pure: the caller reads file, `.env` and environment and hands the texts in ([`Sources`]). One message
//! ([`ConfigError`]) stops a start. [`ModelSpec`], [`SeriesSpec`] and [`RuleSpec`] are also what REST takes.

mod build;
mod check;
mod dotenv;
mod duration;
mod error;
mod kafka_settings;
mod keys;
mod kind;
mod model;
mod model_order;
mod nearest;
mod own_topics;
mod place;
mod reference;
mod rule;
mod series;
mod series_ref;
mod settings;
mod sources;
mod table;
mod written;

pub use duration::{format_duration, parse_duration};
pub use error::{ConfigError, Fault, Origin};
pub use kafka_settings::{Acks, Kafka, Sasl, SecurityProtocol, Ssl};
pub use kind::is_topic;
pub use model::{ModelSpec, ModelType};
pub use model_order::Order;
pub use own_topics::GroupTable;
pub use place::SharedPlace;
pub use reference::reference;
pub use rule::RuleSpec;
pub use series::{EmptyWindows, MAX_FUTURE, SeriesSpec, WindowSpec};
pub use series_ref::{Regressor, SeriesRef};
pub use settings::{
    Admin, Auth, AuthKeys, Ingest, Limits, Listener, ListenerName, LogFormat, Monitoring, OtlpProtocol,
    RealtimeMl, Role, Settings, Smtp, SmtpSecurity, State, Telemetry, TlsFiles, Topics, WebSocket,
};
pub use sources::Sources;
