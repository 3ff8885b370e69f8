//! A process's producer on the simulated broker. What fails and how is drawn at each step; what a dead process does
//! reaches nobody.

use crate::broker::{Mutation, Refused, Stored};
use crate::process::Life;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::source::Committed;
use tidecast_ports::{Destination, OutputRecord, PublishError, Publisher, Recover};

/// Implements [`Publisher`].
pub struct SimProducer {
    life: Arc<Life>,
    /// The transactional name and its epoch; `None` at least once.
    transactional: Option<(String, u32)>,
    queue: VecDeque<(TopicPartition, Stored)>,
    /// Commits of offsets that were sent and have not arrived.
    under_way: Vec<Vec<(TopicPartition, Committed)>>,
    broken: bool,
}

fn failed(recover: Recover, message: &str) -> PublishError {
    PublishError { recover, message: message.to_owned() }
}

/// The topic of a destination.
pub fn topic(destination: &Destination) -> &str {
    match destination {
        Destination::Aggregates => "streaming-aggregates",
        Destination::Predictions => "ml-predictions",
        Destination::Alerts => "streaming-alerts",
        Destination::Metrics => "streaming-metrics",
        Destination::DeadLetters => "streaming-events-dlq",
        Destination::Topic(name) => name,
    }
}

impl SimProducer {
    /// Makes one, fencing what the slot had before.
    pub fn connect(life: &Arc<Life>) -> Result<SimProducer, PublishError> {
        let mut broker = life.world.broker();
        if !life.is_alive() || broker.away {
            return Err(failed(Recover::Retry, "the broker cannot be reached"));
        }
        let transactional = life.world.plan.exactly_once.then(|| {
            let name = format!("simulated-{}", life.slot);
            let epoch = broker.init_producer(&name);
            life.world.note(format!("{} has the name {name} in epoch {epoch}", life.member()));
            (name, epoch)
        });
        drop(broker);
        Ok(SimProducer {
            life: life.clone(),
            transactional,
            queue: VecDeque::new(),
            under_way: Vec::new(),
            broken: false,
        })
    }

    fn give_up(&mut self, why: &str) -> PublishError {
        self.broken = true;
        self.queue.clear();
        failed(Recover::Restart, why)
    }

    fn refused(&mut self, refused: Refused) -> PublishError {
        self.give_up(match refused {
            Refused::Fenced => "a newer producer has the name",
            Refused::Generation => "the group has gone on without this member",
        })
    }

    /// Sends what is queued, up to `most` records.
    fn send(&mut self, most: usize) -> Result<(), PublishError> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let world = self.life.world.clone();
        let mut broker = world.broker();
        if !self.life.is_alive() || broker.away {
            return Ok(());
        }
        let transaction = match &self.transactional {
            Some((name, epoch)) => match broker.transaction_of(name, *epoch) {
                Ok(transaction) => Some(transaction),
                Err(refusal) => return Err(self.refused(refusal)),
            },
            None => None,
        };
        for _ in 0..most {
            let Some((place, record)) = self.queue.pop_front() else { break };
            if broker.mutation == Some(Mutation::LostOutputs) && world.draw(10) {
                continue;
            }
            // Without transactions a retry may be stored twice.
            if transaction.is_none() && world.draw(world.plan.faults.repeated_record) {
                broker.append(&place, record.clone(), None);
            }
            broker.append(&place, record, transaction);
        }
        Ok(())
    }

    fn offsets(offsets: &[CommitOffset]) -> Vec<(TopicPartition, Committed)> {
        let committed = |of: &CommitOffset| Committed { offset: of.offset, metadata: of.metadata.clone() };
        offsets.iter().map(|of| (of.partition.clone(), committed(of))).collect()
    }

    fn crash(&mut self) -> PublishError {
        self.life.crash();
        self.give_up("the process has died")
    }

    fn commit_transaction(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        let world = self.life.world.clone();
        let Some((name, epoch)) = self.transactional.clone() else { return Ok(()) };
        if !offsets.is_empty() {
            let offsets = Self::offsets(offsets);
            let taken = {
                let mut broker = world.broker();
                if broker.mutation == Some(Mutation::OffsetsFirst) {
                    broker.commit_plain(&self.life.member(), &offsets)
                } else {
                    let begun = broker.transaction_of(&name, epoch);
                    begun.and_then(|begun| broker.add_offsets(begun, &self.life.member(), &offsets))
                }
            };
            if let Err(refusal) = taken {
                return Err(self.refused(refusal));
            }
        }
        if world.draw(world.plan.faults.crash_at_step) {
            return Err(self.crash());
        }
        self.send(usize::MAX)?;
        if world.draw(world.plan.faults.crash_at_step) {
            if world.draw(500) {
                self.end_late(&name, epoch);
            }
            return Err(self.crash());
        }
        if world.draw(world.plan.faults.refused_commit) {
            // The coordinator aborted it, or nobody knows: what is open is settled when the name is taken again.
            if world.draw(500) {
                let _ = world.broker().end_of(&name, epoch, false);
            }
            return Err(self.give_up("the transaction was not committed"));
        }
        let unknown = world.draw(world.plan.faults.unknown_commit);
        if unknown && world.draw(300) {
            return Err(self.give_up("the end of the transaction was not answered, and was not done"));
        }
        if unknown && world.draw(400) {
            self.end_late(&name, epoch);
            return Err(self.give_up("the end of the transaction was not answered, and is done later"));
        }
        if let Err(refusal) = world.broker().end_of(&name, epoch, true) {
            return Err(self.refused(refusal));
        }
        if unknown {
            return Err(self.give_up("the end of the transaction was not answered, and was done"));
        }
        Ok(())
    }

    /// The request is under way for a while: it is carried out if nobody has taken the name meanwhile.
    fn end_late(&self, name: &str, epoch: u32) {
        let (world, name) = (self.life.world.clone(), name.to_owned());
        let late = Duration::from_millis(world.below(2_500));
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let done = world.broker().end_of(&name, epoch, true).is_ok();
            world.note(format!("the late end of a transaction of {name} in epoch {epoch}: {done}"));
        });
    }

    /// Carries out what [`Publisher::commit_async`] left under way.
    fn arrive(&mut self) -> Result<(), PublishError> {
        let world = self.life.world.clone();
        for offsets in std::mem::take(&mut self.under_way) {
            let done = world.broker().commit_plain(&self.life.member(), &offsets);
            if let Err(refusal) = done {
                return Err(self.refused(refusal));
            }
        }
        Ok(())
    }

    fn commit_plain(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        self.arrive()?;
        let world = self.life.world.clone();
        let offsets = Self::offsets(offsets);
        let first = world.broker().mutation == Some(Mutation::OffsetsFirst);
        if first {
            // Refused or not, what follows shows.
            let _ = world.broker().commit_plain(&self.life.member(), &offsets);
            if world.draw(100) {
                return Err(self.crash());
            }
        }
        self.send(usize::MAX)?;
        if world.draw(world.plan.faults.crash_at_step) {
            return Err(self.crash());
        }
        if world.draw(world.plan.faults.refused_commit) {
            return Err(self.give_up("the offsets were not committed"));
        }
        if !offsets.is_empty()
            && let Err(refusal) = world.broker().commit_plain(&self.life.member(), &offsets)
        {
            return Err(self.refused(refusal));
        }
        if world.draw(world.plan.faults.unknown_commit) {
            return Err(self.give_up("the commit of offsets was not answered, and was done"));
        }
        Ok(())
    }
}

