//! Output records read once more, for clients that come back after a while: between two offsets of each partition,
//! repeats of an aborted transaction dropped by their ids.
//!
//! One thread answers one request after the other: what is newest is kept by the gateway itself, so few come here.

use crate::cluster::{ClientError, Cluster, explain};
use crate::live::{LiveOptions, live_record};
use crate::log::QuietContext;
use hashbrown::HashSet;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};
use tidecast_ports::live::{HistoryError, HistoryRequest, Reading, Stretch};
use tidecast_ports::{LiveHistory, LiveRecord, OutputKind};
use tokio::sync::oneshot;

/// Requests that wait; past it one is refused at once.
const WAITING_MAX: usize = 256;
/// Records read before the first one wanted, for their ids: a repeat of one of them has been seen already.
const LOOK_BACK: i64 = 500;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one question to the brokers may take.
const ASK: Duration = Duration::from_secs(2);
/// A client that nobody has needed for this long is given up, with its connections.
const IDLE: Duration = Duration::from_secs(60);

type Answer = oneshot::Sender<Result<Vec<LiveRecord>, HistoryError>>;

/// [`LiveHistory`] on the output topics of the configuration.
pub struct OutputHistory {
    requests: SyncSender<(HistoryRequest, Answer)>,
}

impl OutputHistory {
    /// Starts the thread; it ends when this value is dropped. The brokers need not be there yet.
    pub fn start(cluster: &Cluster, settings: &tidecast_config::Settings) -> Result<Self, ClientError> {
        Self::of_topics(cluster, LiveOptions::from_settings(settings).topics)
    }

    /// The same for any topics.
    pub fn of_topics(cluster: &Cluster, topics: Vec<(String, OutputKind)>) -> Result<Self, ClientError> {
        let (requests, waiting) = std::sync::mpsc::sync_channel(WAITING_MAX);
        let reader = Reader { cluster: cluster.clone(), topics, consumer: None };
        std::thread::Builder::new()
            .name("kafka-history".into())
            .spawn(move || reader.run(&waiting))
            .map_err(|error| ClientError(format!("no thread for the output history: {error}")))?;
        Ok(OutputHistory { requests })
    }
}

impl LiveHistory for OutputHistory {
    fn read(&self, request: HistoryRequest) -> Reading {
        let (answer, answered) = oneshot::channel();
        let busy = || HistoryError::Unavailable("too many clients ask for older updates at once".into());
        let sent = self.requests.try_send((request, answer)).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => HistoryError::Unavailable("the service is closing".into()),
        });
        Box::pin(async move {
            sent?;
            answered.await.unwrap_or_else(|_| Err(HistoryError::Unavailable("the service is closing".into())))
        })
    }
}

struct Reader {
    cluster: Cluster,
    topics: Vec<(String, OutputKind)>,
    consumer: Option<BaseConsumer<QuietContext>>,
}

/// A stretch on its way.
struct Way {
    kind: OutputKind,
    topic: String,
    partition: i32,
    /// The first offset wanted, and the one after the last.
    from: i64,
    until: i64,
    /// The next offset expected.
    at: i64,
    records: Vec<LiveRecord>,
}

impl Reader {
    fn run(mut self, waiting: &Receiver<(HistoryRequest, Answer)>) {
        loop {
            match waiting.recv_timeout(IDLE) {
                // Whoever asked may have gone meanwhile.
                Ok((_, answer)) if answer.is_closed() => {}
                Ok((request, answer)) => drop(answer.send(self.answer(&request))),
                Err(RecvTimeoutError::Timeout) => self.consumer = None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, request: &HistoryRequest) -> Result<Vec<LiveRecord>, HistoryError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => connect(&self.cluster).map_err(|error| HistoryError::Unavailable(error.to_string()))?,
        };
        let ways = self.ways(&consumer, request)?;
        let found = read(&consumer, ways, request.bytes_max);
        // A consumer that did not get through may hold what belongs to this request: the next begins anew.
        if found.is_ok() && consumer.unassign().is_ok() {
            self.consumer = Some(consumer);
        }
        found.map(in_order)
    }

