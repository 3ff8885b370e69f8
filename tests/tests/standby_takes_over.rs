//! Instances that follow each other's partitions: one that takes a partition over goes on from where it stands, in order and
//! after kill -9, and what comes out is what an instance says that was never disturbed.

use std::collections::BTreeMap;
use std::time::Duration;
use tidecast_tests::kafka::Reader;
use tidecast_tests::oracle::{Rules, Seeded, Seen, Windows, differences, last_revisions, windows};
use tidecast_tests::{Kafka, Setup, Tidecast, eventually};

const WAIT: Duration = Duration::from_secs(60);
const EPOCH_MS: i64 = 1_732_150_000_000;
const RULES: Rules = Rules { size_ms: 1_000, advance_ms: 1_000, lateness_ms: 0, grace_ms: 0 };
const PARTITIONS: i32 = 4;
const SOURCES: i64 = 12;
const PIPELINE: &str = r#"
[kafka]
exactly_once = true

[state]
standby = true
# No snapshot but those that leave with a partition.
snapshot_interval_seconds = 3600

[[series]]
name = "s"
key = "source"
window = { kind = "tumbling", size = "1s" }
lateness = "0s"
# Between two parts of the stream every partition is quiet: windows are closed by decision.
idle_after = "1s"

[[models]]
model_id = "m"
model_type = "ETS"
series = "s:*"
field = "value.sum"
horizon = 2
"#;

/// A stretch of event time: every source once in a hundred milliseconds, each partition in order.
fn part(random: &mut Seeded, seconds: std::ops::Range<i64>) -> Vec<Seen> {
    let mut events = Vec::new();
    for tick in seconds.start * 10..seconds.end * 10 {
        for source in 0..SOURCES {
            let values = vec![("value".to_string(), 50.0 + random.below(1_000) as f64 / 100.0)];
            let (partition, key) = ((source % i64::from(PARTITIONS)) as i32, format!("s{source:02}"));
            events.push(Seen { partition, key, kind: "t".into(), at_ms: EPOCH_MS + tick * 100, values });
        }
    }
    events
}

/// Another instance of the same group.
async fn join(setup: &Setup, name: &str) -> Tidecast {
    let tidecast = setup.beside(name, &[]);
    tidecast.ready().await;
    tidecast
}

/// Each of the two has half of the partitions and follows the other half.
async fn settled(one: &Tidecast, other: &Tidecast) {
    eventually("the group settles, and each follows the other", WAIT, async || {
        let followed =
            [one.metric("standby_partitions", &[]).await, other.metric("standby_partitions", &[]).await];
        (followed == [Some(f64::from(PARTITIONS / 2)); 2]).then_some(())
    })
    .await;
}

fn taken_over(tidecast: &Tidecast) -> usize {
    let log = tidecast.log();
    log.lines().filter(|line| line.contains("partition assigned") && line.contains("Standby")).count()
}

fn closed(reader: &mut Reader, windows: usize) {
    reader.until("the windows close", WAIT, |records| {
        last_revisions(records, "s", RULES.size_ms, RULES.advance_ms).len() >= windows
    });
}

/// What was forecast, by series and the window it was made after.
fn forecasts(reader: &mut Reader, count: usize) -> BTreeMap<String, String> {
    let of = |record: &tidecast_tests::kafka::Record| {
        let forecast = record.json();
        let name = format!("{} {}", forecast["model_id"], forecast["timestamp"]);
        (name, forecast.to_string())
    };
    let records = reader.until("the forecasts are made", WAIT, |records| {
        records.iter().map(of).collect::<BTreeMap<_, _>>().len() >= count
    });
    records.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_move_go_on_from_where_the_other_stood() {
    let kafka = Kafka::shared();
    let setup = Setup::new("standby", &kafka).with(PIPELINE);
    let topic = setup.topic("events");
    kafka.create(&topic, PARTITIONS).await;
    let mut random = Seeded::new(7);
    let parts = [part(&mut random, 0..20), part(&mut random, 20..40), part(&mut random, 40..60)];
    let per_part = 20 * SOURCES as usize;
    let mut aggregates = kafka.reader(&setup.topic("aggregates"));

    let mut one = join(&setup, "one").await;
    let mut two = join(&setup, "two").await;
    settled(&one, &two).await;
    kafka.send_events(&topic, &parts[0]);
    closed(&mut aggregates, per_part);

    let before = taken_over(&one);
    let (status, _) = two.terminate(Duration::from_secs(10)).await;
    assert!(status.success(), "{}", two.log());
    eventually("the other takes its partitions over", WAIT, async || {
        (taken_over(&one) - before == 2).then_some(())
    })
    .await;
    kafka.send_events(&topic, &parts[1]);
    closed(&mut aggregates, 2 * per_part);

    let three = join(&setup, "three").await;
    settled(&one, &three).await;
    let before = taken_over(&three);
    one.kill();
    kafka.send_events(&topic, &parts[2]);
    closed(&mut aggregates, 3 * per_part);
    assert_eq!(taken_over(&three) - before, 2, "{}", three.log());

    let all = parts.concat();
    let expected: Windows = windows(&all, RULES).0;
    let records = aggregates.for_a_while(Duration::from_secs(1)).to_vec();
    let found = last_revisions(&records, "s", RULES.size_ms, RULES.advance_ms);
    assert_eq!(differences(&expected, &found), Vec::<String>::new());

    // And what its models say is what those of an instance say that read it all in one go.
    let apart = Setup::new("undisturbed", &kafka)
        .with(PIPELINE)
        .with(&format!("[topics]\nevents = \"{topic}\"\n[state]\nstandby = false\n"));
    let _apart = apart.start().await;
    // Fewer windows than four are too few to forecast from.
    let count = 3 * per_part - 3 * SOURCES as usize;
    let undisturbed = forecasts(&mut kafka.reader(&apart.topic("predictions")), count);
    assert_eq!(forecasts(&mut kafka.reader(&setup.topic("predictions")), count), undisturbed);
}
