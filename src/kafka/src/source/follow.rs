//! A source that follows: it is in no group, reads the partitions that it is told to, and asks a few times a second how far the
//! group is with them.

use super::partition::State;
use super::thread::SourceLoop;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidecast_event::TopicPartition;
use tidecast_ports::source::Committed;

/// Between two questions: how far behind its owner a followed partition is at most, beside what the owner holds back.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl SourceLoop {
    /// Begins to follow what is new, and lets go what is not wanted any more.
    pub(super) fn follow(
        &mut self,
        follow: Option<BTreeSet<TopicPartition>>,
        let_go: BTreeSet<TopicPartition>,
    ) {
        let unwanted = |partition: &TopicPartition| {
            let_go.contains(partition) || follow.as_ref().is_some_and(|wanted| !wanted.contains(partition))
        };
        let gone: Vec<TopicPartition> =
            self.partitions.keys().filter(|partition| unwanted(partition)).cloned().collect();
        if !gone.is_empty() {
            self.revoked(gone);
        }
        let new = follow.into_iter().flatten().filter(|wanted| !self.partitions.contains_key(wanted));
        let new: Vec<TopicPartition> = new.collect();
        if !new.is_empty() {
            self.assigned(new);
            self.ask_committed_at.get_or_insert_with(Instant::now);
        }
    }

    /// Asks how far the group is, when it is time.
    pub(super) fn ask_committed(&mut self, now: Instant) {
        if self.ask_committed_at.is_none_or(|at| now < at) {
            return;
        }
        let reading = self.partitions.iter().filter(|(_, owned)| matches!(owned.state, State::Reading(_)));
        let reading: Vec<TopicPartition> = reading.map(|(partition, _)| partition.clone()).collect();
        self.ask_committed_at = (!self.partitions.is_empty()).then(|| now + ASK_EVERY);
        if let Some(lookup) = self.lookup.as_ref().filter(|_| !reading.is_empty()) {
            lookup.ask_committed(reading);
        }
    }

    pub(super) fn tell_committed(&mut self, committed: Vec<(TopicPartition, Committed)>) {
        for (partition, committed) in committed {
            if self.partitions.contains_key(&partition) {
                self.handler.committed(&partition, committed);
            }
        }
    }
}
