//! A compacted topic as a table: read whole, then followed. What is configured while running (models, rules) lives in
//! one, so that every instance sees the same, and a restart finds it again.

use crate::cluster::{Cluster, explain};
use crate::log::QuietContext;
use crate::single::SingleSender;
use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was put.
    pub value: Bytes,
    /// Grows with every change of the key: the record's offset + 1.
    pub version: u64,
}

/// A row that was put or deleted, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row's key.
    pub key: String,
    /// `None`: deleted.
    pub value: Option<Bytes>,
    /// As in [`Entry`].
    pub version: u64,
}

/// Why the table cannot be read or written now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {topic}: {why}")]
pub struct TableError {
    /// The table's topic.
    pub topic: String,
    /// What to know.
    pub why: String,
}

struct State {
    rows: BTreeMap<String, Entry>,
    /// Next offset to be read, per partition.
    positions: HashMap<i32, i64>,
}

struct Inner {
    topic: String,
    sender: SingleSender,
    state: Mutex<State>,
    /// Counts what was read; waiters look at the state again when it changes.
    read: watch::Sender<u64>,
    closed: AtomicBool,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table in a compacted topic. Cheap to clone; the last one dropped ends its reader.
#[derive(Clone)]
pub struct ConfigTopic(Arc<Handle>);

struct Handle {
    inner: Arc<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::Release);
    }
}

/// Told of every change in log order, the rows found at the start included, on the reader's thread; must not wait.
pub type OnChange = Box<dyn FnMut(Change) + Send>;

impl ConfigTopic {
    /// Reads the topic to its end as of now, then follows it. The topic must exist.
    pub async fn open(
        cluster: &Cluster,
        topic: &str,
        sender: SingleSender,
        on_change: OnChange,
    ) -> Result<Self, TableError> {
        let fault = |why: String| TableError { topic: topic.to_owned(), why };
        let group = format!("{}-tables", cluster.options().group_id);
        let mut config = cluster.reader_config(&group, "read_committed");
        config.set("fetch.wait.max.ms", "500").set("queued.max.messages.kbytes", "4096");
        let consumer: BaseConsumer<QuietContext> =
            BaseConsumer::from_config_and_context(&config, QuietContext::default())
                .map_err(|error| fault(explain(&error)))?;
        let inner = Arc::new(Inner {
            topic: topic.to_owned(),
            sender,
            state: Mutex::new(State { rows: BTreeMap::new(), positions: HashMap::new() }),
            read: watch::Sender::new(0),
            closed: AtomicBool::new(false),
        });
        let (loaded, is_loaded) = tokio::sync::oneshot::channel();
        let reader = Reader { consumer, inner: Arc::clone(&inner), on_change, loaded: Some(loaded) };
        std::thread::Builder::new()
            .name(format!("kafka-table-{topic}"))
            .spawn(move || reader.run())
            .map_err(|error| fault(format!("no thread to read it: {error}")))?;
        let table = ConfigTopic(Arc::new(Handle { inner }));
        match is_loaded.await {
            Ok(Ok(())) => Ok(table),
            Ok(Err(why)) => Err(fault(why)),
            Err(_) => Err(fault("its reader ended".to_owned())),
        }
    }

    /// All rows, by key.
    pub fn rows(&self) -> BTreeMap<String, Entry> {
        self.0.inner.state().rows.clone()
    }

    /// The rows whose key begins so, by key.
    pub fn below(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let state = self.0.inner.state();
        let from =
            state.rows.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        let of_prefix = from.take_while(|(key, _)| key.starts_with(prefix));
        of_prefix.map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// One row.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.0.inner.state().rows.get(key).cloned()
    }

    /// Puts a row; answers with its version when Kafka has acknowledged it and [`ConfigTopic::get`] shows it (or what
    /// came after it).
    pub async fn put(&self, key: &str, value: &[u8]) -> Result<u64, TableError> {
        self.write(key, Some(value)).await
    }

    /// Deletes a row, likewise.
    pub async fn delete(&self, key: &str) -> Result<u64, TableError> {
        self.write(key, None).await
    }

    async fn write(&self, key: &str, value: Option<&[u8]>) -> Result<u64, TableError> {
        let inner = &self.0.inner;
        let fault = |why: String| TableError { topic: inner.topic.clone(), why };
        let mut read = inner.read.subscribe();
        let sent = inner.sender.send(&inner.topic, Some(key.as_bytes()), value).await;
        let place = sent.map_err(|not_taken| fault(not_taken.message))?;
        let seen = async {
            while inner.state().positions.get(&place.partition).is_none_or(|next| *next <= place.offset) {
                if read.changed().await.is_err() {
                    return;
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), seen).await {
            Ok(()) => Ok(version(place.offset)),
            Err(_) => Err(fault("the change is in Kafka, but was not read back within 30 s".to_owned())),
        }
    }
}

fn version(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0) + 1
}

