//! Writing snapshots: after their commit, on a thread of their own, one at a time.

use crate::messages::SnapshotParts;
use crate::metrics::PipelineMetrics;
use crate::workplace::{Step, Workplace};
use std::sync::Arc;
use tidecast_event::TopicPartition;
use tidecast_ports::SnapshotStore;
use tokio::sync::mpsc;

/// A snapshot whose offset is committed.
#[derive(Debug)]
pub struct Snapshot {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The next record to be processed.
    pub offset: i64,
    /// The state.
    pub parts: SnapshotParts,
}

/// Snapshots waiting to be written, at most; one that finds no room is skipped, for a newer one comes.
const WAITING: usize = 64;
const FORMAT: u8 = 1;

/// The way to the writing thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotQueue {
    queue: mpsc::Sender<Snapshot>,
    metrics: PipelineMetrics,
}

impl SnapshotQueue {
    /// Starts the thread. It ends when every clone of the queue is dropped; the receiver then gets a word.
    pub fn start(
        store: Arc<dyn SnapshotStore>,
        metrics: PipelineMetrics,
        workplace: Workplace,
    ) -> std::io::Result<(SnapshotQueue, std::sync::mpsc::Receiver<()>)> {
        let (queue, mut inbox) = mpsc::channel::<Snapshot>(WAITING);
        let (end, ended) = std::sync::mpsc::sync_channel(1);
        let (counters, failing) = (metrics.snapshots.clone(), metrics.snapshots_failing.clone());
        let place = workplace.clone();
        workplace.run("snapshots", async move {
            while let Some(snapshot) = inbox.recv().await {
                place.before(Step::Snapshot).await;
                let Snapshot { partition, offset, parts } = snapshot;
                let written = parts.written.clone();
                match store.save(&partition, offset, &encode(parts)) {
                    Ok(()) => {
                        written.push(offset);
                        counters.with_label_values(&["written"]).inc();
                        failing.set(0);
                    }
                    Err(error) => {
                        counters.with_label_values(&["failed"]).inc();
                        failing.set(1);
                        tracing::error!(%partition, error, "a snapshot was not written");
                    }
                }
            }
            // Nobody may be waiting.
            let _ = end.try_send(());
        })?;
        Ok((SnapshotQueue { queue, metrics }, ended))
    }

    /// Hands a snapshot over without waiting.
    pub fn write(&self, snapshot: Snapshot) {
        if self.queue.try_send(snapshot).is_err() {
            self.metrics.snapshots.with_label_values(&["skipped"]).inc();
        }
    }
}

/// The encoded state of a partition's windows. It may be large, so it lies from the beginning where the snapshot puts it.
#[derive(Debug)]
pub struct Aggregation {
    /// The snapshot as far as the end of the windows.
    state: Vec<u8>,
    /// Where they begin.
    at: usize,
}

impl Aggregation {
    /// Of what `write` appends.
    pub fn of(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut state = vec![FORMAT];
        put_bytes(&mut state, write);
        Aggregation { state, at: 1 + LENGTH }
    }

    /// The windows.
    pub fn bytes(&self) -> &[u8] {
        &self.state[self.at..]
    }
}

impl Default for Aggregation {
    fn default() -> Self {
        Aggregation::of(|_| ())
    }
}

/// Bytes of a length as [`put_bytes`] has it.
const LENGTH: usize = 9;
/// In the codec a number of eight bytes follows.
const EIGHT_BYTES: u8 = 253;

/// Appends what `write` appends as the codec has bytes, behind their length, which is known only then.
pub(crate) fn put_bytes(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(EIGHT_BYTES);
    out.extend_from_slice(&[0; LENGTH - 1]);
    write(out);
    let length = (out.len() - at - LENGTH) as u64;
    out[at + 1..at + LENGTH].copy_from_slice(&length.to_le_bytes());
}

fn encode(parts: SnapshotParts) -> Vec<u8> {
    let SnapshotParts { aggregation, models, topic_id, .. } = parts;
    let mut state = aggregation.state;
    // Writing plain data into memory does not fail.
    let _ = bincode::serde::encode_into_std_write(&models, &mut state, bincode::config::standard());
    // At the end, where versions that do not know it do not look.
    if let Some(id) = topic_id {
        state.extend_from_slice(&id.to_be_bytes());
    }
    state
}

/// Reads what the queue's thread wrote.
pub fn decode(mut state: Vec<u8>) -> Result<SnapshotParts, String> {
    let broken = |error: &dyn std::fmt::Display| format!("a snapshot's parts cannot be read: {error}");
    let config = bincode::config::standard();
    let rest = match state.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some((format, _)) => {
            return Err(format!(
                "a snapshot has format {format}, this version reads {FORMAT}: run the newer one"
            ));
        }
        None => return Err("a snapshot is empty".to_owned()),
    };
    let (length, read): (u64, usize) =
        bincode::decode_from_slice(rest, config).map_err(|error| broken(&error))?;
    let at = 1 + read;
    let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
    let Some(end) = end.filter(|end| *end <= state.len()) else { return Err(broken(&"cut short")) };
    let (models, read) =
        bincode::serde::decode_from_slice(&state[end..], config).map_err(|error| broken(&error))?;
    let topic_id = state[end + read..].first_chunk().copied().map(u128::from_be_bytes);
    state.truncate(end);
    let aggregation = Aggregation { state, at };
    Ok(SnapshotParts { aggregation, models, topic_id, ..SnapshotParts::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::ModelRecord;

    #[test]
    fn parts_come_back_also_from_the_codec_alone() {
        let models = vec![ModelRecord {
            model_id: "m".into(),
            family: "f".into(),
            key: "k".into(),
            fingerprint: 7,
            state: vec![1, 2, 3],
        }];
        for windows in [Vec::new(), vec![9; 70_000]] {
            let aggregation = Aggregation::of(|out| out.extend_from_slice(&windows));
            let topic_id = Some(u128::MAX - 7);
            let parts =
                SnapshotParts { aggregation, models: models.clone(), topic_id, ..SnapshotParts::default() };
            // As versions before had it: the codec's own bytes, with a length as short as it can be.
            let mut whole = vec![FORMAT];
            let config = bincode::config::standard();
            bincode::serde::encode_into_std_write((&windows, &models), &mut whole, config).unwrap();
            for (state, id) in [(encode(parts), topic_id), (whole, None)] {
                let parts = decode(state).unwrap();
                assert_eq!(parts.topic_id, id);
                assert_eq!((parts.aggregation.bytes(), parts.models.len()), (&windows[..], 1));
                assert_eq!(parts.models[0].state, [1, 2, 3]);
            }
        }
        assert!(decode(vec![FORMAT, 200, 1]).is_err());
        assert!(decode(vec![FORMAT + 1]).unwrap_err().contains("newer"));
    }
}
