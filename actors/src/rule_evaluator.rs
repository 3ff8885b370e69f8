//! The rules of a partition: receives batches with their forecasts and anomalies, evaluates rules over what happened
//! in them, most urgent first, and hands the batches to the publisher with the alerts in them.

use crate::actions::{ActionOrder, ActionSink};
use crate::house::House;
use crate::messages::{BatchOutput, PublisherMessage};
use crate::metrics::PipelineMetrics;
use crate::rule_book::{RuleBook, Rules};
use crate::rule_events::{Happened, anomaly_detected, forecast_event, system_error, time, window_closed};
use crate::wire;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tidecast_event::{Alert, EventKind, EventTime, OutputId};
use tidecast_mailbox::{Envelope, Mailbox};
use tidecast_ports::{Destination, OutputRecord};
use tidecast_rules::{Action, LogLevel, Rule, RuleEvent, RuleSet};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The actor.
pub struct RuleEvaluator;

/// What the stage is started with.
pub struct RuleEvaluatorArguments {
    book: Arc<RuleBook>,
    actions: Arc<dyn ActionSink>,
    metrics: PipelineMetrics,
    publisher: Mailbox<PublisherMessage>,
    /// Rules tell what they would have done, and do nothing else.
    only_tell: bool,
}

impl RuleEvaluatorArguments {
    /// Rules before a publisher.
    pub fn new(house: &House, publisher: Mailbox<PublisherMessage>) -> Self {
        RuleEvaluatorArguments {
            book: house.book.clone(),
            actions: house.actions.clone(),
            metrics: house.metrics.clone(),
            publisher,
            only_tell: house.rebuild.is_some(),
        }
    }
}

/// The actor's state.
pub struct RuleEvaluatorState {
    with: RuleEvaluatorArguments,
    generation: u64,
    rules: Arc<Rules>,
    sorted: Sorted,
}

/// The rules by whether evaluating them could make a difference.
struct Sorted {
    /// As it was when they were sorted: rules that log may be idle below it.
    level: LevelFilter,
    /// To be evaluated.
    active: RuleSet,
    /// Fire on every event of their kind and do nothing then: they are only counted.
    idle: Vec<Arc<Rule>>,
}

impl Sorted {
    fn new(rules: &Rules) -> Self {
        let level = LevelFilter::current();
        let does_nothing = |action: &Action| match action {
            Action::Log { level: at } => level < level_of(*at),
            Action::UpdateMetrics { field } => field.is_none(),
            _ => false,
        };
        let is_idle = |rule: &&Arc<Rule>| {
            rule.enabled
                && rules.built_in.contains(&*rule.name)
                && rule.priority_filter.is_none()
                && rule.condition.source().trim() == "true"
                && rule.actions.iter().all(does_nothing)
        };
        let idle: Vec<Arc<Rule>> = rules.set.iter().filter(is_idle).cloned().collect();
        let mut active = rules.set.clone();
        for rule in &idle {
            active.remove(&rule.name);
        }
        Sorted { level, active, idle }
    }
}

impl Actor for RuleEvaluator {
    type Msg = Envelope<Box<BatchOutput>>;
    type State = RuleEvaluatorState;
    type Arguments = RuleEvaluatorArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        with: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let (generation, rules) = (with.book.generation(), with.book.rules());
        let sorted = Sorted::new(&rules);
        Ok(RuleEvaluatorState { with, generation, rules, sorted })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let mut output = envelope.message;
        if let Some(trace) = &mut output.trace {
            trace.enter("rules");
        }
        if !output.silent {
            state.evaluate(&mut output);
        }
        let sent = state.with.publisher.send(PublisherMessage::Output(output)).await;
        drop(envelope.permit);
        sent.map_err(ActorProcessingErr::from)
    }
}

/// When the numbers that rules keep are from, by rule, field and model. Of a batch the urgent events come first, whatever their
/// times: the newest one's number is kept.
type Kept = HashMap<(Box<str>, Box<str>, Box<str>), EventTime>;

impl RuleEvaluatorState {
    fn evaluate(&mut self, output: &mut BatchOutput) {
        let generation = self.with.book.generation();
        if generation != self.generation || LevelFilter::current() != self.sorted.level {
            (self.generation, self.rules) = (generation, self.with.book.rules());
            self.sorted = Sorted::new(&self.rules);
        }
        self.count_idle(output);
        for alert in std::mem::take(&mut output.troubles) {
            self.tell(output, alert);
        }
        let mut happened = Vec::new();
        if self.is_wanted(EventKind::WindowClosed) {
            happened.extend(output.closed.iter().filter_map(|window| window_closed(&window.aggregate)));
        }
        if self.is_wanted(EventKind::ForecastGenerated) {
            happened.extend(
                output
                    .forecasts
                    .iter()
                    .filter_map(|forecast| forecast_event(&forecast.json, EventKind::ForecastGenerated)),
            );
        }
        if self.is_wanted(EventKind::ModelRetrained) {
            let retrained = output.forecasts.iter().filter(|forecast| forecast.retrained);
            happened.extend(
                retrained.filter_map(|forecast| forecast_event(&forecast.json, EventKind::ModelRetrained)),
            );
        }
        if self.is_wanted(EventKind::AnomalyDetected) {
            happened.extend(output.anomalies.iter().filter_map(anomaly_detected));
        }
        // Stable: within a priority, in the order in which it happened.
        happened.sort_by_key(|happened| std::cmp::Reverse(happened.event.priority));
        let mut kept = Kept::default();
        for Happened { event, id } in happened {
            self.fire(output, event, id, &mut kept);
        }
    }