    /// The stretches as they are in Kafka; refuses what is not there any more, or too much.
    fn ways(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        request: &HistoryRequest,
    ) -> Result<Vec<Way>, HistoryError> {
        let mut ways = Vec::new();
        let mut records = 0;
        for &Stretch { kind, partition, from, until } in &request.stretches {
            let topic = self.topics.iter().find(|(_, of)| *of == kind).map(|(topic, _)| topic.clone());
            let topic = topic.ok_or_else(|| HistoryError::Gone("its topic is not read here".into()))?;
            let (low, high) = consumer
                .fetch_watermarks(&topic, partition, ASK)
                .map_err(|error| HistoryError::Unavailable(explain(&error)))?;
            if from < low {
                return Err(HistoryError::Gone(format!("{topic} keeps nothing so old any more")));
            }
            if from > high {
                return Err(HistoryError::Gone(format!("{topic} was made anew since")));
            }
            let until = until.min(high);
            if from >= until {
                continue;
            }
            records += until - from;
            if usize::try_from(records).unwrap_or(usize::MAX) > request.records_max {
                return Err(HistoryError::TooMuch);
            }
            let at = low.max(from - LOOK_BACK);
            ways.push(Way { kind, topic, partition, from, until, at, records: Vec::new() });
        }
        Ok(ways)
    }
}

fn connect(cluster: &Cluster) -> Result<BaseConsumer<QuietContext>, ClientError> {
    let group = format!("{}-history", cluster.options().group_id);
    // As the live reader does: what clients saw ahead of commits has to be known here too.
    let mut config = cluster.reader_config(&group, "read_uncommitted");
    config
        .set("fetch.wait.max.ms", "20")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "8192")
        .set("auto.offset.reset", "error");
    Ok(BaseConsumer::from_config_and_context(&config, QuietContext::default())?)
}

/// Reads every stretch to its end.
fn read(
    consumer: &BaseConsumer<QuietContext>,
    mut ways: Vec<Way>,
    bytes_max: usize,
) -> Result<Vec<Way>, HistoryError> {
    if ways.is_empty() {
        return Ok(ways);
    }
    let unavailable = |error: &KafkaError| HistoryError::Unavailable(explain(error));
    let mut list = TopicPartitionList::with_capacity(ways.len());
    for way in &ways {
        list.add_partition_offset(&way.topic, way.partition, Offset::Offset(way.at))
            .map_err(|error| unavailable(&error))?;
    }
    consumer.assign(&list).map_err(|error| unavailable(&error))?;
    let deadline = Instant::now() + PATIENCE;
    let mut ids: HashSet<u128, foldhash::fast::RandomState> = HashSet::default();
    let mut bytes = 0;
    while ways.iter().any(|way| way.at < way.until) {
        if Instant::now() >= deadline {
            return Err(HistoryError::Unavailable("the broker did not give the records in time".into()));
        }
        let message = match consumer.poll(Duration::from_millis(100)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            Some(Err(error)) => return Err(unavailable(&error)),
            Some(Ok(message)) => message,
        };
        let way =
            ways.iter_mut().find(|way| way.topic == message.topic() && way.partition == message.partition());
        let Some(way) = way else { continue };
        way.at = message.offset() + 1;
        if message.offset() >= way.until {
            continue;
        }
        let record = live_record(way.kind, &message);
        let is_new = record.id.is_none_or(|id| ids.insert(id.0));
        if message.offset() < way.from || !is_new {
            continue;
        }
        bytes += record.key.len() + record.value.len();
        if bytes > bytes_max {
            return Err(HistoryError::TooMuch);
        }
        way.records.push(record);
    }
    Ok(ways)
}

/// One sequence in which every partition's records keep their order, and partitions stand by their records' times.
fn in_order(ways: Vec<Way>) -> Vec<LiveRecord> {
    let mut heads: BTreeMap<(i64, usize), std::vec::IntoIter<LiveRecord>> = BTreeMap::new();
    let mut found = Vec::with_capacity(ways.iter().map(|way| way.records.len()).sum());
    for (index, way) in ways.into_iter().enumerate() {
        let records = way.records.into_iter();
        if let Some(first) = records.as_slice().first() {
            heads.insert((first.timestamp_ms, index), records);
        }
    }
    while let Some(((time, index), mut records)) = heads.pop_first() {
        found.extend(records.next());
        if let Some(next) = records.as_slice().first() {
            // A clock that went back must not reorder its partition.
            heads.insert((next.timestamp_ms.max(time), index), records);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn partitions_are_merged_by_time_and_keep_their_order() {
        let way = |partition: i32, times: &[i64]| Way {
            kind: OutputKind::Alert,
            topic: "t".into(),
            partition,
            from: 0,
            until: 0,
            at: 0,
            records: (0..)
                .zip(times)
                .map(|(offset, &timestamp_ms)| LiveRecord {
                    kind: OutputKind::Alert,
                    partition,
                    offset,
                    id: None,
                    timestamp_ms,
                    key: Bytes::new(),
                    value: Bytes::new(),
                    replayed: true,
                    traceparent: None,
                    observed: None,
                })
                .collect(),
        };
        let merged = in_order(vec![way(0, &[1, 9, 3]), way(1, &[2, 4]), way(2, &[])]);
        let places: Vec<(i32, i64)> = merged.iter().map(|record| (record.partition, record.offset)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2)]);
    }
}
