//! What rules ask of the world outside: the only outgoing HTTP and mail of the house, and the files of `save_to_file`.
//!
//! Orders wait in a bounded line, most urgent first. When it is full the newest of the least urgent is dropped and
//! counted: nothing outside slows the stream. Each target has a share of the places and of the hands, so that one that
//! never answers holds up nobody else.

mod files;
mod http;
mod line;
mod mail;
mod resolve;

use files::Files;
use http::Http;
use line::{Line, Target};
use mail::Mail;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use resolve::Reach;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidecast_config::Settings;
use tidecast_event::Priority;
use tidecast_rules::{Action, RuleEvent};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Orders that may wait.
const QUEUE: usize = 4_096;
/// Orders carried out at the same time. One target has two of them: eight that never answer are needed to hold up others.
const HANDS: usize = 16;
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
    line: Mutex<Line<Order>>,
    arrived: Notify,
    /// What each hand is busy with.
    hands: Mutex<[Option<Order>; HANDS]>,
    /// A hand has become free.
    rested: Notify,
    metrics: Metrics,
    files: Files,
    http: Http,
    mail: Option<Mail>,
}

impl Notifier {
    /// Starts to wait for orders. Within a tokio runtime.
    pub fn start(settings: &Settings, registry: &Registry) -> Result<Arc<Notifier>, StartError> {
        // Behind authentication others than the machine's own people write rules: they reach no private address but those
        // that are named for it.
        let reach = match settings.auth {
            None => Reach::Everywhere,
            Some(_) => Reach::Hosts(settings.webhook_hosts.clone()),
        };
        let notifier = Arc::new(Notifier {
            line: Mutex::new(Line::new(QUEUE)),
            arrived: Notify::new(),
            hands: Mutex::new([const { None }; HANDS]),
            rested: Notify::new(),
            metrics: Metrics::new(registry)?,
            files: Files::new(settings.state.dir.join("saved")),
            http: Http::new(reach)?,
            mail: settings.smtp.as_ref().map(Mail::new).transpose()?,
        });
        for hand in 0..HANDS {
            let weak = Arc::downgrade(&notifier);
            tokio::spawn(async move {
                while let Some(notifier) = weak.upgrade() {
                    match notifier.next() {
                        Some((target, order)) => {
                            notifier.hands()[hand] = Some(order.clone());
                            notifier.carry_out(order).await;
                            notifier.hands()[hand] = None;
                            notifier.line().done(&target);
                            notifier.rested.notify_one();
                        }
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
        let mut line = self.line();
        if line.push(Target::of(&order.action), priority, order).is_some() {
            self.metrics.dropped.inc();
        }
        self.metrics.waiting.set(line.len() as i64);
        drop(line);
        self.arrived.notify_one();
    }

    /// Waits until every order is carried out, at most until `deadline`. What is not is named and counted: nobody will
    /// carry it out, for what it came from is committed.
    pub async fn finish(&self, deadline: Instant) {
        let done = async {
            while !self.line().is_idle() {
                self.rested.notified().await;
            }
        };
        if tokio::time::timeout_at(deadline, done).await.is_ok() {
            return;
        }
        let waiting = self.line().clear();
        for order in waiting.into_iter().chain(self.hands().iter().flatten().cloned()) {
            self.metrics.dropped.inc();
            let (rule, action, model) = (&*order.rule, order.action.name(), &order.event.model_id);
            tracing::warn!(rule, action, ?model, "an action was not carried out: the service ends");
        }
    }

    fn hands(&self) -> MutexGuard<'_, [Option<Order>; HANDS]> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Line<Order>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<(Target, Order)> {
        let mut line = self.line();
        let next = line.pop();
        self.metrics.waiting.set(line.len() as i64);
        if next.is_some() && line.len() > 0 {
            // Of two orders that come before a hand begins to wait, only one is told.
            self.arrived.notify_one();
        }
        next
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
                "Actions dropped: too many were waiting, or the service ended first.",
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidecast_config::Sources;
    use tidecast_event::{EventKind, EventTime};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_endpoint_that_never_answers_holds_up_no_other() {
        let settings = Settings::load(&Sources::default()).unwrap();
        let notifier = Notifier::start(&settings, &Registry::new()).unwrap();
        // Connections are taken by the system, and nobody reads from them.
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let well = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sample = serde_json::json!({"data": {}});
        let at = EventTime::from_millis(1_700_000_000_000);
        let event = Arc::new(RuleEvent::from_json(&sample, EventKind::ForecastGenerated, at).unwrap());
        let order = |rule: &str, to: &TcpListener| {
            let url = format!("http://{}/hook", to.local_addr().unwrap());
            let action = serde_json::json!({"type": "webhook", "url": url, "timeout_seconds": 30});
            let action = Action::read(&action).unwrap().remove(0);
            Order { rule: rule.into(), action, event: event.clone() }
        };
        for _ in 0..3 * HANDS {
            notifier.submit(Priority::Critical, order("dead", &dead));
        }
        notifier.submit(Priority::Low, order("well", &well));
        let called = tokio::time::timeout(Duration::from_secs(10), well.accept()).await;
        assert!(called.is_ok(), "the other webhook was not called");
        // The end: these never answer, and each is counted.
        notifier.finish(Instant::now() + Duration::from_millis(100)).await;
        assert!(notifier.metrics.dropped.get() >= 3 * HANDS as u64, "{}", notifier.metrics.dropped.get());
    }

    #[tokio::test]
    async fn at_the_end_what_waits_is_carried_out() {
        let folder = tempfile::tempdir().unwrap();
        let overrides = vec![format!("state.dir={}", folder.path().display())];
        let settings = Settings::load(&Sources { overrides, ..Sources::default() }).unwrap();
        let notifier = Notifier::start(&settings, &Registry::new()).unwrap();
        let sample = serde_json::json!({"data": {}});
        let at = EventTime::from_millis(1_700_000_000_000);
        let event = Arc::new(RuleEvent::from_json(&sample, EventKind::ForecastGenerated, at).unwrap());
        let action = Action::read(&serde_json::json!("save_to_file")).unwrap().remove(0);
        for _ in 0..200 {
            let order = Order { rule: "saved".into(), action: action.clone(), event: event.clone() };
            notifier.submit(Priority::Low, order);
        }
        notifier.finish(Instant::now() + Duration::from_secs(10)).await;
        let files = std::fs::read_dir(notifier.folder()).unwrap();
        let lines = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count());
        assert_eq!(lines.sum::<usize>(), 200);
        assert_eq!(notifier.metrics.dropped.get(), 0);
    }
}
