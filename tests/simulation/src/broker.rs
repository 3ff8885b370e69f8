//! A broker in memory: logs with transactions and their markers, the last stable offset, producers with epochs, and a
//! group's committed offsets, as Kafka keeps them (KIP-98, KIP-447). It knows nothing of what the records mean.

use crate::random::Seeded;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tidecast_event::{OutputId, TopicPartition};
use tidecast_ports::source::Committed;

/// A record in a log; its place there is its offset.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `None` for a transaction's marker.
    pub record: Option<Stored>,
    /// The transaction it belongs to.
    pub transaction: Option<u64>,
}

/// What a record holds.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// Header `id`.
    pub id: Option<OutputId>,
    /// Other headers.
    pub headers: Vec<(&'static str, Bytes)>,
    /// Epoch milliseconds.
    pub timestamp_ms: i64,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Under way.
    Open,
    /// Its records are to be read.
    Committed,
    /// Its records are to be passed over.
    Aborted,
}

struct Transaction {
    outcome: Outcome,
    places: BTreeSet<TopicPartition>,
    offsets: Vec<(TopicPartition, Committed)>,
}

#[derive(Default)]
struct ProducerState {
    epoch: u32,
    open: Option<u64>,
}

/// Why the broker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A newer producer has the name.
    Fenced,
    /// The member is not in the group, or its generation has passed.
    Generation,
}

/// A transaction that would change an offset is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsettled;

/// A rule of the broker that is broken on purpose, to show that the oracle notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Commits of members that the group has expelled are taken, and old producers are not fenced.
    Zombies,
    /// Offsets are committed although the records before them are not written.
    OffsetsFirst,
    /// Decisions in the offsets' metadata are forgotten.
    NoDecisions,
    /// How far the windows that one record closes were told is forgotten.
    NothingSaid,
    /// Readers get records of aborted transactions.
    Uncommitted,
    /// The store gives a snapshot as if it stood one record earlier.
    WrongSnapshots,
    /// The committed offset of a transaction that is not settled yet is given out as it was before.
    UnstableOffsets,
    /// A record is lost on its way out now and then.
    LostOutputs,
}

/// The cluster.
pub struct Broker {
    /// Logs by topic and partition.
    pub logs: BTreeMap<TopicPartition, Vec<Entry>>,
    transactions: Vec<Transaction>,
    producers: BTreeMap<String, ProducerState>,
    committed: BTreeMap<TopicPartition, Committed>,
    /// Where faults come from.
    pub random: Seeded,
    /// Members of the group and the generation each has been told.
    pub members: BTreeMap<String, u64>,
    /// The group's generation.
    pub generation: u64,
    /// Nobody reaches it.
    pub away: bool,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
    /// Everything that was appended and committed, folded into a number: two runs of a seed have the same.
    pub trace: u64,
}

impl Broker {
    /// Topics with so many partitions each.
    pub fn new(topics: &[(String, i32)], random: Seeded, mutation: Option<Mutation>) -> Self {
        let mut logs = BTreeMap::new();
        for (name, partitions) in topics {
            for partition in 0..*partitions {
                logs.insert(TopicPartition::new(name.as_str(), partition), Vec::new());
            }
        }
        Broker {
            logs,
            transactions: Vec::new(),
            producers: BTreeMap::new(),
            committed: BTreeMap::new(),
            random,
            members: BTreeMap::new(),
            generation: 0,
            away: false,
            mutation,
            trace: 0,
        }
    }

    fn fold(&mut self, words: &[u64]) {
        for word in words {
            self.trace = (self.trace ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(17);
        }
    }

    /// Partitions of a topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        self.logs.keys().filter(|place| &*place.topic == topic).count() as i32
    }

    /// Appends a record, in a transaction or not.
    pub fn append(&mut self, place: &TopicPartition, record: Stored, transaction: Option<u64>) {
        let id = record.id.map_or(0, |id| id.0 as u64);
        self.fold(&[id, place.partition as u64, record.value.as_ref().map_or(0, |value| value.len() as u64)]);
        if let Some(transaction) = transaction {
            self.transactions[transaction as usize].places.insert(place.clone());
        }
        if let Some(log) = self.logs.get_mut(place) {
            log.push(Entry { record: Some(record), transaction });
        }
    }

    /// Opens a transaction.
    pub fn begin(&mut self) -> u64 {
        self.transactions.push(Transaction {
            outcome: Outcome::Open,
            places: BTreeSet::new(),
            offsets: Vec::new(),
        });
        self.transactions.len() as u64 - 1
    }

    /// Ends a transaction: its markers are written, its offsets committed.
    pub fn end(&mut self, transaction: u64, commit: bool) {
        let at = transaction as usize;
        if self.transactions[at].outcome != Outcome::Open {
            return;
        }
        self.transactions[at].outcome = if commit { Outcome::Committed } else { Outcome::Aborted };
        let places = std::mem::take(&mut self.transactions[at].places);
        let offsets = std::mem::take(&mut self.transactions[at].offsets);
        self.fold(&[transaction, u64::from(commit)]);
        for place in &places {
            if let Some(log) = self.logs.get_mut(place) {
                log.push(Entry { record: None, transaction: None });
            }
        }
        if commit {
            for (place, committed) in offsets {
                self.set_committed(place, committed);
            }
        }
    }

