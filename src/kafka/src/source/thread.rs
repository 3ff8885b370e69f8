//! The source's thread: one loop that serves callbacks, changes of the assignment, commands and partitions, and sleeps
//! when none has anything.

use super::context::{Change, SourceContext};
use super::lookup::{About, Answer, Lookup};
use super::ownerless::Watch;
use super::partition::{Partition, State, Step};
use super::{Shared, Source, SourceError, SourceOptions};
use crate::cluster::explain;
use crate::native::Scratch;
use crate::owner::Settler;
use crate::partition_list::offset_list;
use crate::source::trouble::{Kind, Trouble};
use crate::wakeup::Wakeup;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::SourceHandler;

/// The main queue is looked at this often even when nothing woke us.
const MAIN_QUEUE_EVERY: Duration = Duration::from_millis(100);
/// Events of the main queue (log lines, errors, rebalances) served in one look.
const MAIN_QUEUE_EVENTS: usize = 64;
/// Between two looks at partitions that had nothing more to give: what comes within it goes on together. A record that comes
/// after a longer silence does not wait.
const GATHER: Duration = Duration::from_millis(2);
/// Records between two such looks from which on there is enough to do without waiting for more: they would only grow cold in
/// the caches.
const MANY: i64 = 512;
/// A sink without room that wakes nobody is asked again after this.
const BLOCKED_WAIT: Duration = Duration::from_millis(2);
/// Closing gives up on the brokers after this: what had to be committed is committed by then.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct SourceLoop {
    pub(super) consumer: Arc<BaseConsumer<SourceContext>>,
    pub(super) handler: Box<dyn SourceHandler>,
    pub(super) options: SourceOptions,
    pub(super) wakeup: Arc<Wakeup>,
    pub(super) shared: Arc<Shared>,
    pub(super) instance: Option<String>,
    /// Until the lookup has it.
    settler: Option<Settler>,
    pub(super) partitions: BTreeMap<TopicPartition, Partition>,
    pub(super) next_number: u64,
    pub(super) scratch: Scratch,
    pub(super) trouble: Option<Trouble>,
    pub(super) fatal: Option<SourceError>,
    pub(super) lookup: Option<Lookup>,
    /// Records handed over since nothing more waited.
    pub(super) taken: i64,
    /// When the group is asked next what it committed, in a source that follows.
    pub(super) ask_committed_at: Option<Instant>,
    /// When the brokers are asked next which topics there are.
    pub(super) ask_topics_at: Instant,
    pub(super) group_id: String,
    /// Partitions that nobody has.
    pub(super) watch: Watch,
    /// Partitions whose place is not in the log: it may be that of another topic.
    pub(super) out_of_range: Vec<(TopicPartition, i64, String)>,
}

/// Lets the consumer close by itself when the loop unwinds.
struct AbandonOnPanic(Arc<BaseConsumer<SourceContext>>);

impl Drop for AbandonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.context().abandon();
        }
    }
}

impl SourceLoop {
    pub fn new(source: Source, handler: Box<dyn SourceHandler>) -> Self {
        SourceLoop {
            scratch: Scratch::new(source.options.batch_records.max(1)),
            consumer: source.consumer,
            handler,
            options: source.options,
            wakeup: source.wakeup,
            shared: source.shared,
            instance: source.instance,
            settler: source.settler,
            partitions: BTreeMap::new(),
            next_number: 0,
            trouble: None,
            fatal: None,
            lookup: None,
            taken: 0,
            ask_committed_at: None,
            ask_topics_at: Instant::now(),
            group_id: source.group_id,
            watch: Watch::new(Instant::now()),
            out_of_range: Vec::new(),
        }
    }

    pub fn run(mut self) -> Result<(), SourceError> {
        let _abandon = AbandonOnPanic(Arc::clone(&self.consumer));
        self.wakeup.register();
        let (wakeup, begin_ms) = (Arc::clone(&self.wakeup), self.options.begin_ms.clone());
        let about = About { begin_ms, prepare: self.handler.preparer(), settler: self.settler.take() };
        let lookup = Lookup::start(&self.consumer, wakeup, about)
            .map_err(|error| SourceError::Client(format!("no thread for questions to Kafka: {error}")))?;
        self.lookup = Some(lookup);
        if !self.options.follows {
            self.subscribe()?;
        }
        let mut main_queue_at = Instant::now();
        loop {
            if self.asked_to_close() {
                return self.close();
            }
            let now = Instant::now();
            if self.wakeup.take_events() || now >= main_queue_at {
                main_queue_at = now + MAIN_QUEUE_EVERY;
                self.serve_main_queue();
            }
            if let Some(fatal) = self.fatal.take() {
                self.handler.connection(Some(&fatal.to_string()));
                let _ = self.close();
                return Err(fatal);
            }
            self.serve_answers();
            self.serve_retries(now);
            self.ask_committed(now);
            self.ask_topics(now);
            self.ask_shares(now);
            match self.serve_partitions(now) {
                Step::Moved => {}
                step => {
                    let until = self.sleep_until(main_queue_at, step == Step::Blocked);
                    self.wakeup.wait(until.saturating_duration_since(Instant::now()));
                    if std::mem::take(&mut self.taken) < MANY && step == Step::Idle {
                        std::thread::sleep(GATHER.saturating_sub(now.elapsed()));
                    }
                }
            }
        }
    }

