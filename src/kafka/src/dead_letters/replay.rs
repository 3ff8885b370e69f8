//! Putting dead letters back: the record and the marker that it went are one transaction, and the transaction's name
//! fences any other replay of the same letters, so that each goes once whoever asks and whatever fails.

use super::letters::Letter;
use super::{WINDOW, bounds};
use crate::cluster::{Cluster, ProducerKind, explain};
use crate::delivery::{DeliveryContext, NotTaken};
use crate::native::ReportingProducer;
use crate::publishing::Publishing;
use crate::topic_reader::TopicReader;
use hashbrown::{HashMap, HashSet};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};
use tidecast_ports::ControlError;
use tidecast_ports::operations::{ReplayRequest, ReplayResult};

/// How long one transaction may take.
const COMMIT: Duration = Duration::from_secs(30);

pub(super) struct Replay<'r> {
    pub cluster: &'r Cluster,
    pub topic: &'r str,
    pub markers: &'r str,
    pub inputs: &'r [String],
    pub publishing: &'r Publishing,
}

/// One request under way.
struct Running<'r> {
    replay: &'r Replay<'r>,
    producer: ReportingProducer<DeliveryContext>,
    /// Ids of letters that went back already.
    gone: HashSet<String>,
    payload: Option<Vec<u8>>,
    /// Partitions of each input topic, where they are known.
    partitions: HashMap<String, i32>,
    result: ReplayResult,
}

impl Replay<'_> {
    pub fn run(
        &self,
        reader: &mut TopicReader,
        request: &ReplayRequest,
    ) -> Result<ReplayResult, ControlError> {
        let ids = check(request)?;
        let transactional_id = format!("{}-dead-letter-replay", self.cluster.options().group_id);
        let config = self.cluster.producer_config(ProducerKind::Transactional(&transactional_id));
        let context = DeliveryContext::new(self.publishing.clone());
        let producer =
            BaseProducer::from_config_and_context(&config, context).map_err(|error| fault(&error))?;
        // From here on nobody else's replay commits: what is marked now is all that went.
        producer.init_transactions(COMMIT).map_err(|error| fault(&error))?;
        let counted = |topic: &String| {
            let partitions = reader.bounds(topic).ok()?.len();
            Some((topic.clone(), i32::try_from(partitions).ok()?))
        };
        let partitions = self.inputs.iter().filter_map(counted).collect();
        let mut running = Running {
            replay: self,
            producer: ReportingProducer::new(producer),
            gone: self.marked(reader)?,
            payload: request.payload.as_ref().map(payload_bytes),
            partitions,
            result: ReplayResult { replayed: 0, skipped: 0 },
        };
        let bounds = bounds(reader, self.topic)?;
        if ids.is_empty() {
            for (partition, (low, high)) in bounds {
                let mut from = low;
                while from < high {
                    let to = (from + WINDOW).min(high);
                    let found = self.read(reader, partition, from, to)?;
                    let wanted = |letter: &Letter| {
                        request.reason.as_ref().is_none_or(|reason| letter.reason == *reason)
                    };
                    running.put_back(found.into_iter().filter(wanted))?;
                    from = to;
                }
            }
        } else {
            for (partition, offset) in ids {
                let there = bounds.get(&partition).is_some_and(|(low, high)| (*low..*high).contains(&offset));
                let found = if there { self.read(reader, partition, offset, offset + 1)? } else { vec![] };
                if found.is_empty() {
                    running.result.skipped += 1;
                }
                running.put_back(found.into_iter())?;
            }
        }
        Ok(running.result)
    }

    /// Letters of one partition, oldest first.
    fn read(
        &self,
        reader: &mut TopicReader,
        partition: i32,
        from: i64,
        to: i64,
    ) -> Result<Vec<Letter>, ControlError> {
        let mut letters = Vec::new();
        reader.each(self.topic, partition, from, to, |message| letters.push(Letter::read(message)))?;
        Ok(letters)
    }

    /// The marker table, whole.
    fn marked(&self, reader: &mut TopicReader) -> Result<HashSet<String>, ControlError> {
        let mut gone = HashSet::new();
        for (partition, (low, high)) in bounds(reader, self.markers)? {
            if low < high {
                reader.each(self.markers, partition, low, high, |message| {
                    gone.extend(message.key().map(|key| String::from_utf8_lossy(key).into_owned()));
                })?;
            }
        }
        Ok(gone)
    }
}

