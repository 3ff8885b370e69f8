//! Events, forecasts and anomalies on their way in.

mod access;
pub(crate) mod http;
mod rate;
pub(crate) mod socket;
