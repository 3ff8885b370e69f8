//! Topics made or named when missing, and what the cluster looks like.

use crate::cluster::{Cluster, explain};
use crate::log::QuietContext;
use crate::native::topic_rights;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of a topic that can be neither seen nor made.
const HIDDEN: &str = "is there, and this user may not see it; grant Describe, Read and Write on it";
/// How long a look at the cluster may take.
const LOOK: Duration = Duration::from_secs(10);

/// A topic that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Partitions, when it has to be made.
    pub partitions: i32,
    /// Replicas, when it has to be made.
    pub replication: i32,
    /// Settings of the topic, when it has to be made, e.g. `cleanup.policy`.
    pub config: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic of records that age out as the broker says.
    pub fn stream(name: impl Into<String>, partitions: i32, replication: i32) -> Self {
        TopicSpec { name: name.into(), partitions, replication, config: Vec::new() }
    }

    /// A table: one partition, the newest record of each key kept.
    pub fn table(name: impl Into<String>, replication: i32) -> Self {
        let config =
            [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1"), ("segment.ms", "86400000")];
        TopicSpec {
            name: name.into(),
            partitions: 1,
            replication,
            config: config.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }
}

/// Why the cluster is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No answer.
    #[error("Kafka at {servers} does not answer: {why}")]
    Unreachable {
        /// Whom we asked.
        servers: String,
        /// In the library's words.
        why: String,
    },
    /// Topics are missing and cannot be made by us.
    #[error("{}", missing_text(.0))]
    Missing(Vec<(String, String)>),
    /// The client cannot be made of these settings.
    #[error("{0}")]
    Client(String),
}

impl AdminError {
    /// Whether waiting may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, AdminError::Unreachable { .. })
    }
}

fn missing_text(missing: &[(String, String)]) -> String {
    let names: Vec<String> = missing.iter().map(|(name, why)| format!("{name} ({why})")).collect();
    format!(
        "these topics are missing and Kafka did not let us make them; make them by hand: {}",
        names.join(", ")
    )
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// `host:port`.
    pub address: String,
}

/// A partition as the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PartitionView {
    /// Its number.
    pub partition: i32,
    /// The leader's id, -1 for none.
    pub leader: i32,
    /// Ids of the replicas.
    pub replicas: Vec<i32>,
    /// Ids of those in sync.
    pub in_sync: Vec<i32>,
    /// First offset in the log, where it was asked for.
    pub low: Option<i64>,
    /// Next offset to be written, likewise.
    pub high: Option<i64>,
}

/// A topic as the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: Vec<PartitionView>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// What the cluster shows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Brokers.
    pub brokers: Vec<Broker>,
    /// Topics that we may see, without the cluster's own.
    pub topics: BTreeMap<String, TopicView>,
    /// How long the look took.
    pub took: Duration,
}

/// Looks at and changes a cluster. Cheap to clone.
#[derive(Clone)]
pub struct KafkaAdmin {
    cluster: Cluster,
    /// Asks. What changes the cluster is done by a client made for it: rdkafka's admin client reads neither its errors
    /// nor its log lines, which would pile up.
    looker: Arc<Looker>,
}

type Looker = BaseConsumer<QuietContext>;

impl KafkaAdmin {
    /// Makes the client; the brokers need not be there yet.
    pub fn new(cluster: &Cluster) -> Result<Self, AdminError> {
        let mut config = cluster.client_config();
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let looker = BaseConsumer::from_config_and_context(&config, QuietContext::default())
            .map_err(|error| AdminError::Client(explain(&error)))?;
        Ok(KafkaAdmin { cluster: cluster.clone(), looker: Arc::new(looker) })
    }

    fn admin_client(&self) -> Result<AdminClient<QuietContext>, AdminError> {
        AdminClient::from_config_and_context(&self.cluster.client_config(), QuietContext::default())
            .map_err(|error| AdminError::Client(explain(&error)))
    }

    /// The cluster it speaks to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Brokers and topics, without offsets. Waits up to `within` for an answer.
    pub async fn look(&self, within: Duration) -> Result<ClusterView, AdminError> {
        let (client, servers) = (Arc::clone(&self.looker), self.cluster.bootstrap_servers());
        blocking(move || look(&client, &servers, within)).await
    }

    /// [`KafkaAdmin::look`], with each partition's first and next offset.
    pub async fn look_with_offsets(&self) -> Result<ClusterView, AdminError> {
        let (client, servers) = (Arc::clone(&self.looker), self.cluster.bootstrap_servers());
        blocking(move || {
            let mut view = look(&client, &servers, LOOK)?;
            let (lows, highs) = (ends(&client, &view, Offset::Beginning), ends(&client, &view, Offset::End));
            for topic in view.topics.values_mut() {
                for partition in &mut topic.partitions {
                    let found = |ends: &TopicPartitionList| {
                        let found = ends.find_partition(&topic.name, partition.partition)?.offset();
                        if let Offset::Offset(offset) = found { Some(offset) } else { None }
                    };
                    (partition.low, partition.high) = (found(&lows), found(&highs));
                }
            }
            Ok(view)
        })
        .await
    }

