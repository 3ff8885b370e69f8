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
        let counters = metrics.snapshots.clone();
        let place = workplace.clone();
        workplace.run("snapshots", async move {
            while let Some(snapshot) = inbox.recv().await {
                place.before(Step::Snapshot).await;
                let state = encode(&snapshot.parts);
                match store.save(&snapshot.partition, snapshot.offset, &state) {
                    Ok(()) => {
                        snapshot.parts.written.push(snapshot.offset);
                        counters.with_label_values(&["written"]).inc();
                    }
                    Err(error) => {
                        counters.with_label_values(&["failed"]).inc();
                        tracing::error!(partition = %snapshot.partition, error, "a snapshot was not written");
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

fn encode(parts: &SnapshotParts) -> Vec<u8> {
    let mut state = vec![FORMAT];
    let record = (&parts.aggregation, &parts.models);
    // Writing plain data into memory does not fail.
    let _ = bincode::serde::encode_into_std_write(record, &mut state, bincode::config::standard());
    state
}

/// Reads what the queue's thread wrote.
pub fn decode(state: &[u8]) -> Result<SnapshotParts, String> {
    match state.split_first() {
        Some((&FORMAT, rest)) => bincode::serde::decode_from_slice(rest, bincode::config::standard())
            .map(|((aggregation, models), _)| SnapshotParts {
                aggregation,
                models,
                ..SnapshotParts::default()
            })
            .map_err(|error| format!("a snapshot's parts cannot be read: {error}")),
        Some((format, _)) => {
            Err(format!("a snapshot has format {format}, this version reads {FORMAT}: run the newer one"))
        }
        None => Err("a snapshot is empty".to_owned()),
    }
}
