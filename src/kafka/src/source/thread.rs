//! The source's thread: one loop that serves callbacks, changes of the assignment, commands and partitions, and sleeps
//! when none has anything.

use super::context::{Change, SourceContext};
use super::lookup::{Answer, Lookup, Question};
use super::partition::{Partition, Reader, State, Step};
use super::{Command, Shared, Source, SourceError, SourceOptions};
use crate::cluster::explain;
use crate::native::{PartitionQueue, Scratch};
use crate::source::trouble::{Kind, Trouble};
use crate::wakeup::Wakeup;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::SourceHandler;
use tidecast_ports::source::Assigned;

/// The main queue is looked at this often even when nothing woke us.
const MAIN_QUEUE_EVERY: Duration = Duration::from_millis(100);
/// Events of the main queue (log lines, errors, rebalances) served in one look.
const MAIN_QUEUE_EVENTS: usize = 16;
/// A sink without room that wakes nobody is asked again after this.
const BLOCKED_WAIT: Duration = Duration::from_millis(2);
/// Closing gives up on the brokers after this: what had to be committed is committed by then.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct SourceLoop {
    consumer: Arc<BaseConsumer<SourceContext>>,
    handler: Box<dyn SourceHandler>,
    options: SourceOptions,
    wakeup: Arc<Wakeup>,
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    instance: Option<String>,
    partitions: BTreeMap<TopicPartition, Partition>,
    next_number: u64,
    scratch: Scratch,
    trouble: Option<Trouble>,
    fatal: Option<SourceError>,
    lookup: Option<Lookup>,
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
            commands: source.commands,
            instance: source.instance,
            partitions: BTreeMap::new(),
            next_number: 0,
            trouble: None,
            fatal: None,
            lookup: None,
        }
    }

    pub fn run(mut self) -> Result<(), SourceError> {
        let _abandon = AbandonOnPanic(Arc::clone(&self.consumer));
        self.wakeup.register();
        let lookup = Lookup::start(&self.consumer, Arc::clone(&self.wakeup))
            .map_err(|error| SourceError::Client(format!("no thread for questions to Kafka: {error}")))?;
        self.lookup = Some(lookup);
        self.subscribe()?;
        let mut main_queue_at = Instant::now();
        loop {
            if self.commands_say_close() {
                return self.close();
            }
            let now = Instant::now();
            self.serve_main_queue();
            if now >= main_queue_at {
                main_queue_at = now + MAIN_QUEUE_EVERY;
            }
            if let Some(fatal) = self.fatal.take() {
                self.handler.connection(Some(&fatal.to_string()));
                let _ = self.close();
                return Err(fatal);
            }
            self.serve_answers();
            self.serve_retries(now);
            match self.serve_partitions(now) {
                Step::Moved => {}
                step => {
                    let until = self.sleep_until(main_queue_at, step == Step::Blocked);
                    self.wakeup.wait(until.saturating_duration_since(Instant::now()));
                }
            }
        }
    }

    fn subscribe(&self) -> Result<(), SourceError> {
        let topics: Vec<&str> = self.options.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| SourceError::Client(explain(&error)))
    }

    fn commands_say_close(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Restart(partition) => self.restart(&[partition]),
                Command::RestartAll => {
                    let all: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
                    self.restart(&all);
                }
                Command::Subscribe(topics) => {
                    for topic in topics {
                        if !self.options.topics.contains(&topic) {
                            self.options.topics.push(topic);
                        }
                    }
                    if let Err(error) = self.subscribe() {
                        tracing::error!(%error, "cannot subscribe to more topics");
                    }
                }
                Command::Close => return true,
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
        let trouble = Trouble::new(kind, code, words, &self.consumer_servers());
        if self.trouble.as_ref().is_none_or(|known| known.message != trouble.message) {
            self.handler.connection(Some(&trouble.message));
        }
        self.trouble = Some(trouble);
    }

    fn consumer_servers(&self) -> String {
        self.options.topics.join(", ")
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        if self.trouble.as_ref().is_some_and(|trouble| trouble.kind == Kind::Group) {
            self.well_again();
        }
        // Answers the group now; each partition joins the assignment with its offset as soon as that is known.
        let answered = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Eager => self.consumer.assign(&TopicPartitionList::new()),
            _ => self.consumer.incremental_assign(&TopicPartitionList::new()),
        };
        if let Err(error) = answered {
            self.fatal = Some(SourceError::Fatal(format!("an assignment was refused: {}", explain(&error))));
            return;
        }
        self.ask(partitions);
        self.share_owned();
    }

    /// Asks where the partitions stand, in one question.
    fn ask(&mut self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let mut numbered = Vec::with_capacity(partitions.len());
        for partition in partitions {
            self.next_number += 1;
            let entry = Partition { number: self.next_number, state: State::Asked };
            self.partitions.insert(partition.clone(), entry);
            numbered.push((partition, self.next_number));
        }
        self.question(Question::Where(numbered));
    }

    fn question(&self, question: Question) {
        if let Some(lookup) = &self.lookup {
            lookup.ask(question);
        }
    }

    fn revoked(&mut self, partitions: Vec<TopicPartition>) {
        let lost = self.consumer.assignment_lost();
        let reading: Vec<TopicPartition> = partitions
            .iter()
            .filter(|partition| {
                self.partitions.get(partition).is_some_and(|owned| matches!(owned.state, State::Reading(_)))
            })
            .cloned()
            .collect();
        if !reading.is_empty() {
            if lost {
                self.handler.lost(&reading);
            } else {
                self.handler.revoking(&reading, self.options.revoke_grace);
            }
        }
        for partition in &partitions {
            self.partitions.remove(partition);
        }
        self.share_owned();
        let answered = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Eager => self.consumer.unassign(),
            _ => self.consumer.incremental_unassign(&list(&reading)),
        };
        if let Err(error) = answered {
            self.fatal = Some(SourceError::Fatal(format!("a revocation was refused: {}", explain(&error))));
        }
    }

    /// Starts partitions again from what is committed.
    fn restart(&mut self, partitions: &[TopicPartition]) {
        let owned: Vec<TopicPartition> =
            partitions.iter().filter(|partition| self.partitions.contains_key(partition)).cloned().collect();
        let reading: Vec<TopicPartition> = owned
            .iter()
            .filter(|partition| matches!(self.partitions[*partition].state, State::Reading(_)))
            .cloned()
            .collect();
        self.stop_reading(&reading);
        self.ask(owned);
    }

    /// Takes partitions out of the assignment and drops their sinks; the group still counts them as ours.
    fn stop_reading(&mut self, partitions: &[TopicPartition]) {
        if partitions.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.incremental_unassign(&list(partitions)) {
            self.fatal = Some(SourceError::Fatal(format!("a restart was refused: {}", explain(&error))));
        }
        for partition in partitions {
            if let Some(owned) = self.partitions.get_mut(partition) {
                owned.state = State::Stopped;
            }
        }
    }

    fn serve_answers(&mut self) {
        while let Some(answer) = self.lookup.as_ref().and_then(Lookup::answer) {
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

    fn well_again(&mut self) {
        self.trouble = None;
        self.handler.connection(None);
    }

    /// The broker's answer came: lets the handler choose where to begin, and reads from there.
    fn begin(&mut self, partition: &TopicPartition, found: Result<Assigned, String>) {
        let begun = found.and_then(|assigned| {
            let (log_start, log_end) = (assigned.log_start, assigned.log_end);
            let (from, sink) = self.handler.assigned(partition, assigned)?;
            Ok((from, sink, log_start, log_end))
        });
        let (from, mut sink, log_start, log_end) = match begun {
            Ok(begun) => begun,
            Err(why) => {
                tracing::warn!(%partition, why, retry_seconds = self.options.retry.as_secs_f64(), "partition not started");
                self.set_state(partition, State::Retry(Instant::now() + self.options.retry));
                return;
            }
        };
        if from < log_start || from > log_end {
            drop(sink);
            self.stop_out_of_range(partition, from, &format!("the log holds {log_start} to {log_end}"));
            return;
        }
        let Some(queue) = PartitionQueue::split(&self.consumer, partition, &self.wakeup) else {
            self.fatal = Some(SourceError::Fatal(format!("{partition} has no queue")));
            return;
        };
        let wakeup = Arc::clone(&self.wakeup);
        sink.wake_with(Arc::new(move || wakeup.wake()));
        let assigned =
            offset_list(partition, from).and_then(|assignment| self.consumer.incremental_assign(&assignment));
        match assigned {
            Ok(()) => self.set_state(partition, State::Reading(Reader::new(queue, sink, from))),
            Err(error) => {
                tracing::warn!(%partition, error = explain(&error), "partition not started");
                self.set_state(partition, State::Retry(Instant::now() + self.options.retry));
            }
        }
    }

    fn set_state(&mut self, partition: &TopicPartition, state: State) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.state = state;
        }
    }

    fn stop_out_of_range(&mut self, partition: &TopicPartition, from: i64, found: &str) {
        let why = format!(
            "offset {from} of {partition} is not in the log ({found}). Records between may be lost (retention, a topic made \
             anew). Reading of this partition stops rather than skip them silently: set the group's offset with \
             kafka-consumer-groups --reset-offsets to where it should go on, remove this partition's snapshots, and \
             start again"
        );
        self.set_state(partition, State::Stopped);
        tracing::error!(%partition, "{why}");
        self.handler.stopped(partition, &why);
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
        if ask {
            self.question(Question::Well(self.options.topics.clone()));
        }
    }

    /// One look at every partition, in turn, one batch each.
    fn serve_partitions(&mut self, now: Instant) -> Step {
        let (mut moved, mut blocked, mut epochs) = (false, false, false);
        let mut failed = Vec::new();
        for (partition, owned) in &mut self.partitions {
            let State::Reading(reader) = &mut owned.state else { continue };
            let epoch = reader.leader_epoch;
            match reader.step(&mut self.scratch, &self.options, now) {
                Step::Moved => moved = true,
                Step::Idle => {}
                Step::Blocked => blocked = true,
                Step::Failed(code, words) => failed.push((partition.clone(), reader.next, code, words)),
            }
            epochs |= reader.leader_epoch != epoch;
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
            self.stop_out_of_range(partition, next, words);
        } else {
            // The library goes on trying; what it says is told until the topic is well again. An error taken in a batch
            // moves the library's position as a record would: the partition is put back to where it really is.
            self.failed(code, words);
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

    fn share_owned(&self) {
        let mut owned = self.shared.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.clear();
        owned.extend(self.partitions.iter().map(|(partition, entry)| {
            let epoch = if let State::Reading(reader) = &entry.state { reader.leader_epoch } else { -1 };
            (partition.clone(), epoch)
        }));
    }

    fn sleep_until(&self, main_queue_at: Instant, blocked: bool) -> Instant {
        let now = Instant::now();
        let retries = self.partitions.values().filter_map(|owned| match &owned.state {
            State::Retry(at) => Some(*at),
            State::Reading(reader) => reader.due(now),
            _ => None,
        });
        let trouble = self.trouble.as_ref().and_then(|trouble| trouble.ask_at);
        let blocked = blocked.then(|| now + BLOCKED_WAIT);
        retries.chain(trouble).chain(blocked).fold(main_queue_at, Instant::min)
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

fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

fn offset_list(partition: &TopicPartition, offset: i64) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))?;
    Ok(list)
}
