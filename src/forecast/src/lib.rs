//! Forecasting, pure: no clock, no thread, no I/O; randomness only from a seed.
//!
//! A family is a file. What a user names is a [`Spec`]; fitting it to a history gives a [`Fitted`] model, and only
//! a fitted model can be updated or asked for a forecast. [`stream::StreamModel`] wraps any family for life on a
//! stream: bounded history, refits at fixed observations, calibrated intervals, anomaly scores.
//!
//! Values are plain `f64`; a missing observation is `NaN` wherever a history or an update is given.

pub mod accuracy;
pub mod anomaly;
pub mod arima;
pub mod auto_arima;
pub mod auto_ets;
pub mod backtest;
pub mod conformal;
pub mod croston;
mod decompose;
pub mod detect;
pub mod difference;
pub mod ensemble;
pub mod error;
pub mod ets;
pub mod garch;
mod grain;
pub mod model;
pub mod mstl;
pub mod optimize;
pub mod quantile;
pub mod regression;
pub mod seasonal_naive;
pub mod spec;
pub mod stream;
pub mod theta;

pub use error::FitError;
pub use model::{Budget, Fit, Predict, Step, Summary};
pub use spec::{Fitted, Spec};
