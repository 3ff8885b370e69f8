//! Partitions that the group left to nobody.

use crate::broker;
use crate::recorder::{Recorder, options};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// Gives nothing up until it may.
struct Holding {
    asked: AtomicBool,
    asked_to: Barrier,
    may: Barrier,
}

impl ClientContext for Holding {}

impl ConsumerContext for Holding {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Revoke(_)) && !self.asked.swap(true, SeqCst) {
            self.asked_to.wait();
            self.may.wait();
        }
    }
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_partition_that_the_group_left_to_nobody_is_shared_out_anew() {
    let (topic, spare) = (broker::topic("ownerless", 2), broker::topic("spare", 1));
    let group = broker::unique("ownerless");
    let context = Holding { asked: AtomicBool::new(false), asked_to: Barrier::new(2), may: Barrier::new(2) };
    let first: BaseConsumer<Holding> = ClientConfig::new()
        .set("bootstrap.servers", broker::bootstrap())
        .set("group.id", &group)
        .set("group.instance.id", "first")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create_with_context(context)
        .unwrap();
    first.subscribe(&[&topic]).unwrap();
    let first = Arc::new(first);
    let ended = Arc::new(AtomicBool::new(false));
    let polling = std::thread::spawn({
        let (first, ended) = (first.clone(), ended.clone());
        move || {
            while !ended.load(SeqCst) {
                let _ = first.poll(Duration::from_millis(20));
            }
        }
    });
    let owns = |count: usize| first.assignment().is_ok_and(|list| list.count() == count);
    wait("both partitions", || owns(2));

    let (recorder, mut options) = (Recorder::default(), options(&topic));
    options.spare_topic = Some(spare);
    let running = recorder.start(&broker::static_member(&group, "second"), options);
    first.context().asked_to.wait();
    // The group has taken a partition from the first, which does not ask for the next round: it stands still.
    let is_stable = || {
        let groups = first.fetch_group_list(Some(&group), Duration::from_secs(5)).unwrap();
        groups.groups().iter().any(|found| found.state() == "Stable")
    };
    wait("a group that stands still", is_stable);
    wait("somebody who makes it share out", || !is_stable());
    first.context().may.wait();
    recorder.wait("the partition that was nobody's", |written| written.assigned.len() == 1);
    wait("the end of it", || owns(1) && is_stable());
    recorder.with(|written| {
        let topics: Vec<&str> = written.assigned.iter().map(|(partition, _)| &*partition.topic).collect();
        assert_eq!(topics, [&*topic], "what made it share out is not read");
        assert!(written.revoking.iter().all(|partition| *partition.topic == *topic));
    });
    running.close();
    ended.store(true, SeqCst);
    polling.join().unwrap();
}
