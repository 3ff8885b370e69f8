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
struct Bound {
    permits: Arc<Semaphore>,
    capacity: Capacity,
    /// Weight that may wait, and what is left of it.
    weight: Option<(u32, Arc<Semaphore>)>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.capacity.meter.closed(self.capacity.messages);
    }
}

/// The sending side of a bounded mailbox. Cheap to clone.
#[derive(Debug)]
pub struct Mailbox<M: Send + 'static> {
    actor: ActorRef<Envelope<M>>,
    bound: Arc<Bound>,
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

    /// As [`Mailbox::new`], for messages that differ in size by orders of magnitude: no more than `weight` waits, in the
    /// units that senders give to [`Mailbox::send_weighing`] (bytes, say). A message above it waits alone.
    pub fn weighing(actor: ActorRef<Envelope<M>>, capacity: Capacity, weight: u32) -> Self {
        Self::bounded(actor, capacity, Some((weight, Arc::new(Semaphore::new(weight as usize)))))
    }

    fn bounded(
        actor: ActorRef<Envelope<M>>,
        capacity: Capacity,
        weight: Option<(u32, Arc<Semaphore>)>,
    ) -> Self {
        capacity.meter.opened(capacity.messages);
        let permits = Arc::new(Semaphore::new(capacity.messages));
        Mailbox { actor, bound: Arc::new(Bound { permits, capacity, weight }) }
    }

    /// Whether a send would go through now.
    pub fn has_room(&self) -> bool {
        self.bound.permits.available_permits() > 0
    }

    /// Sends if there is room.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        match self.bound.permits.clone().try_acquire_owned() {
            Ok(permit) => self.put(permit, None, message),
            Err(_) => Err(TrySendError::Full(message)),
        }
    }

    /// Waits for room, then sends.
    pub async fn send(&self, message: M) -> Result<(), SendError> {
        self.send_weighing(message, 0).await
    }

    /// Waits for room for a message and for its weight, then sends. Where the mailbox weighs nothing, as `send`.
    pub async fn send_weighing(&self, message: M, weight: usize) -> Result<(), SendError> {
        let weight = match &self.bound.weight {
            Some((most, room)) if weight > 0 => {
                let weight = u32::try_from(weight).unwrap_or(u32::MAX).min(*most);
                Some(match room.clone().try_acquire_many_owned(weight) {
                    Ok(weight) => weight,
                    Err(_) => {
                        let started = Instant::now();
                        let got = room.clone().acquire_many_owned(weight).await.map_err(|_| SendError)?;
                        self.bound.capacity.meter.waited(started.elapsed());
                        got
                    }
                })
            }
            _ => None,
        };
        let permit = match self.bound.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let started = Instant::now();
                let permit = self.bound.permits.clone().acquire_owned().await.map_err(|_| SendError)?;
                self.bound.capacity.meter.waited(started.elapsed());
                permit
            }
        };
        self.put(permit, weight, message).map_err(|_| SendError)
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
