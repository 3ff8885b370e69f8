//! Events that came in by HTTP or WebSocket, onto the events topic.
//!
//! An acknowledgement belongs to a batch, not to a record: every record of a call points to one counter, and the last
//! delivery report wakes the caller. What is on its way is bounded in bytes; a call that finds no room waits its turn.

use crate::cluster::{ClientError, Cluster, ProducerKind, explain};
use crate::native::latency_micros;
use crate::publishing::Publishing;
use crate::seen_events::SeenEvents;
use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tidecast_event::decode::Decoder;
use tidecast_event::{EventTime, Reason, Rejection};
use tidecast_ports::ingest::Acknowledged;
use tidecast_ports::{EventIngest, IngestError, OutputRecord};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

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
    answered: Notify,
    /// The room taken; given back with the last answer.
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Batch {
    fn new() -> Arc<Self> {
        Arc::new(Batch {
            open: AtomicUsize::new(1),
            failure: OnceLock::new(),
            answered: Notify::new(),
            room: Mutex::new(None),
        })
    }

    /// What has become of it, once it is known.
    fn outcome(&self) -> Option<Result<(), IngestError>> {
        if self.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        Some(match self.failure.get() {
            None => Ok(()),
            Some(why) => Err(IngestError::Unavailable(why.clone())),
        })
    }

    /// Waits for the last answer. Any number may wait.
    async fn wait(&self) -> Result<(), IngestError> {
        loop {
            let answered = self.answered.notified();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            answered.await;
        }
    }

    fn fail(&self, why: String) {
        // The first failure is the one to tell.
        let _ = self.failure.set(why);
    }

    fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.room.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.answered.notify_waiters();
        }
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
                self.publishing.sent(
                    message.topic(),
                    message.key_len() + message.payload_len(),
                    latency_micros(message),
                );
            }
            Err((error, message)) => {
                self.publishing.failed(message.topic());
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
    /// The largest record that the producer takes.
    record_bytes_max: usize,
    /// Batches of the events with an id that came in lately.
    seen: Option<SeenEvents<Arc<Batch>>>,
}

impl Inner {
    fn cost(&self, accepted: &Accepted) -> u32 {
        // What is greater than all the room waits until all of it is free.
        u32::try_from(accepted.bytes()).unwrap_or(u32::MAX).min(self.room_bytes)
    }

    /// Sends all; the batch is answered when the producer has answered each.
    fn send(&self, accepted: &Accepted, arrival_ms: i64, room: OwnedSemaphorePermit, batch: &Arc<Batch>) {
        *batch.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
        let mut key_start = 0;
        for (event, key_end) in &accepted.events {
            batch.open.fetch_add(1, Ordering::AcqRel);
            let mut record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(batch))
                .key(&accepted.keys.as_bytes()[key_start..*key_end])
                .payload(&event[..]);
            record.timestamp = Some(arrival_ms);
            key_start = *key_end;
            if self.log_payload {
                tracing::debug!(topic = self.topic, payload = %String::from_utf8_lossy(event), "event in");
            }
            if let Err((error, _)) = self.producer.send(record) {
                self.producer.client().context().publishing.failed(&self.topic);
                batch.fail(explain(&error));
                batch.close_one();
            }
        }
        batch.close_one();
    }
}

