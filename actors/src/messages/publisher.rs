//! To the publisher.

use crate::messages::BatchOutput;
use tidecast_event::TopicPartition;
use tokio::sync::oneshot;

/// What the publisher receives.
#[derive(Debug)]
pub enum PublisherMessage {
    /// A batch that has been through every stage of its partition.
    Output(Box<BatchOutput>),
    /// A partition's tree was stopped or replaced: commit what came from it, and take from now on only what belongs
    /// to `life` or later.
    Fence {
        /// The partition.
        partition: TopicPartition,
        /// Its next life.
        life: u64,
        /// Told once what came before is committed (or could not be).
        done: oneshot::Sender<()>,
    },
}

impl PublisherMessage {
    /// Bytes it holds, about, where that can be many.
    pub fn weight(&self) -> usize {
        match self {
            PublisherMessage::Output(output) => output.weight(),
            PublisherMessage::Fence { .. } => 0,
        }
    }
}
