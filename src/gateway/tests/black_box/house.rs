//! The gateway on free ports of loopback, with the ports of the house kept in memory.

use crate::ports::{Broker, Control, Events, Figures, Letters, Outputs, Past, Well, Written};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tidecast_config::{Settings, Sources};
use tidecast_event::OutputId;
use tidecast_gateway::{Authenticator, Fetch, Hub, Listeners, Metrics, Services, serve};
use tidecast_ports::*;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longest that a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct House {
    pub app: SocketAddr,
    pub websocket: SocketAddr,
    pub admin: SocketAddr,
    pub hub: Arc<Hub>,
    pub control: Arc<Control>,
    pub ingest: Arc<Events>,
    pub outputs: Arc<Outputs>,
    pub letters: Arc<Letters>,
    pub past: Arc<Past>,
    pub notes: Arc<Written>,
    pub http: reqwest::Client,
    offset: AtomicI64,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
}

pub fn settings(overrides: &[&str]) -> Settings {
    let free = ["app.port=0", "websocket.port=0", "admin.port=0"];
    let overrides = free.iter().chain(overrides).map(|text| (*text).to_owned()).collect();
    Settings::load(&Sources { overrides, ..Sources::default() }).unwrap()
}

impl House {
    pub async fn open() -> House {
        House::with(&[]).await
    }

    pub async fn with(overrides: &[&str]) -> House {
        let house = House::starting(overrides).await;
        LiveSink::caught_up(&*house.hub);
        house
    }

    /// A house whose reader has not read yet what was there at the start.
    pub async fn starting(overrides: &[&str]) -> House {
        // The HTTP client brings no cryptography of its own; a second test finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = Arc::new(settings(overrides));
        let registry = prometheus::Registry::new();
        let hub = Hub::new(&settings, Metrics::register(&registry).unwrap());
        let listeners = Listeners::bind(&settings).await.unwrap();
        let [app, websocket, admin] = listeners.addresses().unwrap();
        let control = Arc::new(Control::default());
        let ingest = Arc::new(Events::new());
        let outputs = Arc::new(Outputs::default());
        let letters = Arc::new(Letters::default());
        let past = Arc::new(Past::default());
        let notes = Arc::new(Written::default());
        let render = move |accept: Option<&str>| {
            let open = accept.is_some_and(|accept| accept.contains("openmetrics"));
            let kind = if open { "application/openmetrics-text" } else { "text/plain; version=0.0.4" };
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            (kind.to_owned(), text.into_bytes())
        };
        let fetch: Fetch = Arc::new(|url| {
            Box::pin(async move {
                let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
                answer.bytes().await.map_err(|error| error.to_string())
            })
        });
        let services = Services {
            authenticator: Arc::new(Authenticator::new(&settings, fetch).unwrap()),
            settings,
            hub: hub.clone(),
            history: past.clone(),
            control: control.clone(),
            ingest: ingest.clone(),
            outputs: outputs.clone(),
            dead_letters: letters.clone(),
            notes: notes.clone(),
            kafka: Arc::new(Broker),
            stats: Arc::new(Figures),
            health: Arc::new(Well),
            render_metrics: Arc::new(render),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            serve(listeners, services, shutdown).await;
        });
        House {
            app,
            websocket,
            admin,
            hub,
            control,
            ingest,
            outputs,
            letters,
            past,
            notes,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            offset: AtomicI64::new(0),
            stop: Some(stop),
            served: Some(served),
        }
    }

    /// Ends the service and waits until it has ended.
    pub async fn close(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.served.take().unwrap()).await.unwrap().unwrap();
    }

    /// Asks it to end, without waiting.
    pub fn ask_to_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.http.post(self.url(path)).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn metric(&self, name: &str) -> f64 {
        let response = self.http.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let text = response.text().await.unwrap();
        let lines = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric has a value; it is read again and again, no time is guessed.
    pub async fn wait_for_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        // Calls are limited to 1,000 a second.
        let mut again = tokio::time::interval(Duration::from_millis(5));
        let waiting = async {
            while !wanted(self.metric(name).await) {
                again.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{name} never came to what is wanted"));
    }

    pub fn record(&self, kind: OutputKind, value: &Value) -> LiveRecord {
        LiveRecord {
            kind,
            partition: 0,
            offset: self.offset.fetch_add(1, Ordering::Relaxed),
            id: None,
            timestamp_ms: 0,
            key: Bytes::from_static(b"key"),
            value: serde_json::to_vec(value).unwrap().into(),
            replayed: false,
            traceparent: None,
            observed: None,
        }
    }

    pub fn publish(&self, kind: OutputKind, value: &Value) {
        self.hub.publish(vec![self.record(kind, value)]);
    }

    /// A forecast as this service writes it: with an id, and its model as the key.
    pub fn publish_with_id(&self, kind: OutputKind, id: u128, value: &Value) {
        let key = value["model_id"].as_str().unwrap_or_default().to_owned().into();
        self.hub.publish(vec![LiveRecord { id: Some(OutputId(id)), key, ..self.record(kind, value) }]);
    }

    pub async fn connect(&self) -> Client {
        Client::connect(&format!("ws://{}/forecast-updates", self.websocket)).await
    }

    pub async fn connect_ingest(&self) -> Client {
        Client::connect(&format!("ws://{}/ws/ingest", self.app)).await
    }
}

pub fn forecast(model: &str, value: f64) -> Value {
    json!({"model_id": model, "timestamp": "2026-01-20T10:30:00Z", "predicted_value": value,
        "confidence_interval": [value - 1.0, value + 1.0], "forecast_horizon": 1, "model_type": "ETS", "metadata": {}})
}

pub fn anomaly(model: &str) -> Value {
    json!({"model_id": model, "timestamp": "2026-01-20T10:30:00Z", "anomaly_score": 0.9, "observed_value": 9.0,
        "predicted_value": 1.0, "expected_range": [0.0, 2.0], "severity": "HIGH", "message": "odd",
        "recommended_actions": []})
}

pub fn aggregate(series: &str, key: &str) -> Value {
    json!({"series": series, "key": key, "event_type": null, "window_start": 0, "window_end": 10, "event_count": 3,
        "aggregates": {}, "revision": 0, "late_count": 0})
}

pub fn event(source: &str) -> Value {
    json!({"source": source, "type": "sensor_data", "data": {"value": 1.5}})
}

/// A WebSocket client of another make than the server.
pub struct Client(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub async fn connect(url: &str) -> Client {
        Client(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    pub async fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string()).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub async fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    pub async fn frame(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing came").expect("closed").unwrap()
    }

    /// The next message, whatever it is.
    pub async fn hear(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Binary(bytes) => return rmp_serde::from_slice(&bytes).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next message of one type; others are passed over.
    pub async fn hear_type(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.expect("a code").code.into();
            }
        }
    }

    pub async fn subscribe(&mut self, models: &[&str], types: &[&str]) -> Value {
        self.say(&json!({"type": "subscribe", "model_ids": models, "update_types": types})).await;
        self.hear_type("subscribed").await
    }

    /// What comes before the answer to a ping: everything that was on its way.
    pub async fn hear_until_quiet(&mut self) -> Vec<Value> {
        self.say(&json!({"type": "ping"})).await;
        let mut messages = Vec::new();
        loop {
            let message = self.hear().await;
            if message["type"] == "heartbeat" {
                return messages;
            }
            messages.push(message);
        }
    }
}
