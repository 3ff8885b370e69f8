//! Records that make their partition's actors panic: each is tried a few times, then it is set apart, so that one record
//! does not stop a partition for good.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidecast_event::TopicPartition;

/// How often a record is tried before it goes to the dead letters.
pub const TRIES: u32 = 3;

/// Records of one partition that are remembered; past them the oldest is tried again should it come back.
const REMEMBERED: usize = 1_000;

/// What made the actors of each partition panic. Outlives the actors: a replay may pass the same records again.
#[derive(Debug, Default)]
pub struct Suspects(Mutex<HashMap<TopicPartition, Suspect>>);

#[derive(Debug, Default)]
struct Suspect {
    /// The record that panicked last, and how often one after the other.
    last: Option<(i64, u32)>,
    /// Offsets of those that were tried often enough.
    condemned: BTreeSet<i64>,
    /// One more was condemned, and nobody has asked yet.
    fresh: bool,
}

impl Suspects {
    fn all(&self) -> MutexGuard<'_, HashMap<TopicPartition, Suspect>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processing the record at `offset` panicked: how often now, one after the other.
    pub fn panicked(&self, partition: &TopicPartition, offset: i64) -> u32 {
        let mut all = self.all();
        let suspect = all.entry(partition.clone()).or_default();
        let tries = suspect.last.filter(|(last, _)| *last == offset).map_or(0, |(_, tries)| tries) + 1;
        suspect.last = Some((offset, tries));
        if tries >= TRIES {
            suspect.condemned.insert(offset);
            suspect.fresh = true;
            if suspect.condemned.len() > REMEMBERED {
                suspect.condemned.pop_first();
            }
        }
        tries
    }

    /// The offsets of records that are to be set apart.
    pub fn condemned(&self, partition: &TopicPartition) -> BTreeSet<i64> {
        self.all().get(partition).map(|suspect| suspect.condemned.clone()).unwrap_or_default()
    }

    /// Whether the failure before this call condemned a record: the next life gets past it.
    pub fn take_fresh(&self, partition: &TopicPartition) -> bool {
        self.all().get_mut(partition).is_some_and(|suspect| std::mem::take(&mut suspect.fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_record_is_tried_so_often_and_another_begins_anew() {
        let (suspects, here) = (Suspects::default(), TopicPartition::new("events", 0));
        assert_eq!((suspects.panicked(&here, 7), suspects.panicked(&here, 7)), (1, 2));
        assert_eq!(suspects.panicked(&here, 5), 1, "an earlier one, after a restart");
        assert!(suspects.condemned(&here).is_empty() && !suspects.take_fresh(&here));
        for tries in 1..=TRIES {
            assert_eq!(suspects.panicked(&here, 7), tries);
        }
        assert_eq!(suspects.condemned(&here), [7].into());
        assert!(suspects.take_fresh(&here) && !suspects.take_fresh(&here));
        assert!(suspects.condemned(&TopicPartition::new("events", 1)).is_empty());
        for offset in 0..2 * REMEMBERED as i64 {
            for _ in 0..TRIES {
                suspects.panicked(&here, offset);
            }
        }
        assert_eq!(suspects.condemned(&here).len(), REMEMBERED);
    }
}
