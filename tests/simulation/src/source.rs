//! A process's consumer: follows the group, asks where partitions stand, delivers batches where there is room.

use crate::group::Inbox;
use crate::process::Life;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidecast_actors::topology::Topology;
use tidecast_event::TopicPartition;
use tidecast_ports::source::{Assigned, RecordMeta};
use tidecast_ports::{PartitionSink, RecordBatch};
use tokio::time::Instant;

/// What a revocation may take.
const GRACE: Duration = Duration::from_secs(3);
/// The end of a partition is told this often.
const CAUGHT_UP_EVERY: Duration = Duration::from_millis(200);

enum State {
    Asked,
    Retry(Instant),
    Reading { sink: Box<dyn PartitionSink>, next: i64, told: Instant },
}

/// Runs until the process dies.
pub async fn run(life: Arc<Life>, inbox: Arc<Inbox>, topology: Topology) {
    let world = life.world.clone();
    let mut partitions: BTreeMap<TopicPartition, State> = BTreeMap::new();
    while life.is_alive() {
        if life.is_cut_off() || world.broker().away {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        if life.is_leaving() {
            topology.begin_stop();
            let going: Vec<TopicPartition> = partitions.keys().cloned().collect();
            topology.revoking(&going, GRACE).await;
            world.group().remove(&mut world.broker(), &life.member());
            life.crash();
            return;
        }
        let wanted = inbox.take();
        if wanted.lost {
            let lost: Vec<TopicPartition> = partitions.keys().cloned().collect();
            topology.lost(&lost).await;
            world.note(format!("{} has lost {}", life.member(), names(&lost)));
            partitions.clear();
            if !life.is_alive() {
                return;
            }
            life.join(&inbox);
            continue;
        }
        for partition in wanted.assign {
            partitions.insert(partition, State::Asked);
        }
        if !wanted.revoke.is_empty() {
            topology.revoking(&wanted.revoke, GRACE).await;
            world.note(format!("{} gives back {}", life.member(), names(&wanted.revoke)));
            partitions.retain(|partition, _| !wanted.revoke.contains(partition));
            if !life.is_alive() {
                return;
            }
            world.group().revoked(&mut world.broker(), &life.member(), &wanted.revoke);
        }
        for partition in wanted.restart {
            if let Some(state) = partitions.get_mut(&partition) {
                *state = State::Asked;
            }
        }
        let asked: Vec<TopicPartition> = (partitions.iter())
            .filter(|(_, state)| match state {
                State::Asked => true,
                State::Retry(at) => *at <= Instant::now(),
                State::Reading { .. } => false,
            })
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in asked {
            let state = begin(&life, &inbox, &topology, &partition).await;
            partitions.insert(partition, state);
        }
        let mut moved = false;
        for (partition, state) in &mut partitions {
            moved |= step(&life, partition, state);
        }
        let wait = if moved { world.below(3) } else { world.below(40) + 5 };
        // Woken early or not, it looks again.
        let _ = tokio::time::timeout(Duration::from_millis(wait), inbox.woken.notified()).await;
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
    names.join(", ")
}

async fn begin(
    life: &Arc<Life>,
    inbox: &Arc<Inbox>,
    topology: &Topology,
    partition: &TopicPartition,
) -> State {
    let world = &life.world;
    let found = {
        let broker = world.broker();
        broker.committed(partition).map(|committed| Assigned {
            committed,
            log_start: 0,
            log_end: broker.stable(partition),
            topic_id: None,
        })
    };
    world.note(format!("{} asks for {partition}", life.member()));
    let Ok(found) = found else { return State::Retry(Instant::now() + Duration::from_millis(30)) };
    // The answer takes a while to come.
    tokio::time::sleep(Duration::from_millis(world.below(30))).await;
    let committed = found.committed.clone();
    match topology.assigned(partition, found).await {
        Ok((next, mut sink)) => {
            world.note(format!("{} begins {partition} at {next}, {committed:?}", life.member()));
            let inbox = inbox.clone();
            sink.wake_with(Arc::new(move || inbox.woken.notify_one()));
            State::Reading { sink, next, told: Instant::now() }
        }
        Err(why) => {
            world.note(format!("{partition} was not started: {why}"));
            State::Retry(Instant::now() + Duration::from_millis(200))
        }
    }
}

/// One batch, or the word that there is none. True when it moved.
fn step(life: &Life, partition: &TopicPartition, state: &mut State) -> bool {
    let State::Reading { sink, next, told } = state else { return false };
    let world = &life.world;
    if !sink.has_room() {
        return false;
    }
    let broker = world.broker();
    let stable = broker.stable(partition);
    if *next >= stable {
        drop(broker);
        if told.elapsed() >= CAUGHT_UP_EVERY {
            *told = Instant::now();
            sink.caught_up(*next);
        }
        return false;
    }
    let mut batch = RecordBatch::default();
    let log = &broker.logs[partition];
    let end = (*next + 1 + world.below(12) as i64).min(stable);
    for offset in *next..end {
        let entry = &log[offset as usize];
        let Some(record) = entry.record.as_ref().filter(|_| broker.is_read(entry)) else { continue };
        let key_start = batch.arena.len() as u32;
        batch.arena.extend_from_slice(record.key.as_deref().unwrap_or_default());
        let value_start = batch.arena.len() as u32;
        batch.arena.extend_from_slice(record.value.as_deref().unwrap_or_default());
        batch.records.push(RecordMeta {
            offset,
            timestamp_ms: record.timestamp_ms,
            key_start,
            value_start,
            value_end: batch.arena.len() as u32,
            key_is_null: record.key.is_none(),
            value_is_null: record.value.is_none(),
            traceparent_start: 0,
        });
    }
    batch.next_offset = end;
    batch.high_watermark = log.len() as i64;
    drop(broker);
    if sink.deliver(batch).is_ok() {
        *next = end;
    }
    true
}
