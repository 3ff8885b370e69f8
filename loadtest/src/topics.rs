//! Filling topics and watching them.

use crate::workload::{Reading, SOURCES, Sensors, filled_at_ms, flush_at_ms};
use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;
use tidecast_tests::Kafka;

const ASK: Duration = Duration::from_secs(20);

/// A producer into chosen partitions.
pub struct Inlet {
    sensors: Sensors,
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

impl Inlet {
    /// `linger_ms` trades batches for time; 0 where the caller itself sends many at once, for librdkafka spins through the
    /// last millisecond of it: most of a core, which what is measured would lack.
    pub fn new(kafka: &Kafka, topic: &str, linger_ms: u32) -> Result<Inlet> {
        let mut config = kafka.config();
        config
            .set("linger.ms", linger_ms.to_string())
            .set("batch.size", "262144")
            .set("enable.idempotence", "true");
        config.set("queue.buffering.max.messages", "500000");
        let (producer, topic) = (config.create()?, topic.to_string());
        Ok(Inlet { sensors: Sensors::default(), producer, topic })
    }

    /// With the readings of these.
    pub fn of(self, sensors: Sensors) -> Inlet {
        Inlet { sensors, ..self }
    }

    /// Queues one record; waits while the queue is full.
    pub fn send(&self, key: &str, partition: i32, payload: &[u8]) -> Result<()> {
        self.send_any(key, partition, Some(payload))
    }

    /// The same for one that may have no value.
    pub fn send_any(&self, key: &str, partition: i32, payload: Option<&[u8]>) -> Result<()> {
        let mut record = BaseRecord::<str, [u8]>::to(&self.topic).key(key).partition(partition);
        record.payload = payload;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    record = back;
                    self.producer.flush(Duration::from_millis(50)).ok();
                }
                Err((error, _)) => return Err(error).context(self.topic.clone()),
            }
        }
    }

    /// Queues the reading with that number, at the time that it has in a topic filled at once. `line` is written anew.
    pub fn reading(&self, number: u64, line: &mut Vec<u8>) -> Result<()> {
        let reading = self.sensors.reading(number);
        reading.write(number, "sensor_data", filled_at_ms(number, &reading), line);
        self.send(&reading.key(), reading.partition(), line)
    }

    /// Ends a topic of `events` readings: one event per sensor moves every watermark past all windows. Waits until all of
    /// it is there.
    pub fn close_windows(&self, events: u64) -> Result<()> {
        let mut line = Vec::with_capacity(160);
        for source in 0..SOURCES {
            let flush = Reading { source, behind_ms: 0, hundredths: 0 };
            flush.write(events + source, "flush", flush_at_ms(events), &mut line);
            self.send(&flush.key(), flush.partition(), &line)?;
        }
        self.finish()
    }

    /// Waits until all of it is there.
    pub fn finish(&self) -> Result<()> {
        Ok(self.producer.flush(Duration::from_secs(120))?)
    }
}

/// A consumer of all partitions of a topic, with big fetches and no group.
pub fn outlet(kafka: &Kafka, topic: &str, committed: bool, from: Offset) -> Result<BaseConsumer> {
    let mut config = kafka.config();
    config.set("group.id", tidecast_tests::kafka::unique("loadtest")).set("enable.auto.commit", "false");
    config.set("isolation.level", if committed { "read_committed" } else { "read_uncommitted" });
    config.set("enable.partition.eof", "true");
    config.set("queued.min.messages", "1000000").set("fetch.queue.backoff.ms", "5");
    let consumer: BaseConsumer = config.create()?;
    let count = kafka.partitions(topic).with_context(|| format!("no topic {topic}"))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition_offset(topic, partition as i32, from)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Takes each committed record of a topic, from its beginning to its end.
pub fn each(
    kafka: &Kafka,
    topic: &str,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let consumer = outlet(kafka, topic, true, Offset::Beginning)?;
    let mut left = kafka.partitions(topic).unwrap_or(0);
    while left > 0 {
        match consumer.poll(Duration::from_secs(30)) {
            Some(Ok(message)) => take(&message)?,
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error)) => return Err(error.into()),
            None => bail!("{topic}: nothing for 30 s"),
        }
    }
    Ok(())
}

/// Counts what a `read_committed` reader could see: the sum of the partitions' last stable offsets.
pub struct Ends {
    client: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Ends {
    /// Of a topic that is there.
    pub fn new(kafka: &Kafka, topic: &str) -> Result<Ends> {
        let client = kafka.config().set("isolation.level", "read_committed").create()?;
        let partitions = kafka.partitions(topic).with_context(|| format!("no topic {topic}"))? as i32;
        Ok(Ends { client, topic: topic.to_string(), partitions })
    }

    /// The sum now.
    pub fn sum(&self) -> Result<i64> {
        let of = |partition| {
            Ok::<i64, anyhow::Error>(self.client.fetch_watermarks(&self.topic, partition, ASK)?.1)
        };
        (0..self.partitions).map(of).sum()
    }
}
