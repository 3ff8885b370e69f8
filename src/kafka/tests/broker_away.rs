//! The brokers go and come back: on librdkafka's mock cluster, which can be told to.

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tidecast_event::TopicPartition;
use tidecast_kafka::{Cluster, ClusterOptions, Ingest, Publishing, Source, SourceOptions};
use tidecast_ports::source::Assigned;
use tidecast_ports::{EventIngest, PartitionSink, RecordBatch, SourceHandler};

const LONG: Duration = Duration::from_secs(60);

enum Told {
    Trouble(String),
    Well,
    Value(Vec<u8>),
    Lost,
}

#[derive(Clone)]
struct Handler(SyncSender<Told>);

impl PartitionSink for Handler {
    fn has_room(&self) -> bool {
        true
    }

    fn deliver(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        for record in &batch.records {
            self.0.send(Told::Value(batch.value(record).unwrap().to_vec())).unwrap();
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
        Ok((broker.log_start, Box::new(self.clone())))
    }

    fn revoking(&mut self, _: &[TopicPartition], _: Duration) {}

    fn lost(&mut self, _: &[TopicPartition]) {
        self.0.send(Told::Lost).unwrap();
    }

    fn connection(&mut self, trouble: Option<&str>) {
        let told = trouble.map_or(Told::Well, |trouble| Told::Trouble(trouble.to_owned()));
        self.0.send(told).unwrap();
    }
}

fn event(number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"source":"s","type":"t","data":{{"n":{number}}}}}"#))
}

#[test]
fn trouble_is_told_once_and_its_end_and_nothing_is_lost() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("events", 1, 1).unwrap();
    let mut options = ClusterOptions::plaintext(mock.bootstrap_servers(), "away");
    // Long enough for the outage of this test: what is on its way then arrives after it.
    options.producer.request_timeout = LONG;
    let cluster = Cluster::new(options);
    let (sender, told) = sync_channel(1_000);
    let next = || told.recv_timeout(LONG).expect("to be told something within a minute");
    let mut source_options = SourceOptions::new(["events"], || 0);
    source_options.retry = Duration::from_millis(100);
    // The mock's session must outlive the outage: this is about the connection, not the group.
    source_options.session_timeout = Some(LONG);
    let source = Source::prepare(&cluster, source_options).unwrap();
    let control = source.control();
    let thread = source.start(Box::new(Handler(sender))).unwrap();
    let ingest = Ingest::to_topic(&cluster, "events", i64::MAX, false, Publishing::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let send = |number| ingest.ingest(event(number), 1_768_564_232_665).unwrap();
    runtime.block_on(send(1)).unwrap();
    assert!(matches!(next(), Told::Value(value) if value == event(1)));

    mock.broker_down(-1).unwrap();
    let Told::Trouble(trouble) = next() else { panic!("the trouble comes first") };
    assert!(trouble.contains("bootstrap_servers"), "{trouble}");
    let waiting = send(2);
    mock.broker_up(-1).unwrap();
    runtime.block_on(waiting).unwrap();
    let (mut well, mut arrived) = (false, false);
    while !(well && arrived) {
        match next() {
            Told::Well => well = true,
            Told::Value(value) => {
                assert_eq!(value, event(2));
                arrived = true;
            }
            Told::Trouble(again) => panic!("told again: {again}"),
            Told::Lost => panic!("the assignment was lost"),
        }
    }
    control.close();
    thread.join().unwrap();
}
