//! The consumer group: who has which partition, moved one by one as cooperative rebalancing does.

use crate::broker::Broker;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidecast_event::TopicPartition;
use tokio::sync::Notify;

/// What a member is told.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Partitions that are its own now.
    pub assign: Vec<TopicPartition>,
    /// Partitions to give back.
    pub revoke: Vec<TopicPartition>,
    /// Partitions to start again from what is committed.
    pub restart: BTreeSet<TopicPartition>,
    /// The group has gone on without it.
    pub lost: bool,
}

/// Where a member is told.
#[derive(Debug, Default)]
pub struct Inbox {
    wanted: Mutex<Wanted>,
    /// Something came, or a sink has room.
    pub woken: Notify,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is.
    pub fn take(&self) -> Wanted {
        std::mem::take(&mut *self.lock())
    }

    /// Asks for a partition to be started again.
    pub fn restart(&self, partition: &TopicPartition) {
        self.lock().restart.insert(partition.clone());
        self.woken.notify_one();
    }

    fn tell(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.lock());
        self.woken.notify_one();
    }
}

/// The coordinator's view.
#[derive(Debug, Default)]
pub struct Group {
    owners: BTreeMap<TopicPartition, Option<String>>,
    leaving: BTreeSet<TopicPartition>,
    inboxes: BTreeMap<String, Arc<Inbox>>,
}

impl Group {
    /// A group that reads these partitions.
    pub fn new(partitions: impl Iterator<Item = TopicPartition>) -> Self {
        Group { owners: partitions.map(|partition| (partition, None)).collect(), ..Group::default() }
    }

    /// A member comes.
    pub fn join(&mut self, broker: &mut Broker, member: &str, inbox: Arc<Inbox>) {
        self.inboxes.insert(member.to_owned(), inbox);
        self.rebalance(broker);
    }

    /// A member is silent for too long, or leaves having given back all.
    pub fn remove(&mut self, broker: &mut Broker, member: &str) {
        let Some(inbox) = self.inboxes.remove(member) else { return };
        broker.members.remove(member);
        for (partition, owner) in &mut self.owners {
            if owner.as_deref() == Some(member) {
                *owner = None;
                self.leaving.remove(partition);
            }
        }
        inbox.tell(|wanted| wanted.lost = true);
        self.rebalance(broker);
    }

    /// Whether the group counts on a member.
    pub fn has(&self, member: &str) -> bool {
        self.inboxes.contains_key(member)
    }

    /// A member has given partitions back.
    pub fn revoked(&mut self, broker: &mut Broker, member: &str, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(owner) = self.owners.get_mut(partition)
                && owner.as_deref() == Some(member)
            {
                *owner = None;
                self.leaving.remove(partition);
            }
        }
        self.rebalance(broker);
    }

    fn load(&self, member: &str) -> usize {
        let of = |(partition, owner): &(&TopicPartition, &Option<String>)| {
            owner.as_deref() == Some(member) && !self.leaving.contains(*partition)
        };
        self.owners.iter().filter(of).count()
    }

    fn rebalance(&mut self, broker: &mut Broker) {
        broker.generation += 1;
        let generation = broker.generation;
        for member in self.inboxes.keys() {
            broker.members.insert(member.clone(), generation);
        }
        let members: Vec<String> = self.inboxes.keys().cloned().collect();
        let free: Vec<TopicPartition> =
            self.owners.iter().filter(|(_, owner)| owner.is_none()).map(|(p, _)| p.clone()).collect();
        for partition in free {
            let Some(least) = members.iter().min_by_key(|member| self.load(member)) else { return };
            self.inboxes[least].tell(|wanted| wanted.assign.push(partition.clone()));
            self.owners.insert(partition, Some(least.clone()));
        }
        let most = self.owners.len().div_ceil(members.len().max(1));
        for member in &members {
            for _ in most..self.load(member) {
                let surplus = self.owners.iter().rev().find(|(partition, owner)| {
                    owner.as_deref() == Some(member) && !self.leaving.contains(*partition)
                });
                let Some(partition) = surplus.map(|(partition, _)| partition.clone()) else { break };
                self.inboxes[member].tell(|wanted| wanted.revoke.push(partition.clone()));
                self.leaving.insert(partition);
            }
        }
    }
}
