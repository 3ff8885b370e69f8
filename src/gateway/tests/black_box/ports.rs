//! The ports of the house, kept in memory.

use crate::house::{PATIENCE, forecast};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tidecast_config::{ModelSpec, RuleSpec};
use tidecast_event::{Anomaly, ForecastMessage, Reason, Rejection};
use tidecast_ports::control::{
    HistoryPoint, ModelState, ModelView, PastEvent, RuleTest, RuleTestResult, RuleTrial, RuleView,
};
use tidecast_ports::ingest::Acknowledged;
use tidecast_ports::live::{HistoryError, HistoryRequest, Reading};
use tidecast_ports::operations::{DeadLetter, RecordsRequest, ReplayRequest, ReplayResult, TopicRecord};
use tidecast_ports::stats::{ComponentHealth, WorkerStats};
use tidecast_ports::*;
use tokio::sync::watch;

/// Keeps what was taken; acknowledges while `acknowledging`.
pub struct Events {
    pub taken: Mutex<Vec<Bytes>>,
    pub acknowledging: watch::Sender<bool>,
    pub failing: AtomicBool,
}

impl Events {
    pub fn new() -> Self {
        Events {
            taken: Mutex::default(),
            acknowledging: watch::channel(true).0,
            failing: AtomicBool::new(false),
        }
    }

    pub fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    pub async fn wait_for(&self, count: usize) {
        let waiting = async {
            while self.count() < count {
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, waiting).await;
        told.unwrap_or_else(|_| panic!("{} of {count} events came", self.count()));
    }
}

fn check(event: &Bytes) -> Result<(), Rejection> {
    if event.is_empty() {
        return Err(Rejection::new(Reason::Empty, "no bytes"));
    }
    let value: Value = match event[0] {
        b'{' => serde_json::from_slice(event)
            .map_err(|error| Rejection::new(Reason::InvalidJson, error.to_string()))?,
        0x80..=0x8f => rmp_serde::from_slice(event)
            .map_err(|error| Rejection::new(Reason::InvalidMessagepack, error.to_string()))?,
        _ => return Err(Rejection::new(Reason::InvalidJson, "not an object")),
    };
    match value.get("source").and_then(Value::as_str) {
        Some(_) => Ok(()),
        None => Err(Rejection::new(Reason::MissingField, "source is missing")),
    }
}

impl EventIngest for Events {
    fn ingest(&self, bytes: Bytes, arrival_ms: i64) -> Result<Acknowledged, IngestError> {
        let (mut results, acknowledged) = self.ingest_batch(vec![bytes], arrival_ms);
        results.remove(0)?;
        Ok(acknowledged)
    }

    fn ingest_batch(&self, events: Vec<Bytes>, _: i64) -> (Vec<Result<(), Rejection>>, Acknowledged) {
        let results: Vec<_> = events.iter().map(check).collect();
        let accepted =
            events.into_iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(event, _)| event);
        self.taken.lock().unwrap().extend(accepted);
        let mut acknowledging = self.acknowledging.subscribe();
        let failing = self.failing.load(Ordering::Relaxed);
        let acknowledged = async move {
            let _ = acknowledging.wait_for(|acknowledging| *acknowledging).await;
            if failing { Err(IngestError::Unavailable("the broker is away".into())) } else { Ok(()) }
        };
        (results, Box::pin(acknowledged))
    }
}

#[derive(Default)]
pub struct Outputs {
    pub forecasts: Mutex<Vec<ForecastMessage>>,
    pub anomalies: Mutex<Vec<Anomaly>>,
}

#[async_trait::async_trait]
impl OutputIngest for Outputs {
    async fn forecasts(&self, forecasts: Vec<ForecastMessage>) -> Result<(), IngestError> {
        self.forecasts.lock().unwrap().extend(forecasts);
        Ok(())
    }

    async fn anomalies(&self, anomalies: Vec<Anomaly>) -> Result<(), IngestError> {
        self.anomalies.lock().unwrap().extend(anomalies);
        Ok(())
    }
}

/// Notes, kept in memory.
#[derive(Default)]
pub struct Written(pub Mutex<BTreeMap<String, Bytes>>);

