//! What a partition begins with: its state at or before the commit, from a snapshot or anew. Reading it can take long and
//! starts nothing, so that it is done beside the work of the other partitions.

use crate::decisions::Decisions;
use crate::intake::Intake;
use crate::messages::{ModelRecord, SnapshotParts};
use crate::snapshots;
use crate::topology::TopologyParts;
use tidecast_event::TopicPartition;
use tidecast_ports::source::Assigned;

/// Where the state came from, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// There was none: the log is read from its start.
    Log,
    /// A snapshot.
    Snapshot,
    /// It was followed here.
    Standby,
}

/// A partition's state as its next life begins with it.
pub struct Restored {
    /// First offset to be read.
    pub start: i64,
    /// Committed offset: records before it are a replay.
    pub committed: i64,
    /// Decisions committed with it.
    pub decisions: Decisions,
    /// Windows.
    pub intake: Box<dyn Intake>,
    /// Models.
    pub models: Vec<ModelRecord>,
    /// Where it came from.
    pub from: From,
}

/// The state for what the broker said.
pub struct Prepared {
    /// What it said.
    pub broker: Assigned,
    /// The state; or why the partition cannot begin now.
    pub state: Result<Restored, String>,
}

impl TopologyParts {
    /// Reads a partition's state. Waits for disks and networks.
    pub(crate) fn prepare(&self, partition: &TopicPartition, broker: Assigned) -> Prepared {
        let state = self.restore(partition, &broker);
        Prepared { broker, state }
    }

    fn restore(&self, partition: &TopicPartition, broker: &Assigned) -> Result<Restored, String> {
        let committed = broker.committed.as_ref().map_or(broker.log_start, |committed| committed.offset);
        let metadata = broker.committed.as_ref().map_or("", |committed| committed.metadata.as_str());
        let found = self.newest(partition, committed, broker.topic_id)?;
        let log_start = broker.log_start;
        // Where the log begins after the commit, records are gone that nobody has read: the source stops there, and says so.
        let first = log_start.min(committed);
        if broker.committed.is_some() && first > 0 {
            match &found {
                Some((offset, _, _)) if *offset < first => tracing::warn!(
                    %partition,
                    committed,
                    snapshot = offset,
                    log_start,
                    "the log no longer has {} records between the snapshot and the commit: windows that were open then go on \
                     without them",
                    first - offset
                ),
                Some(_) => {}
                None => tracing::warn!(
                    %partition,
                    committed,
                    log_start,
                    "there is no snapshot and the log no longer begins at 0: windows that were open are rebuilt from what the \
                     log still has"
                ),
            }
        }
        let (start, parts, from) = match found {
            Some((offset, parts, from)) => (offset.max(first), Some(parts), from),
            None => (first, None, From::Log),
        };
        let intake = (self.intakes)(partition, parts.as_ref().map(|parts| parts.aggregation.bytes()))?;
        Ok(Restored {
            start,
            committed,
            decisions: Decisions::parse(metadata),
            intake,
            models: parts.map(|parts| parts.models).unwrap_or_default(),
            from,
        })
    }

    fn newest(
        &self,
        partition: &TopicPartition,
        committed: i64,
        topic_id: Option<u128>,
    ) -> Result<Option<(i64, SnapshotParts, From)>, String> {
        let of_another =
            |parts: &SnapshotParts| parts.topic_id.zip(topic_id).is_some_and(|(of, id)| of != id);
        if let Some((offset, parts)) =
            self.standby.as_ref().and_then(|standby| standby.take(partition, committed))
            && !of_another(&parts)
        {
            return Ok(Some((offset, parts, From::Standby)));
        }
        let mut at_most = committed;
        loop {
            let found = self.store.newest(partition, at_most)?;
            for passed in &found.passed_over {
                tracing::warn!(%partition, passed, "a snapshot is damaged and was passed over");
                self.house.metrics.snapshots.with_label_values(&["damaged"]).inc();
            }
            let Some(found) = found.snapshot else { return Ok(None) };
            let parts = snapshots::decode(found.state)?;
            if !of_another(&parts) {
                return Ok(Some((found.offset, parts, From::Snapshot)));
            }
            tracing::info!(%partition, offset = found.offset, "a snapshot is of a topic of this name that is no more");
            at_most = found.offset - 1;
        }
    }
}
