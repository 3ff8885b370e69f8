//! What one batch of one partition became. It goes down the tree and grows at each stage.

use crate::snapshots::Aggregation;
use crate::trace::Trace;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_event::{Aggregate, Alert, Anomaly, EventTime, TopicPartition};
use tidecast_ports::OutputRecord;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A window that closed, or was corrected, in this batch.
#[derive(Debug, Clone)]
pub struct ClosedWindow {
    /// The window.
    pub aggregate: Arc<Aggregate>,
    /// From one window's start to the next's, microseconds; 0 for sessions.
    pub advance_micros: i64,
    /// The newest event of the partition when it closed.
    pub newest: EventTime,
}

/// State of one model, for a snapshot.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ModelRecord {
    /// The model.
    pub model_id: String,
    /// The family of its series.
    pub family: String,
    /// The key of its series.
    pub key: String,
    /// Of the registered object; another one starts the model anew.
    pub fingerprint: u128,
    /// The forecaster's own record.
    pub state: Vec<u8>,
}

/// Offsets of the snapshots of one partition that are on disk, in one life of it: the newest few. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Written(Arc<Mutex<VecDeque<i64>>>);

impl Written {
    /// Snapshots that a store keeps of a partition: what a recovery may fall back to.
    pub const KEPT: usize = 3;

    /// One more is on disk.
    pub fn push(&self, offset: i64) {
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if offsets.len() == Self::KEPT {
            offsets.pop_front();
        }
        offsets.push_back(offset);
    }

    /// The newest.
    pub fn newest(&self) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().copied()
    }

    /// The oldest that a recovery may begin from, once the store holds none from before this life.
    pub fn oldest(&self) -> Option<i64> {
        let offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.front().copied().filter(|_| offsets.len() == Self::KEPT)
    }
}

/// The parts of a snapshot as the stages add them.
#[derive(Debug, Default)]
pub struct SnapshotParts {
    /// Windows, ledger and watermark.
    pub aggregation: Aggregation,
    /// Models.
    pub models: Vec<ModelRecord>,
    /// Told once it is on disk.
    pub written: Written,
    /// The topic that led to it, where the broker tells: a state of another is of no use.
    pub topic_id: Option<u128>,
}

/// Windows that one output may close. A record closes fewer but for thousands of keys.
const ROOM: u64 = 1_024;

/// Everything that follows from a batch: to be published, then committed.
#[derive(Debug)]
pub struct BatchOutput {
    /// The input partition.
    pub partition: TopicPartition,
    /// Which life of the partition's tree this belongs to; outputs of an earlier life are dropped.
    pub life: u64,
    /// Next input offset once this is committed; `None` for what no input led to.
    pub next_offset: Option<i64>,
    /// Decisions to commit with it.
    pub metadata: String,
    /// Metadata to commit before anything in here is said: the decision that led to it, still to be told.
    pub decision: Option<String>,
    /// A replay of what was published before: state changes, nothing is said.
    pub silent: bool,
    /// Windows that may still be closed in it; more wait for the next.
    pub room: u64,
    /// Windows closed or corrected.
    pub closed: Vec<ClosedWindow>,
    /// Anomalies found.
    pub anomalies: Vec<Anomaly>,
    /// Forecasts made, as JSON, with the model that made each; for rules.
    pub forecasts: Vec<ForecastEvent>,
    /// Failures of parts, to be told as `SYSTEM_ERROR`.
    pub troubles: Vec<Alert>,
    /// Records to be written, in order.
    pub records: Vec<OutputRecord>,
    /// A snapshot is taken after this batch.
    pub snapshot: Option<SnapshotParts>,
    /// Told once this is committed: everything before it is, too.
    pub drained: Option<oneshot::Sender<()>>,
    /// When the poll returned.
    pub polled_at: Instant,
    /// Its input is far behind: nobody waits for this, and more of it may be written at once.
    pub backlog: bool,
    /// Input records in it.
    pub input_records: u32,
    /// A sampled event that is on its way with it.
    pub trace: Option<Trace>,
}

/// A forecast as rules see it: the encoded message, decoded only when a rule asks.
#[derive(Debug, Clone)]
pub struct ForecastEvent {
    /// The model.
    pub model_id: Arc<str>,
    /// The forecast message as JSON.
    pub json: bytes::Bytes,
    /// The model was fitted anew with this forecast.
    pub retrained: bool,
}

impl BatchOutput {
    /// Says nothing but that input was read so far.
    pub fn is_bare(&self) -> bool {
        self.records.is_empty()
            && self.closed.is_empty()
            && self.decision.is_none()
            && self.snapshot.is_none()
            && self.drained.is_none()
            && self.trace.is_none()
            && self.next_offset.is_some()
            && !self.silent
    }

    /// Takes the place of a bare one of the same partition before it.
    pub fn follow(&mut self, bare: &BatchOutput) {
        self.polled_at = self.polled_at.min(bare.polled_at);
        self.input_records += bare.input_records;
    }

    /// An output with nothing in it yet.
    pub fn new(partition: TopicPartition, life: u64, next_offset: Option<i64>) -> Self {
        BatchOutput {
            partition,
            life,
            next_offset,
            metadata: String::new(),
            decision: None,
            silent: false,
            room: ROOM,
            closed: Vec::new(),
            anomalies: Vec::new(),
            forecasts: Vec::new(),
            troubles: Vec::new(),
            records: Vec::new(),
            snapshot: None,
            drained: None,
            polled_at: Instant::now(),
            backlog: false,
            input_records: 0,
            trace: None,
        }
    }

    /// Bytes that it holds, about: what bounds how much of a stream is between two stages.
    pub fn weight(&self) -> usize {
        /// An aggregate beside its record, or an anomaly.
        const WINDOW: usize = 512;
        let records = self.records.iter().map(OutputRecord::size).sum::<usize>();
        1 + WINDOW * (self.closed.len() + self.anomalies.len()) + records
    }
}
