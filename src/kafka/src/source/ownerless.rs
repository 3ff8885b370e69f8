//! Partitions that no member of the group has. A cooperative rebalance takes a partition from one member, and gives it to another in
//! the next, for which the first has to ask. Where it dies in between, and is back under its lasting name before its session is
//! over, the brokers see the member that they know and share out nothing: the partition is nobody's for good. So each member
//! looks, and one of them makes the group share out anew.

use super::thread::SourceLoop;
use crate::native::member_id;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;

/// Between two looks while the assignment has changed lately.
const SOON: Duration = Duration::from_secs(5);
/// Between two looks while something is wrong.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two looks while nothing changes.
const SELDOM: Duration = Duration::from_secs(60);
/// How long a change is a late one.
const LATELY: Duration = Duration::from_secs(60);
/// How long the subscription is another than it should be: the group notices by the next heartbeats.
const ANOTHER: Duration = Duration::from_secs(3);

/// What a group that stands still has not shared out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Partitions of the topics asked for that are no member's.
    pub ownerless: BTreeSet<TopicPartition>,
    /// Members.
    pub members: usize,
    /// Which of them, in the order of their ids, this one is.
    pub place: Option<usize>,
}

/// What one member knows of it.
pub(super) struct Watch {
    ask_at: Instant,
    changed_at: Instant,
    ownerless: BTreeSet<TopicPartition>,
    /// Looks in a row that found the same partitions without an owner.
    seen: usize,
    /// Until when the subscription is another.
    another_until: Option<Instant>,
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Watch {
            ask_at: now + SOON,
            changed_at: now,
            ownerless: BTreeSet::new(),
            seen: 0,
            another_until: None,
        }
    }

    /// The assignment changed.
    pub fn changed(&mut self, now: Instant) {
        self.changed_at = now;
        self.ask_at = self.ask_at.min(now + SOON);
    }

    /// Takes in what a look found; true when it is this member's turn to do something. They take turns: one of them may hang.
    fn told(&mut self, found: Option<Shares>) -> bool {
        let Some(Shares { ownerless, members, place }) = found else {
            (self.seen, self.ownerless) = (0, BTreeSet::new());
            return false;
        };
        let still = !self.ownerless.is_disjoint(&ownerless);
        self.seen = if still { self.seen + 1 } else { usize::from(!ownerless.is_empty()) };
        self.ownerless = ownerless;
        self.seen >= 2 && place == Some((self.seen - 2) % members.max(1))
    }
}

impl SourceLoop {
    /// Asks how the group has shared out, when it is time.
    pub(super) fn ask_shares(&mut self, now: Instant) {
        if self.watch.another_until.is_some_and(|until| until <= now) {
            self.watch.another_until = None;
            if let Err(error) = self.subscribe() {
                tracing::error!(%error, "cannot subscribe to the input alone again");
            }
        }
        if now < self.watch.ask_at || self.options.spare_topic.is_none() || self.options.follows {
            return;
        }
        let lately = now.saturating_duration_since(self.watch.changed_at) < LATELY;
        self.watch.ask_at = now + if lately { SOON } else { SELDOM };
        if let Some(lookup) = &self.lookup {
            lookup.ask_shares(self.group_id.clone(), self.options.topics.clone());
        }
    }

    /// Makes the group share out anew where it left partitions to nobody.
    pub(super) fn shares_told(&mut self, found: Option<Shares>) {
        let turn = self.watch.told(found);
        if self.watch.seen > 0 {
            self.watch.ask_at = Instant::now() + AGAIN;
        }
        let Some(spare) =
            self.options.spare_topic.clone().filter(|_| turn && self.watch.another_until.is_none())
        else {
            return;
        };
        tracing::warn!(partitions = ?self.watch.ownerless, "no member of the group has these partitions, and the brokers do not see \
            it: the group is made to share out anew");
        // The library joins again for another subscription, and for nothing else that could be asked of it.
        let topics: Vec<&str> = self.options.topics.iter().map(String::as_str).chain([&*spare]).collect();
        match self.consumer.subscribe(&topics) {
            Ok(()) => self.watch.another_until = Some(Instant::now() + ANOTHER),
            Err(error) => {
                tracing::warn!(%error, "the group could not be made to share out anew; trying again")
            }
        }
    }
}

