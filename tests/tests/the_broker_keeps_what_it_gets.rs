//! What every other scenario rests on: bytes, keys, nulls, headers and order survive the harness's own broker, producer and
//! reader, and a broker that was taken away comes back with all of it.

use std::time::Duration;
use tidecast_tests::Kafka;
use tidecast_tests::kafka::{Out, unique};

const WAIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn untouched_and_in_order() {
    let kafka = Kafka::shared();
    let topic = unique("kept");
    // A reader may be there before its topic.
    let mut reader = kafka.reader(&topic);
    assert_eq!(kafka.partitions(&topic), None);
    kafka.create(&topic, 2).await;
    assert_eq!(kafka.partitions(&topic), Some(2));
    let producer = kafka.producer();
    let at = |partition| Out { partition: Some(partition), ..Out::default() };
    producer.send(&topic, at(0));
    producer.send(&topic, Out { key: Some(b""), payload: Some(b""), ..at(0) });
    producer.send(
        &topic,
        Out { payload: Some(&[0xFF, 0x00]), headers: &[("reason", "late"), ("offset", "7")], ..at(0) },
    );
    (0..1_000)
        .for_each(|i: u32| producer.send(&topic, Out { payload: Some(i.to_string().as_bytes()), ..at(1) }));
    producer.flush();
    let records = reader.until("all of it", WAIT, |records| records.len() >= 1_003);
    let of = |partition| records.iter().filter(move |r| r.partition == partition).collect::<Vec<_>>();
    let first = of(0);
    assert_eq!((&first[0].key, &first[0].payload), (&None, &None));
    assert_eq!((&first[1].key, &first[1].payload), (&Some(vec![]), &Some(vec![])), "no bytes are not a null");
    assert_eq!(
        (first[2].header("reason"), first[2].header("offset"), first[2].header("x")),
        (Some("late"), Some("7"), None)
    );
    let numbers: Vec<u64> = of(1).iter().map(|r| r.json().as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..1_000));
    assert_eq!(kafka.watermarks(&topic), [(0, 3), (0, 1_000)]);
    assert_eq!(kafka.committed(&unique("nobody"), &topic), [-1, -1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn across_its_own_death() {
    let mut kafka = Kafka::own();
    let (topic, address) = (unique("survives"), kafka.bootstrap().to_string());
    kafka.create(&topic, 1).await;
    let producer = kafka.producer();
    producer.send_json(&topic, "k", "1");
    producer.flush();
    let mut reader = kafka.reader(&topic);
    reader.until("the first", WAIT, |records| records.len() == 1);
    kafka.stop();
    assert!(std::net::TcpStream::connect(&address).is_err(), "nobody listens any more");
    kafka.start();
    assert_eq!(kafka.bootstrap(), address);
    let producer = kafka.producer();
    producer.send_json(&topic, "k", "2");
    producer.flush();
    let records = reader.until("the second", WAIT, |records| records.len() == 2);
    assert_eq!(records[1].json(), 2);
}
