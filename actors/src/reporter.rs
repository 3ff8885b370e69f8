//! The system's own figures on `streaming-metrics`, every `monitoring.metrics_interval_seconds`.

use crate::house::House;
use crate::messages::{BatchOutput, PublisherMessage};
use crate::stats::Stats;
use crate::wire;
use serde_json::json;
use std::sync::{Arc, Weak};
use tidecast_config::Settings;
use tidecast_event::{EventTime, TopicPartition};
use tidecast_ports::{Destination, OutputRecord};

/// Models that do not forecast yet of which the others are told: a report is one record.
const WAITING_MAX: usize = 1_000;

/// What this process is called among those of its group: its lasting name, or one of host and process.
pub fn instance(settings: &Settings) -> String {
    let named = settings.kafka.group_instance_id.clone();
    named.unwrap_or_else(|| {
        let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        format!("{}-{}", host.as_deref().unwrap_or("tidecast"), std::process::id())
    })
}

/// Starts to report. Ends when the figures are no longer held by anybody else.
pub fn start(house: &Arc<House>, stats: Arc<Stats>) {
    let settings = &house.settings;
    let instance = instance(settings);
    let scales = settings.monitoring.enable_auto_scaling;
    let (book, registry) = (house.book.clone(), house.registry.clone());
    let (publisher, every) = (house.publisher.clone(), settings.monitoring.metrics_interval);
    let stats: Weak<Stats> = {
        let weak = Arc::downgrade(&stats);
        drop(stats);
        weak
    };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // The first comes at once and would tell of nothing.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let Some(stats) = stats.upgrade() else { return };
            let now = EventTime::from_millis(crate::wall_clock_ms() as i64).to_rfc3339();
            let figures = stats.own();
            let mut report =
                json!({"instance": instance, "timestamp": now, "stats": figures, "rules": book.all_fared()});
            let waiting = registry.waiting(WAITING_MAX);
            if !waiting.is_empty() {
                report["waiting"] = json!(waiting);
            }
            if scales {
                report["scaling"] = stats.scaling();
            }
            let value = wire::json(&report);
            drop(stats);
            let mut output = BatchOutput::new(TopicPartition::new("metrics", -1), u64::MAX, None);
            output.records.push(OutputRecord {
                destination: Destination::Metrics,
                partition: None,
                key: Some(instance.clone().into()),
                value: Some(value),
                id: None,
                headers: Vec::new(),
            });
            // While nobody publishes there is nothing to tell of that could be told.
            if let Err(tidecast_mailbox::TrySendError::Stopped(_)) =
                publisher.try_send(PublisherMessage::Output(Box::new(output)))
            {
                return;
            }
        }
    });
}
