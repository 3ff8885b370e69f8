//! What was published, by hour and topic, kept for weeks: rows that every instance writes for itself and all read.

use crate::publishing::{Counted, Publishing, PublishingFigures};
use chrono::{DateTime, Duration as Span, SecondsFormat, Timelike, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidecast_ports::notes::Notes;

/// Keys of rows begin so; hour, topic and instance follow.
const ROWS: &str = "published/";
/// Between two writes of the rows of this hour: what a killed process loses at most.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// Between two looks for rows that are too old.
const CLEAN_EVERY: Duration = Duration::from_secs(3_600);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct PublishingHistory(Arc<Inner>);

struct Inner {
    publishing: Publishing,
    notes: Arc<dyn Notes>,
    /// Tells this life of this instance from all others.
    instance: String,
    hour: Mutex<Hour>,
}

/// The hour that is counted.
#[derive(Default)]
struct Hour {
    name: String,
    /// What each topic had come to when it began.
    begun: BTreeMap<String, Counted>,
    /// The last rows of hours that are over, until they are written.
    closed: BTreeMap<String, Counted>,
}

/// The name of an hour, UTC: names in order are hours in order.
fn name_of(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H").to_string()
}

/// One row: of an hour, a topic and an instance.
struct Row {
    hour: String,
    topic: String,
    counted: Counted,
}

impl PublishingHistory {
    /// A history of this process, in rows of `notes`; `instance` differs for every start.
    pub fn new(publishing: Publishing, notes: Arc<dyn Notes>, instance: String) -> Self {
        let hour = Mutex::new(Hour { name: name_of(Utc::now()), ..Hour::default() });
        PublishingHistory(Arc::new(Inner { publishing, notes, instance, hour }))
    }

    /// Writes rows in time, and removes those older than `days`, until dropped.
    pub async fn run(&self, days: i64) {
        let mut cleaned: Option<tokio::time::Instant> = None;
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            if let Err(error) = self.write().await {
                tracing::debug!(error, "publishing figures are not written for now");
                continue;
            }
            if cleaned.is_none_or(|at| at.elapsed() >= CLEAN_EVERY) {
                cleaned = Some(tokio::time::Instant::now());
                let _ = self.clean(days, Utc::now()).await;
            }
        }
    }

    /// Writes what has changed since the last time.
    pub async fn write(&self) -> Result<(), String> {
        for (key, counted) in self.current(Utc::now()) {
            let value = bytes::Bytes::from(counted.to_json().to_string());
            if self.0.notes.get(&key).as_ref() != Some(&value) {
                self.0.notes.put(&key, value).await?;
            }
            self.0.hour.lock().unwrap_or_else(PoisonError::into_inner).closed.remove(&key);
        }
        Ok(())
    }

    /// This process' rows of this hour, and those of the hour before that are not written yet. What came since the last
    /// look at an hour counts for it.
    fn current(&self, now: DateTime<Utc>) -> BTreeMap<String, Counted> {
        let topics = self.0.publishing.topics();
        let mut hour = self.0.hour.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |hour: &str, topic: &str| format!("{ROWS}{hour}/{topic}/{}", self.0.instance);
        let rows = |hour: &Hour| -> BTreeMap<String, Counted> {
            let since = |(topic, counted): &(String, Counted)| {
                let since = match hour.begun.get(topic) {
                    Some(begun) => counted.since(begun),
                    None => counted.clone(),
                };
                (since.total() > 0).then(|| (key(&hour.name, topic), since))
            };
            topics.iter().filter_map(since).collect()
        };
        if hour.name != name_of(now) {
            let mut closed = std::mem::take(&mut hour.closed);
            closed.extend(rows(&hour));
            *hour = Hour { name: name_of(now), begun: topics.iter().cloned().collect(), closed };
        }
        let mut all = rows(&hour);
        all.extend(hour.closed.iter().map(|(key, counted)| (key.clone(), counted.clone())));
        all
    }

    /// Rows from an hour on, this process' own as of now.
    fn rows_from(&self, from: &str, now: DateTime<Utc>) -> Vec<Row> {
        let mut found: BTreeMap<String, Counted> = BTreeMap::new();
        for (key, value) in self.0.notes.below(ROWS) {
            if key[ROWS.len()..] >= *from
                && let Ok(json) = serde_json::from_slice::<Value>(&value)
            {
                found.insert(key, Counted::from_json(&json));
            }
        }
        found.extend(self.current(now).into_iter().filter(|(key, _)| key[ROWS.len()..] >= *from));
        let row = |(key, counted): (String, Counted)| {
            let mut parts = key.strip_prefix(ROWS)?.splitn(3, '/');
            Some(Row { hour: parts.next()?.to_owned(), topic: parts.next()?.to_owned(), counted })
        };
        found.into_iter().filter_map(row).collect()
    }

    /// Figures of a period: `today` (UTC) or `last_7_days`, today included.
    pub fn summary(&self, period: &str, now: DateTime<Utc>) -> Value {
        let days = if period == "today" { 0 } else { 6 };
        let from = (now - Span::days(days)).format("%Y-%m-%d").to_string();
        let mut all = Counted::default();
        self.rows_from(&from, now).iter().for_each(|row| all.add(&row.counted));
        with(json!({"period": period}), &all.figures())
    }

    /// Figures of each of the last hours, this one included, oldest first; hours without a message too.
    pub fn hourly(&self, hours: u32, now: DateTime<Utc>) -> Vec<Value> {
        let this = now
            .with_minute(0)
            .and_then(|t| t.with_second(0))
            .and_then(|t| t.with_nanosecond(0))
            .unwrap_or(now);
        let hours: Vec<_> = (0..i64::from(hours)).rev().map(|back| this - Span::hours(back)).collect();
        let from = hours.first().copied().map(name_of).unwrap_or_default();
        let mut by_hour: BTreeMap<String, Counted> = BTreeMap::new();
        for row in self.rows_from(&from, now) {
            by_hour.entry(row.hour).or_default().add(&row.counted);
        }
        let none = Counted::default();
        let of_hour = |hour: &DateTime<Utc>| {
            let counted = by_hour.get(&name_of(*hour)).unwrap_or(&none);
            with(json!({"hour": hour.to_rfc3339_opts(SecondsFormat::Secs, true)}), &counted.figures())
        };
        hours.iter().map(of_hour).collect()
    }

    /// Figures of one topic by hour, newest first, hours without a message left out.
    pub fn topic(&self, topic: &str, limit: usize, now: DateTime<Utc>) -> Vec<Value> {
        let mut by_hour: BTreeMap<String, Counted> = BTreeMap::new();
        for row in self.rows_from("", now).into_iter().filter(|row| row.topic == topic) {
            by_hour.entry(row.hour).or_default().add(&row.counted);
        }
        let of_hour = |(hour, counted): (&String, &Counted)| {
            with(json!({"hour": format!("{hour}:00:00Z"), "topic": topic}), &counted.figures())
        };
        by_hour.iter().rev().take(limit).map(of_hour).collect()
    }

    /// Removes rows older than `days`; answers how many.
    pub async fn clean(&self, days: i64, now: DateTime<Utc>) -> Result<u64, String> {
        let until = name_of(now - Span::days(days));
        let mut removed = 0;
        for (key, _) in self.0.notes.below(ROWS) {
            if key[ROWS.len()..] >= *until {
                break;
            }
            self.0.notes.delete(&key).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn with(mut head: Value, figures: &PublishingFigures) -> Value {
    let figures = serde_json::to_value(figures).unwrap_or_default();
    if let (Some(head), Value::Object(figures)) = (head.as_object_mut(), figures) {
        head.extend(figures);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Bytes>>);

    #[async_trait::async_trait]
    impl Notes for Kept {
        async fn put(&self, key: &str, value: Bytes) -> Result<(), String> {
            self.0.lock().unwrap().insert(key.to_owned(), value);
            Ok(())
        }

        async fn delete(&self, key: &str) -> Result<(), String> {
            self.0.lock().unwrap().remove(key);
            Ok(())
        }

        fn get(&self, key: &str) -> Option<Bytes> {
            self.0.lock().unwrap().get(key).cloned()
        }

        fn below(&self, prefix: &str) -> Vec<(String, Bytes)> {
            let rows = self.0.lock().unwrap();
            rows.iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        }
    }

    #[tokio::test]
    async fn lives_of_instances_add_up_by_hour_and_topic() {
        let notes = Arc::new(Kept::default());
        let now = Utc::now();
        let (first, second) = (Publishing::default(), Publishing::default());
        let histories = [(&first, "a-1"), (&second, "a-2")]
            .map(|(publishing, life)| PublishingHistory::new(publishing.clone(), notes.clone(), life.into()));
        for micros in 1..=1_000 {
            first.sent("t", 10, Some(micros * 1_000));
        }
        second.sent("t", 5, Some(2_000));
        second.failed("u");
        histories[0].write().await.unwrap();
        // The other one's row is not written yet, and counts for itself.
        let summary = histories[1].summary("today", now);
        assert_eq!(
            (&summary["messages_sent"], &summary["messages_failed"], &summary["total_bytes"]),
            (&json!(1_001), &json!(1), &json!(10_005))
        );
        let p99 = summary["p99_latency_ms"].as_f64().unwrap();
        assert!((p99 / 990.0 - 1.0).abs() < 0.07, "{summary}");
        assert_eq!(histories[0].summary("last_7_days", now)["messages_sent"], 1_000);
        let hourly = histories[1].hourly(24, now);
        assert_eq!(
            (hourly.len(), &hourly[23]["total_messages"], &hourly[22]["total_messages"]),
            (24, &json!(1_002), &json!(0))
        );
        let topic = histories[1].topic("t", 100, now);
        assert_eq!(
            (topic.len(), &topic[0]["messages_sent"], &topic[0]["topic"]),
            (1, &json!(1_001), &json!("t"))
        );
        assert!(histories[1].topic("other", 100, now).is_empty());
    }

    #[tokio::test]
    async fn an_hour_ends_and_old_rows_go() {
        let notes = Arc::new(Kept::default());
        let publishing = Publishing::default();
        let history = PublishingHistory::new(publishing.clone(), notes.clone(), "i".into());
        let now = Utc::now();
        publishing.sent("t", 1, None);
        history.write().await.unwrap();
        history.current(now + Span::hours(1));
        publishing.sent("t", 1, None);
        publishing.sent("t", 1, None);
        let later = history.current(now + Span::hours(1));
        assert_eq!(later.values().map(Counted::total).collect::<Vec<_>>(), [1, 2], "each hour for itself");
        assert_eq!(history.clean(30, now).await, Ok(0));
        assert_eq!(history.clean(30, now + Span::days(31)).await, Ok(1));
        assert!(notes.below("").is_empty());
    }
}