#[async_trait::async_trait]
impl Notes for Written {
    async fn put(&self, key: &str, value: Bytes) -> Result<(), String> {
        self.0.lock().unwrap().insert(key.to_owned(), value);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), String> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn below(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let rows = self.0.lock().unwrap();
        rows.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// Output records as Kafka would have them: all that were put here.
#[derive(Default)]
pub struct Past {
    pub records: Mutex<Vec<LiveRecord>>,
    pub asked: AtomicU64,
}

impl LiveHistory for Past {
    fn read(&self, request: HistoryRequest) -> Reading {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let records = self.records.lock().unwrap();
        let span: i64 = request.stretches.iter().map(|stretch| (stretch.until - stretch.from).max(0)).sum();
        let wanted = |record: &&LiveRecord| {
            request.stretches.iter().any(|stretch| {
                (stretch.kind, stretch.partition) == (record.kind, record.partition)
                    && (stretch.from..stretch.until).contains(&record.offset)
            })
        };
        let found = match usize::try_from(span).unwrap() > request.records_max {
            true => Err(HistoryError::TooMuch),
            false => Ok(records.iter().filter(wanted).cloned().collect()),
        };
        Box::pin(std::future::ready(found))
    }
}

#[derive(Default)]
pub struct Control {
    models: Mutex<BTreeMap<String, (ModelSpec, u64)>>,
    rules: Mutex<BTreeMap<String, (RuleSpec, u64)>>,
    versions: AtomicU64,
}

impl Control {
    pub fn rule_stored(&self, name: &str) -> RuleSpec {
        self.rules.lock().unwrap()[name].0.clone()
    }

    fn version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn view((spec, version): &(ModelSpec, u64)) -> ModelView {
    ModelView {
        spec: spec.clone(),
        state: ModelState::WarmingUp,
        observations: 3,
        needed: 24,
        accuracy: None,
        last_forecast_time: None,
        anomalies: 0,
        template: None,
        summary: None,
        error: None,
        version: *version,
    }
}

fn rule_view((spec, version): &(RuleSpec, u64)) -> RuleView {
    // As the house does: only it has the secrets.
    RuleView {
        spec: spec.redacted(),
        built_in: false,
        fired: 0,
        errors: 0,
        last_fired: None,
        version: *version,
    }
}

fn page<T, V>(map: &BTreeMap<String, T>, page: &PageRequest, view: impl Fn(&T) -> V) -> Page<V> {
    let limit = page.limit.unwrap_or(100);
    let after: Vec<_> =
        map.iter().filter(|(name, _)| page.cursor.as_ref().is_none_or(|cursor| *name > cursor)).collect();
    let items: Vec<V> = after.iter().take(limit).map(|(_, item)| view(item)).collect();
    Page { next: (after.len() > limit).then(|| after[limit - 1].0.clone()), items }
}

fn missing(name: &str) -> ControlError {
    ControlError::NotFound(format!("there is no \"{name}\""))
}

fn change<T>(
    map: &mut BTreeMap<String, (T, u64)>,
    name: &str,
    if_version: Option<&[u64]>,
) -> Result<(), ControlError> {
    let (_, version) = map.get(name).ok_or_else(|| missing(name))?;
    match if_version.is_none_or(|wanted| wanted.contains(version)) {
        true => Ok(()),
        false => Err(ControlError::Changed("it has changed".into())),
    }
}

#[async_trait::async_trait]
impl ControlPlane for Control {
    async fn models(&self, wanted: PageRequest) -> Result<Page<ModelView>, ControlError> {
        Ok(page(&self.models.lock().unwrap(), &wanted, view))
    }

    fn registered(&self) -> Vec<Arc<ModelSpec>> {
        self.models.lock().unwrap().values().map(|(spec, _)| Arc::new(spec.clone())).collect()
    }

    async fn model(&self, id: &str) -> Result<ModelView, ControlError> {
        self.models.lock().unwrap().get(id).map(view).ok_or_else(|| missing(id))
    }

    async fn create_model(&self, spec: ModelSpec) -> Result<ModelView, ControlError> {
        let mut models = self.models.lock().unwrap();
        if models.contains_key(&spec.model_id) {
            return Err(ControlError::Conflict(format!("\"{}\" is there already", spec.model_id)));
        }
        let entry = (spec, self.version());
        models.insert(entry.0.model_id.clone(), entry.clone());
        Ok(view(&entry))
    }

    async fn replace_model(
        &self,
        id: &str,
        spec: ModelSpec,
        version: Option<&[u64]>,
    ) -> Result<ModelView, ControlError> {
        let mut models = self.models.lock().unwrap();
        change(&mut models, id, version)?;
        let entry = (spec, self.version());
        models.insert(id.to_owned(), entry.clone());
        Ok(view(&entry))
    }

    async fn delete_model(&self, id: &str, version: Option<&[u64]>) -> Result<(), ControlError> {
        let mut models = self.models.lock().unwrap();
        change(&mut models, id, version)?;
        models.remove(id);
        Ok(())
    }

    async fn refit_model(&self, id: &str) -> Result<ModelView, ControlError> {
        self.model(id).await
    }

    async fn forecast(&self, id: &str, horizon: Option<usize>) -> Result<ForecastMessage, ControlError> {
        let horizon = horizon.unwrap_or(self.model(id).await?.spec.horizon);
        let mut message: ForecastMessage = serde_json::from_value(forecast(id, 5.0)).unwrap();
        message.forecast_horizon = horizon;
        Ok(message)
    }

    async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryPoint>, ControlError> {
        self.model(id).await?;
        let point = |n: usize| HistoryPoint {
            window_start: n as f64,
            value: Some(1.0),
            predicted: None,
            lower: None,
            upper: None,
            anomaly_score: None,
        };
        Ok((0..limit.min(3)).map(point).collect())
    }

    async fn rules(&self, wanted: PageRequest) -> Result<Page<RuleView>, ControlError> {
        Ok(page(&self.rules.lock().unwrap(), &wanted, rule_view))
    }

    async fn rule(&self, name: &str) -> Result<RuleView, ControlError> {
        self.rules.lock().unwrap().get(name).map(rule_view).ok_or_else(|| missing(name))
    }

    async fn create_rule(&self, spec: RuleSpec) -> Result<RuleView, ControlError> {
        let entry = (spec, self.version());
        self.rules.lock().unwrap().insert(entry.0.name.clone(), entry.clone());
        Ok(rule_view(&entry))
    }

    async fn replace_rule(
        &self,
        name: &str,
        spec: RuleSpec,
        version: Option<&[u64]>,
    ) -> Result<RuleView, ControlError> {
        let mut rules = self.rules.lock().unwrap();
        change(&mut rules, name, version)?;
        let spec = spec
            .with_secrets_of(&rules[name].0)
            .map_err(|fault| ControlError::Invalid { message: fault.to_string(), field: fault.field })?;
        let entry = (spec, self.version());
        rules.insert(name.to_owned(), entry.clone());
        Ok(rule_view(&entry))
    }

    async fn delete_rule(&self, name: &str, version: Option<&[u64]>) -> Result<(), ControlError> {
        let mut rules = self.rules.lock().unwrap();
        change(&mut rules, name, version)?;
        rules.remove(name);
        Ok(())
    }

    async fn test_rule(&self, test: RuleTest) -> Result<RuleTestResult, ControlError> {
        let actions = vec![test.rule.action];
        Ok(RuleTestResult { matched: true, condition: true, error: None, actions })
    }

    async fn try_rule(&self, _: RuleSpec, past: Vec<PastEvent>) -> Result<RuleTrial, ControlError> {
        Ok(RuleTrial { events: past.len() as u64, ..RuleTrial::default() })
    }
}

#[derive(Default)]
pub struct Letters {
    pub replays: Mutex<Vec<ReplayRequest>>,
}

#[async_trait::async_trait]
impl DeadLetters for Letters {
    async fn list(&self, _: Option<String>, _: PageRequest) -> Result<Page<DeadLetter>, ControlError> {
        Ok(Page { items: Vec::new(), next: None })
    }

    async fn replay(&self, request: ReplayRequest) -> Result<ReplayResult, ControlError> {
        self.replays.lock().unwrap().push(request);
        Ok(ReplayResult { replayed: 1, skipped: 0 })
    }
}

pub struct Broker;

#[async_trait::async_trait]
impl KafkaOperations for Broker {
    async fn health(&self) -> Map<String, Value> {
        Map::from_iter([("status".to_owned(), "healthy".into())])
    }

    async fn topics(&self) -> Result<Vec<Value>, ControlError> {
        Ok(["c", "a", "b"].map(|name| json!({"name": name, "partitions": 4})).to_vec())
    }

    async fn records(&self, request: RecordsRequest) -> Result<Page<TopicRecord>, ControlError> {
        if !["a", "ml-predictions", "streaming-alerts", "theirs-rules", "theirs-notes"]
            .contains(&&*request.topic)
        {
            return Err(ControlError::NotFound(format!("there is no topic {:?}", request.topic)));
        }
        let record = |offset| TopicRecord {
            partition: request.partition.unwrap_or(0),
            offset,
            timestamp: "2026-01-16T11:50:32Z".into(),
            // Of two models in turn, where records are about models.
            key: match &*request.topic {
                "ml-predictions" => Some(format!("m/{}", ["JFK", "EWR"][offset as usize % 2])),
                _ => request.contains.clone(),
            },
            value: Some(match &*request.topic {
                "a" => "{}".into(),
                "theirs-rules" => r#"{"spec": {"action": {"url": "https://hooks.example/canary"}}}"#.into(),
                _ => json!({"model_id": format!("m/{}", ["JFK", "EWR"][offset as usize % 2])}).to_string(),
            }),
            value_base64: None,
            headers: [("id".to_owned(), "7".to_owned())].into(),
            truncated: false,
        };
        // Eleven of them, and a cursor that says which are behind it.
        let before = request.cursor.as_deref().and_then(|cursor| cursor.strip_prefix("0:")?.parse().ok());
        let before: i64 = before.unwrap_or(11);
        let first = (before - request.limit as i64).max(0);
        let next = (first > 0).then(|| format!("0:{first}"));
        Ok(Page { items: (first..before).rev().map(record).collect(), next })
    }

    async fn metrics(&self) -> Map<String, Value> {
        Map::new()
    }

    fn publishing_summary(&self, period: &str) -> Result<Value, ControlError> {
        Ok(json!({"period": period, "total_messages": 3}))
    }

    fn publishing_hourly(&self, hours: u32) -> Result<Vec<Value>, ControlError> {
        Ok((0..hours).map(|hour| json!({"hour": hour})).collect())
    }

    fn publishing_of_topic(&self, topic: &str, limit: usize) -> Result<Vec<Value>, ControlError> {
        Ok((0..limit).map(|_| json!({"topic": topic})).collect())
    }

    async fn clean_publishing(&self, days: u32) -> Result<u64, ControlError> {
        Ok(u64::from(days))
    }

    async fn test(&self, settings: Map<String, Value>) -> Map<String, Value> {
        Map::from_iter([("bootstrap_servers".to_owned(), settings["bootstrap_servers"].clone())])
    }

    async fn send(&self, topic: &str, _: Option<&str>, _: &Value) -> Result<Value, ControlError> {
        Ok(json!({"topic": topic, "partition": 0, "offset": 0}))
    }
}

pub struct Figures;

impl StatsSource for Figures {
    fn stats(&self) -> WorkerStats {
        WorkerStats::default()
    }
}

pub struct Well;

impl Health for Well {
    fn live(&self) -> ComponentHealth {
        ComponentHealth { ok: true, detail: "alive".into() }
    }

    fn ready(&self) -> ComponentHealth {
        ComponentHealth { ok: true, detail: "4 partitions".into() }
    }

    fn started(&self) -> ComponentHealth {
        ComponentHealth { ok: true, detail: "started".into() }
    }

    fn kafka(&self) -> ComponentHealth {
        ComponentHealth { ok: false, detail: "no broker answers".into() }
    }
}
