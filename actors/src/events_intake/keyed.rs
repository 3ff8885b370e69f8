//! Whether events lie where their source is: what is grouped by source is grouped within a partition, so a source that is
//! spread over several has several windows of the same name.

use crate::house::House;
use tidecast_event::TopicPartition;

/// One record in so many is looked at.
const SAMPLE: i64 = 64;

/// Looks at some records' keys.
#[derive(Debug)]
pub(super) struct Keyed {
    /// Nothing can be spread where there is one partition.
    is_needed: bool,
    otherwise: u64,
}

impl Keyed {
    pub fn new(house: &House, partition: &TopicPartition, groups_by_source: bool) -> Self {
        let is_needed = groups_by_source && house.partitions_of(&partition.topic) > 1;
        Keyed { is_needed, otherwise: 0 }
    }

    #[inline]
    pub fn look(&mut self, partition: &TopicPartition, offset: i64, key: Option<&[u8]>, source: &str) {
        if self.is_needed && offset % SAMPLE == 0 && key != Some(source.as_bytes()) {
            self.tell(partition, offset);
        }
    }

    #[cold]
    fn tell(&mut self, partition: &TopicPartition, offset: i64) {
        self.otherwise += 1;
        if self.otherwise.is_power_of_two() {
            tracing::warn!(%partition, offset, "the key of a record is not the source of its event (one in {SAMPLE} is looked at): \
                a source that lies in several partitions gets an aggregate from each. Write events with their source as key");
        }
    }
}
