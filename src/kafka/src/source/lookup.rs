//! Questions to the broker that take a round trip or an outage: asked on a thread of their own, so that a newly assigned
//! partition never holds up the others.

use super::context::SourceContext;
use super::ownerless::{Shares, shares};
use crate::cluster::explain;
use crate::native::{TopicIds, topic_ids};
use crate::owner::{Settler, Signed};
use crate::partition_list::{list, offset_list};
use crate::wakeup::Wakeup;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::source::{Assigned, Committed, Preparer};

/// How long one question may take. Offsets of an open transaction are waited for: its owner settles it, or the
/// broker does.
const ASK: Duration = Duration::from_secs(5);
/// Which topics there are is told at once, or does not have to be known.
const ASK_TOPICS: Duration = Duration::from_secs(1);

pub(crate) enum Answer {
    /// Where a partition stands, with the number that came with the question.
    Where(TopicPartition, u64, Result<Assigned, String>),
    /// What the group has committed for partitions that are followed; those without are left out.
    Committed(Vec<(TopicPartition, Committed)>),
    /// Whether the brokers answer, and the topics exist for us.
    Well(Result<(), String>),
    /// Which topics there are by their names, as far as the brokers tell.
    Topics(TopicIds),
    /// How the group has shared out, where that is known.
    Shares(Option<Shares>),
}

/// Questions not yet asked: asking again replaces, so that there are never more than partitions.
#[derive(Default)]
struct Waiting {
    wheres: BTreeMap<TopicPartition, u64>,
    committed: Vec<TopicPartition>,
    well: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    /// The group, and the topics.
    shares: Option<(String, Vec<String>)>,
    ended: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let Waiting { wheres, committed, well, topics, shares, ended: _ } = self;
        wheres.is_empty() && committed.is_empty() && well.is_none() && topics.is_none() && shares.is_none()
    }
}

#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    asked: Condvar,
    answers: Mutex<Vec<Answer>>,
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is needed to answer where partitions stand.
pub(crate) struct About {
    /// Records older than this are not read, epoch milliseconds by topic.
    pub begin_ms: BTreeMap<String, i64>,
    /// Told of each partition before it is begun.
    pub prepare: Preparer,
    /// Settles what former owners left open.
    pub settler: Option<Settler>,
}

/// The asking thread; it ends when this value is dropped and its last question is answered.
pub(crate) struct Lookup(Arc<Desk>);

impl Drop for Lookup {
    fn drop(&mut self) {
        self.0.waiting().ended = true;
        self.0.asked.notify_one();
    }
}

impl Lookup {
    /// Starts the thread.
    pub fn start(
        consumer: &Arc<BaseConsumer<SourceContext>>,
        wakeup: Arc<Wakeup>,
        about: About,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let lookup = Lookup(Arc::clone(&desk));
        let consumer = Arc::downgrade(consumer);
        std::thread::Builder::new()
            .name("kafka-lookup".into())
            .spawn(move || serve(&consumer, &desk, &wakeup, about))?;
        Ok(lookup)
    }

    /// Where do these partitions stand? The number comes back with the answer.
    pub fn ask_where(&self, partitions: Vec<(TopicPartition, u64)>) {
        self.0.waiting().wheres.extend(partitions);
        self.0.asked.notify_one();
    }

    /// What has the group committed?
    pub fn ask_committed(&self, partitions: Vec<TopicPartition>) {
        self.0.waiting().committed = partitions;
        self.0.asked.notify_one();
    }

    /// Do the brokers answer, and do these topics exist for us?
    pub fn ask_well(&self, topics: Vec<String>) {
        self.0.waiting().well = Some(topics);
        self.0.asked.notify_one();
    }

    /// Which topics have these names now?
    pub fn ask_topics(&self, topics: Vec<String>) {
        self.0.waiting().topics = Some(topics);
        self.0.asked.notify_one();
    }

    /// How has the group shared out these topics?
    pub fn ask_shares(&self, group: String, topics: Vec<String>) {
        self.0.waiting().shares = Some((group, topics));
        self.0.asked.notify_one();
    }

