//! Partitions as librdkafka takes them.

use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidecast_event::TopicPartition;

/// Partitions without offsets.
pub(crate) fn list<'p>(partitions: impl IntoIterator<Item = &'p TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

/// One partition at an offset, or at a time where that is asked about.
pub(crate) fn offset_list(partition: &TopicPartition, offset: i64) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))?;
    Ok(list)
}
