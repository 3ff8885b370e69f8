//! Admin and operations.

use crate::broker;
use serde_json::{Value, json};
use tidecast_kafka::{Cluster, ClusterOptions, KafkaAdmin, Operations, Publishing, TopicSpec};
use tidecast_ports::{ControlError, KafkaOperations};

fn map(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn nobody() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("127.0.0.1:{port}")
}

#[test]
fn missing_topics_are_made_once_with_their_settings() {
    let (stream, table) = (broker::unique("stream"), broker::unique("table"));
    let wanted = [TopicSpec::stream(&stream, 3, 1), TopicSpec::table(&table, 1)];
    let admin = KafkaAdmin::new(&broker::cluster("admin")).unwrap();
    broker::runtime().block_on(async {
        let mut made = admin.ensure_topics(&wanted).await.unwrap();
        made.sort();
        assert_eq!(made, [stream.clone(), table.clone()]);
        assert!(admin.ensure_topics(&wanted).await.unwrap().is_empty());
        let view = admin.look(std::time::Duration::from_secs(10)).await.unwrap();
        assert_eq!(view.topics[&stream].partitions.len(), 3);
        assert_eq!(view.topics[&table].partitions.len(), 1);
        assert_eq!(view.brokers.len(), 1);
        assert_eq!(admin.watermarks(&stream).await.unwrap(), [(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
        let refused = admin.ensure_topics(&[TopicSpec::stream("not/a/topic", 1, 1)]).await.unwrap_err();
        assert!(refused.to_string().contains("not/a/topic") && !refused.is_temporary(), "{refused}");
        admin.delete_topics(&[&stream]).await.unwrap();
    });
}

#[test]
fn a_cluster_that_is_not_there_is_told_with_its_address() {
    let servers = nobody();
    let admin = KafkaAdmin::new(&Cluster::new(ClusterOptions::plaintext(&servers, "g"))).unwrap();
    broker::runtime().block_on(async {
        let error = admin.look(std::time::Duration::from_secs(1)).await.unwrap_err();
        assert!(error.is_temporary() && error.to_string().contains(&servers), "{error}");
    });
}

#[test]
fn operators_see_health_topics_and_figures_and_can_send() {
    let topic = broker::topic("sent", 1);
    broker::runtime().block_on(async {
        let operations = Operations::on(&broker::cluster("ops"), Publishing::default()).unwrap();
        let health = operations.health().await;
        assert_eq!((&health["status"], &health["connected"]), (&json!("healthy"), &json!(true)));
        let sent = operations.send(&topic, Some("k"), &json!({"a": 1})).await.unwrap();
        assert_eq!((&sent["partition"], &sent["offset"]), (&json!(0), &json!(0)));
        operations.send(&topic, None, &json!("as it stands")).await.unwrap();
        let topics = operations.topics().await.unwrap();
        let view = topics.iter().find(|view| view["name"] == json!(topic)).unwrap();
        assert_eq!(view["messages"], json!(2));
        assert_eq!(view["partitions"][0]["high"], json!(2));
        let metrics = operations.metrics().await;
        assert_eq!((&metrics["messages_sent"], &metrics["success_rate"]), (&json!(2), &json!(1.0)));
        let nowhere = operations.send("no-such-topic", None, &json!(1)).await;
        assert!(matches!(nowhere, Err(ControlError::NotFound(_))));
    });
    let values: Vec<_> = broker::read_committed(&topic).into_iter().map(|seen| seen.3.unwrap()).collect();
    assert_eq!(values, [r#"{"a":1}"#, "as it stands"]);
}

#[test]
fn connection_settings_are_tried() {
    broker::runtime().block_on(async {
        let operations = Operations::on(&broker::cluster("ops"), Publishing::default()).unwrap();
        let good = operations.test(map(json!({"bootstrap_servers": [broker::bootstrap()]}))).await;
        assert_eq!((&good["status"], &good["connected"]), (&json!("success"), &json!(true)));
        assert_eq!(good["bootstrap_servers"], json!([broker::bootstrap()]));
        let bad = operations.test(map(json!({"bootstrap_servers": nobody()}))).await;
        assert_eq!((&bad["status"], &bad["connected"]), (&json!("error"), &json!(false)));
        assert!(bad["error"].as_str().unwrap().contains("does not answer"), "{bad:?}");
        let secret = json!({"bootstrap_servers": nobody(), "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256", "sasl_username": "u", "sasl_password": "hunter2"});
        let refused = operations.test(map(secret)).await;
        assert_eq!(refused["status"], json!("error"));
        assert!(!serde_json::to_string(&refused).unwrap().contains("hunter2"), "{refused:?}");
    });
}