    /// First and next offset of every partition of a topic.
    pub async fn watermarks(&self, topic: &str) -> Result<Vec<(i32, i64, i64)>, AdminError> {
        let (client, servers, name) =
            (Arc::clone(&self.looker), self.cluster.bootstrap_servers(), topic.to_owned());
        blocking(move || {
            let view = look(&client, &servers, LOOK)?;
            let Some(topic) = view.topics.get(&name) else {
                return Err(AdminError::Missing(vec![(name, "not found".to_owned())]));
            };
            topic
                .partitions
                .iter()
                .map(|partition| {
                    let (low, high) =
                        settled_watermarks(&client, &name, partition.partition).map_err(|error| {
                            AdminError::Unreachable { servers: servers.clone(), why: explain(&error) }
                        })?;
                    Ok((partition.partition, low, high))
                })
                .collect()
        })
        .await
    }

    /// Makes what is missing; tells the names of what it made. An error names all that is missing and could not be
    /// made.
    pub async fn ensure_topics(&self, wanted: &[TopicSpec]) -> Result<Vec<String>, AdminError> {
        let view = self.look(LOOK).await?;
        let missing: Vec<&TopicSpec> =
            wanted.iter().filter(|spec| !view.topics.contains_key(&spec.name)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<NewTopic<'_>> = missing.iter().map(|spec| new_topic(spec)).collect();
        let options = AdminOptions::new().request_timeout(Some(LOOK)).operation_timeout(Some(LOOK));
        let results = self.admin_client()?.create_topics(&new, &options).await.map_err(|error| {
            let why = explain(&error);
            AdminError::Missing(missing.iter().map(|spec| (spec.name.clone(), why.clone())).collect())
        })?;
        let (mut made, mut there, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(name) => made.push(name),
                // Somebody else was quicker, or we may not see it.
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => there.push(name),
                Err((name, code)) => refused.push((name, code.to_string())),
            }
        }
        if refused.is_empty() && !there.is_empty() {
            self.wait_for_leaders(&there).await?;
            let view = self.look(LOOK).await?;
            let hidden = there.into_iter().filter(|name| !view.topics.contains_key(name));
            refused.extend(hidden.map(|name| (name, HIDDEN.to_owned())));
        }
        if !refused.is_empty() {
            return Err(AdminError::Missing(refused));
        }
        self.wait_for_leaders(&made).await?;
        Ok(made)
    }

