//! Events, forecasts and anomalies on their way in.

pub(crate) mod http;
mod rate;
pub(crate) mod socket;
