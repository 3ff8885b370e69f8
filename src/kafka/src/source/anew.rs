//! Topics that are deleted and made anew while they are read. Kafka's offsets begin at 0 again, and nothing in a fetch says so:
//! where the new topic has come past the old place it would be read on from there, and what lies before would be lost.

use super::thread::SourceLoop;
use crate::native::TopicIds;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;

/// Between two looks: so long the new topic may be read from the old place, before it is read from its beginning.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl SourceLoop {
    /// Asks which topics there are, when it is time.
    pub(super) fn ask_topics(&mut self, now: Instant) {
        if now < self.ask_topics_at {
            return;
        }
        self.ask_topics_at = now + LOOK_EVERY;
        let topics: BTreeSet<&str> = self.partitions.keys().map(|partition| &*partition.topic).collect();
        if let Some(lookup) = self.lookup.as_ref().filter(|_| !topics.is_empty()) {
            lookup.ask_topics(topics.into_iter().map(str::to_owned).collect());
        }
    }

    /// Begins partitions again whose topic is another by now. Whoever committed their offsets signed the former one's id.
    pub(super) fn compare_topics(&mut self, ids: &TopicIds) {
        let mut anew: Vec<TopicPartition> = Vec::new();
        let mut learnt = false;
        for (partition, owned) in &mut self.partitions {
            let Some(is) = ids.get(&*partition.topic).filter(|_| owned.is_begun()) else { continue };
            match owned.topic_id {
                Some(was) if was != *is => anew.push(partition.clone()),
                Some(_) => {}
                // It was not told when the partition was begun.
                None => (owned.topic_id, learnt) = (Some(*is), true),
            }
        }
        if learnt {
            self.share_owned();
        }
        if !anew.is_empty() {
            tracing::warn!(partitions = ?anew, "a topic was made anew while it was read: it is read from its beginning");
            self.restart(&anew);
        }
        for (partition, from, found) in std::mem::take(&mut self.out_of_range) {
            // Restarted meanwhile, or gone.
            let waits = self.partitions.get(&partition).is_some_and(|owned| owned.is_stopped());
            if waits && !anew.contains(&partition) {
                self.stop_out_of_range(&partition, from, &found);
            }
        }
    }
}
