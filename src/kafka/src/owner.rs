//! Who committed a partition's offset: signed into the offset's metadata with each transaction, and not signed with the last
//! one of a partition that leaves in order. And of which topic it is, where one of the same name is made anew.
//!
//! So an instance that gets a partition knows whether its last owner was still at work when it fell silent, and by which name.
//! What that one has left open would hold up readers of the outputs, and the partition itself, until the transaction's time
//! is over; whoever takes the name settles it at once, and shuts a former owner out that only seemed to be dead.

use crate::cluster::{Cluster, ProducerKind, explain};
use crate::delivery::DeliveryContext;
use crate::log::QuietContext;
use crate::partition_list::list;
use crate::publishing::Publishing;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, Producer};
use std::collections::BTreeSet;
use std::time::Duration;
use tidecast_event::TopicPartition;

/// Stands before the topic's id.
const TOPIC: &str = " of=";
/// Stands before the owner's name, at the end of the metadata.
const OWNER: &str = " by=";
/// Most bytes that a broker takes as metadata by default.
const METADATA_MAX: usize = 4_096;

/// A committed offset's metadata and what is signed into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    /// As it was given.
    pub metadata: &'a str,
    /// The topic that the offset is of: in another of its name it means nothing.
    pub topic: Option<u128>,
    /// Who committed it.
    pub owner: Option<&'a str>,
}

impl<'a> Signed<'a> {
    /// The text to commit; signatures are left out where there is no room for them, the owner's first.
    pub fn text(&self) -> String {
        let mut text = self.metadata.to_owned();
        let topic = self.topic.map(|id| format!("{TOPIC}{id:032x}"));
        let owner = self.owner.map(|name| format!("{OWNER}{name}"));
        for signature in [topic, owner].into_iter().flatten() {
            if text.len() + signature.len() <= METADATA_MAX {
                text.push_str(&signature);
            }
        }
        text
    }

    /// Reads what was committed.
    pub fn read(text: &'a str) -> Self {
        let (text, owner) = match text.rsplit_once(OWNER) {
            Some((text, owner)) => (text, Some(owner)),
            None => (text, None),
        };
        let topic = text.rsplit_once(TOPIC);
        match topic.and_then(|(metadata, id)| Some((metadata, u128::from_str_radix(id, 16).ok()?))) {
            Some((metadata, id)) => Signed { metadata, topic: Some(id), owner },
            None => Signed { metadata: text, topic: None, owner },
        }
    }
}

/// Makes a producer's transactional name its own, which settles whatever an earlier holder left open. `topic` is one that it
/// may ask about.
pub(crate) fn take_name(
    producer: &BaseProducer<DeliveryContext>,
    topic: Option<&str>,
    within: Duration,
) -> KafkaResult<()> {
    // The client's search for the coordinator looks again after half a second where no broker is connected yet. A question
    // that fails is told by what follows.
    let _ = producer.client().fetch_metadata(topic, within);
    producer.init_transactions(within)
}

/// Settles what former owners have left open.
pub(crate) struct Settler {
    cluster: Cluster,
    /// This instance's own name: its publisher settles what an earlier life of it left.
    own: String,
    /// Sees offsets although a transaction is open on them.
    reader: Option<BaseConsumer<QuietContext>>,
}

impl Settler {
    pub fn new(cluster: &Cluster, own: &str) -> Self {
        Settler { cluster: cluster.clone(), own: own.to_owned(), reader: None }
    }

    /// Settles what former owners of these partitions have open. What cannot be done is over by itself when the
    /// transaction's time is.
    pub fn settle(&mut self, partitions: &[TopicPartition], within: Duration) {
        let owners = match self.owners(partitions, within) {
            Ok(owners) => owners,
            Err(why) => return tracing::debug!(why, "who had these partitions is not known"),
        };
        for owner in owners {
            match self.settle_owner(&owner, partitions, within) {
                Ok(()) => tracing::info!(owner, "what the former owner had open is settled"),
                Err(why) => {
                    tracing::warn!(owner, why, "what the former owner has open ends by its own time");
                }
            }
        }
    }

    fn owners(
        &mut self,
        partitions: &[TopicPartition],
        within: Duration,
    ) -> Result<BTreeSet<String>, String> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let config = self.cluster.reader_config(&self.cluster.options().group_id, "read_uncommitted");
                BaseConsumer::from_config_and_context(&config, QuietContext::default())
                    .map_err(|error| explain(&error))?
            }
        };
        let answer = reader.committed_offsets(list(partitions), within).map_err(|error| explain(&error))?;
        self.reader = Some(reader);
        let owner = |metadata: &str| Signed::read(metadata).owner.map(str::to_owned);
        let owners = answer.elements().iter().filter_map(|element| owner(element.metadata())).collect();
        Ok(BTreeSet::difference(&owners, &BTreeSet::from([self.own.clone()])).cloned().collect())
    }

    fn settle_owner(
        &self,
        owner: &str,
        partitions: &[TopicPartition],
        within: Duration,
    ) -> Result<(), String> {
        let config = self.cluster.producer_config(ProducerKind::Transactional(owner));
        let producer: BaseProducer<DeliveryContext> =
            BaseProducer::from_config_and_context(&config, DeliveryContext::new(Publishing::default()))
                .map_err(|error| explain(&error))?;
        let topic = partitions.first().map(|partition| &*partition.topic);
        take_name(&producer, topic, within).map_err(|error| explain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_found_again_and_nothing_else() {
        for metadata in ["", "1 41=i0 97=i0,2?"] {
            for topic in [None, Some(7), Some(u128::MAX)] {
                for owner in [None, Some("group-worker-0"), Some("of=1 worker")] {
                    let signed = Signed { metadata, topic, owner };
                    assert_eq!(Signed::read(&signed.text()), signed);
                }
            }
        }
        let full = "x".repeat(METADATA_MAX - 40);
        let of_topic = Signed { metadata: &full, topic: Some(7), owner: None };
        assert_eq!(Signed { owner: Some("nobody"), ..of_topic }.text(), of_topic.text());
        let full = "x".repeat(METADATA_MAX);
        assert_eq!(Signed { metadata: &full, ..of_topic }.text(), full);
    }
}