/// A batch whose call has not sent it yet: one that is given up before tells those who wait for it.
struct Unsent(Option<Arc<Batch>>);

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(batch) = self.0.take() {
            batch.fail("its sender went before there was room".to_owned());
            batch.close_one();
        }
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
        .map(|ingest| ingest.once_within(settings.ingest.idempotence_window))
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
            record_bytes_max: cluster.options().producer.max_request_bytes,
            seen: None,
        })))
    }

    /// Stores an event once that is sent again within `window` with the same source and id. Before the first clone.
    pub fn once_within(mut self, window: std::time::Duration) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0).filter(|_| !window.is_zero()) {
            inner.seen = Some(SeenEvents::new(window, std::time::Instant::now()));
        }
        self
    }

    /// Takes the room and sends, at once when there is room and nobody waits, else when the future is polled; room is
    /// given in the order of asking. `before`: batches that hold the same events already, and are waited for as well.
    fn dispatch(
        &self,
        accepted: Accepted,
        arrival_ms: i64,
        batch: Arc<Batch>,
        before: Vec<Arc<Batch>>,
    ) -> Acknowledged {
        if accepted.events.is_empty() && before.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let inner = Arc::clone(&self.0);
        let cost = inner.cost(&accepted);
        let mut unsent = Unsent(Some(Arc::clone(&batch)));
        if let Ok(room) = Arc::clone(&inner.room).try_acquire_many_owned(cost) {
            inner.send(&accepted, arrival_ms, room, &batch);
            unsent.0 = None;
        }
        Box::pin(async move {
            if unsent.0.is_some() {
                let room = Arc::clone(&inner.room).acquire_many_owned(cost).await;
                let room = room.map_err(|_| IngestError::Unavailable("the service is closing".to_owned()))?;
                inner.send(&accepted, arrival_ms, room, &batch);
                unsent.0.take();
            }
            drop((accepted, unsent));
            batch.wait().await?;
            for batch in before {
                batch.wait().await?;
            }
            Ok(())
        })
    }

    /// Checks an event. One that was sent before is not taken again, and its batch is noted in `before`.
    fn judge(
        &self,
        event: &Bytes,
        arrival_ms: i64,
        batch: &Arc<Batch>,
        accepted: &mut Accepted,
        before: &mut Vec<Arc<Batch>>,
    ) -> Result<(), Rejection> {
        DECODER.with_borrow_mut(|decoder| {
            let arrival = EventTime::from_millis(arrival_ms);
            let decoded = decoder.decode(event, arrival, self.0.max_future_micros)?;
            let (bytes, most) =
                (OutputRecord::OVERHEAD + event.len() + decoded.source().len(), self.0.record_bytes_max);
            if bytes > most {
                // Sent with others it would fail them all, and every time.
                let detail =
                    format!("the event takes {bytes} bytes; allowed are {most} (kafka.max_request_size)");
                return Err(Rejection::new(Reason::WrongType, detail));
            }
            let known = match (&self.0.seen, decoded.id()) {
                (Some(seen), Some(id)) => {
                    let now = std::time::Instant::now();
                    // What Kafka did not take is as if it had never come.
                    let still = |known: &Arc<Batch>| !matches!(known.outcome(), Some(Err(_)));
                    seen.before(decoded.source(), id, now, batch, still)
                }
                _ => None,
            };
            match known {
                None => accepted.push(event.clone(), decoded.source()),
                // Twice in one call: it waits for this call anyway.
                Some(known) if Arc::ptr_eq(&known, batch) => {}
                Some(known) if before.last().is_some_and(|last| Arc::ptr_eq(last, &known)) => {}
                Some(known) => before.push(known),
            }
            Ok(())
        })
    }
}

impl EventIngest for Ingest {
    fn ingest(&self, bytes: Bytes, arrival_ms: i64) -> Result<Acknowledged, IngestError> {
        let (mut results, acknowledged) = self.ingest_batch(vec![bytes], arrival_ms);
        results.pop().unwrap_or(Ok(()))?;
        Ok(acknowledged)
    }

    fn ingest_batch(
        &self,
        events: Vec<Bytes>,
        arrival_ms: i64,
    ) -> (Vec<Result<(), Rejection>>, Acknowledged) {
        let mut accepted = Accepted { events: Vec::with_capacity(events.len()), keys: String::new() };
        let (batch, mut before) = (Batch::new(), Vec::new());
        let results = events
            .iter()
            .map(|event| self.judge(event, arrival_ms, &batch, &mut accepted, &mut before))
            .collect();
        (results, self.dispatch(accepted, arrival_ms, batch, before))
    }
}
