//! Kafka as operators see it: `/api/kafka/**`.

use crate::admin::{AdminError, KafkaAdmin};
use crate::cluster::{ClientError, Cluster, ClusterOptions, Sasl};
use crate::publishing::Publishing;
use crate::publishing_history::PublishingHistory;
use crate::single::{NotTaken, SingleSender};
use crate::tail;
use crate::topic_reader::SharedReader;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tidecast_event::EventTime;
use tidecast_ports::operations::{RecordsRequest, TopicRecord};
use tidecast_ports::{ControlError, KafkaOperations, Page};

/// How long a look for health may take.
const HEALTH: Duration = Duration::from_secs(3);
/// How long foreign settings are tried.
const TEST: Duration = Duration::from_secs(8);

/// [`KafkaOperations`] on one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    admin: KafkaAdmin,
    sender: SingleSender,
    publishing: Publishing,
    history: Option<PublishingHistory>,
    reader: SharedReader,
    /// Topics whose records nobody is shown.
    hidden: Vec<String>,
}

impl Operations {
    /// Makes the clients; the brokers need not be there yet. Called within a tokio runtime.
    pub fn new(
        cluster: &Cluster,
        _settings: &tidecast_config::Settings,
        publishing: Publishing,
    ) -> Result<Self, ClientError> {
        Self::on(cluster, publishing)
    }

    /// The same without a configuration.
    pub fn on(cluster: &Cluster, publishing: Publishing) -> Result<Self, ClientError> {
        let admin = KafkaAdmin::new(cluster).map_err(|error| ClientError(error.to_string()))?;
        let sender = SingleSender::new(cluster, publishing.clone()).map_err(ClientError)?;
        Ok(Operations {
            admin,
            sender,
            publishing,
            history: None,
            reader: SharedReader::new(cluster, "tail"),
            hidden: Vec::new(),
        })
    }
}

impl Operations {
    /// Answers about earlier hours from here.
    pub fn with_history(self, history: PublishingHistory) -> Self {
        Operations { history: Some(history), ..self }
    }

    /// Does not show the records of these: what they hold is shown elsewhere, without its secrets.
    pub fn hiding(self, hidden: impl IntoIterator<Item = String>) -> Self {
        Operations { hidden: hidden.into_iter().collect(), ..self }
    }

    fn history(&self) -> Result<&PublishingHistory, ControlError> {
        let none = || ControlError::Unavailable("this process keeps no history of publishing".to_owned());
        self.history.as_ref().ok_or_else(none)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn now() -> String {
    EventTime::from_millis(chrono::Utc::now().timestamp_millis()).to_rfc3339()
}

/// Settings as a REST body gives them: names as in section `[kafka]`, unknown ones refused by name.
fn options_of(settings: &Map<String, Value>) -> Result<ClusterOptions, String> {
    let mut options = ClusterOptions::plaintext("", "tidecast-connection-test");
    options.client_id = "tidecast-connection-test".into();
    let (mut mechanism, mut username, mut password) = (None, None, None);
    for (name, value) in settings {
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("{name}: a text is wanted"));
        match name.as_str() {
            "bootstrap_servers" => {
                options.bootstrap_servers = match value {
                    Value::String(list) => list.split(',').map(|server| server.trim().to_owned()).collect(),
                    Value::Array(list) => list
                        .iter()
                        .map(|server| {
                            server.as_str().map(str::to_owned).ok_or("bootstrap_servers: texts are wanted")
                        })
                        .collect::<Result<_, _>>()?,
                    _ => return Err("bootstrap_servers: host:port, or a list of them".into()),
                };
            }
            "security_protocol" => options.security_protocol = text()?.to_ascii_uppercase(),
            "sasl_mechanism" => mechanism = Some(text()?),
            "sasl_username" => username = Some(text()?),
            "sasl_password" => password = Some(SecretString::from(text()?)),
            "ssl_cafile" => options.tls.ca_file = Some(PathBuf::from(text()?)),
            "ssl_certfile" => options.tls.certificate_file = Some(PathBuf::from(text()?)),
            "ssl_keyfile" => options.tls.key_file = Some(PathBuf::from(text()?)),
            "ssl_check_hostname" => {
                options.tls.check_hostname = value.as_bool().ok_or("ssl_check_hostname: true or false")?;
            }
            // A named connection carries these too; they do not bear on whether it can be reached.
            "name" | "default_topic" | "topic" => {}
            other => return Err(format!("{other}: no such connection setting")),
        }
    }
    if options.bootstrap_servers.iter().all(String::is_empty) {
        return Err("bootstrap_servers: at least one host:port is wanted".into());
    }
    let known = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    if !known.contains(&options.security_protocol.as_str()) {
        return Err(format!("security_protocol: one of {}", known.join(", ")));
    }
    if options.security_protocol.starts_with("SASL") {
        let (Some(username), Some(password)) = (username, password) else {
            return Err("sasl_username and sasl_password: wanted with a SASL protocol".into());
        };
        options.sasl =
            Some(Sasl { mechanism: mechanism.unwrap_or_else(|| "PLAIN".into()), username, password });
    }
    Ok(options)
}

async fn try_connection(settings: &Map<String, Value>) -> Result<usize, String> {
    let options = options_of(settings)?;
    let admin = KafkaAdmin::new(&Cluster::new(options)).map_err(|error| error.to_string())?;
    let view = admin.look(TEST).await.map_err(|error| error.to_string())?;
    Ok(view.brokers.len())
}

#[async_trait::async_trait]
impl KafkaOperations for Operations {
    async fn health(&self) -> Map<String, Value> {
        let servers = self.admin.cluster().options().bootstrap_servers.clone();
        object(match self.admin.look(HEALTH).await {
            Ok(view) => json!({
                "status": "healthy", "connected": true, "bootstrap_servers": servers, "brokers": view.brokers,
                "topics": view.topics.len(), "latency_ms": view.took.as_secs_f64() * 1e3, "check_timestamp": now(),
            }),
            Err(error) => json!({
                "status": "unhealthy", "connected": false, "bootstrap_servers": servers, "brokers": [],
                "error": error.to_string(), "check_timestamp": now(),
            }),
        })
    }

