//! Forecasts and anomalies made elsewhere: through the rules and the publisher, as our own.

use crate::catalog::{Catalog, Registered, Registrar};
use crate::house::House;
use crate::messages::{BatchOutput, ForecastEvent};
use crate::nursery::Nursery;
use crate::rule_evaluator::{RuleEvaluator, RuleEvaluatorArguments};
use crate::wire;
use bytes::Bytes;
use ractor::{Actor, SpawnErr};
use serde::Serialize;
use std::sync::Arc;
use tidecast_config::ModelSpec;
use tidecast_event::{Anomaly, ForecastMessage, OutputId, Reason, Rejection, TopicPartition};
use tidecast_mailbox::{Capacity, Mailbox};
use tidecast_ports::{Destination, IngestError, OutputIngest, OutputRecord, Table};
use tokio::sync::oneshot;

/// Requests waiting for the rules.
const MAILBOX: usize = 64;
/// Room that a record's key, headers and framing take of the largest request.
const OVERHEAD: usize = 4_096;

/// Takes what others made.
pub struct Submissions {
    rules: Mailbox<Box<BatchOutput>>,
    catalog: Arc<Catalog>,
    models: Arc<dyn Table>,
    nursery: Nursery,
    /// Largest message, bytes, the room for what it is written with left off.
    bytes_max: usize,
}

impl Submissions {
    /// Starts the rules of what comes from outside.
    pub async fn start(
        house: &Arc<House>,
        models: Arc<dyn Table>,
        nursery: Nursery,
    ) -> Result<Submissions, SpawnErr> {
        let arguments = RuleEvaluatorArguments::new(house, house.publisher.clone());
        let (rules, _) = Actor::spawn(None, RuleEvaluator, arguments).await?;
        let rules =
            Mailbox::new(rules, Capacity { messages: MAILBOX, meter: house.meters.of("submissions") });
        let bytes_max = (house.settings.kafka.max_request_size as usize).saturating_sub(OVERHEAD);
        Ok(Submissions { rules, catalog: house.catalog.clone(), models, nursery, bytes_max })
    }

    /// A message as it is written; refused when that is too large.
    fn encode(&self, model_id: &str, message: &impl Serialize) -> Result<Bytes, IngestError> {
        let json = wire::json(message);
        if json.len() + model_id.len() <= self.bytes_max {
            return Ok(json);
        }
        let (bytes, most) = (json.len(), self.bytes_max);
        let detail = format!(
            "the message of {model_id} has {bytes} bytes; allowed are about {most}, as kafka.max_request_size says"
        );
        Err(IngestError::Rejected(Rejection::new(Reason::WrongType, detail)))
    }

    /// An unknown model becomes an External one.
    async fn register(&self, model_id: &str) -> Result<(), IngestError> {
        if self.catalog.models().get(model_id).is_some_and(|model| model.spec.is_some()) {
            return Ok(());
        }
        let spec = ModelSpec::external(model_id).map_err(|fault| {
            IngestError::Rejected(Rejection::new(Reason::WrongType, format!("model_id: {fault}")))
        })?;
        let value = wire::json(&Registered::new(Some(spec), Registrar::Api, crate::wall_clock_ms()));
        self.models.put(model_id, value).await.map_err(IngestError::Unavailable)
    }

    async fn publish(&self, mut output: Box<BatchOutput>) -> Result<(), IngestError> {
        let gone = || IngestError::Unavailable("the publisher is being started again".to_owned());
        let (done, committed) = oneshot::channel();
        output.drained = Some(done);
        self.rules.send(output).await.map_err(|_| gone())?;
        committed.await.map_err(|_| gone())
    }
}

/// An output of no input partition; it outlives every restart of those that have one.
fn output() -> Box<BatchOutput> {
    Box::new(BatchOutput::new(TopicPartition::new("submissions", -1), u64::MAX, None))
}

fn record(destination: Destination, kind: &str, model_id: &str, json: &Bytes) -> OutputRecord {
    OutputRecord {
        destination,
        partition: None,
        key: Some(model_id.to_owned().into()),
        value: Some(json.clone()),
        // The same message posted twice by a client that retries is one.
        id: Some(OutputId::of(&[crate::PIPELINE_VERSION, b"posted", kind.as_bytes(), json])),
        headers: Vec::new(),
    }
}

#[async_trait::async_trait]
impl OutputIngest for Submissions {
    async fn forecasts(&self, forecasts: Vec<ForecastMessage>) -> Result<(), IngestError> {
        let mut output = output();
        // All are looked at before the first of them is a model.
        let made = forecasts.iter().map(|forecast| self.encode(&forecast.model_id, forecast));
        let made: Vec<Bytes> = made.collect::<Result<_, _>>()?;
        for (forecast, json) in forecasts.iter().zip(made) {
            self.register(&forecast.model_id).await?;
            output.records.push(record(Destination::Predictions, "forecast", &forecast.model_id, &json));
            let model_id = forecast.model_id.as_str().into();
            output.forecasts.push(ForecastEvent { model_id, json, retrained: false });
        }
        self.publish(output).await?;
        forecasts.iter().for_each(|forecast| self.nursery.keep_external(forecast));
        Ok(())
    }

    async fn anomalies(&self, anomalies: Vec<Anomaly>) -> Result<(), IngestError> {
        let mut output = output();
        let made = anomalies.iter().map(|anomaly| self.encode(&anomaly.model_id, anomaly));
        let made: Vec<Bytes> = made.collect::<Result<_, _>>()?;
        for (anomaly, json) in anomalies.into_iter().zip(made) {
            self.register(&anomaly.model_id).await?;
            output.records.push(record(Destination::Alerts, "anomaly", &anomaly.model_id, &json));
            output.anomalies.push(anomaly);
        }
        self.publish(output).await
    }
}
