//! Outputs on their way to Kafka, and the commit that makes them and the input's offset one.

use crate::source::Wake;
use bytes::Bytes;
use std::time::Duration;
use tidecast_event::{OutputId, TopicPartition};

/// A topic of the house, or one by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// `streaming-aggregates`.
    Aggregates,
    /// `ml-predictions`.
    Predictions,
    /// `streaming-alerts`.
    Alerts,
    /// `streaming-metrics`.
    Metrics,
    /// `streaming-events-dlq`.
    DeadLetters,
    /// A repartition topic, or one named by a `publish` action.
    Topic(std::sync::Arc<str>),
}

/// One record to be written.
#[derive(Debug, Clone)]
pub struct OutputRecord {
    /// Where to.
    pub destination: Destination,
    /// A fixed partition; `None`: by the key's murmur2 hash, as Java's producer does.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Identity of the output, written as header `id`.
    pub id: Option<OutputId>,
    /// More headers, as text.
    pub headers: Vec<(&'static str, Bytes)>,
}

impl OutputRecord {
    /// What a record takes beside its key and value, about.
    pub const OVERHEAD: usize = 128;

    /// Bytes that it takes on the wire at most, headers and framing included.
    pub fn wire_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 10);
        self.size() + headers.sum::<usize>()
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        Self::OVERHEAD + bytes(&self.key) + bytes(&self.value)
    }
}

/// What a failed publish or commit asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recover {
    /// The same call may be made again later.
    Retry,
    /// Outcome unknown or transaction aborted: drop this publisher, make a new one, start every partition again from
    /// its committed offset.
    Restart,
    /// Nothing but an operator's change helps (authorization, a topic that cannot be made).
    Stop,
}

/// Why records were not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PublishError {
    /// What to do.
    pub recover: Recover,
    /// What happened, for the log.
    pub message: String,
}

/// [`Refusal::reason`] of a record larger than Kafka takes.
pub const TOO_LARGE: &str = "too_large";
/// [`Refusal::reason`] of a record for a topic that is not there and cannot be made.
pub const UNKNOWN_TOPIC: &str = "unknown_topic";

/// Why a record cannot be written, now or later, as things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The topic that it was for.
    pub topic: String,
    /// In a word, as in a dead letter.
    pub reason: &'static str,
    /// In words.
    pub detail: String,
    /// Bytes that a record may take on the wire.
    pub bytes_max: usize,
}

/// The offset to commit for one input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffset {
    /// The input partition.
    pub partition: TopicPartition,
    /// Next offset to be processed.
    pub offset: i64,
    /// Decisions, up to 4,096 bytes less what the publisher's name needs.
    pub metadata: String,
    /// The partition leaves in order: nothing of it is under way after this.
    pub last: bool,
}

/// A producer used by one thread. `produce` may be called any time; everything produced since the last commit is
/// acknowledged, or the commit fails.
pub trait Publisher: Send {
    /// Why this record must not be produced: whatever went together with it would fail, and again each time that it is
    /// tried. It is for the caller to say what became of it.
    fn refuses(&mut self, _record: &OutputRecord) -> Option<Refusal> {
        None
    }

    /// Queues a record; it goes out with the next `poll` or `commit`. Waits (serving delivery reports) while too much is
    /// queued.
    fn produce(&mut self, record: &OutputRecord) -> Result<(), PublishError>;

    /// Has `wake` called, from any thread, when there is something for `poll` to do. One that never calls is polled with
    /// what comes to be produced and committed.
    fn wake_with(&mut self, _wake: Wake) {}

    /// The next commit is of partitions that had not left before this: one that leaves from here on is not committed.
    fn mark(&mut self) {}

    /// From here on what is produced is of a backlog, which nobody waits for: more of it may go together. Or no longer.
    fn backlog(&mut self, _backlog: bool) {}

    /// Serves delivery reports and sends what may go, without waiting. Where something is held back for a moment, so
    /// that more goes with it: that moment, after which to call again.
    fn poll(&mut self) -> Option<Duration>;

    /// Waits until every record produced is acknowledged, then commits the offsets: in one transaction with the
    /// records when exactly-once, after them otherwise.
    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError>;

    /// As `commit`, but at least once the answer about the offsets is not waited for: outputs that come meanwhile go on.
    /// Commits are done in the order of the calls, and a failure is told by a later call.
    fn commit_async(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        self.commit(offsets)
    }
}