    /// A topic just made is known to every broker, and led, a moment later.
    async fn wait_for_leaders(&self, topics: &[String]) -> Result<(), AdminError> {
        let deadline = Instant::now() + LOOK;
        loop {
            let view = self.look(LOOK).await?;
            let led = |name: &String| {
                view.topics.get(name).is_some_and(|topic| {
                    !topic.partitions.is_empty()
                        && topic.partitions.iter().all(|partition| partition.leader >= 0)
                })
            };
            if topics.iter().all(led) || Instant::now() >= deadline {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the brokers will not let us do with these topics and the consumer group, a line each that says what to
    /// grant. Empty when all is well, or when the brokers do not tell.
    pub async fn missing_permissions(&self, wanted: &[TopicSpec]) -> Vec<String> {
        let view = match self.look(LOOK).await {
            Ok(view) => view,
            Err(error) => return vec![error.to_string()],
        };
        let (there, missing): (Vec<&TopicSpec>, Vec<&TopicSpec>) =
            wanted.iter().partition(|spec| view.topics.contains_key(&spec.name));
        let mut lines = self.may_not_make(&missing).await;
        let names: Vec<String> = there.iter().map(|spec| spec.name.clone()).collect();
        let (client, cluster) = (Arc::clone(&self.looker), self.cluster.clone());
        let asked = blocking(move || {
            let mut lines = Vec::new();
            for (name, rights) in topic_rights(client.client(), &names, LOOK) {
                for (granted, right) in [(rights.read, "Read"), (rights.write, "Write")] {
                    if !granted {
                        lines.push(format!("topic {name}: {right} is not allowed; grant it to this user"));
                    }
                }
            }
            lines.extend(group_trouble(&cluster, names.first()));
            Ok(lines)
        })
        .await;
        match asked {
            Ok(more) => lines.extend(more),
            Err(error) => lines.push(error.to_string()),
        }
        lines
    }

    /// Tries to make topics without making them.
    async fn may_not_make(&self, missing: &[&TopicSpec]) -> Vec<String> {
        if missing.is_empty() {
            return Vec::new();
        }
        let client = match self.admin_client() {
            Ok(client) => client,
            Err(error) => return vec![error.to_string()],
        };
        let new: Vec<NewTopic<'_>> = missing.iter().map(|spec| new_topic(spec)).collect();
        let options =
            AdminOptions::new().request_timeout(Some(LOOK)).operation_timeout(Some(LOOK)).validate_only(true);
        let why = |code: RDKafkaErrorCode| match code {
            RDKafkaErrorCode::TopicAlreadyExists => HIDDEN.to_owned(),
            code => format!("is missing and may not be made: {code}"),
        };
        let refused: Vec<(String, String)> = match client.create_topics(&new, &options).await {
            Ok(results) => {
                results.into_iter().filter_map(Result::err).map(|(name, code)| (name, why(code))).collect()
            }
            Err(error) => {
                let why = format!("is missing and may not be made: {}", explain(&error));
                missing.iter().map(|spec| (spec.name.clone(), why.clone())).collect()
            }
        };
        refused.into_iter().map(|(name, why)| format!("topic {name} {why}")).collect()
    }

    /// Deletes topics; for tests and for clearing up after a replay into topics of its own.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<(), AdminError> {
        let options = AdminOptions::new().request_timeout(Some(LOOK)).operation_timeout(Some(LOOK));
        let results = self.admin_client()?.delete_topics(names, &options).await.map_err(|error| {
            AdminError::Unreachable { servers: self.cluster.bootstrap_servers(), why: explain(&error) }
        })?;
        let refused: Vec<(String, String)> = results
            .into_iter()
            .filter_map(|result| result.err().map(|(name, code)| (name, code.to_string())))
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(AdminError::Client(format!("not deleted: {refused:?}"))) }
    }
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
    spec.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

/// Where all partitions of a cluster begin or end, in one question to each broker; those without an answer are left out.
fn ends(client: &BaseConsumer<QuietContext>, view: &ClusterView, end: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for topic in view.topics.values() {
        for partition in topic.partitions.iter().filter(|partition| partition.leader >= 0) {
            // The ends are asked for as times are: each has a number of its own for one (KIP-79). Ends are valid offsets here.
            let _ = list.add_partition_offset(&topic.name, partition.partition, end);
        }
    }
    if list.count() == 0 {
        return list;
    }
    client.offsets_for_times(list, LOOK).unwrap_or_default()
}

/// Asks for a committed offset, which a group that is forbidden does not get.
fn group_trouble(cluster: &Cluster, topic: Option<&String>) -> Option<String> {
    let group = &cluster.options().group_id;
    let config = cluster.reader_config(group, "read_uncommitted");
    let consumer: BaseConsumer<QuietContext> =
        BaseConsumer::from_config_and_context(&config, QuietContext::default()).ok()?;
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic?, 0);
    let error = consumer.committed_offsets(list, LOOK / 2).err()?;
    // A group that is forbidden has no coordinator for us: the question times out, and the reason came beside it.
    for _ in 0..64 {
        let _ = consumer.poll(Duration::ZERO);
    }
    let why = consumer.context().last_error().unwrap_or_else(|| explain(&error));
    Some(format!("group {group}: {why}; grant Read on it, or set kafka.group_id"))
}

/// First and next offset, waiting while the partition's leader is being found.
fn settled_watermarks(client: &Looker, topic: &str, partition: i32) -> KafkaResult<(i64, i64)> {
    use RDKafkaErrorCode as Code;
    let deadline = Instant::now() + LOOK;
    loop {
        let found = client.fetch_watermarks(topic, partition, LOOK);
        let passes = found.as_ref().err().and_then(KafkaError::rdkafka_error_code).is_some_and(|code| {
            matches!(
                code,
                Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::UnknownTopicOrPartition
            )
        });
        if !passes || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn look(client: &Looker, servers: &str, within: Duration) -> Result<ClusterView, AdminError> {
    let begun = Instant::now();
    client.context().forget();
    let metadata = client.fetch_metadata(None, within);
    // Serves what was reported meanwhile.
    for _ in 0..64 {
        let _ = client.poll(Duration::ZERO);
    }
    let metadata = metadata.map_err(|error| {
        // A timeout alone says little: the last trouble of the connection says why.
        let why = client.context().last_error().unwrap_or_else(|| explain(&error));
        AdminError::Unreachable { servers: servers.to_owned(), why }
    })?;
    let brokers = metadata
        .brokers()
        .iter()
        .map(|broker| Broker { id: broker.id(), address: format!("{}:{}", broker.host(), broker.port()) })
        .collect();
    let topics = metadata
        .topics()
        .iter()
        .filter(|topic| !topic.name().starts_with("__"))
        .map(|topic| {
            let partitions = topic.partitions().iter().map(|partition| PartitionView {
                partition: partition.id(),
                leader: partition.leader(),
                replicas: partition.replicas().to_vec(),
                in_sync: partition.isr().to_vec(),
                low: None,
                high: None,
            });
            let view = TopicView {
                name: topic.name().to_owned(),
                partitions: partitions.collect(),
                error: topic.error().map(|code| RDKafkaErrorCode::from(code).to_string()),
            };
            (view.name.clone(), view)
        })
        .collect();
    Ok(ClusterView { brokers, topics, took: begun.elapsed() })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(AdminError::Client(format!("a look at Kafka was cut short: {error}"))))
}
