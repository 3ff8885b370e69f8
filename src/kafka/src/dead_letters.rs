//! Rejected input: the dead-letter topic listed from its newest, and letters put back on their topic, each once.

mod letters;
mod replay;

use crate::admin::TopicSpec;
use crate::cluster::{ClientError, Cluster};
use crate::publishing::Publishing;
use crate::topic_reader::{SharedReader, TopicReader, positions};
use letters::Letter;
use replay::Replay;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidecast_ports::operations::{DeadLetter, ReplayRequest, ReplayResult};
use tidecast_ports::{ControlError, DeadLetters, Page, PageRequest};

/// Letters of a page, unless asked otherwise, and at most.
const PAGE: usize = 50;
const PAGE_AT_MOST: usize = 1_000;
/// Letters put back in one transaction, at most.
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
    /// One look or replay at a time.
    reader: SharedReader,
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
            reader: SharedReader::new(cluster, "dead-letters"),
        }))
    }

    /// The table that remembers which letters went back: one row each, by the letter's id.
    pub fn marker_topic(settings: &tidecast_config::Settings) -> TopicSpec {
        TopicSpec::table(marker_topic(&settings.topics.dlq), settings.topics.replication)
    }
}

fn marker_topic(topic: &str) -> String {
    format!("{topic}-replayed")
}

fn unavailable(why: String) -> ControlError {
    ControlError::Unavailable(why)
}

fn list(
    reader: &mut TopicReader,
    topic: &str,
    reason: Option<&str>,
    page: &PageRequest,
) -> Result<Page<DeadLetter>, ControlError> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_AT_MOST);
    let search = page.search.as_ref().map(|search| search.to_lowercase());
    let wanted = |letter: &Letter| {
        reason.is_none_or(|reason| letter.reason == reason)
            && search.as_ref().is_none_or(|search| letter.contains(search))
    };
    let positions = positions(page.cursor.as_deref())?;
    let bounds = bounds(reader, topic)?;
    reader.newest(topic, &bounds, positions.as_ref(), limit, |message| {
        Some(Letter::read(message)).filter(wanted).map(Letter::view)
    })
}

/// The dead-letter topic is ours: that it is not there is trouble, and not the asker's.
fn bounds(reader: &TopicReader, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, ControlError> {
    reader.bounds(topic).map_err(|error| match error {
        ControlError::NotFound(why) => unavailable(why),
        other => other,
    })
}

#[async_trait::async_trait]
impl DeadLetters for DeadLetterTopic {
    async fn list(
        &self,
        reason: Option<String>,
        page: PageRequest,
    ) -> Result<Page<DeadLetter>, ControlError> {
        let inner = Arc::clone(&self.0);
        self.0.reader.with(move |reader| list(reader, &inner.topic, reason.as_deref(), &page)).await
    }

    async fn replay(&self, request: ReplayRequest) -> Result<ReplayResult, ControlError> {
        let admin =
            crate::KafkaAdmin::new(&self.0.cluster).map_err(|error| unavailable(error.to_string()))?;
        admin
            .ensure_topics(std::slice::from_ref(&self.0.markers))
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let inner = Arc::clone(&self.0);
        self.0
            .reader
            .with(move |reader| {
                let replay = Replay {
                    cluster: &inner.cluster,
                    topic: &inner.topic,
                    markers: &inner.markers.name,
                    inputs: &inner.inputs,
                    publishing: &inner.publishing,
                };
                replay.run(reader, &request)
            })
            .await
    }
}
