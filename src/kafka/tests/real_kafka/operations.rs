//! Admin and operations.

use crate::broker::{self, Put};
use serde_json::{Value, json};
use tidecast_kafka::{Cluster, ClusterOptions, KafkaAdmin, Operations, Publishing, TopicSpec};
use tidecast_ports::operations::RecordsRequest;
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

#[test]
fn a_topics_records_come_newest_first_page_by_page_and_by_what_is_in_them() {
    let topic = broker::topic("looked-at", 2);
    let mut put: Vec<Put> = (0..120).map(|n| broker::numbered((n % 2) as i32, n)).collect();
    put[7].value = None;
    put[8].value = Some(vec![0xff, 0xfe]);
    put[9].value = Some("ü".repeat(10_000).into_bytes());
    put[10].traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    broker::put(&topic, &put);
    let operations = Operations::on(&broker::cluster("tail"), Publishing::default()).unwrap();
    let operations = operations.hiding(["of-the-service".to_owned()]);
    let ask = |change: &dyn Fn(&mut RecordsRequest)| {
        let mut request = RecordsRequest { topic: topic.clone(), limit: 50, ..RecordsRequest::default() };
        change(&mut request);
        broker::runtime().block_on(operations.records(request))
    };
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = ask(&|request| request.cursor = cursor.clone()).unwrap();
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let numbers: Vec<i64> =
        all.iter().map(|record| record.offset * 2 + i64::from(record.partition)).collect();
    assert_eq!(numbers, (0..120).rev().collect::<Vec<i64>>(), "each once, by time");
    let of = |number: usize| &all[119 - number];
    assert_eq!((of(3).key.as_deref(), of(3).value.as_deref()), (Some("k3"), Some("value 1 3")));
    assert_eq!(of(3).timestamp, "2023-11-14T22:13:20.003Z");
    assert_eq!((of(7).value.as_deref(), of(7).value_base64.as_deref()), (None, None));
    assert_eq!((of(8).value.as_deref(), of(8).value_base64.as_deref()), (None, Some("//4=")));
    assert_eq!((of(9).value.as_deref().unwrap().len(), of(9).truncated), (16 << 10, true));
    assert!(of(10).headers["traceparent"].starts_with("00-0af7"), "{:?}", of(10).headers);
    let one = ask(&|request| request.partition = Some(1)).unwrap();
    assert!(one.items.len() == 50 && one.items.iter().all(|record| record.partition == 1));
    let found = ask(&|request| request.contains = Some("VALUE 0 11".into())).unwrap();
    let values: Vec<&str> = found.items.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(values, ["value 0 118", "value 0 116", "value 0 114", "value 0 112", "value 0 110"]);
    assert_eq!(found.next, None);
    let refused = ask(&|request| request.partition = Some(7)).unwrap_err();
    assert!(matches!(&refused, ControlError::Invalid { field, .. } if field == "partition"), "{refused}");
    for hidden in ["no-such-topic", "__consumer_offsets", "of-the-service"] {
        let refused = ask(&|request| request.topic = hidden.into()).unwrap_err();
        assert!(matches!(&refused, ControlError::NotFound(_)), "{refused}");
    }
}
