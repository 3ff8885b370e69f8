//! What the gateway serves from: the ports of the house, as its wiring gives them.

use crate::auth::Authenticator;
use crate::gate::Gate;
use crate::live::Hub;
use crate::live::replay::Replays;
use crate::metrics::Metrics;
use crate::rest::body::Bodies;
use std::net::SocketAddr;
use std::sync::Arc;
use tidecast_config::Settings;
use tidecast_ports::{
    ControlPlane, DeadLetters, EventIngest, Health, KafkaOperations, LiveHistory, Notes, OutputIngest,
    StatsSource,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Renders the process' metrics: from a request's `Accept` to the content type and the body.
pub type RenderMetrics = Arc<dyn Fn(Option<&str>) -> (String, Vec<u8>) + Send + Sync>;

/// Everything behind the listeners.
#[derive(Clone)]
pub struct Services {
    /// The whole configuration.
    pub settings: Arc<Settings>,
    /// Live delivery; also given to the reader of the output topics.
    pub hub: Arc<Hub>,
    /// Output records read once more, for clients that come back.
    pub history: Arc<dyn LiveHistory>,
    /// Models and rules.
    pub control: Arc<dyn ControlPlane>,
    /// Events in.
    pub ingest: Arc<dyn EventIngest>,
    /// Forecasts and anomalies in.
    pub outputs: Arc<dyn OutputIngest>,
    /// Rejected input.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// What gateways write down for each other.
    pub notes: Arc<dyn Notes>,
    /// Kafka as operators see it.
    pub kafka: Arc<dyn KafkaOperations>,
    /// Figures.
    pub stats: Arc<dyn StatsSource>,
    /// Health.
    pub health: Arc<dyn Health>,
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// `/metrics`.
    pub render_metrics: RenderMetrics,
}

/// What is behind the admin listener of a process that serves no clients.
#[derive(Clone)]
pub struct AdminServices {
    /// The whole configuration.
    pub settings: Arc<Settings>,
    /// Figures of what is served.
    pub metrics: Metrics,
    /// Health.
    pub health: Arc<dyn Health>,
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// `/metrics`.
    pub render_metrics: RenderMetrics,
}

/// What every request sees.
pub(crate) struct App {
    pub(crate) services: Services,
    /// What every request passes.
    pub(crate) gate: Arc<Gate>,
    pub(crate) replays: Arc<Replays>,
    /// The room for what clients send.
    pub(crate) bodies: Bodies,
    /// Held while a silence is made: one at a time.
    pub(crate) silencing: tokio::sync::Mutex<()>,
    /// Where the WebSocket listener is bound.
    pub(crate) websocket_address: SocketAddr,
    /// Tasks that outlive their request (WebSockets); waited for at the end.
    pub(crate) tasks: TaskTracker,
    /// Set when the service ends.
    pub(crate) stopping: CancellationToken,
}

impl App {
    pub(crate) fn settings(&self) -> &Settings {
        &self.services.settings
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.services.authenticator
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.services.hub.metrics
    }
}
