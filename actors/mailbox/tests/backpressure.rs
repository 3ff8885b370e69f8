//! A full mailbox makes its senders wait, and nobody else.

use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use tidecast_mailbox::{Capacity, Envelope, Mailbox, Meters, TrySendError};
use tokio::sync::Semaphore;

/// Handles a message once the gate lets it.
struct Gated;

impl Actor for Gated {
    type Msg = Envelope<u32>;
    type State = Arc<Semaphore>;
    type Arguments = Arc<Semaphore>;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        gate: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(gate)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        gate: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        gate.acquire().await?.forget();
        drop(envelope);
        Ok(())
    }
}

#[tokio::test]
async fn a_full_mailbox_refuses_waits_and_takes_again() {
    let gate = Arc::new(Semaphore::new(0));
    let meters = Meters::default();
    let (actor, handle) = Actor::spawn(None, Gated, gate.clone()).await.expect("starts");
    let mailbox = Mailbox::new(actor, Capacity { messages: 2, meter: meters.of("gated") });

    mailbox.try_send(1).expect("room for the first");
    mailbox.try_send(2).expect("room for the second");
    assert!(matches!(mailbox.try_send(3), Err(TrySendError::Full(3))));
    assert!(!mailbox.has_room());
    let reading = meters.read()[0];
    assert_eq!((reading.depth, reading.capacity), (2, 2));

    let sender = mailbox.clone();
    let mut waiting = Box::pin(sender.send(3));
    assert!(
        tokio::time::timeout(std::time::Duration::ZERO, &mut waiting).await.is_err(),
        "there is no room yet"
    );
    gate.add_permits(1);
    waiting.as_mut().await.expect("is sent once the first was handled");
    assert!(meters.read()[0].waited > std::time::Duration::ZERO);

    gate.add_permits(2);
    mailbox.cell().drain_and_wait(None).await.expect("drains");
    handle.await.expect("ends");
    assert_eq!(meters.read()[0].depth, 0, "the room of every message is free again");
    assert!(matches!(mailbox.try_send(4), Err(TrySendError::Stopped(4))));
    drop(waiting);
    drop((mailbox, sender));
    assert_eq!(meters.read()[0].capacity, 0);
}

#[tokio::test]
async fn what_is_heavy_waits_for_its_weight_and_what_is_too_heavy_waits_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let (actor, handle) = Actor::spawn(None, Gated, gate.clone()).await.expect("starts");
    let capacity = Capacity { messages: 10, meter: Meters::default().of("heavy") };
    let mailbox = Mailbox::weighing(actor, capacity, 100, |weight| *weight as usize);

    mailbox.send(60).await.expect("room for the first");
    let mut second = Box::pin(mailbox.send(60));
    let now = std::time::Duration::ZERO;
    assert!(tokio::time::timeout(now, &mut second).await.is_err(), "60 and 60 are more than 100");
    gate.add_permits(1);
    second.as_mut().await.expect("is sent once the first was handled");
    let mut whale = Box::pin(mailbox.send(1_000_000));
    assert!(tokio::time::timeout(now, &mut whale).await.is_err(), "it waits until it is alone");
    gate.add_permits(1);
    whale.as_mut().await.expect("is sent when nothing else waits");
    mailbox.send(0).await.expect("what weighs nothing needs no weight");
    gate.add_permits(2);
    mailbox.cell().drain_and_wait(None).await.expect("drains");
    handle.await.expect("ends");
}
