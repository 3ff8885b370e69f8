//! A mailbox with a bound.

use crate::meter::Meter;
use ractor::{ActorCell, ActorRef};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Declared where a mailbox is made: its name in metrics, its bound, and whose counters it adds to.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// Messages sent and not yet dropped.
    pub messages: usize,
    /// Counters shared by all mailboxes of the name.
    pub meter: Arc<Meter>,
}

/// The room a message takes until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    _weight: Option<OwnedSemaphorePermit>,
    meter: Arc<Meter>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.meter.left();
    }
}

/// What travels: the message, and the room it takes.
#[derive(Debug)]
pub struct Envelope<M> {
    /// The message.
    pub message: M,
    /// Held while the message is handled; `None` in an answer.
    pub permit: Option<Permit>,
}

/// The mailbox is full or its actor gone: the message comes back.
#[derive(Debug, thiserror::Error)]
pub enum TrySendError<M> {
    /// No room now.
    #[error("the mailbox is full")]
    Full(M),
    /// The actor has stopped.
    #[error("the actor has stopped")]
    Stopped(M),
}

/// The actor has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor has stopped")]
pub struct SendError;

/// Where answers to requests go: an answer never waits, for who asked may itself be waiting for room. The requests that
/// are not yet answered bound the answers; who asks bounds those.
#[derive(Debug)]
pub struct Reply<M: Send + 'static>(ActorRef<Envelope<M>>);

impl<M: Send + 'static> Clone for Reply<M> {
    fn clone(&self) -> Self {
        Reply(self.0.clone())
    }
}

impl<M: Send + 'static> Reply<M> {
    /// Sends an answer.
    #[expect(clippy::disallowed_methods, reason = "bounded by the requests answered")]
    pub fn send(&self, message: M) -> Result<(), SendError> {
        self.0.cast(Envelope { message, permit: None }).map_err(|_| SendError)
    }
}

#[derive(Debug)]
struct Bound<M> {
    permits: Arc<Semaphore>,
    capacity: Capacity,
    weight: Option<Weight<M>>,
}

/// The weight that may wait.
#[derive(Debug)]
struct Weight<M> {
    of: fn(&M) -> usize,
    most: u32,
    room: Arc<Semaphore>,
}

impl<M> Weight<M> {
    /// What a message takes of it: all, at most.
    fn share(&self, message: &M) -> u32 {
        u32::try_from((self.of)(message)).unwrap_or(u32::MAX).min(self.most)
    }
}

impl<M> Drop for Bound<M> {
    fn drop(&mut self) {
        self.capacity.meter.closed(self.capacity.messages);
    }
}

/// The sending side of a bounded mailbox. Cheap to clone.
#[derive(Debug)]
pub struct Mailbox<M: Send + 'static> {
    actor: ActorRef<Envelope<M>>,
    bound: Arc<Bound<M>>,
}

impl<M: Send + 'static> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { actor: self.actor.clone(), bound: self.bound.clone() }
    }
}

impl<M: Send + 'static> Mailbox<M> {
    /// Bounds an actor's mailbox. Make one per actor and clone it: each has permits of its own.
    pub fn new(actor: ActorRef<Envelope<M>>, capacity: Capacity) -> Self {
        Self::bounded(actor, capacity, None)
    }

    /// As [`Mailbox::new`], for messages that differ in size by orders of magnitude: no more than `most` waits, in the
    /// units in which `weight` measures a message (bytes, say). A message above it waits alone; one of 0 needs none.
    pub fn weighing(
        actor: ActorRef<Envelope<M>>,
        capacity: Capacity,
        most: u32,
        weight: fn(&M) -> usize,
    ) -> Self {
        let room = Arc::new(Semaphore::new(most as usize));
        Self::bounded(actor, capacity, Some(Weight { of: weight, most, room }))
    }

    fn bounded(actor: ActorRef<Envelope<M>>, capacity: Capacity, weight: Option<Weight<M>>) -> Self {
        capacity.meter.opened(capacity.messages);
        let permits = Arc::new(Semaphore::new(capacity.messages));
        Mailbox { actor, bound: Arc::new(Bound { permits, capacity, weight }) }
    }

    /// Whether a send would go through now, if its message weighs nothing.
    pub fn has_room(&self) -> bool {
        self.bound.permits.available_permits() > 0
    }

    /// Sends if there is room.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        let weight = match &self.bound.weight {
            None => None,
            Some(weight) => match weight.room.clone().try_acquire_many_owned(weight.share(&message)) {
                Ok(share) => Some(share),
                Err(_) => return Err(TrySendError::Full(message)),
            },
        };
        match self.bound.permits.clone().try_acquire_owned() {
            Ok(permit) => self.put(permit, weight, message),
            Err(_) => Err(TrySendError::Full(message)),
        }
    }

    /// Waits for room, then sends.
    pub async fn send(&self, message: M) -> Result<(), SendError> {
        let weight = match &self.bound.weight {
            None => None,
            Some(weight) => Some(self.acquire(&weight.room, weight.share(&message)).await?),
        };
        let permit = self.acquire(&self.bound.permits, 1).await?;
        self.put(permit, weight, message).map_err(|_| SendError)
    }

    /// Takes permits; the time it has to wait for them is counted.
    async fn acquire(&self, from: &Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit, SendError> {
        if let Ok(permit) = from.clone().try_acquire_many_owned(count) {
            return Ok(permit);
        }
        let started = Instant::now();
        let permit = from.clone().acquire_many_owned(count).await.map_err(|_| SendError)?;
        self.bound.capacity.meter.waited(started.elapsed());
        Ok(permit)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that casts: the permit is in the envelope"
    )]
    fn put(
        &self,
        permit: OwnedSemaphorePermit,
        weight: Option<OwnedSemaphorePermit>,
        message: M,
    ) -> Result<(), TrySendError<M>> {
        let meter = self.bound.capacity.meter.clone();
        meter.entered();
        let permit = Permit { _permit: permit, _weight: weight, meter };
        let envelope = Envelope { message, permit: Some(permit) };
        self.actor.cast(envelope).map_err(|error| match error {
            ractor::MessagingErr::SendErr(envelope) => TrySendError::Stopped(envelope.message),
            // A channel that is closed gives no message back only for another message type, which cannot be here.
            _ => unreachable!("a typed mailbox gives its message back"),
        })
    }

    /// Where the answers to this actor's own requests go.
    pub fn reply_address(actor: &ActorRef<Envelope<M>>) -> Reply<M> {
        Reply(actor.clone())
    }

    /// The actor itself, to stop it or watch it.
    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }
}
