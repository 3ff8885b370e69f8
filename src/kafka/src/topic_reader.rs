//! Any topic read by offsets, and page by page from its newest record back.

use crate::cluster::{Cluster, explain};
use crate::log::QuietContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidecast_ports::{ControlError, Page};

/// How long reading some records may take.
const READ: Duration = Duration::from_secs(10);
/// Records looked at for one page: a filter that matches little gives short pages, not long waits.
const LOOKED_AT: usize = 20_000;
/// Records read at once from one partition: at first, and at most, once what was read had little that was wanted.
const WINDOW: i64 = 500;
const WINDOW_MAX: i64 = 4_000;

/// For each partition, the offset below which a listing goes on.
pub(crate) type Positions = BTreeMap<i32, i64>;

/// A record looked at and not yet taken; `None` where it is not wanted.
struct Found<R> {
    offset: i64,
    timestamp_ms: i64,
    record: Option<R>,
}

/// A reader made at its first use, for one user at a time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedReader(Arc<Shared>);

struct Shared {
    cluster: Cluster,
    purpose: &'static str,
    reader: Mutex<Option<TopicReader>>,
}

impl SharedReader {
    /// Contacts nobody yet; `purpose` as for [`TopicReader::open`].
    pub fn new(cluster: &Cluster, purpose: &'static str) -> Self {
        SharedReader(Arc::new(Shared { cluster: cluster.clone(), purpose, reader: Mutex::default() }))
    }

    /// Has `work` done with the reader, on a thread that may block.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut TopicReader) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let shared = Arc::clone(&self.0);
        let asker = Asker::default();
        let gone = asker.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut slot = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let reader = match &mut *slot {
                Some(reader) => reader,
                empty => empty.insert(TopicReader::open(&shared.cluster, shared.purpose)?),
            };
            reader.asker_gone = gone;
            reader.is_wanted()?;
            work(reader)
        });
        let done = done.await;
        drop(asker);
        done.unwrap_or_else(|error| {
            let what = self.0.purpose.replace('-', " ");
            Err(ControlError::Unavailable(format!("reading the {what} was cut short: {error}")))
        })
    }
}