    pub(super) fn subscribe(&self) -> Result<(), SourceError> {
        let topics: Vec<&str> = self.options.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| SourceError::Client(explain(&error)))
    }

    /// Does what was asked for; tells whether it was to close.
    fn asked_to_close(&mut self) -> bool {
        let wanted = std::mem::take(&mut *self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        if wanted.close {
            return true;
        }
        let restart: Vec<TopicPartition> = if wanted.restart_all {
            self.partitions.keys().cloned().collect()
        } else {
            wanted.restart.into_iter().collect()
        };
        self.restart(&restart);
        self.follow(wanted.follow, wanted.let_go);
        let new = wanted.subscribe.into_iter().filter(|topic| !self.options.topics.contains(topic));
        let new: Vec<String> = new.collect();
        if !new.is_empty() {
            self.options.topics.extend(new);
            if let Err(error) = self.subscribe() {
                tracing::error!(%error, "cannot subscribe to more topics");
            }
        }
        false
    }

    /// Serves callbacks; then acts on what they left. Records never come this way, for every partition's queue is
    /// split before it is assigned; should one, its partition is started again rather than the record lost.
    fn serve_main_queue(&mut self) {
        let mut stray = Vec::new();
        for _ in 0..MAIN_QUEUE_EVENTS {
            match self.consumer.poll(Duration::ZERO) {
                None | Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Ok(message)) => stray.push(TopicPartition::new(message.topic(), message.partition())),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let why =
                        self.consumer.client().fatal_error().map_or_else(|| code.to_string(), |(_, why)| why);
                    self.fatal = Some(match (code, &self.instance) {
                        (RDKafkaErrorCode::FencedInstanceId, Some(name)) => SourceError::Fenced(name.clone()),
                        _ => SourceError::Fatal(why),
                    });
                }
                // The words of every other error came with the callback.
                Some(Err(_)) => {}
            }
        }
        for change in self.consumer.context().take_changes() {
            match change {
                Change::Assigned(partitions) => self.assigned(partitions),
                Change::Revoked(partitions) => self.revoked(partitions),
            }
        }
        for (code, words) in self.consumer.context().take_errors() {
            self.failed(code, &words);
        }
        if !stray.is_empty() {
            tracing::warn!(partitions = ?stray, "records came past their partition's queue; starting it again");
            self.restart(&stray);
        }
    }

    fn failed(&mut self, code: RDKafkaErrorCode, words: &str) {
        let Some(kind) = Kind::of(code) else {
            tracing::debug!(?code, words, "Kafka consumer");
            return;
        };
        if self.trouble.as_ref().is_some_and(|known| known.covers(code, words)) {
            return;
        }
        let trouble = Trouble::new(kind, code, words, &self.topic_names());
        self.handler.connection(Some(&trouble.message));
        self.trouble = Some(trouble);
    }

    fn topic_names(&self) -> String {
        self.options.topics.join(", ")
    }

    fn serve_answers(&mut self) {
        for answer in self.lookup.as_ref().map(Lookup::answers).unwrap_or_default() {
            match answer {
                Answer::Where(partition, number, found) => {
                    let current = self
                        .partitions
                        .get(&partition)
                        .is_some_and(|owned| owned.number == number && matches!(owned.state, State::Asked));
                    if current {
                        self.begin(&partition, found);
                    }
                }
                Answer::Committed(committed) => self.tell_committed(committed),
                Answer::Topics(ids) => self.compare_topics(&ids),
                Answer::Shares(found) => self.shares_told(found),
                Answer::Well(Ok(())) => {
                    if self.trouble.as_ref().is_some_and(|trouble| trouble.kind != Kind::Group) {
                        self.well_again();
                    }
                }
                Answer::Well(Err(why)) => {
                    let retry = Instant::now() + self.options.retry;
                    if let Some(trouble) = &mut self.trouble {
                        tracing::debug!(why, "still in trouble");
                        trouble.ask_at = Some(retry);
                    }
                }
            }
        }
    }

    pub(super) fn well_again(&mut self) {
        self.trouble = None;
        self.handler.connection(None);
    }

    fn serve_retries(&mut self, now: Instant) {
        let due: Vec<TopicPartition> = self
            .partitions
            .iter()
            .filter(|(_, owned)| matches!(owned.state, State::Retry(at) if at <= now))
            .map(|(partition, _)| partition.clone())
            .collect();
        self.ask(due);
        let ask = self.trouble.as_mut().is_some_and(|trouble| {
            let due = trouble.kind != Kind::Group && trouble.ask_at.is_some_and(|at| at <= now);
            if due {
                trouble.ask_at = None;
            }
            due
        });
        if ask && let Some(lookup) = &self.lookup {
            lookup.ask_well(self.options.topics.clone());
        }
    }

    /// One look at every partition, in turn, one batch each.
    fn serve_partitions(&mut self, now: Instant) -> Step {
        let (mut moved, mut blocked, mut epochs) = (false, false, false);
        let mut failed = Vec::new();
        for (partition, owned) in &mut self.partitions {
            let State::Reading(reader) = &mut owned.state else { continue };
            let (epoch, from) = (reader.leader_epoch, reader.next);
            match reader.step(&mut self.scratch, &self.options, now) {
                Step::Moved => moved = true,
                Step::Idle => {}
                Step::Blocked => blocked = true,
                Step::Failed(code, words) => failed.push((partition.clone(), reader.next, code, words)),
            }
            epochs |= reader.leader_epoch != epoch;
            self.taken += reader.next - from;
        }
        for (partition, next, code, words) in failed {
            self.partition_failed(&partition, next, code, &words);
        }
        if epochs {
            self.share_owned();
        }
        match (moved, blocked) {
            (true, _) => Step::Moved,
            (false, true) => Step::Blocked,
            _ => Step::Idle,
        }
    }

    fn partition_failed(
        &mut self,
        partition: &TopicPartition,
        next: i64,
        code: RDKafkaErrorCode,
        words: &str,
    ) {
        if matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) {
            self.stop_reading(std::slice::from_ref(partition));
            self.out_of_range.push((partition.clone(), next, words.to_owned()));
            self.ask_topics_at = Instant::now();
        } else {
            // The library goes on trying; what it says is told until the topic is well again. An error taken in a batch
            // moves the library's position as a record would: the partition is put back to where it really is.
            self.failed(code, words);
            if let Some(State::Reading(reader)) =
                self.partitions.get_mut(partition).map(|owned| &mut owned.state)
            {
                reader.put_back();
            }
            let back = offset_list(partition, next).and_then(|list| {
                self.consumer.incremental_unassign(&list)?;
                self.consumer.incremental_assign(&list)
            });
            if let Err(error) = back {
                tracing::warn!(%partition, error = explain(&error), "partition starts again after an error");
                self.restart(std::slice::from_ref(partition));
            }
        }
    }

    fn sleep_until(&self, main_queue_at: Instant, blocked: bool) -> Instant {
        let now = Instant::now();
        let retries = self.partitions.values().filter_map(|owned| match &owned.state {
            State::Retry(at) => Some(*at),
            State::Reading(reader) => reader.due(now),
            _ => None,
        });
        let trouble = self.trouble.as_ref().and_then(|trouble| trouble.ask_at);
        // What is followed waits for its owner, at the pace at which that is told.
        let blocked = (blocked && !self.options.follows).then(|| now + BLOCKED_WAIT);
        let asks = self.ask_committed_at.into_iter().chain([self.ask_topics_at]);
        retries.chain(trouble).chain(blocked).chain(asks).fold(main_queue_at, Instant::min)
    }

    /// Leaves the group: `revoking` comes for all through the usual way.
    fn close(&mut self) -> Result<(), SourceError> {
        let deadline = Instant::now() + CLOSE_WITHIN + self.options.revoke_grace;
        self.consumer.close_queue().map_err(|error| SourceError::Fatal(explain(&error)))?;
        while !self.consumer.closed() {
            self.wakeup.wait(Duration::from_millis(5));
            self.serve_main_queue();
            if Instant::now() >= deadline {
                tracing::warn!(
                    "the consumer group was not left in time; the brokers will notice by its silence"
                );
                self.consumer.context().abandon();
                break;
            }
        }
        // Whatever the group had not revoked by itself.
        let rest: Vec<TopicPartition> = self
            .partitions
            .iter()
            .filter(|(_, owned)| matches!(owned.state, State::Reading(_)))
            .map(|(partition, _)| partition.clone())
            .collect();
        if !rest.is_empty() {
            self.handler.revoking(&rest, self.options.revoke_grace);
        }
        self.partitions.clear();
        self.share_owned();
        Ok(())
    }
}
