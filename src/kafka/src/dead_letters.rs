//! Rejected input: the dead-letter topic listed from its newest, and letters put back on their topic, each once.

mod letters;
mod replay;

use crate::admin::TopicSpec;
use crate::cluster::{ClientError, Cluster};
use crate::publishing::Publishing;
use letters::{Letter, Letters};
use replay::Replay;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidecast_ports::operations::{DeadLetter, ReplayRequest, ReplayResult};
use tidecast_ports::{ControlError, DeadLetters, Page, PageRequest};

/// Letters of a page, unless asked otherwise, and at most.
const PAGE: usize = 50;
const PAGE_AT_MOST: usize = 1_000;
/// Letters looked at for one page: a filter that matches little gives short pages, not long waits.
const LOOKED_AT: usize = 20_000;
/// Letters read at once from one partition.
const WINDOW: i64 = 500;

/// [`DeadLetters`] over the dead-letter topic. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterTopic(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    topic: String,
    markers: TopicSpec,
    /// Topics that letters may go back to: a header alone does not decide where we write.
    inputs: Vec<String>,
    publishing: Publishing,
    /// One look or replay at a time; the reader is made at the first.
    letters: Mutex<Option<Letters>>,
}

impl DeadLetterTopic {
    /// Reads and replays the dead letters of this configuration. Contacts nobody yet.
    pub fn new(
        cluster: &Cluster,
        settings: &tidecast_config::Settings,
        publishing: Publishing,
    ) -> Result<Self, ClientError> {
        let mut inputs: Vec<String> = settings.input_topics().into_iter().map(str::to_owned).collect();
        inputs.push(settings.topics.events.clone());
        Ok(Self::of_topic(cluster, &settings.topics.dlq, settings.topics.replication, inputs, publishing))
    }

    /// The same, topic by topic.
    pub fn of_topic(
        cluster: &Cluster,
        topic: &str,
        replication: i32,
        inputs: Vec<String>,
        publishing: Publishing,
    ) -> Self {
        DeadLetterTopic(Arc::new(Inner {
            cluster: cluster.clone(),
            topic: topic.to_owned(),
            markers: TopicSpec::table(marker_topic(topic), replication),
            inputs,
            publishing,
            letters: Mutex::default(),
        }))
    }

    /// The table that remembers which letters went back: one row each, by the letter's id.
    pub fn marker_topic(settings: &tidecast_config::Settings) -> TopicSpec {
        TopicSpec::table(marker_topic(&settings.topics.dlq), settings.topics.replication)
    }

    async fn with_letters<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut Letters) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let mut slot = inner.letters.lock().unwrap_or_else(PoisonError::into_inner);
            let letters = match &mut *slot {
                Some(letters) => letters,
                empty => empty.insert(Letters::open(&inner.cluster, &inner.topic).map_err(unavailable)?),
            };
            work(&inner, letters)
        })
        .await
        .unwrap_or_else(|error| {
            Err(ControlError::Unavailable(format!("reading the dead letters was cut short: {error}")))
        })
    }
}

fn marker_topic(topic: &str) -> String {
    format!("{topic}-replayed")
}

fn unavailable(why: String) -> ControlError {
    ControlError::Unavailable(why)
}

/// Where a listing stands: for each partition, the offset below which it goes on.
fn parse_cursor(text: &str) -> Option<BTreeMap<i32, i64>> {
    text.split(',')
        .map(|part| {
            let (partition, offset) = part.split_once(':')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        })
        .collect()
}

fn format_cursor(positions: &BTreeMap<i32, i64>) -> String {
    let parts: Vec<String> =
        positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    parts.join(",")
}

fn list(
    letters: &mut Letters,
    reason: Option<&str>,
    page: &PageRequest,
) -> Result<Page<DeadLetter>, ControlError> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_AT_MOST);
    let search = page.search.as_ref().map(|search| search.to_lowercase());
    let bounds = letters.bounds().map_err(unavailable)?;
    let mut positions: BTreeMap<i32, i64> =
        bounds.iter().map(|(partition, (_, high))| (*partition, *high)).collect();
    if let Some(cursor) = &page.cursor {
        let from = parse_cursor(cursor).ok_or_else(|| ControlError::Invalid {
            field: "cursor".into(),
            message: "not a cursor of this list; begin without one".into(),
        })?;
        for (partition, position) in &mut positions {
            // A partition made since then has only newer letters.
            *position = from.get(partition).copied().unwrap_or(0).min(*position);
        }
    }
    // The newest not yet taken of each partition last.
    let mut waiting: BTreeMap<i32, Vec<Letter>> = BTreeMap::new();
    let mut items = Vec::new();
    let mut looked_at = 0;
    while items.len() < limit && looked_at < LOOKED_AT {
        for (partition, (low, _)) in &bounds {
            let waiting = waiting.entry(*partition).or_default();
            while waiting.is_empty() && positions[partition] > *low {
                let from = (positions[partition] - WINDOW).max(*low);
                *waiting = letters.read(*partition, from, positions[partition]).map_err(unavailable)?;
                if waiting.is_empty() {
                    // Nothing but markers in there.
                    positions.insert(*partition, from);
                }
            }
        }
        let newest = waiting
            .iter()
            .filter_map(|(partition, waiting)| Some((waiting.last()?.timestamp_ms, *partition)))
            .max_by_key(|(timestamp, partition)| (*timestamp, std::cmp::Reverse(*partition)));
        let Some((_, partition)) = newest else {
            return Ok(Page { items, next: None });
        };
        let Some(letter) = waiting.get_mut(&partition).and_then(Vec::pop) else { break };
        positions.insert(partition, letter.offset);
        looked_at += 1;
        let wanted = reason.is_none_or(|reason| letter.reason == reason)
            && search.as_ref().is_none_or(|search| letter.contains(search));
        if wanted {
            items.push(letter.view());
        }
    }
    let more = bounds.iter().any(|(partition, (low, _))| positions[partition] > *low);
    Ok(Page { items, next: more.then(|| format_cursor(&positions)) })
}

#[async_trait::async_trait]
impl DeadLetters for DeadLetterTopic {
    async fn list(
        &self,
        reason: Option<String>,
        page: PageRequest,
    ) -> Result<Page<DeadLetter>, ControlError> {
        self.with_letters(move |_, letters| list(letters, reason.as_deref(), &page)).await
    }

    async fn replay(&self, request: ReplayRequest) -> Result<ReplayResult, ControlError> {
        let admin =
            crate::KafkaAdmin::new(&self.0.cluster).map_err(|error| unavailable(error.to_string()))?;
        admin
            .ensure_topics(std::slice::from_ref(&self.0.markers))
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        self.with_letters(move |inner, letters| {
            let replay = Replay {
                cluster: &inner.cluster,
                markers: &inner.markers.name,
                inputs: &inner.inputs,
                publishing: &inner.publishing,
            };
            replay.run(letters, &request)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back() {
        let positions = BTreeMap::from([(0, 17), (3, 0)]);
        assert_eq!(parse_cursor(&format_cursor(&positions)), Some(positions));
        assert_eq!(parse_cursor("0:1,x"), None);
    }
}
