//! Compacted topics as tables.

use crate::broker;
use std::sync::{Arc, Mutex};
use tidecast_kafka::{Change, Cluster, ConfigTopic, Publishing, SingleSender, TopicSpec};

fn table_topic() -> String {
    let name = broker::unique("table");
    broker::make(&TopicSpec::table(&name, 1));
    name
}

async fn open(cluster: &Cluster, topic: &str) -> (ConfigTopic, Arc<Mutex<Vec<Change>>>) {
    let changes: Arc<Mutex<Vec<Change>>> = Arc::default();
    let told = Arc::clone(&changes);
    let sender = SingleSender::new(cluster, Publishing::default()).unwrap();
    let on_change = Box::new(move |change| told.lock().unwrap().push(change));
    (ConfigTopic::open(cluster, topic, sender, on_change).await.unwrap(), changes)
}

#[test]
fn what_was_put_is_seen_at_once_and_found_again() {
    let (topic, cluster) = (table_topic(), broker::cluster(&broker::unique("table")));
    broker::runtime().block_on(async {
        let (table, changes) = open(&cluster, &topic).await;
        assert!(table.rows().is_empty());
        let first = table.put("model", b"one").await.unwrap();
        assert_eq!(table.get("model").unwrap().value, &b"one"[..]);
        let second = table.put("model", b"two").await.unwrap();
        table.put("other", b"three").await.unwrap();
        assert!(second > first);
        table.delete("other").await.unwrap();
        assert_eq!(table.get("other"), None);
        assert_eq!(changes.lock().unwrap().len(), 4);
        let (again, found) = open(&cluster, &topic).await;
        let rows = again.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!((&rows["model"].value[..], rows["model"].version), (&b"two"[..], second));
        assert_eq!(
            found.lock().unwrap().last().unwrap().value,
            None,
            "the rows at the start are told in log order"
        );
    });
}

#[test]
fn another_instance_sees_a_change() {
    let (topic, cluster) = (table_topic(), broker::cluster(&broker::unique("table")));
    broker::runtime().block_on(async {
        let (one, _) = open(&cluster, &topic).await;
        let (told, mut is_told) = tokio::sync::mpsc::channel(8);
        let sender = SingleSender::new(&cluster, Publishing::default()).unwrap();
        let on_change = Box::new(move |change: Change| told.try_send(change.key).unwrap());
        let two = ConfigTopic::open(&cluster, &topic, sender, on_change).await.unwrap();
        one.put("rule", b"x").await.unwrap();
        assert_eq!(is_told.recv().await.as_deref(), Some("rule"));
        assert_eq!(two.get("rule").unwrap().value, &b"x"[..]);
    });
}

#[test]
fn a_table_without_its_topic_says_so() {
    let cluster = broker::cluster(&broker::unique("table"));
    broker::runtime().block_on(async {
        let sender = SingleSender::new(&cluster, Publishing::default()).unwrap();
        let opened = ConfigTopic::open(&cluster, "no-such-table", sender, Box::new(|_| {})).await;
        let error = opened.err().unwrap().to_string();
        assert!(error.contains("no-such-table") && error.contains("nknown topic"), "{error}");
    });
}