    /// What was answered since the last call.
    pub fn answers(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.0.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(consumer: &Weak<BaseConsumer<SourceContext>>, desk: &Desk, wakeup: &Wakeup, mut about: About) {
    let tell = |answer| {
        desk.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        wakeup.wake();
    };
    loop {
        let Waiting { wheres, committed: followed, well, topics, shares: group, .. } = {
            let mut waiting = desk.waiting();
            while waiting.is_empty() && !waiting.ended {
                waiting = desk.asked.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.ended {
                return;
            }
            std::mem::take(&mut *waiting)
        };
        let Some(consumer) = consumer.upgrade() else { return };
        if !wheres.is_empty() {
            let (partitions, numbers): (Vec<TopicPartition>, Vec<u64>) = wheres.into_iter().unzip();
            if let Some(settler) = &mut about.settler {
                settler.settle(&partitions, ASK);
            }
            let ids = topic_ids(consumer.client(), &topics_of(&partitions), ASK_TOPICS);
            let committed = committed(&consumer, &partitions, &ids);
            let answer = |(at, (partition, number)): (usize, (TopicPartition, u64))| {
                let found = match &committed {
                    Ok(committed) => {
                        let begin_ms = about.begin_ms.get(&*partition.topic).copied();
                        let topic_id = ids.get(&*partition.topic).copied();
                        assigned(&consumer, &partition, committed[at].clone(), begin_ms)
                            .map(|assigned| Assigned { topic_id, ..assigned })
                    }
                    Err(why) => Err(why.clone()),
                };
                Answer::Where(partition, number, found)
            };
            // All of them, then told: once one is read, its fetches hold up the next question on the same connection.
            let answers: Vec<Answer> = partitions.into_iter().zip(numbers).enumerate().map(answer).collect();
            prepared(answers, &about.prepare, &tell);
        }
        if !followed.is_empty() {
            // Of a topic made anew nothing is followed any more once that is noticed.
            match committed(&consumer, &followed, &TopicIds::new()) {
                Ok(answers) => {
                    let known = followed.into_iter().zip(answers);
                    tell(Answer::Committed(
                        known.filter_map(|(partition, answer)| Some((partition, answer?))).collect(),
                    ));
                }
                Err(why) => tracing::debug!(why, "followed partitions wait"),
            }
        }
        if let Some(topics) = topics {
            tell(Answer::Topics(topic_ids(consumer.client(), &topics, ASK_TOPICS)));
        }
        if let Some((group, topics)) = group {
            tell(Answer::Shares(shares(&consumer, &group, &topics, ASK_TOPICS)));
        }
        if let Some(topics) = well {
            tell(Answer::Well(topics.iter().try_for_each(|topic| topic_is_well(&consumer, topic))));
        }
    }
}

/// Tells each answer as soon as its partition is prepared, several at a time.
fn prepared(answers: Vec<Answer>, prepare: &Preparer, tell: &(impl Fn(Answer) + Sync)) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(answers.len());
    let answers = Mutex::new(answers.into_iter());
    let work = || {
        loop {
            let next = answers.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(answer) = next else { return };
            if let Answer::Where(partition, _, Ok(found)) = &answer {
                // What panics here panics again where it is needed, with somebody to tell.
                let _ = catch_unwind(AssertUnwindSafe(|| prepare(partition, found)));
            }
            tell(answer);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

fn topics_of(partitions: &[TopicPartition]) -> Vec<String> {
    let names: BTreeSet<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// What the group has committed. An offset of a topic that was of the same name, and is no more, says nothing of this one.
fn committed(
    consumer: &BaseConsumer<SourceContext>,
    partitions: &[TopicPartition],
    ids: &TopicIds,
) -> Result<Vec<Option<Committed>>, String> {
    let answer = consumer
        .committed_offsets(list(partitions), ASK)
        .map_err(|error| format!("the group's committed offsets cannot be read: {}", explain(&error)))?;
    partitions
        .iter()
        .map(|partition| {
            let Some(element) = answer.find_partition(&partition.topic, partition.partition) else {
                return Ok(None);
            };
            element.error().map_err(|error| {
                format!("the committed offset of {partition} cannot be read: {}", explain(&error))
            })?;
            Ok(match element.offset() {
                Offset::Offset(offset) => {
                    let signed = Signed::read(element.metadata());
                    let another = signed.topic.zip(ids.get(&*partition.topic)).is_some_and(|(of, id)| of != *id);
                    if another {
                        tracing::warn!(
                            %partition,
                            offset,
                            "the topic was made anew since this offset was committed: it is read from its beginning"
                        );
                    }
                    (!another).then(|| Committed { offset, metadata: signed.metadata.to_owned() })
                }
                _ => None,
            })
        })
        .collect()
}

fn assigned(
    consumer: &BaseConsumer<SourceContext>,
    partition: &TopicPartition,
    committed: Option<Committed>,
    begin_ms: Option<i64>,
) -> Result<Assigned, String> {
    let unread =
        |error: KafkaError| format!("the offsets of {partition} cannot be read: {}", explain(&error));
    let (mut log_start, log_end) =
        consumer.fetch_watermarks(&partition.topic, partition.partition, ASK).map_err(unread)?;
    if let Some(begin_ms) = begin_ms {
        let times = offset_list(partition, begin_ms).map_err(unread)?;
        let found = consumer.offsets_for_times(times, ASK).map_err(unread)?;
        let first = found.find_partition(&partition.topic, partition.partition).map(|found| found.offset());
        log_start = match first {
            Some(Offset::Offset(offset)) => offset.max(log_start),
            // Nothing is that young.
            _ => log_end,
        };
    }
    Ok(Assigned { committed, log_start, log_end, topic_id: None })
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