impl Running<'_> {
    /// Puts these back in one transaction.
    fn put_back(&mut self, letters: impl Iterator<Item = Letter>) -> Result<(), ControlError> {
        let (mut went, mut begun) = (Vec::new(), false);
        for letter in letters {
            let id = letter.id();
            let whole = !letter.truncated || self.payload.is_some();
            if !whole || self.gone.contains(&id) || !self.replay.inputs.contains(&letter.origin_topic) {
                self.result.skipped += 1;
                continue;
            }
            if !begun {
                self.producer.begin_transaction().map_err(|error| fault(&error))?;
                begun = true;
            }
            self.send(&letter, &id)?;
            went.push(id);
        }
        if !begun {
            return Ok(());
        }
        let deadline = Instant::now() + COMMIT;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.serve_next(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(NotTaken { what, why, .. }) = self.producer.context().take_failure() {
            return Err(self.stopped(&format!("{what}: {why}")));
        }
        self.producer.commit_transaction(COMMIT).map_err(|error| self.stopped(&fault(&error).to_string()))?;
        self.result.replayed += went.len() as u64;
        self.gone.extend(went);
        Ok(())
    }

    fn send(&self, letter: &Letter, id: &str) -> Result<(), ControlError> {
        let headers = OwnedHeaders::new().insert(Header { key: "replayed-from", value: Some(id) });
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&letter.origin_topic).headers(headers);
        record.key = letter.key.as_deref();
        // An event without a time of its own has the record's: it is no newer than it was.
        record.timestamp = letter.origin_timestamp_ms;
        record.payload = self.payload.as_deref().or(letter.payload.as_deref());
        // Back to where it came from: clients place keys by hashes of their own, and in another partition it would be of another
        // watermark, and in windows of their own.
        let partitions = self.partitions.get(&letter.origin_topic).copied().unwrap_or(0);
        record.partition = Some(letter.origin_partition).filter(|origin| (0..partitions).contains(origin));
        self.enqueue(record)?;
        self.enqueue(BaseRecord::to(self.replay.markers).key(id.as_bytes()).payload(&b"replayed"[..]))
    }

    fn enqueue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), ControlError> {
        let deadline = Instant::now() + COMMIT;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full || Instant::now() >= deadline {
                        return Err(self.stopped(&explain(&error)));
                    }
                    record = back;
                    self.producer.serve_next(deadline.saturating_duration_since(Instant::now()));
                }
            }
        }
    }

    fn stopped(&self, why: &str) -> ControlError {
        ControlError::Unavailable(format!(
            "the replay stopped after {} letters: {why}; ask again: those that went are not sent twice",
            self.result.replayed
        ))
    }
}

/// What is asked for, as partitions and offsets; empty for a reason or all.
fn check(request: &ReplayRequest) -> Result<Vec<(i32, i64)>, ControlError> {
    let invalid = |field: &str, message: &str| {
        Err(ControlError::Invalid { field: field.into(), message: message.into() })
    };
    let ways = usize::from(!request.ids.is_empty())
        + usize::from(request.reason.is_some())
        + usize::from(request.all);
    if ways != 1 {
        return invalid("ids", "give one of ids, reason or all");
    }
    if request.payload.is_some() && request.ids.len() != 1 {
        return invalid("payload", "an edited payload goes with exactly one id");
    }
    let mut ids = Vec::with_capacity(request.ids.len());
    for id in &request.ids {
        let parsed = id.split_once('-').and_then(|(partition, offset)| {
            Some((partition.parse::<i32>().ok()?, offset.parse::<i64>().ok()?))
        });
        match parsed {
            Some(place) => ids.push(place),
            None => return invalid("ids", "an id is <partition>-<offset>, as the list shows it"),
        }
    }
    Ok(ids)
}

/// An edited payload: text as it stands, anything else as JSON.
fn payload_bytes(payload: &serde_json::Value) -> Vec<u8> {
    match payload {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

fn fault(error: &KafkaError) -> ControlError {
    let why = match error {
        KafkaError::Transaction(error) => error.string(),
        other => explain(other),
    };
    ControlError::Unavailable(format!("Kafka did not take the replay: {why}"))
}
