//! The commit of a transaction, and what is done where the group's generation moved on meanwhile.
//!
//! A rebalance ends a generation at the broker before its members know the next one. What is committed in between is refused for
//! good: the transaction has to be given up. Its records are still here and lead nowhere else, so they go once more, in a
//! transaction of the next generation, unless a partition that they came from has left meanwhile: others may have it now.

use super::KafkaPublisher;
use crate::delivery::failure;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer, PurgeConfig};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidecast_ports::publish::CommitOffset;
use tidecast_ports::{OutputRecord, PublishError, Recover};

/// Rebalances that one commit may meet.
const TRIES: usize = 4;
/// The next generation is waited for so long: all members have joined it when the last one ends.
pub(super) const NEXT_GENERATION: Duration = Duration::from_secs(3);
/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Bytes of records that are kept until their transaction is committed. Of a larger one nothing is: a rebalance that refuses it
/// costs a restart from the commit before.
const SENT_BYTES_MAX: usize = 16 << 20;

/// The records of the open transaction.
#[derive(Default)]
pub(super) struct Sent {
    records: Vec<OutputRecord>,
    bytes: usize,
}

impl Sent {
    pub fn push(&mut self, record: OutputRecord) {
        self.bytes += record.size();
        if self.is_whole() {
            self.records.push(record);
        } else {
            self.records = Vec::new();
        }
    }

    /// All of them are here.
    fn is_whole(&self) -> bool {
        self.bytes <= SENT_BYTES_MAX
    }

    fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    fn take(&mut self) -> Vec<OutputRecord> {
        self.bytes = 0;
        std::mem::take(&mut self.records)
    }
}

/// The group has begun another generation, or is about to: the same may be taken in the next.
pub(super) fn is_between_generations(error: &KafkaError) -> bool {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    matches!(code, Some(RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::RebalanceInProgress))
}

impl KafkaPublisher {
    pub(super) fn commit_transaction(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        if offsets.is_empty() && !self.begun {
            return Ok(());
        }
        self.begin()?;
        if !offsets.is_empty() {
            self.send_offsets(offsets)?;
        }
        self.settle()?;
        match self.producer.commit_transaction(self.timeout) {
            Ok(()) => {
                self.begun = false;
                self.sent.clear();
                Ok(())
            }
            Err(error) => Err(self.broken_by(failure("the transaction was not committed", &error))),
        }
    }

    fn send_offsets(&mut self, offsets: &[CommitOffset]) -> Result<(), PublishError> {
        let list = self.offsets(offsets)?;
        for tried in 1.. {
            let generation = self.group.generation();
            let Some(group) = self.group.metadata() else { return Err(self.source_is_gone()) };
            // After the generation: what is not gone now is still ours in it.
            if self.group.left_since(self.mark, offsets) {
                return Err(self.partition_has_left());
            }
            match self.producer.send_offsets_to_transaction(&list, &group, self.timeout) {
                Ok(()) => break,
                Err(error) if tried < TRIES && self.sent.is_whole() && is_between_generations(&error) => {
                    self.once_more(generation)?;
                }
                Err(error) => {
                    let what = "the input's offsets were not taken into the transaction";
                    return Err(self.broken_by(failure(what, &error)));
                }
            }
        }
        Ok(())
    }

    /// Gives the transaction up, and begins another with the same records in the group's next generation.
    fn once_more(&mut self, generation: Option<i32>) -> Result<(), PublishError> {
        let begun = Instant::now();
        // What is not sent yet would wait for ever; what is under way is answered.
        self.producer.purge(PurgeConfig::default().queue());
        let deadline = begun + self.timeout;
        while self.producer.in_flight_count() > 0 {
            self.wait_acknowledged(deadline)?;
        }
        // They go again: that some were purged is no failure.
        let _ = self.producer.context().take_failure();
        if let Err(error) = self.producer.abort_transaction(self.timeout) {
            return Err(self.broken_by(failure("a transaction was not given up", &error)));
        }
        self.begun = false;
        while self.group.generation() == generation && begun.elapsed() < NEXT_GENERATION {
            std::thread::sleep(LOOK);
        }
        self.begin()?;
        let mut again = VecDeque::from(self.sent.take());
        let records = again.len();
        again.append(&mut self.held);
        self.held = again;
        self.held_bytes = self.held.iter().map(OutputRecord::size).sum();
        self.release()?;
        tracing::info!(records, took = ?begun.elapsed(), "a rebalance came between: the transaction goes once more");
        Ok(())
    }

    fn partition_has_left(&mut self) -> PublishError {
        let message = "a partition has left this instance before its outputs were committed".to_owned();
        self.broken_by(PublishError { recover: Recover::Restart, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_ports::Destination;

    #[test]
    fn of_too_large_a_transaction_nothing_is_kept() {
        let record = |bytes: usize| OutputRecord {
            destination: Destination::Aggregates,
            partition: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            id: None,
            headers: Vec::new(),
        };
        let mut sent = Sent::default();
        sent.push(record(10));
        assert!(sent.is_whole());
        sent.push(record(SENT_BYTES_MAX));
        sent.push(record(10));
        assert!(!sent.is_whole() && sent.records.is_empty());
        sent.clear();
        sent.push(record(10));
        assert_eq!((sent.is_whole(), sent.take().len()), (true, 1));
    }
}
