//! What rules ask of the world outside: the only outgoing HTTP and mail of the house, and the files of `save_to_file`.
//!
//! Orders wait in a bounded queue, most urgent first. When it is full the newest of the least urgent is dropped and
//! counted: nothing outside slows the stream.

mod files;
mod http;
mod mail;
mod resolve;

use files::Files;
use http::Http;
use mail::Mail;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_config::Settings;
use tidecast_event::Priority;
use tidecast_rules::{Action, PriorityQueue, RuleEvent};
use tokio::sync::Notify;

/// Orders that may wait.
const QUEUE: usize = 4_096;
/// Orders carried out at the same time: a slow webhook holds up a few, not all.
const HANDS: usize = 8;
/// Tries of an order that may succeed later, the first among them.
const TRIES: u32 = 3;

/// One action of one fired rule.
#[derive(Debug, Clone)]
pub struct Order {
    /// The rule.
    pub rule: Arc<str>,
    /// What it asks for.
    pub action: Action,
    /// What it fired on.
    pub event: Arc<RuleEvent>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    /// It may be tried again.
    #[error("{0}")]
    Later(String),
    /// Trying again does not help.
    #[error("{0}")]
    Never(String),
}

#[derive(Debug, Clone)]
struct Metrics {
    done: IntCounterVec,
    failed: IntCounterVec,
    dropped: IntCounter,
    waiting: IntGauge,
}

/// Carries out orders.
pub struct Notifier {
    queue: Mutex<PriorityQueue<Order>>,
    arrived: Notify,
    metrics: Metrics,
    files: Files,
    http: Http,
    mail: Option<Mail>,
}

impl Notifier {
    /// Starts to wait for orders. Within a tokio runtime.
    pub fn start(settings: &Settings, registry: &Registry) -> Result<Arc<Notifier>, StartError> {
        // Behind authentication others than the machine's own people write rules: they reach no private address.
        let private_addresses = settings.auth.is_none();
        let notifier = Arc::new(Notifier {
            queue: Mutex::new(PriorityQueue::new(QUEUE)),
            arrived: Notify::new(),
            metrics: Metrics::new(registry)?,
            files: Files::new(settings.state.dir.join("saved")),
            http: Http::new(private_addresses)?,
            mail: settings.smtp.as_ref().map(Mail::new).transpose()?,
        });
        for _ in 0..HANDS {
            let weak = Arc::downgrade(&notifier);
            tokio::spawn(async move {
                while let Some(notifier) = weak.upgrade() {
                    match notifier.next() {
                        Some(order) => notifier.carry_out(order).await,
                        None => notifier.arrived.notified().await,
                    }
                }
            });
        }
        Ok(notifier)
    }

    /// The folder of `save_to_file`.
    pub fn folder(&self) -> &PathBuf {
        self.files.folder()
    }

    /// Takes an order without waiting.
    pub fn submit(&self, priority: Priority, order: Order) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.push(priority, order).is_some() {
            self.metrics.dropped.inc();
        }
        self.metrics.waiting.set(queue.len() as i64);
        drop(queue);
        self.arrived.notify_one();
    }

    fn next(&self) -> Option<Order> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let order = queue.pop();
        self.metrics.waiting.set(queue.len() as i64);
        order
    }

    async fn carry_out(&self, order: Order) {
        let name = order.action.name();
        for attempt in 1..=TRIES {
            let done = match &order.action {
                Action::SaveToFile { file, max_bytes } => {
                    self.files.save(file.as_deref(), *max_bytes, &order.rule, &order.event).await
                }
                Action::Webhook { url, headers, timeout } => {
                    self.http.webhook(url, headers, *timeout, &order.rule, &order.event).await
                }
                Action::SlackNotify { url, channel, timeout } => {
                    self.http.slack(url, channel.as_deref(), *timeout, &order.rule, &order.event).await
                }
                Action::SendAlert { to, subject } => match &self.mail {
                    Some(mail) => mail.send(to, subject.as_deref(), &order.rule, &order.event).await,
                    None => Err(OrderError::Never(
                        "there is no mail server: set smtp.host and smtp.from".to_owned(),
                    )),
                },
                other => Err(OrderError::Never(format!("{} is not carried out here", other.name()))),
            };
            match done {
                Ok(()) => return self.metrics.done.with_label_values(&[name]).inc(),
                Err(OrderError::Later(why)) if attempt < TRIES => {
                    tracing::debug!(
                        rule = &*order.rule,
                        action = name,
                        why,
                        attempt,
                        "an action is tried again"
                    );
                    tokio::time::sleep(std::time::Duration::from_millis(200 << attempt)).await;
                }
                Err(error) => {
                    self.metrics.failed.with_label_values(&[name]).inc();
                    tracing::warn!(rule = &*order.rule, action = name, %error, "an action was not carried out");
                    return;
                }
            }
        }
    }
}

/// Why the notifier could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric's name is taken.
    #[error("metrics of actions: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A setting of the mail server that cannot be used.
    #[error("{0}")]
    Mail(String),
    /// No TLS or no resolver.
    #[error("the client for webhooks: {0}")]
    Client(String),
}

impl Metrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["action"])?;
            registry.register(Box::new(counters.clone()))?;
            prometheus::Result::Ok(counters)
        };
        let metrics = Metrics {
            done: counters("rule_actions_total", "Actions of rules carried out.")?,
            failed: counters("rule_action_failures_total", "Actions of rules that failed for good.")?,
            dropped: IntCounter::new(
                "rule_actions_dropped_total",
                "Actions dropped because too many were waiting.",
            )?,
            waiting: IntGauge::new("rule_actions_waiting", "Actions waiting to be carried out.")?,
        };
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        Ok(metrics)
    }
}

/// The event as JSON, for whoever is told of it.
fn json(rule: &str, event: &RuleEvent) -> serde_json::Value {
    serde_json::json!({
        "rule": rule,
        "event_type": event.kind.as_str(),
        "priority": event.priority.as_str(),
        "model_id": event.model_id,
        "timestamp": event.timestamp.to_rfc3339(),
        "data": event.data,
        "metadata": event.metadata,
    })
}
