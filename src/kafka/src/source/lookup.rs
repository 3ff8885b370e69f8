//! Questions to the broker that take a round trip or an outage: asked on a thread of their own, so that a newly assigned
//! partition never holds up the others.

use super::context::SourceContext;
use crate::cluster::explain;
use crate::wakeup::Wakeup;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::source::{Assigned, Committed};

/// How long one question may take. Offsets of an open transaction are waited for: its owner settles it, or the
/// broker does.
const ASK: Duration = Duration::from_secs(5);

pub(crate) enum Question {
    /// Where do these partitions stand? The number comes back with the answer.
    Where(Vec<(TopicPartition, u64)>),
    /// Do the brokers answer, and do these topics exist for us?
    Well(Vec<String>),
}

pub(crate) enum Answer {
    Where(TopicPartition, u64, Result<Assigned, String>),
    Well(Result<(), String>),
}

/// The asking thread's two ends.
pub(crate) struct Lookup {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
}

impl Lookup {
    /// Starts the thread; it ends when this value is dropped and its last question is answered.
    pub fn start(consumer: &Arc<BaseConsumer<SourceContext>>, wakeup: Arc<Wakeup>) -> std::io::Result<Self> {
        let (questions, asked) = channel();
        let (answered, answers) = channel();
        let consumer = Arc::downgrade(consumer);
        std::thread::Builder::new().name("kafka-lookup".into()).spawn(move || {
            serve(&consumer, &asked, |answer| {
                let told = answered.send(answer).is_ok();
                wakeup.wake();
                told
            });
        })?;
        Ok(Lookup { questions, answers })
    }

    pub fn ask(&self, question: Question) {
        // The thread ends only after this value: a failed send cannot be.
        let _ = self.questions.send(question);
    }

    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

fn serve(
    consumer: &Weak<BaseConsumer<SourceContext>>,
    questions: &Receiver<Question>,
    mut tell: impl FnMut(Answer) -> bool,
) {
    while let Ok(question) = questions.recv() {
        let Some(consumer) = consumer.upgrade() else { return };
        match question {
            Question::Where(partitions) => {
                let committed = committed(&consumer, &partitions);
                for (at, (partition, number)) in partitions.into_iter().enumerate() {
                    let found = match &committed {
                        Ok(committed) => assigned(&consumer, &partition, committed[at].clone()),
                        Err(why) => Err(why.clone()),
                    };
                    if !tell(Answer::Where(partition, number, found)) {
                        return;
                    }
                }
            }
            Question::Well(topics) => {
                let well = topics.iter().try_for_each(|topic| topic_is_well(&consumer, topic));
                if !tell(Answer::Well(well)) {
                    return;
                }
            }
        }
    }
}

fn committed(
    consumer: &BaseConsumer<SourceContext>,
    partitions: &[(TopicPartition, u64)],
) -> Result<Vec<Option<Committed>>, String> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (partition, _) in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    let answer = consumer
        .committed_offsets(list, ASK)
        .map_err(|error| format!("the group's committed offsets cannot be read: {}", explain(&error)))?;
    partitions
        .iter()
        .map(|(partition, _)| {
            let Some(element) = answer.find_partition(&partition.topic, partition.partition) else {
                return Ok(None);
            };
            element.error().map_err(|error| {
                format!("the committed offset of {partition} cannot be read: {}", explain(&error))
            })?;
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(Committed { offset, metadata: element.metadata().to_owned() }),
                _ => None,
            })
        })
        .collect()
}

fn assigned(
    consumer: &BaseConsumer<SourceContext>,
    partition: &TopicPartition,
    committed: Option<Committed>,
) -> Result<Assigned, String> {
    let (log_start, log_end) = consumer
        .fetch_watermarks(&partition.topic, partition.partition, ASK)
        .map_err(|error| format!("the offsets of {partition} cannot be read: {}", explain(&error)))?;
    Ok(Assigned { committed, log_start, log_end })
}

fn topic_is_well(consumer: &BaseConsumer<SourceContext>, topic: &str) -> Result<(), String> {
    let begun = Instant::now();
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(2))
        .map_err(|error| format!("Kafka does not answer ({}, {:?})", explain(&error), begun.elapsed()))?;
    match metadata.topics().first().and_then(|found| found.error()) {
        None => Ok(()),
        Some(code) => Err(format!("topic {topic}: {}", rdkafka::error::RDKafkaErrorCode::from(code))),
    }
}
