//! A client that comes back: what it missed, from Kafka where the hub has it no more, and where it stands meanwhile.

use super::position::Position;
use super::update::Update;
use std::sync::Arc;
use tidecast_ports::LiveHistory;
use tidecast_ports::live::{HistoryError, HistoryRequest, Stretch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of records read from Kafka for one client, and for all that have not been sent them yet.
const CLIENT_BYTES_MAX: u32 = 4 << 20;
const ALL_BYTES_MAX: u32 = 64 << 20;

/// Reads from Kafka for clients that come back.
pub struct Replays {
    history: Arc<dyn LiveHistory>,
    room: Arc<Semaphore>,
    /// Records looked through for one client.
    pub records_max: usize,
}

/// What was read, and the room it takes until it is sent.
#[derive(Debug)]
pub struct Replayed {
    /// What was missed, each with the position at which the client stands once it has it.
    pub updates: Vec<Arc<Update>>,
    /// Where the client stands once it has all of them.
    pub until: Position,
    /// Given back when dropped.
    pub room: OwnedSemaphorePermit,
}

impl Replays {
    /// At most `records_max` records for one client.
    pub fn new(history: Arc<dyn LiveHistory>, records_max: usize) -> Arc<Self> {
        Arc::new(Replays { history, room: Arc::new(Semaphore::new(ALL_BYTES_MAX as usize)), records_max })
    }

    /// Reads these stretches for a client that stood at `from`.
    pub async fn read(&self, from: Position, stretches: Vec<Stretch>) -> Result<Replayed, HistoryError> {
        let mut room = self.room.clone().try_acquire_many_owned(CLIENT_BYTES_MAX).map_err(|_| {
            HistoryError::Unavailable("too many clients are being sent older updates at once".into())
        })?;
        let bytes_max = CLIENT_BYTES_MAX as usize;
        let request = HistoryRequest { stretches, records_max: self.records_max, bytes_max };
        let records = self.history.read(request).await?;
        let mut at = from;
        let mut updates = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for record in &records {
            at.advance(record.kind, record.partition, record.offset);
            // What is not as it should be was of no use when it was live either.
            if let Ok(mut update) = Update::read(record) {
                update.position = at.encode();
                bytes += update.weight();
                updates.push(Arc::new(update));
            }
        }
        let unused = (CLIENT_BYTES_MAX as usize).saturating_sub(bytes);
        drop(room.split(unused));
        Ok(Replayed { updates, until: at, room })
    }
}

/// Where a client stands that came back, until the gateway's own position has passed it.
#[derive(Debug, Default)]
pub struct Standing(Option<Box<Position>>);

/// How an update goes to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Goes {
    /// Not at all: it has it from another gateway, which was ahead of this one.
    Not,
    /// With its own position, encoded once for all.
    AsItIs,
    /// With this one.
    At(Box<str>),
}

impl Standing {
    /// The client stands at `position`.
    pub fn at(position: Position) -> Self {
        Standing(Some(Box::new(position)))
    }

    /// The client is about to get an update.
    pub fn step(&mut self, update: &Update) -> Goes {
        let Some(at) = &mut self.0 else { return Goes::AsItIs };
        if at.covers(update.topic, update.partition, update.offset) {
            return Goes::Not;
        }
        let gateway = Position::decode(&update.position).unwrap_or_default();
        if at.is_within(&gateway) {
            self.0 = None;
            return Goes::AsItIs;
        }
        at.merge(&gateway);
        Goes::At(at.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::tests::record;
    use super::*;
    use serde_json::json;
    use tidecast_ports::OutputKind;

    fn update(partition: i32, offset: i64, gateway: &Position) -> Update {
        let mut record =
            record(OutputKind::Forecast, offset, &json!({"model_id": "m", "predicted_value": 1}));
        record.partition = partition;
        let mut update = Update::read(&record).unwrap();
        update.position = gateway.encode();
        update
    }

    #[test]
    fn a_client_that_was_ahead_sees_nothing_twice_and_never_goes_back() {
        let mut gateway = Position::default();
        let mut client = Position::default();
        client.advance(OutputKind::Forecast, 0, 9);
        client.advance(OutputKind::Forecast, 1, 4);
        gateway.advance(OutputKind::Forecast, 0, 7);
        gateway.advance(OutputKind::Forecast, 1, 4);
        let mut standing = Standing::at(client.clone());
        gateway.advance(OutputKind::Forecast, 0, 8);
        assert_eq!(standing.step(&update(0, 8, &gateway)), Goes::Not);
        gateway.advance(OutputKind::Forecast, 1, 5);
        client.advance(OutputKind::Forecast, 1, 5);
        assert_eq!(standing.step(&update(1, 5, &gateway)), Goes::At(client.encode()));
        gateway.advance(OutputKind::Forecast, 0, 9);
        assert_eq!(standing.step(&update(0, 9, &gateway)), Goes::Not);
        gateway.advance(OutputKind::Forecast, 0, 10);
        assert_eq!(standing.step(&update(0, 10, &gateway)), Goes::AsItIs);
        assert!(standing.0.is_none(), "from here on it is as every other client");
    }
}
