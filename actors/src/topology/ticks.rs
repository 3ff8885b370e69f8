//! What only time brings to the trees of an instance.

use super::Inner;
use crate::aggregator::TICK;
use std::ops::Bound;
use std::sync::Weak;
use std::time::Duration;
use tidecast_event::TopicPartition;
use tokio::time::Instant;

/// Looks after what only time brings: quiet partitions, forecasts that are due, snapshots.
pub(super) async fn tick(inner: Weak<Inner>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut forecasts_at, mut snapshots_at) = (Instant::now(), Instant::now());
    let mut snapshot_last: Option<TopicPartition> = None;
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let now = Instant::now();
        let forecasts = now.duration_since(forecasts_at) >= Duration::from_secs(1);
        if forecasts {
            forecasts_at = now;
        }
        let known = inner.known();
        for tree in known.trees.values() {
            tree.tick();
            if forecasts {
                tree.tick_forecasts();
            }
        }
        // One after the other, for each takes memory and time until it is written.
        let interval = inner.parts.house.settings.state.snapshot_interval;
        let every = interval / (known.trees.len().max(1) as u32);
        snapshots_at = now.checked_sub(interval).map_or(snapshots_at, |least| snapshots_at.max(least));
        for _ in 0..known.trees.len() {
            if now.duration_since(snapshots_at) < every {
                break;
            }
            snapshots_at += every;
            let after = snapshot_last.take().map_or(Bound::Unbounded, Bound::Excluded);
            let next =
                known.trees.range((after, Bound::Unbounded)).next().or_else(|| known.trees.iter().next());
            if let Some((partition, tree)) = next {
                tree.snapshot();
                snapshot_last = Some(partition.clone());
            }
        }
    }
}
