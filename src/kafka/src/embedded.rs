//! A broker in this process, for `tidecast dev`: librdkafka's mock cluster, which speaks Kafka on TCP. It keeps the
//! newest few megabytes of each partition and nothing across a restart, and knows no isolation of transactions: never
//! a broker for anything but trying out.

use crate::native::join_groups_at_once;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// An embedded broker; ends when dropped.
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker on a free loopback port with these topics (name, partitions). It makes no other topics.
    pub fn start(topics: &[(String, i32)]) -> Result<Self, String> {
        let topics = topics.to_vec();
        let (stop, stopped) = sync_channel::<()>(1);
        let (started, is_started) = sync_channel(1);
        // The cluster is bound to the thread that made it.
        let thread = std::thread::Builder::new()
            .name("kafka-embedded".into())
            .spawn(move || {
                // A client of its own holds the cluster, which lives as long.
                let host = ClientConfig::new().set("test.mock.num.brokers", "1").create::<BaseProducer>();
                let cluster = host.as_ref().map_err(Clone::clone).and_then(|host| {
                    let cluster = host
                        .client()
                        .mock_cluster()
                        .ok_or(KafkaError::MockCluster(RDKafkaErrorCode::Fail))?;
                    join_groups_at_once(host.client());
                    topics
                        .iter()
                        .try_for_each(|(name, partitions)| cluster.create_topic(name, *partitions, 1))?;
                    Ok(cluster)
                });
                match cluster {
                    Ok(cluster) => {
                        let _ = started.send(Ok(cluster.bootstrap_servers()));
                        // Until the owner is dropped.
                        let _ = stopped.recv();
                    }
                    Err(error) => {
                        let _ = started.send(Err(error.to_string()));
                    }
                }
            })
            .map_err(|error| format!("no thread for the embedded broker: {error}"))?;
        let bootstrap_servers = is_started
            .recv()
            .unwrap_or_else(|_| Err("its thread ended".to_owned()))
            .map_err(|why| format!("the embedded broker did not start: {why}"))?;
        Ok(EmbeddedBroker { bootstrap_servers, stop: Some(stop), thread: Some(thread) })
    }

    /// `host:port` for clients.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
