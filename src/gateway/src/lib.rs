//! The only HTTP and WebSocket of the house: REST, live updates, events in, pages, health and metrics.
//!
//! A reader of one update's way to a client reads `live/hub.rs` (from the record to the queues of those who want it),
//! `live/outbox.rs` (a client's bounded queue) and `websocket/session.rs` (from the queue to the socket). A reader of
//! one event's way in reads `ingest/socket.rs` or `ingest/http.rs`. Every request passes `gate.rs`.

pub mod access;
mod addresses;
mod audit;
mod auth;
mod browser;
mod first_bytes;
mod gate;
mod health;
mod http_serving;
mod ingest;
pub mod listeners;
pub mod live;
pub mod metrics;
mod pace;
mod pages;
mod problem;
mod rest;
mod serve;
mod services;
mod sse;
mod tickets;
mod tls;
pub mod websocket;

pub use auth::{Authenticator, Fetch, Fetching, Unusable};
pub use ingest::http::cut_events;
pub use listeners::{Listener, Listeners};
pub use live::Hub;
pub use metrics::Metrics;
pub use problem::{FieldProblem, Problem};
pub use rest::openapi;
pub use serve::{serve, serve_admin};
pub use services::{AdminServices, RenderMetrics, Services};