struct Reader {
    consumer: BaseConsumer<QuietContext>,
    inner: Arc<Inner>,
    on_change: OnChange,
    loaded: Option<tokio::sync::oneshot::Sender<Result<(), String>>>,
}

impl Reader {
    fn run(mut self) {
        let mut behind = match self.assign() {
            Ok(behind) => behind,
            Err(why) => {
                self.tell_loaded(Err(why));
                return;
            }
        };
        if behind.is_empty() {
            self.tell_loaded(Ok(()));
        }
        while !self.inner.closed.load(Ordering::Acquire) {
            let event = match self.consumer.poll(Duration::from_millis(100)) {
                None => continue,
                Some(Ok(message)) => {
                    let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned());
                    let value = message.payload().map(Bytes::copy_from_slice);
                    Ok((message.partition(), message.offset(), key, value))
                }
                Some(Err(error)) => Err(error),
            };
            match event {
                Ok((partition, offset, key, value)) => {
                    self.take(partition, offset, key, value);
                    if behind.get(&partition).is_some_and(|end| offset + 1 >= *end) {
                        behind.remove(&partition);
                        if behind.is_empty() {
                            self.tell_loaded(Ok(()));
                        }
                    }
                }
                // Where the last offsets hold no record: compaction leaves them, and so does a transaction.
                Err(KafkaError::PartitionEOF(partition)) => {
                    behind.remove(&partition);
                    if behind.is_empty() {
                        self.tell_loaded(Ok(()));
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        topic = self.inner.topic,
                        error = explain(&error),
                        "table not read for now"
                    );
                }
            }
        }
    }

    fn tell_loaded(&mut self, result: Result<(), String>) {
        if let Some(loaded) = self.loaded.take() {
            // Whoever opened the table may have given up waiting.
            let _ = loaded.send(result);
        }
    }

    /// The partitions that hold something, and their ends. They are asked for, because the client tells of an end only
    /// when a fetch has waited there in vain.
    fn assign(&self) -> Result<HashMap<i32, i64>, String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let partitions: Vec<i32> = loop {
            let metadata = self
                .consumer
                .fetch_metadata(Some(&self.inner.topic), Duration::from_secs(10))
                .map_err(|error| self.consumer.context().last_error().unwrap_or_else(|| explain(&error)))?;
            let topic = metadata.topics().first();
            let error = topic.and_then(|topic| topic.error());
            let partitions = topic.map_or(&[][..], |topic| topic.partitions());
            if error.is_none() && !partitions.is_empty() {
                break partitions.iter().map(|partition| partition.id()).collect();
            }
            // A topic just made is known to every broker a moment later.
            if Instant::now() >= deadline {
                return Err(error.map_or_else(
                    || "it has no partitions".to_owned(),
                    |code| rdkafka::error::RDKafkaErrorCode::from(code).to_string(),
                ));
            }
            let _ = self.consumer.poll(Duration::from_millis(20));
        };
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in &partitions {
            list.add_partition_offset(&self.inner.topic, *partition, Offset::Beginning)
                .map_err(|error| explain(&error))?;
        }
        let mut ends = HashMap::new();
        for partition in partitions {
            let (start, end) = loop {
                match self.consumer.fetch_watermarks(&self.inner.topic, partition, Duration::from_secs(10)) {
                    Ok(found) => break found,
                    // A partition just made has no leader for a moment.
                    Err(error) if Instant::now() >= deadline => return Err(explain(&error)),
                    Err(_) => drop(self.consumer.poll(Duration::from_millis(20))),
                }
            };
            if start < end {
                ends.insert(partition, end);
            }
        }
        self.consumer.assign(&list).map_err(|error| explain(&error))?;
        Ok(ends)
    }

    fn take(&mut self, partition: i32, offset: i64, key: Option<String>, value: Option<Bytes>) {
        let change = key.map(|key| Change { key, value, version: version(offset) });
        {
            let mut state = self.inner.state();
            if let Some(change) = &change {
                match &change.value {
                    Some(value) => {
                        let entry = Entry { value: value.clone(), version: change.version };
                        state.rows.insert(change.key.clone(), entry);
                    }
                    None => {
                        state.rows.remove(&change.key);
                    }
                }
            }
        }
        if let Some(change) = change {
            (self.on_change)(change);
        }
        // Last: who waits for a put to be read back finds that everybody was told of it.
        self.inner.state().positions.insert(partition, offset + 1);
        self.inner.read.send_modify(|count| *count += 1);
    }
}