    async fn topics(&self) -> Result<Vec<Value>, ControlError> {
        let view = self
            .admin
            .look_with_offsets()
            .await
            .map_err(|error| ControlError::Unavailable(error.to_string()))?;
        let topics = view.topics.into_values().map(|topic| {
            let messages: i64 =
                topic.partitions.iter().filter_map(|partition| Some(partition.high? - partition.low?)).sum();
            json!({
                "name": topic.name, "partition_count": topic.partitions.len(), "messages": messages,
                "partitions": topic.partitions, "error": topic.error,
            })
        });
        Ok(topics.collect())
    }

    async fn records(&self, request: RecordsRequest) -> Result<Page<TopicRecord>, ControlError> {
        // Kafka's own are not for people.
        if request.topic.starts_with("__") || self.hidden.contains(&request.topic) {
            let topic = &request.topic;
            return Err(ControlError::NotFound(format!("the records of topic {topic:?} are not shown")));
        }
        self.reader.with(move |reader| tail::page(reader, &request)).await
    }

    async fn metrics(&self) -> Map<String, Value> {
        serde_json::to_value(self.publishing.figures()).map(object).unwrap_or_default()
    }

    fn publishing_summary(&self, period: &str) -> Result<Value, ControlError> {
        Ok(self.history()?.summary(period, chrono::Utc::now()))
    }

    fn publishing_hourly(&self, hours: u32) -> Result<Vec<Value>, ControlError> {
        Ok(self.history()?.hourly(hours, chrono::Utc::now()))
    }

    fn publishing_of_topic(&self, topic: &str, limit: usize) -> Result<Vec<Value>, ControlError> {
        Ok(self.history()?.topic(topic, limit, chrono::Utc::now()))
    }

    async fn clean_publishing(&self, days: u32) -> Result<u64, ControlError> {
        let cleaned = self.history()?.clean(i64::from(days), chrono::Utc::now()).await;
        cleaned.map_err(ControlError::Unavailable)
    }

    async fn test(&self, settings: Map<String, Value>) -> Map<String, Value> {
        let servers = settings.get("bootstrap_servers").cloned().unwrap_or(Value::Null);
        object(match try_connection(&settings).await {
            Ok(brokers) => json!({
                "status": "success", "connected": true, "bootstrap_servers": servers, "brokers": brokers,
                "test_timestamp": now(),
            }),
            Err(why) => json!({
                "status": "error", "connected": false, "bootstrap_servers": servers, "error": why,
                "test_timestamp": now(),
            }),
        })
    }

    async fn send(&self, topic: &str, key: Option<&str>, message: &Value) -> Result<Value, ControlError> {
        // Asked first: a producer would wait for a topic that is not there, or make it by accident.
        let view = self
            .admin
            .look(HEALTH)
            .await
            .map_err(|error: AdminError| ControlError::Unavailable(error.to_string()))?;
        if !view.topics.contains_key(topic) {
            return Err(ControlError::NotFound(format!("there is no topic {topic:?}, or we may not see it")));
        }
        let value = match message {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let place = self.sender.send(topic, key.map(str::as_bytes), Some(&value)).await.map_err(
            |NotTaken { message, too_large }| match too_large {
                true => ControlError::Invalid { field: "message".to_owned(), message },
                false => ControlError::Unavailable(message),
            },
        )?;
        Ok(
            json!({ "topic": topic, "partition": place.partition, "offset": place.offset, "timestamp": now() }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(settings: Value) -> Result<ClusterOptions, String> {
        options_of(&object(settings))
    }

    #[test]
    fn connection_settings_are_read_or_refused_by_name() {
        let read = options(json!({"bootstrap_servers": "a:1, b:2"})).unwrap();
        assert_eq!(read.bootstrap_servers, ["a:1", "b:2"]);
        let read = options(json!({"bootstrap_servers": ["a:1"], "security_protocol": "sasl_ssl",
            "sasl_username": "u", "sasl_password": "p"}))
        .unwrap();
        assert_eq!(
            (read.security_protocol.as_str(), read.sasl.unwrap().mechanism.as_str()),
            ("SASL_SSL", "PLAIN")
        );
        for (settings, named) in [
            (json!({}), "bootstrap_servers"),
            (json!({"bootstrap_servers": 7}), "bootstrap_servers"),
            (json!({"bootstrap_servers": "a:1", "sasl": 1}), "sasl"),
            (json!({"bootstrap_servers": "a:1", "security_protocol": "HTTP"}), "security_protocol"),
            (json!({"bootstrap_servers": "a:1", "security_protocol": "SASL_PLAINTEXT"}), "sasl_username"),
        ] {
            let error = options(settings).err().unwrap();
            assert!(error.contains(named), "{error}");
        }
    }
}