    fn set_committed(&mut self, place: TopicPartition, mut committed: Committed) {
        if self.mutation == Some(Mutation::NoDecisions) {
            committed.metadata.clear();
        }
        if self.mutation == Some(Mutation::NothingSaid) {
            let words = committed.metadata.split(' ').filter(|word| !word.starts_with('+'));
            committed.metadata = words.collect::<Vec<_>>().join(" ");
        }
        self.fold(&[committed.offset as u64, committed.metadata.len() as u64]);
        self.committed.insert(place, committed);
    }

    /// How a transaction stands; records outside of any are committed.
    pub fn outcome(&self, transaction: Option<u64>) -> Outcome {
        transaction.map_or(Outcome::Committed, |at| self.transactions[at as usize].outcome)
    }

    /// The last stable offset: what lies before it is settled.
    pub fn stable(&self, place: &TopicPartition) -> i64 {
        let Some(log) = self.logs.get(place) else { return 0 };
        let open = log.iter().position(|entry| self.outcome(entry.transaction) == Outcome::Open);
        open.unwrap_or(log.len()) as i64
    }

    /// Whether a reader of committed records gets this one.
    pub fn is_read(&self, entry: &Entry) -> bool {
        entry.record.is_some()
            && (self.outcome(entry.transaction) == Outcome::Committed
                || self.mutation == Some(Mutation::Uncommitted))
    }

    /// Committed records of a log, with their offsets.
    pub fn read_committed(&self, place: &TopicPartition) -> impl Iterator<Item = (i64, &Stored)> {
        let log = self.logs.get(place).map_or(&[][..], Vec::as_slice);
        let settled = log.iter().enumerate().filter(|(_, entry)| {
            entry.record.is_some() && self.outcome(entry.transaction) == Outcome::Committed
        });
        settled.filter_map(|(at, entry)| Some((at as i64, entry.record.as_ref()?)))
    }

    /// A producer takes a transactional name: an earlier holder is fenced, what it left open is aborted.
    pub fn init_producer(&mut self, name: &str) -> u32 {
        let state = self.producers.entry(name.to_owned()).or_default();
        state.epoch += 1;
        let (epoch, open) = (state.epoch, state.open.take());
        if let Some(open) = open {
            self.end(open, false);
        }
        epoch
    }

    /// The open transaction of a producer, begun when there is none.
    pub fn transaction_of(&mut self, name: &str, epoch: u32) -> Result<u64, Refused> {
        let state = self.producers.entry(name.to_owned()).or_default();
        if state.epoch != epoch && self.mutation != Some(Mutation::Zombies) {
            return Err(Refused::Fenced);
        }
        if let Some(open) = state.open {
            return Ok(open);
        }
        let begun = self.begin();
        if let Some(state) = self.producers.get_mut(name) {
            state.open = Some(begun);
        }
        Ok(begun)
    }

    /// Takes offsets into a producer's transaction, if the member's generation is the group's.
    pub fn add_offsets(
        &mut self,
        transaction: u64,
        member: &str,
        offsets: &[(TopicPartition, Committed)],
    ) -> Result<(), Refused> {
        self.is_member(member)?;
        self.transactions[transaction as usize].offsets.extend_from_slice(offsets);
        Ok(())
    }

    /// Ends a producer's transaction.
    pub fn end_of(&mut self, name: &str, epoch: u32, commit: bool) -> Result<(), Refused> {
        let state = self.producers.entry(name.to_owned()).or_default();
        if state.epoch != epoch && self.mutation != Some(Mutation::Zombies) {
            return Err(Refused::Fenced);
        }
        if let Some(open) = state.open.take() {
            self.end(open, commit);
        }
        Ok(())
    }

    /// Aborts what has been open for too long; the coordinator's `transaction.timeout.ms`.
    pub fn time_out(&mut self, name: &str) {
        let state = self.producers.entry(name.to_owned()).or_default();
        if let Some(open) = state.open.take() {
            state.epoch += 1;
            self.end(open, false);
        }
    }

    /// Commits offsets without a transaction.
    pub fn commit_plain(
        &mut self,
        member: &str,
        offsets: &[(TopicPartition, Committed)],
    ) -> Result<(), Refused> {
        self.is_member(member)?;
        for (place, committed) in offsets {
            self.set_committed(place.clone(), committed.clone());
        }
        Ok(())
    }

    fn is_member(&self, member: &str) -> Result<(), Refused> {
        let current = self.members.get(member) == Some(&self.generation);
        if current || self.mutation == Some(Mutation::Zombies) { Ok(()) } else { Err(Refused::Generation) }
    }

    /// What the group has committed; an error while a transaction that would change it is open (KIP-447's
    /// unstable offsets).
    pub fn committed(&self, place: &TopicPartition) -> Result<Option<Committed>, Unsettled> {
        let pending = self.transactions.iter().any(|transaction| {
            transaction.outcome == Outcome::Open && transaction.offsets.iter().any(|(of, _)| of == place)
        });
        if pending && self.mutation != Some(Mutation::UnstableOffsets) {
            return Err(Unsettled);
        }
        Ok(self.committed.get(place).cloned())
    }
}
