//! Events, forecasts and anomalies on their way in.

pub(crate) mod http;
pub(crate) mod socket;
