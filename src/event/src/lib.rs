//! The nouns of the house: what comes in (events), what goes out (aggregates, forecasts, anomalies, alerts), when it
//! was (event time) and where it came from (source positions). Pure: no clock, no I/O.

pub mod aggregate;
pub mod alert;
pub mod anomaly;
pub mod decode;
pub mod forecast;
pub mod identity;
pub mod position;
pub mod reject;
pub mod series;
pub mod time;

pub use aggregate::{Aggregate, FieldStats, Fields};
pub use alert::{Alert, EventKind, Priority};
pub use anomaly::{Anomaly, Severity};
pub use decode::{Decoded, Decoder};
pub use forecast::{ForecastMessage, PathStep};
pub use identity::OutputId;
pub use position::{SourcePosition, TopicPartition};
pub use reject::{Reason, Rejection};
pub use series::SeriesKey;
pub use time::EventTime;
