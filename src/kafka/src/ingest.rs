//! Events that came in by HTTP or WebSocket, onto the events topic.
//!
//! An acknowledgement belongs to a batch, not to a record: every record of a call points to one counter, and the last
//! delivery report wakes the caller. What is on its way is bounded in bytes; a call that finds no room waits its turn.

use crate::cluster::{ClientError, Cluster, ProducerKind, explain};
use crate::native::latency_micros;
use crate::publishing::Publishing;
use bytes::Bytes;
use futures::task::AtomicWaker;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use tidecast_event::decode::Decoder;
use tidecast_event::{EventTime, Rejection};
use tidecast_ports::ingest::Acknowledged;
use tidecast_ports::{EventIngest, IngestError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a record costs beside its bytes.
const RECORD_BYTES: usize = 64;

thread_local! {
    /// Scratch of the decoder, one for each thread that ingests.
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
}

/// The records of one call, on their way.
struct Batch {
    /// Records without an answer, and one for the call itself while it still sends.
    open: AtomicUsize,
    failure: OnceLock<String>,
    waker: AtomicWaker,
    /// The room taken; given back with the last answer.
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Batch {
    fn new(room: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Batch {
            open: AtomicUsize::new(1),
            failure: OnceLock::new(),
            waker: AtomicWaker::new(),
            room: Mutex::new(Some(room)),
        })
    }

    fn fail(&self, why: String) {
        // The first failure is the one to tell.
        let _ = self.failure.set(why);
    }

    fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.room.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.waker.wake();
        }
    }
}

/// Resolves with the batch's last answer.
struct Answered(Arc<Batch>);

impl Future for Answered {
    type Output = Result<(), IngestError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.waker.register(context.waker());
        if self.0.open.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        Poll::Ready(match self.0.failure.get() {
            None => Ok(()),
            Some(why) => Err(IngestError::Unavailable(why.clone())),
        })
    }
}

struct BatchContext {
    publishing: Publishing,
}

impl ClientContext for BatchContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::log::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka producer");
    }
}

impl ProducerContext for BatchContext {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        match result {
            Ok(message) => {
                self.publishing.sent(message.key_len() + message.payload_len(), latency_micros(message));
            }
            Err((error, _)) => {
                self.publishing.failed();
                batch.fail(explain(error));
            }
        }
        batch.close_one();
    }
}

/// Events found good, with their keys in one text.
#[derive(Default)]
struct Accepted {
    events: Vec<(Bytes, usize)>,
    keys: String,
}

impl Accepted {
    fn push(&mut self, event: Bytes, key: &str) {
        self.keys.push_str(key);
        self.events.push((event, self.keys.len()));
    }

    fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|(event, _)| event.len() + RECORD_BYTES).sum();
        events + self.keys.len()
    }
}

struct Inner {
    producer: ThreadedProducer<BatchContext>,
    topic: String,
    room: Arc<Semaphore>,
    room_bytes: u32,
    max_future_micros: i64,
    log_payload: bool,
}

impl Inner {
    fn cost(&self, accepted: &Accepted) -> u32 {
        // What is greater than all the room waits until all of it is free.
        u32::try_from(accepted.bytes()).unwrap_or(u32::MAX).min(self.room_bytes)
    }

    /// Sends all; the batch is answered when the producer has answered each.
    fn send(&self, accepted: &Accepted, arrival_ms: i64, room: OwnedSemaphorePermit) -> Arc<Batch> {
        let batch = Batch::new(room);
        let mut key_start = 0;
        for (event, key_end) in &accepted.events {
            batch.open.fetch_add(1, Ordering::AcqRel);
            let mut record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(&batch))
                .key(&accepted.keys.as_bytes()[key_start..*key_end])
                .payload(&event[..]);
            record.timestamp = Some(arrival_ms);
            key_start = *key_end;
            if self.log_payload {
                tracing::debug!(topic = self.topic, payload = %String::from_utf8_lossy(event), "event in");
            }
            if let Err((error, _)) = self.producer.send(record) {
                self.producer.client().context().publishing.failed();
                batch.fail(explain(&error));
                batch.close_one();
            }
        }
        batch.close_one();
        batch
    }
}

