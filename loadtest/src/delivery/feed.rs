//! The feed: forecast messages into the topic that both servers read, at a rate; and a plain consumer of it, which tells
//! what Kafka takes by itself.

use super::record::{Mark, Marks, Models, micros, name, write};
use crate::topics::outlet;
use anyhow::{Context, Result, bail};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::Offset;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidecast_tests::Kafka;

/// Feeds models in turn, on a thread of its own.
pub(super) struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Feed {
    /// Starts: record 0, 1, ... so many a second, what is due every `pace` together. Without a linger, as
    /// [`crate::topics::Inlet::new`] says.
    pub fn start(
        kafka: &Kafka,
        topic: &str,
        partitions: i32,
        models: Models,
        per_second: u32,
        pace: Duration,
    ) -> Result<Feed> {
        let mut config = kafka.config();
        config.set("linger.ms", "0").set("enable.idempotence", "true");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
        let (stop, topic) = (Arc::new(AtomicBool::new(false)), topic.to_string());
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("feed".into()).spawn(move || {
            let start = Instant::now();
            let run = micros();
            let (mut record, mut value) = (0u32, Vec::with_capacity(600));
            while !until.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u32;
                while record < due {
                    let (model, number) = models.of(record);
                    write(&Mark { model, number, sent_at: micros() }, &mut value);
                    let (key, partition) = (name(model), (model % partitions as u32) as i32);
                    send(&producer, &topic, &key, partition, (run, record), &value)?;
                    record += 1;
                }
                std::thread::sleep(pace);
            }
            producer.flush(Duration::from_secs(60))?;
            Ok(record)
        })?;
        Ok(Feed { stop, thread })
    }

    /// Ends; how many records there were.
    pub fn stop(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(records) => records,
            Err(_) => bail!("the feed died"),
        }
    }
}

/// Sends as Tidecast's workers do: with the model's id for a key, and an id of its own in a header.
fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    key: &str,
    partition: i32,
    (run, record): (u64, u32),
    value: &[u8],
) -> Result<()> {
    let id = format!("{record:016x}{run:016x}");
    let headers = OwnedHeaders::new().insert(Header { key: "id", value: Some(&id) });
    let mut next = BaseRecord::to(topic).key(key).partition(partition).payload(value).headers(headers);
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                next = back;
                producer.flush(Duration::from_millis(50)).ok();
            }
            Err((error, _)) => return Err(error).context(topic.to_string()),
        }
    }
}

/// When a plain consumer in this process had each record.
pub(super) struct Plain {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

impl Plain {
    /// Starts reading.
    pub fn start(kafka: &Kafka, topic: &str, models: Models) -> Result<Plain> {
        let consumer = outlet(kafka, topic, false, Offset::Beginning)?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("plain".into()).spawn(move || {
            let (marks, mut waits) = (Marks::default(), Vec::new());
            while !until.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
                let now = micros();
                marks.each(message.payload().unwrap_or_default(), |mark| {
                    let Some(record) = models.record(&mark) else { return };
                    let place = record as usize;
                    if waits.len() <= place {
                        waits.resize(place + 1, u32::MAX);
                    }
                    waits[place] = now.saturating_sub(mark.sent_at) as u32;
                });
            }
            waits
        })?;
        Ok(Plain { stop, thread })
    }

    /// Ends; microseconds from the sending of each record to its coming, `u32::MAX` where it did not.
    pub fn stop(self) -> Result<Vec<u32>> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(waits) => Ok(waits),
            Err(_) => bail!("the plain consumer died"),
        }
    }
}