impl Publisher for SimProducer {
    fn produce(&mut self, record: &OutputRecord) -> Result<(), PublishError> {
        if self.broken {
            return Err(failed(Recover::Restart, "this producer is broken"));
        }
        let world = self.life.world.clone();
        if world.draw(world.plan.faults.refused_record) {
            // Some of what is queued is out already.
            self.send(world.below(4) as usize)?;
            return Err(self.give_up("a record was not taken"));
        }
        let name = topic(&record.destination);
        let partitions = u64::try_from(world.broker().partitions(name)).unwrap_or(1).max(1);
        let partition = record.partition.unwrap_or_else(|| {
            let key = record.key.as_deref().unwrap_or_default();
            let hash =
                key.iter().fold(7_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
            ((hash >> 20) % partitions) as i32
        });
        let stored = Stored {
            key: record.key.clone(),
            value: record.value.clone(),
            id: record.id,
            headers: record.headers.clone(),
            timestamp_ms: 0,
        };
        self.queue.push_back((TopicPartition::new(name, partition), stored));
        if world.draw(300) {
            self.send(world.below(8) as usize)?;
        }
        Ok(())
    }

    fn commit_async(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        let world = self.life.world.clone();
        let away = !self.life.is_alive() || world.broker().away;
        if self.transactional.is_some() || self.broken || away || !world.draw(700) {
            return self.commit(offsets);
        }
        self.send(usize::MAX)?;
        self.under_way.push(Self::offsets(offsets));
        let what: Vec<String> = offsets.iter().map(|of| format!("{} {}", of.partition, of.offset)).collect();
        world.note(format!("{} sends the commit of {}", self.life.member(), what.join(", ")));
        Ok(())
    }

    fn poll(&mut self) -> Option<Duration> {
        if !self.broken && self.life.is_alive() && !self.life.world.broker().away && self.life.world.draw(300)
        {
            // What is refused shows at the next commit.
            let _ = self.arrive();
        }
        if !self.broken && self.life.world.draw(500) {
            // What the broker refuses shows at the commit.
            let _ = self.send(usize::MAX);
        }
        None
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        if self.broken {
            return Err(failed(Recover::Restart, "this producer is broken"));
        }
        let world = self.life.world.clone();
        if !self.life.is_alive() || world.broker().away {
            return Err(self.give_up("the broker did not answer in time"));
        }
        if world.draw(world.plan.faults.crash_at_step) {
            return Err(self.crash());
        }
        let done = match self.transactional {
            Some(_) => self.commit_transaction(offsets),
            None => self.commit_plain(offsets),
        };
        let what: Vec<String> =
            offsets.iter().map(|of| format!("{} {} {:?}", of.partition, of.offset, of.metadata)).collect();
        let outcome = done.as_ref().map_or_else(|error| error.message.as_str(), |()| "done");
        world.note(format!("{} commits {}: {outcome}", self.life.member(), what.join(", ")));
        if done.is_ok() && world.draw(world.plan.faults.crash_at_step) {
            return Err(self.crash());
        }
        done
    }
}
