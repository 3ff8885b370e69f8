//! Topics that outputs name, such as those of `publish` actions: made when missing, before anything is written to them. A
//! record for a topic that is not there would wait in the client until the whole commit fails.

use crate::admin::{AdminError, KafkaAdmin, TopicSpec};
use crate::cluster::Cluster;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A topic that could not be made is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// What one publisher knows of them.
pub struct NamedTopics {
    cluster: Cluster,
    partitions: i32,
    replication: i32,
    there: HashSet<Arc<str>>,
    refused: HashMap<Arc<str>, (Instant, String)>,
}

impl NamedTopics {
    /// Knows none yet; those that are missing are made with so many partitions and replicas.
    pub fn new(cluster: &Cluster, partitions: i32, replication: i32) -> Self {
        let cluster = cluster.clone();
        NamedTopics { cluster, partitions, replication, there: HashSet::new(), refused: HashMap::new() }
    }

    /// Why nothing can be written to a topic; `None` when it is there, or when nobody can tell now.
    pub fn refuses(&mut self, topic: &Arc<str>) -> Option<String> {
        if self.there.contains(topic) {
            return None;
        }
        if let Some((at, why)) = self.refused.get(topic)
            && at.elapsed() < AGAIN
        {
            return Some(why.clone());
        }
        match self.ensure(topic) {
            Ok(()) => {
                self.refused.remove(topic);
                self.there.insert(topic.clone());
                None
            }
            Err(error) if error.is_temporary() => None,
            Err(error) => {
                let why = error.to_string();
                self.refused.insert(topic.clone(), (Instant::now(), why.clone()));
                Some(why)
            }
        }
    }

    /// On a thread of its own: the publisher's drives a runtime already.
    fn ensure(&self, topic: &str) -> Result<(), AdminError> {
        let wanted = [TopicSpec::stream(topic, self.partitions, self.replication)];
        let ensured = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| AdminError::Client(error.to_string()))?;
            let admin = KafkaAdmin::new(&self.cluster)?;
            runtime.block_on(admin.ensure_topics(&wanted)).map(drop)
        };
        std::thread::scope(|scope| scope.spawn(ensured).join())
            .unwrap_or_else(|_| Err(AdminError::Client("looking for the topic panicked".to_owned())))
    }
}
