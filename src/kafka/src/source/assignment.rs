//! The life of an assignment: asked for, begun, restarted, revoked.

use super::partition::{Partition, Reader, State};
use super::thread::SourceLoop;
use super::trouble::Kind;
use super::{SourceError, Standing};
use crate::cluster::explain;
use crate::native::PartitionQueue;
use crate::partition_list::{list, offset_list};
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::source::Assigned;

/// Partitions that may not be read yet are looked at this often.
const HELD: Duration = Duration::from_millis(5);

impl SourceLoop {
    pub(super) fn assigned(&mut self, mut partitions: Vec<TopicPartition>) {
        self.watch.changed(Instant::now());
        self.keep_input(&mut partitions);
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
    }

    /// Asks where the partitions stand, in one question.
    pub(super) fn ask(&mut self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let held = !self.shared.may_read.load(Ordering::Acquire);
        let mut numbered = Vec::with_capacity(partitions.len());
        for partition in partitions {
            self.next_number += 1;
            let state = if held { State::Retry(Instant::now() + HELD) } else { State::Asked };
            // What its last life still commits is of the topic that it read.
            let topic_id = self.partitions.get(&partition).and_then(|last| last.topic_id);
            let entry = Partition { number: self.next_number, state, topic_id };
            self.partitions.insert(partition.clone(), entry);
            numbered.push((partition, self.next_number));
        }
        // Before anybody begins what others may still think is not ours.
        self.share_owned();
        if let Some(lookup) = self.lookup.as_ref().filter(|_| !held) {
            lookup.ask_where(numbered);
        }
    }

    /// Leaves out what came only with a subscription that was another for a moment.
    fn keep_input(&self, partitions: &mut Vec<TopicPartition>) {
        partitions.retain(|partition| self.options.topics.iter().any(|topic| **topic == *partition.topic));
    }

    pub(super) fn revoked(&mut self, mut partitions: Vec<TopicPartition>) {
        self.watch.changed(Instant::now());
        self.keep_input(&mut partitions);
        let lost = self.consumer.assignment_lost();
        let reading: Vec<TopicPartition> = partitions
            .iter()
            .filter(|partition| {
                self.partitions.get(partition).is_some_and(|owned| matches!(owned.state, State::Reading(_)))
            })
            .cloned()
            .collect();
        // Those not read just now, too: what is told of them ends here.
        if lost {
            self.handler.lost(&partitions);
        } else {
            self.handler.revoking(&partitions, self.options.revoke_grace);
        }
        for partition in &partitions {
            self.partitions.remove(partition);
        }
        self.share_owned();
        self.share_left(&partitions);
        let answered = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Eager => self.consumer.unassign(),
            _ => self.consumer.incremental_unassign(&list(&reading)),
        };
        if let Err(error) = answered {
            self.fatal = Some(SourceError::Fatal(format!("a revocation was refused: {}", explain(&error))));
        }
    }

    /// Starts partitions again from what is committed.
    pub(super) fn restart(&mut self, partitions: &[TopicPartition]) {
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
    pub(super) fn stop_reading(&mut self, partitions: &[TopicPartition]) {
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

    /// The broker's answer came: lets the handler choose where to begin, and reads from there.
    pub(super) fn begin(&mut self, partition: &TopicPartition, found: Result<Assigned, String>) {
        let begun = found.and_then(|assigned| {
            let (log_start, log_end, topic_id) = (assigned.log_start, assigned.log_end, assigned.topic_id);
            let (from, sink) = self.handler.assigned(partition, assigned)?;
            Ok((from, sink, log_start, log_end, topic_id))
        });
        let (from, sink, log_start, log_end, topic_id) = match begun {
            Ok(begun) => begun,
            Err(why) => {
                tracing::warn!(%partition, why, retry_seconds = self.options.retry.as_secs_f64(), "partition not started");
                self.set_state(partition, State::Retry(Instant::now() + self.options.retry));
                return;
            }
        };
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.topic_id = topic_id;
        }
        self.share_owned();
        if from < log_start || from > log_end {
            drop(sink);
            self.stop_out_of_range(partition, from, &format!("the log holds {log_start} to {log_end}"));
            return;
        }
        let Some(queue) = PartitionQueue::split(&self.consumer, partition, &self.wakeup) else {
            self.fatal = Some(SourceError::Fatal(format!("{partition} has no queue")));
            return;
        };
        let assigned =
            offset_list(partition, from).and_then(|assignment| self.consumer.incremental_assign(&assignment));
        match assigned {
            Ok(()) => self.set_state(
                partition,
                State::Reading(Reader::new(queue, sink, from, Arc::clone(&self.wakeup))),
            ),
            Err(error) => {
                tracing::warn!(%partition, error = explain(&error), "partition not started");
                self.set_state(partition, State::Retry(Instant::now() + self.options.retry));
            }
        }
    }

    pub(super) fn set_state(&mut self, partition: &TopicPartition, state: State) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.state = state;
        }
    }

    pub(super) fn stop_out_of_range(&mut self, partition: &TopicPartition, from: i64, found: &str) {
        let why = format!(
            "offset {from} of {partition} is not in the log ({found}). Records between may be lost (retention, a topic made \
             anew). Reading of this partition stops rather than skip them silently: set the group's offset with \
             kafka-consumer-groups --reset-offsets to where it should go on (where the topic was made anew, remove this \
             partition's snapshots, too) and start again"
        );
        self.set_state(partition, State::Stopped);
        tracing::error!(%partition, "{why}");
        self.handler.stopped(partition, &why);
    }

    /// Before the group is told.
    fn share_left(&self, partitions: &[TopicPartition]) {
        let mut left = self.shared.left.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shared.departures.load(Ordering::Acquire);
        left.extend(partitions.iter().map(|partition| (partition.clone(), before)));
        self.shared.departures.store(before + 1, Ordering::Release);
    }

    pub(super) fn share_owned(&self) {
        let mut owned = self.shared.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.clear();
        owned.extend(self.partitions.iter().map(|(partition, entry)| {
            let leader_epoch =
                if let State::Reading(reader) = &entry.state { reader.leader_epoch } else { -1 };
            (partition.clone(), Standing { leader_epoch, topic_id: entry.topic_id })
        }));
    }
}