    /// Counts the rules that are not evaluated.
    fn count_idle(&self, output: &BatchOutput) {
        if self.sorted.idle.is_empty() {
            return;
        }
        #[derive(Deserialize)]
        struct Head {
            timestamp: String,
        }
        let closed = output.closed.last().map(|window| window.aggregate.window_end);
        let forecast = || {
            let head: Head = serde_json::from_slice(&output.forecasts.last()?.json).ok()?;
            Some(time(&head.timestamp))
        };
        let anomaly = || output.anomalies.last().map(|anomaly| time(&anomaly.timestamp));
        let retrained = output.forecasts.iter().filter(|forecast| forecast.retrained).count();
        for (kind, events, newest) in [
            (EventKind::WindowClosed, output.closed.len(), closed),
            (EventKind::ForecastGenerated, output.forecasts.len(), closed.or_else(forecast)),
            (EventKind::ModelRetrained, retrained, closed.or_else(forecast)),
            (EventKind::AnomalyDetected, output.anomalies.len(), closed.or_else(anomaly)),
        ] {
            if let (1.., Some(newest)) = (events, newest) {
                self.count_idle_of(kind, events as u64, newest);
            }
        }
    }

    fn count_idle_of(&self, kind: EventKind, events: u64, newest: EventTime) {
        for rule in self.sorted.idle.iter().filter(|rule| rule.events.takes(kind)) {
            rule.counts.add(events, newest);
            self.with.metrics.rules_fired.with_label_values(&[&*rule.name]).inc_by(events);
        }
    }

    /// Whether any rule has to be evaluated over such an event: most windows of a busy stream concern none.
    fn is_wanted(&self, kind: EventKind) -> bool {
        self.sorted.active.iter().any(|rule| rule.enabled && rule.events.takes(kind))
    }

    fn fire(&self, output: &mut BatchOutput, event: RuleEvent, id: OutputId, kept: &mut Kept) {
        let fired = self.sorted.active.evaluate(&event);
        if fired.is_empty() {
            return;
        }
        let event = Arc::new(event);
        for fired in fired {
            self.with.metrics.rules_fired.with_label_values(&[&fired.rule]).inc();
            let alert = event.alert(&fired.rule);
            let mut topics: Vec<Destination> = Vec::new();
            if !self.rules.built_in.contains(&*fired.rule) {
                topics.push(Destination::Alerts);
            }
            let actions = fired.actions.iter().filter(|_| !self.with.only_tell);
            for action in actions {
                match action {
                    Action::Log { level } => log(*level, &fired.rule, &event),
                    Action::UpdateMetrics { field } => {
                        self.update_metrics(&fired.rule, field.as_deref(), &event, kept)
                    }
                    Action::Publish { topic } => {
                        let to = topic
                            .as_ref()
                            .map_or(Destination::Alerts, |topic| Destination::Topic(topic.as_str().into()));
                        if !topics.contains(&to) {
                            topics.push(to);
                        }
                    }
                    other => self.with.actions.act(ActionOrder {
                        rule: fired.rule.clone(),
                        action: other.clone(),
                        event: event.clone(),
                        priority: event.priority,
                    }),
                }
            }
            for destination in topics {
                output.records.push(record(destination, &alert, Some(id)));
            }
        }
    }

    /// A failure of our own goes out as an alert whatever the rules say, and rules may act on it.
    fn tell(&self, output: &mut BatchOutput, alert: Alert) {
        output.records.push(record(Destination::Alerts, &alert, None));
        let Happened { event, id } = system_error(alert);
        self.count_idle_of(event.kind, 1, event.timestamp);
        self.fire(output, event, id, &mut Kept::default());
    }

    fn update_metrics(&self, rule: &str, field: Option<&str>, event: &RuleEvent, kept: &mut Kept) {
        let Some(field) = field else { return };
        let found = field.split('.').try_fold(None::<&Value>, |at, name| match at {
            None => event.data.get(name).map(Some),
            Some(value) => value.get(name).map(Some),
        });
        if let Some(number) = found.flatten().and_then(Value::as_f64) {
            let model = event.model_id.as_deref().unwrap_or("");
            let newest = kept.entry((rule.into(), field.into(), model.into())).or_insert(event.timestamp);
            if *newest > event.timestamp {
                return;
            }
            *newest = event.timestamp;
            self.with.metrics.rule_values.with_label_values(&[rule, field, model]).set(number);
        }
    }
}

fn record(destination: Destination, alert: &Alert, id: Option<OutputId>) -> OutputRecord {
    OutputRecord {
        destination,
        partition: None,
        key: Some(alert.rule.clone().into()),
        value: Some(wire::json(alert)),
        id: id.map(|id| {
            OutputId::of(&[crate::PIPELINE_VERSION, b"alert", alert.rule.as_bytes(), &id.0.to_le_bytes()])
        }),
        headers: Vec::new(),
    }
}

fn level_of(level: LogLevel) -> Level {
    match level {
        LogLevel::Trace => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}

fn log(level: LogLevel, rule: &str, event: &RuleEvent) {
    let model = event.model_id.as_deref();
    let (kind, priority, at) = (event.kind.as_str(), event.priority.as_str(), event.timestamp.to_rfc3339());
    let message = event.data.get("message").and_then(Value::as_str).unwrap_or("a rule fired");
    match level {
        LogLevel::Trace => tracing::trace!(rule, model, kind, priority, at, "{message}"),
        LogLevel::Debug => tracing::debug!(rule, model, kind, priority, at, "{message}"),
        LogLevel::Info => tracing::info!(rule, model, kind, priority, at, "{message}"),
        LogLevel::Warn => tracing::warn!(rule, model, kind, priority, at, "{message}"),
        LogLevel::Error => tracing::error!(rule, model, kind, priority, at, "{message}"),
    }
}
