//! One clock for all connections: heartbeats, deadlines and token expiry, in a wheel of ticks, so that no connection
//! has a timer of its own.

use super::hub::Hub;
use super::outbox::{Heartbeat, Outbox};
use crate::websocket::frame::{Opcode, frame};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How finely the wheel tells times apart. A heartbeat may be that late.
pub const TICK: Duration = Duration::from_millis(100);

/// A client that takes nothing for this long is taken for lost.
pub const STALLED_MAX: Duration = Duration::from_secs(300);

/// How long a client may take to be told that it is closed, and to answer.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What is due for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A heartbeat, again and again.
    Heartbeat {
        /// The time between two.
        every: Duration,
    },
    /// The end of a closing handshake that the client does not answer.
    Cut,
    /// The close that ends an `auth` message's waiting or a token's life, unless the connection's deadline was moved.
    Deadline,
}

type Entry = (Weak<Outbox>, Due);

/// The wheel: tick number → who has what due.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    slots: Mutex<BTreeMap<u64, Vec<Entry>>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse { started: Instant::now(), slots: Mutex::default() }
    }
}

impl Pulse {
    fn tick_at(&self, at: Instant) -> u64 {
        let ticks = at.saturating_duration_since(self.started).as_millis().div_ceil(TICK.as_millis());
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Notes what is due for `outbox` in `after`. A connection that has ended meanwhile is passed over.
    pub fn schedule(&self, outbox: &Arc<Outbox>, due: Due, after: Duration) {
        let tick = self.tick_at(Instant::now() + after);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(tick).or_default().push((Arc::downgrade(outbox), due));
    }

    fn take_due(&self, now: Instant) -> Vec<(Weak<Outbox>, Due)> {
        let tick = self.tick_at(now);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let later = slots.split_off(&tick);
        std::mem::replace(&mut *slots, later).into_values().flatten().collect()
    }
}

/// The heartbeat's bytes for each kind of client, as of now.
pub fn heartbeat() -> Arc<Heartbeat> {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let message = serde_json::json!({"type": "heartbeat", "data": {"server_time": now}});
    let binary = rmp_serde::to_vec_named(&message).expect("JSON is MessagePack");
    Arc::new(Heartbeat {
        text: frame(Opcode::Text, message.to_string().as_bytes()),
        binary: frame(Opcode::Binary, &binary),
    })
}

/// Heartbeats that a client may leave untaken before it is taken for lost.
fn missed_max(every: Duration) -> u32 {
    ((STALLED_MAX.as_secs_f64() / every.max(TICK).as_secs_f64()).ceil() as u32).max(2)
}

/// Runs the wheel until it is dropped.
pub async fn run(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        let due = hub.pulse.take_due(Instant::now());
        if due.is_empty() {
            continue;
        }
        let beat = heartbeat();
        for (outbox, due) in due {
            let Some(outbox) = outbox.upgrade() else { continue };
            match due {
                Due::Heartbeat { every } => {
                    outbox.beat(&beat, missed_max(every));
                    hub.pulse.schedule(&outbox, due, every);
                }
                Due::Cut => outbox.cut(),
                Due::Deadline => {
                    if outbox.deadline_reached(Instant::now()) {
                        // A client that takes nothing does not take its close either.
                        hub.pulse.schedule(&outbox, Due::Cut, CLOSE_PATIENCE);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Due = Due::Heartbeat { every: Duration::from_secs(30) };

    #[test]
    fn what_is_due_comes_at_its_tick_and_once() {
        let pulse = Pulse::default();
        let outbox = Outbox::new(1, 1);
        pulse.schedule(&outbox, BEAT, Duration::from_secs(30));
        pulse.schedule(&outbox, Due::Deadline, Duration::from_secs(5));
        let at = |seconds: u64| pulse.started + Duration::from_millis(seconds * 1_000 + 500);
        assert!(pulse.take_due(at(4)).is_empty());
        assert_eq!(pulse.take_due(at(6)).iter().map(|(_, due)| *due).collect::<Vec<_>>(), [Due::Deadline]);
        assert_eq!(pulse.take_due(at(60)).iter().map(|(_, due)| *due).collect::<Vec<_>>(), [BEAT]);
        assert!(pulse.take_due(at(600)).is_empty());
    }
}