/// [`EventIngest`] on an idempotent producer. Cheap to clone.
#[derive(Clone)]
pub struct Ingest(Arc<Inner>);

impl Ingest {
    /// Makes the producer; the brokers need not be there yet.
    pub fn new(
        cluster: &Cluster,
        settings: &tidecast_config::Settings,
        publishing: Publishing,
    ) -> Result<Self, ClientError> {
        // The topic's series may each allow another future: what one of them takes must come through.
        let max_future = settings
            .series
            .iter()
            .filter(|series| series.topic.as_ref().is_none_or(|topic| *topic == settings.topics.events))
            .map(|series| series.max_future)
            .max()
            .unwrap_or(tidecast_config::MAX_FUTURE);
        let max_future_micros = i64::try_from(max_future.as_micros()).unwrap_or(i64::MAX);
        Self::to_topic(
            cluster,
            &settings.topics.events,
            max_future_micros,
            settings.kafka.log_payload,
            publishing,
        )
    }

    /// The same for any topic. `max_future_micros`: how far after its arrival an event's time may be.
    pub fn to_topic(
        cluster: &Cluster,
        topic: &str,
        max_future_micros: i64,
        log_payload: bool,
        publishing: Publishing,
    ) -> Result<Self, ClientError> {
        let config = cluster.producer_config(ProducerKind::Free);
        let producer = ThreadedProducer::from_config_and_context(&config, BatchContext { publishing })?;
        // Below the client library's own bound, so that the wait is ours, and fair.
        let room_bytes =
            u32::try_from(cluster.options().producer.buffer_bytes / 10 * 9).unwrap_or(u32::MAX).max(1);
        Ok(Ingest(Arc::new(Inner {
            producer,
            topic: topic.to_owned(),
            room: Arc::new(Semaphore::new(room_bytes as usize)),
            room_bytes,
            max_future_micros,
            log_payload,
        })))
    }

    /// Takes the room and sends, at once when there is room and nobody waits, else when the future is polled; room is
    /// given in the order of asking.
    fn dispatch(&self, accepted: Accepted, arrival_ms: i64) -> Acknowledged {
        if accepted.events.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let inner = Arc::clone(&self.0);
        let cost = inner.cost(&accepted);
        match Arc::clone(&inner.room).try_acquire_many_owned(cost) {
            Ok(room) => Box::pin(Answered(inner.send(&accepted, arrival_ms, room))),
            Err(_) => Box::pin(async move {
                let room = Arc::clone(&inner.room).acquire_many_owned(cost).await;
                let room = room.map_err(|_| IngestError::Unavailable("the service is closing".to_owned()))?;
                Answered(inner.send(&accepted, arrival_ms, room)).await
            }),
        }
    }

    fn judge(&self, event: &[u8], arrival_ms: i64, take: impl FnOnce(&str)) -> Result<(), Rejection> {
        DECODER.with_borrow_mut(|decoder| {
            let arrival = EventTime::from_millis(arrival_ms);
            let decoded = decoder.decode(event, arrival, self.0.max_future_micros)?;
            take(decoded.source());
            Ok(())
        })
    }
}

impl EventIngest for Ingest {
    fn ingest(&self, bytes: Bytes, arrival_ms: i64) -> Result<Acknowledged, IngestError> {
        let mut accepted = Accepted::default();
        self.judge(&bytes, arrival_ms, |key| accepted.push(bytes.clone(), key))?;
        Ok(self.dispatch(accepted, arrival_ms))
    }

    fn ingest_batch(
        &self,
        events: Vec<Bytes>,
        arrival_ms: i64,
    ) -> (Vec<Result<(), Rejection>>, Acknowledged) {
        let mut accepted = Accepted { events: Vec::with_capacity(events.len()), keys: String::new() };
        let results = events
            .into_iter()
            .map(|event| self.judge(&event, arrival_ms, |key| accepted.push(event.clone(), key)))
            .collect();
        (results, self.dispatch(accepted, arrival_ms))
    }
}
