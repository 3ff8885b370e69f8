//! The embedded broker, with the source, ingest and tables on it as `tidecast dev` uses them.

use bytes::Bytes;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_kafka::{
    Cluster, ClusterOptions, ConfigTopic, EmbeddedBroker, Ingest, KafkaAdmin, Publishing, SingleSender,
    Source, SourceOptions, TopicSpec,
};
use tidecast_ports::source::Assigned;
use tidecast_ports::{EventIngest, PartitionSink, RecordBatch, SourceHandler};

struct Handler(SyncSender<Vec<u8>>);
struct Sink(SyncSender<Vec<u8>>);

impl PartitionSink for Sink {
    fn has_room(&self) -> bool {
        true
    }

    fn deliver(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        for record in &batch.records {
            self.0.send(batch.value(record).unwrap().to_vec()).unwrap();
        }
        Ok(())
    }
}

impl SourceHandler for Handler {
    fn assigned(
        &mut self,
        _: &TopicPartition,
        broker: Assigned,
    ) -> Result<(i64, Box<dyn PartitionSink>), String> {
        Ok((broker.log_start, Box::new(Sink(self.0.clone()))))
    }

    fn revoking(&mut self, _: &[TopicPartition], _: Duration) {}

    fn lost(&mut self, _: &[TopicPartition]) {}

    fn connection(&mut self, _: Option<&str>) {}
}

#[test]
fn events_go_in_and_come_out_and_tables_are_kept() {
    let topics = [("events".to_owned(), 2), ("table".to_owned(), 1)];
    let broker = EmbeddedBroker::start(&topics).unwrap();
    let cluster = Cluster::new(ClusterOptions::plaintext(broker.bootstrap_servers(), "dev"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let source = Source::prepare(&cluster, SourceOptions::new(["events"], || 0)).unwrap();
    let control = source.control();
    let (sender, received) = sync_channel(8);
    let thread = source.start(Box::new(Handler(sender))).unwrap();
    runtime.block_on(async {
        let admin = KafkaAdmin::new(&cluster).unwrap();
        let there = [TopicSpec::stream("events", 2, 1), TopicSpec::table("table", 1)];
        assert!(admin.ensure_topics(&there).await.unwrap().is_empty());
        let ingest = Ingest::to_topic(&cluster, "events", i64::MAX, false, Publishing::default()).unwrap();
        let event = Bytes::from_static(br#"{"source":"s","type":"t","data":{}}"#);
        ingest.ingest(event, 1_768_564_232_665).unwrap().await.unwrap();
        let sender = SingleSender::new(&cluster, Publishing::default()).unwrap();
        let table = ConfigTopic::open(&cluster, "table", sender, Box::new(|_| {})).await.unwrap();
        table.put("k", b"v").await.unwrap();
        assert_eq!(&table.get("k").unwrap().value[..], b"v");
    });
    let event = received.recv_timeout(Duration::from_secs(60)).expect("the event within a minute");
    assert_eq!(event, br#"{"source":"s","type":"t","data":{}}"#);
    control.close();
    thread.join().unwrap();
}