/// Tells, when it is dropped, that nobody waits any more: a client that hung up must not keep the reader from the next.
#[derive(Default)]
struct Asker(Arc<AtomicBool>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A reader without a group, of committed records. Its calls block.
pub(crate) struct TopicReader {
    consumer: BaseConsumer<QuietContext>,
    /// Set when nobody waits for what is read.
    asker_gone: Arc<AtomicBool>,
}

impl TopicReader {
    /// Makes the client; `purpose` names it among those of the group.
    pub fn open(cluster: &Cluster, purpose: &str) -> Result<Self, ControlError> {
        let group = format!("{}-{purpose}", cluster.options().group_id);
        let mut config = cluster.reader_config(&group, "read_committed");
        config
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "8192")
            // The log's beginning may move while we read.
            .set("auto.offset.reset", "earliest");
        let consumer = BaseConsumer::from_config_and_context(&config, QuietContext::default())
            .map_err(|error| ControlError::Unavailable(explain(&error)))?;
        Ok(TopicReader { consumer, asker_gone: Arc::default() })
    }

    fn is_wanted(&self) -> Result<(), ControlError> {
        if self.asker_gone.load(Ordering::Acquire) {
            return Err(ControlError::Unavailable("whoever asked has hung up".to_owned()));
        }
        Ok(())
    }

    /// First and next offset of each partition.
    pub fn bounds(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, ControlError> {
        let metadata =
            self.consumer.fetch_metadata(Some(topic), READ).map_err(|error| self.fault(topic, &error))?;
        let found = metadata.topics().first();
        match found.and_then(|found| found.error()).map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => {
                return Err(ControlError::NotFound(format!(
                    "there is no topic {topic:?}, or we may not see it"
                )));
            }
            Some(code) => return Err(ControlError::Unavailable(format!("topic {topic}: {code}"))),
            None => {}
        }
        let partitions = found.map_or(&[][..], |found| found.partitions());
        let bounds = partitions.iter().map(|partition| {
            let bounds = self.consumer.fetch_watermarks(topic, partition.id(), READ);
            bounds.map(|bounds| (partition.id(), bounds)).map_err(|error| self.fault(topic, &error))
        });
        bounds.collect()
    }

    /// Calls `take` on each record of a partition with offsets from `from` to before `to`, oldest first.
    pub fn each(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        to: i64,
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), ControlError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(from))
            .map_err(|error| self.fault(topic, &error))?;
        self.consumer.assign(&list).map_err(|error| self.fault(topic, &error))?;
        let deadline = Instant::now() + READ;
        let outcome = loop {
            if let Err(gone) = self.is_wanted() {
                break Err(gone);
            }
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    // What was asked for before may still be on its way.
                    let other = message.topic() != topic || message.partition() != partition;
                    if other || message.offset() < from {
                        continue;
                    }
                    if message.offset() < to {
                        take(&message);
                    }
                    // What follows the last may be markers only.
                    if message.offset() >= to - 1 {
                        break Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(at))) if at == partition => break Ok(()),
                _ if Instant::now() >= deadline => {
                    let why = self.consumer.context().last_error();
                    let why = why.unwrap_or_else(|| "no answer in time".to_owned());
                    break Err(ControlError::Unavailable(format!("topic {topic} cannot be read: {why}")));
                }
                _ => {}
            }
        };
        self.consumer.unassign().map_err(|error| self.fault(topic, &error))?;
        outcome
    }

    /// The newest records that `read` wants, newest first by their timestamps, from before `positions`
    /// (from the end, without any); and the cursor of the next page, unless this is the last.
    pub fn newest<R>(
        &mut self,
        topic: &str,
        bounds: &BTreeMap<i32, (i64, i64)>,
        positions: Option<&Positions>,
        limit: usize,
        read: impl Fn(&BorrowedMessage<'_>) -> Option<R>,
    ) -> Result<Page<R>, ControlError> {
        // A partition made since the page before has only newer records.
        let mut at: Positions = bounds
            .iter()
            .map(|(partition, (_, high))| {
                let before = positions.map(|from| from.get(partition).copied().unwrap_or(0));
                (*partition, before.map_or(*high, |before| before.min(*high)))
            })
            .collect();
        let mut window = i64::try_from(limit).unwrap_or(WINDOW).clamp(50, WINDOW);
        // The newest not yet taken of each partition last.
        let mut waiting: BTreeMap<i32, Vec<Found<R>>> = BTreeMap::new();
        let (mut items, mut looked_at) = (Vec::new(), 0);
        while items.len() < limit && looked_at < LOOKED_AT {
            for (partition, (low, _)) in bounds {
                let waiting = waiting.entry(*partition).or_default();
                while waiting.is_empty() && at[partition] > *low {
                    if looked_at > items.len() * 8 {
                        // A question to the broker takes as long as reading a thousand records.
                        window = (window * 2).min(WINDOW_MAX);
                    }
                    let from = (at[partition] - window).max(*low);
                    self.each(topic, *partition, from, at[partition], |message| {
                        waiting.push(Found {
                            offset: message.offset(),
                            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
                            record: read(message),
                        });
                    })?;
                    if waiting.is_empty() {
                        // Nothing but markers in there.
                        at.insert(*partition, from);
                    }
                }
            }
            let newest = waiting
                .iter()
                .filter_map(|(partition, waiting)| Some((waiting.last()?.timestamp_ms, *partition)))
                .max_by_key(|(timestamp, partition)| (*timestamp, std::cmp::Reverse(*partition)));
            let newest =
                newest.and_then(|(_, partition)| Some((partition, waiting.get_mut(&partition)?.pop()?)));
            let Some((partition, found)) = newest else { return Ok(Page { items, next: None }) };
            at.insert(partition, found.offset);
            looked_at += 1;
            items.extend(found.record);
        }
        let more = bounds.iter().any(|(partition, (low, _))| at[partition] > *low);
        Ok(Page { items, next: more.then(|| format_cursor(&at)) })
    }

    fn fault(&self, topic: &str, error: &KafkaError) -> ControlError {
        let why = self.consumer.context().last_error().unwrap_or_else(|| explain(error));
        ControlError::Unavailable(format!("topic {topic} cannot be read: {why}"))
    }
}

/// A listing's place as a text that means nothing to clients.
fn format_cursor(positions: &Positions) -> String {
    let parts: Vec<String> =
        positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    parts.join(",")
}

/// Where the listing stood whose page gave `cursor`; without one (or an empty one) it begins.
pub(crate) fn positions(cursor: Option<&str>) -> Result<Option<Positions>, ControlError> {
    cursor.filter(|cursor| !cursor.is_empty()).map(parse_cursor).transpose()
}

fn parse_cursor(text: &str) -> Result<Positions, ControlError> {
    let part = |part: &str| {
        let (partition, offset) = part.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    text.split(',').map(part).collect::<Option<_>>().ok_or_else(|| ControlError::Invalid {
        field: "cursor".into(),
        message: "not a cursor of this list; begin without one".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back() {
        let positions = BTreeMap::from([(0, 17), (3, 0)]);
        assert_eq!(parse_cursor(&format_cursor(&positions)).ok(), Some(positions));
        assert!(parse_cursor("0:1,x").is_err());
    }
}
