//! A topic is deleted and made anew while it is read: the new one is read from its beginning, whatever it holds by then.

use std::path::{Path, PathBuf};
use std::time::Duration;
use tidecast_tests::kafka::Record;
use tidecast_tests::{Kafka, Setup, Tidecast, eventually};

const WAIT: Duration = Duration::from_secs(30);
const AT: u64 = 1_768_564_800;
const HOUR: u64 = 3_600;
const SERIES: &str = r#"
[topics]
partitions = 1
[[series]]
name = "t"
key = "source"
window = { kind = "tumbling", size = "1h" }
lateness = "0s"
idle_after = "1h"
"#;
/// How many events each window has, by its newest revision: the window's hour after the first.
fn counted(records: &[Record], hour: u64) -> Option<u64> {
    let of_hour = records.iter().map(Record::json).filter(|a| {
        let start = a["window_start"].as_f64().unwrap() as u64;
        start == AT + hour * HOUR
    });
    of_hour.max_by_key(|a| a["revision"].as_u64()).map(|a| a["event_count"].as_u64().unwrap())
}

/// The names of all files below a folder.
fn snapshots(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let name = |path: PathBuf| match path.is_dir() {
        true => snapshots(&path),
        false => path.display().to_string(),
    };
    entries.map(|entry| name(entry.unwrap().path())).collect::<Vec<_>>().join("\n")
}

struct World {
    kafka: Kafka,
    setup: Setup,
    topic: String,
}

impl World {
    /// A topic with a hundred events of the first hour.
    async fn begin(what: &str) -> World {
        let kafka = Kafka::shared();
        let setup = Setup::new(what, &kafka).with(SERIES);
        let topic = setup.topic("events");
        kafka.create(&topic, 1).await;
        kafka.send_seconds(&topic, AT, 0..100);
        World { kafka, setup, topic }
    }

    /// And a service that has read them.
    async fn begun(what: &str) -> (World, Tidecast) {
        let world = World::begin(what).await;
        let tidecast = world.setup.start().await;
        world.commits(100).await;
        (world, tidecast)
    }

    async fn commits(&self, offset: i64) {
        eventually("all of it is read", WAIT, async || {
            (self.kafka.committed(&self.setup.name, &self.topic) == [offset]).then_some(())
        })
        .await;
    }

    /// The topic anew, with other events.
    async fn anew(&self, seconds: impl IntoIterator<Item = u64>) {
        self.kafka.delete(&self.topic).await;
        self.kafka.create(&self.topic, 1).await;
        self.kafka.send_seconds(&self.topic, AT, seconds);
    }

    fn second_hour_has(&self, events: u64) {
        let mut aggregates = self.kafka.reader(&self.setup.topic("aggregates"));
        aggregates.until("every event is in its window", WAIT, |records| counted(records, 1) == Some(events));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_more_records_than_were_read_before() {
    let (world, tidecast) = World::begun("anew-more").await;
    world.anew((HOUR..HOUR + 300).chain([2 * HOUR])).await;
    world.second_hour_has(300);
    assert!(tidecast.log().contains("was made anew"), "{}", tidecast.log());
    world.commits(301).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fewer_records_than_were_read_before() {
    let (world, tidecast) = World::begun("anew-fewer").await;
    world.anew((HOUR..HOUR + 30).chain([2 * HOUR])).await;
    world.second_hour_has(30);
    world.commits(31).await;
    tidecast.get("/health/ready").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_shared_snapshot_of_the_former_one_is_no_part_of_it() {
    let world = World::begin("anew-shared").await;
    let (setup, shared) = (&world.setup, world.setup.folder().join("shared"));
    std::fs::create_dir(&shared).unwrap();
    let place = format!("state.shared=file://{}", shared.display());
    // Each on a machine of its own: only what is shared goes from one to the next.
    let machine = async |name: &str, snapshots: &str| {
        let every = format!("state.snapshot_interval_seconds={snapshots}");
        let tidecast = setup.beside(name, &["--set", &place, "--set", &every]);
        tidecast.ready().await;
        tidecast
    };
    let mut first = machine("first", "1").await;
    world.commits(100).await;
    eventually("a snapshot is shared", WAIT, async || snapshots(&shared).contains("100").then_some(())).await;
    first.kill();

    world.anew(HOUR..HOUR + 150).await;
    let mut second = machine("second", "3600").await;
    world.commits(150).await;
    second.kill();
    let _third = machine("third", "3600").await;
    world.kafka.send_seconds(&world.topic, AT, [2 * HOUR]);
    let mut aggregates = world.kafka.reader(&setup.topic("aggregates"));
    let records =
        aggregates.until("the second hour is whole", WAIT, |records| counted(records, 1) == Some(150));
    assert_eq!(counted(records, 0), None, "no window of the former topic was ever closed");
}