/// How a group has shared out these topics; `None` while it does so, and where that cannot be known.
pub(super) fn shares<C>(
    consumer: &BaseConsumer<C>,
    group: &str,
    topics: &[String],
    within: Duration,
) -> Option<Shares>
where
    C: ConsumerContext + ClientContext + 'static,
{
    let groups = consumer.fetch_group_list(Some(group), within).ok()?;
    let group = groups.groups().iter().find(|found| found.name() == group && found.state() == "Stable")?;
    let mut owned: BTreeSet<TopicPartition> = BTreeSet::new();
    for member in group.members() {
        owned.extend(assignment(member.assignment().unwrap_or_default())?);
    }
    let mut ownerless = BTreeSet::new();
    for topic in topics {
        let of_topic = partitions(consumer, topic, within).ok()?;
        ownerless.extend(of_topic.into_iter().filter(|partition| !owned.contains(partition)));
    }
    let mut members: Vec<&str> = group.members().iter().map(|member| member.id()).collect();
    members.sort_unstable();
    let own = member_id(consumer);
    let place = members.iter().position(|id| own.as_deref() == Some(*id));
    Some(Shares { ownerless, members: members.len(), place })
}

fn partitions<C>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    within: Duration,
) -> KafkaResult<Vec<TopicPartition>>
where
    C: ConsumerContext + 'static,
{
    let metadata = consumer.fetch_metadata(Some(topic), within)?;
    let found = metadata.topics().iter().flat_map(|found| found.partitions());
    Ok(found.map(|partition| TopicPartition::new(topic, partition.id())).collect())
}

/// Reads a member's assignment (`ConsumerProtocolAssignment` of the Kafka protocol; what its later versions add comes after).
fn assignment(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = bytes.get(2..)?;
    let mut partitions = Vec::new();
    for _ in 0..number(&mut rest)? {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?)).ok()?;
        let topic = std::str::from_utf8(take(&mut rest, length)?).ok()?;
        for _ in 0..number(&mut rest)? {
            partitions.push(TopicPartition::new(topic, number(&mut rest)?));
        }
    }
    Some(partitions)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(ownerless: &[i32], place: usize) -> Option<Shares> {
        let ownerless = ownerless.iter().map(|partition| TopicPartition::new("t", *partition)).collect();
        Some(Shares { ownerless, members: 2, place: Some(place) })
    }

    #[test]
    fn members_take_turns_where_a_partition_stays_without_an_owner() {
        let mut watch = Watch::new(Instant::now());
        let mut told = |found| watch.told(found);
        assert!(!told(shares(&[1], 0)), "it may be on its way");
        assert!(told(shares(&[1, 2], 0)));
        assert!(!told(shares(&[1], 0)), "the other's turn");
        assert!(told(shares(&[1], 0)));
        assert!(!told(None), "the group shares out");
        assert!(!told(shares(&[1], 0)));
        assert!(!told(shares(&[3], 0)), "another");
        assert!(!told(shares(&[3], 1)) && told(shares(&[3], 1)));
        assert!(!told(shares(&[], 0)) && !told(shares(&[], 0)));
    }

    #[test]
    fn assignments_are_read() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff";
        let found = assignment(bytes).unwrap();
        let expected = [("a", 0), ("a", 7), ("bc", 1)];
        assert_eq!(found, expected.map(|(topic, partition)| TopicPartition::new(topic, partition)));
        assert_eq!(assignment(b""), Some(Vec::new()));
        assert_eq!(assignment(&bytes[..20]), None);
    }
}
