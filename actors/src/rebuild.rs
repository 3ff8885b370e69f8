//! A rebuild of the past: windows and forecasts of a span of event time, made anew from what the log still has.
//!
//! It is the pipeline as it always is, with three differences. What lies outside the span is computed and not said. A
//! partition ends where its log ended, or as soon as nothing that it reads can change the span any more. And rules say
//! what they would have said, but nobody is written to.

use crate::messages::BatchOutput;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidecast_event::{EventTime, TopicPartition};
use tidecast_ports::{Destination, OutputRecord};
use tokio::sync::Notify;

/// The span, and how far the partitions have come.
#[derive(Debug)]
pub struct Rebuild {
    from: EventTime,
    to: EventTime,
    partitions: Mutex<BTreeMap<TopicPartition, Progress>>,
    moved: Notify,
}

/// How far a partition has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything before this offset went through the windows.
    pub next_offset: i64,
    /// Nothing that comes can change the span: its end was read, or its watermark is past it.
    pub finished: bool,
}

impl Rebuild {
    /// Of the windows that begin at or after `from` and end by `to`.
    pub fn new(from: EventTime, to: EventTime) -> Self {
        Rebuild { from, to, partitions: Mutex::default(), moved: Notify::new() }
    }

    /// The end of the span.
    pub fn to(&self) -> EventTime {
        self.to
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Progress>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition has come so far. One that has finished stays so.
    pub fn tell(&self, partition: &TopicPartition, next_offset: i64, finished: bool) {
        {
            let mut partitions = self.partitions();
            let progress = partitions.entry(partition.clone()).or_default();
            progress.next_offset = next_offset;
            progress.finished |= finished;
        }
        self.moved.notify_waiters();
    }

    /// How far a partition has come.
    pub fn progress(&self, partition: &TopicPartition) -> Progress {
        self.partitions().get(partition).copied().unwrap_or_default()
    }

    /// Resolves once `enough` holds of every one of these partitions.
    pub async fn reached(
        &self,
        partitions: &[TopicPartition],
        enough: impl Fn(&TopicPartition, Progress) -> bool,
    ) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Before the look, so that nothing told between the two is missed.
            moved.as_mut().enable();
            if partitions.iter().all(|partition| enough(partition, self.progress(partition))) {
                return;
            }
            moved.await;
        }
    }

    /// Leaves of an output what belongs to the span: windows wholly in it, forecasts and anomalies made in it, and what
    /// is on its way between our own stages. Dead letters are left out: they were told when they came.
    pub fn keep(&self, output: &mut BatchOutput) {
        let within = |start: EventTime, end: EventTime| start >= self.from && end <= self.to;
        output.records.retain(|record| match &record.destination {
            Destination::Topic(_) => true,
            Destination::DeadLetters => false,
            _ => Head::of(record).is_some_and(|(start, end)| within(start, end)),
        });
        output.closed.retain(|closed| within(closed.aggregate.window_start, closed.aggregate.window_end));
        let made = |time: &str| EventTime::parse_rfc3339(time).is_some_and(|time| within(time, time));
        output.anomalies.retain(|anomaly| made(&anomaly.timestamp));
        output.forecasts.retain(|forecast| {
            let head = serde_json::from_slice::<Head<'_>>(&forecast.json).ok();
            head.and_then(|head| head.span()).is_some_and(|(start, end)| within(start, end))
        });
    }
}

/// What a record says about its time.
#[derive(Deserialize)]
struct Head<'a> {
    window_start: Option<f64>,
    window_end: Option<f64>,
    #[serde(borrow)]
    timestamp: Option<&'a str>,
}

impl Head<'_> {
    fn of(record: &OutputRecord) -> Option<(EventTime, EventTime)> {
        serde_json::from_slice::<Head<'_>>(record.value.as_deref()?).ok()?.span()
    }

    fn span(&self) -> Option<(EventTime, EventTime)> {
        let micros = |seconds: f64| EventTime((seconds * 1e6).round() as i64);
        match (self.window_start, self.window_end, self.timestamp) {
            (Some(start), Some(end), _) => Some((micros(start), micros(end))),
            (_, _, Some(time)) => EventTime::parse_rfc3339(time).map(|time| (time, time)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(destination: Destination, json: &str) -> OutputRecord {
        OutputRecord {
            destination,
            partition: None,
            key: None,
            value: Some(Bytes::copy_from_slice(json.as_bytes())),
            id: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn what_is_outside_the_span_is_not_said() {
        let rebuild = Rebuild::new(EventTime(10_000_000), EventTime(20_000_000));
        let mut output = BatchOutput::new(TopicPartition::new("events", 0), 0, Some(1));
        for (start, end) in [(9.0, 10.0), (10.0, 11.5), (19.0, 20.0), (19.5, 20.5)] {
            let json = format!(r#"{{"series":"s","window_start":{start},"window_end":{end}}}"#);
            output.records.push(record(Destination::Aggregates, &json));
        }
        for time in ["1970-01-01T00:00:09.999Z", "1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"] {
            let json = format!(r#"{{"model_id":"m","timestamp":"{time}"}}"#);
            output.records.push(record(Destination::Predictions, &json));
        }
        output.records.push(record(Destination::DeadLetters, "{}"));
        output.records.push(record(Destination::Topic("a-repartition".into()), "a partial"));
        rebuild.keep(&mut output);
        let kept: Vec<&Destination> = output.records.iter().map(|record| &record.destination).collect();
        let (aggregates, predictions) = (&Destination::Aggregates, &Destination::Predictions);
        let repartition = Destination::Topic("a-repartition".into());
        assert_eq!(kept, [aggregates, aggregates, predictions, predictions, &repartition]);
    }

    #[tokio::test]
    async fn waits_for_all_partitions_whoever_is_first() {
        let rebuild = std::sync::Arc::new(Rebuild::new(EventTime(0), EventTime(1)));
        let [a, b] = [0, 1].map(|number| TopicPartition::new("events", number));
        let waiting = tokio::spawn({
            let (rebuild, partitions) = (rebuild.clone(), [a.clone(), b.clone()]);
            async move { rebuild.reached(&partitions, |_, progress| progress.finished).await }
        });
        rebuild.tell(&b, 5, true);
        // Told again without an end: it has finished all the same.
        rebuild.tell(&b, 6, false);
        assert_eq!(rebuild.progress(&b), Progress { next_offset: 6, finished: true });
        rebuild.tell(&a, 1, true);
        waiting.await.expect("it does not panic");
    }
}
