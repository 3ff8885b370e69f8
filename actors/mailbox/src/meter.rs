//! Depth, capacity and waiting time of every mailbox, summed by the mailbox's name.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counters shared by all mailboxes of one name.
#[derive(Debug)]
pub struct Meter {
    name: &'static str,
    depth: AtomicI64,
    capacity: AtomicI64,
    sent: AtomicU64,
    waited_nanos: AtomicU64,
}

/// What a meter says now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The mailbox's name.
    pub name: &'static str,
    /// Messages sent and not yet dropped.
    pub depth: u64,
    /// Messages that may be so, over all mailboxes of the name.
    pub capacity: u64,
    /// Messages sent so far.
    pub sent: u64,
    /// Time senders have waited for room so far.
    pub waited: Duration,
}

impl Meter {
    pub(crate) fn opened(&self, capacity: usize) {
        self.capacity.fetch_add(capacity as i64, Relaxed);
    }

    pub(crate) fn closed(&self, capacity: usize) {
        self.capacity.fetch_sub(capacity as i64, Relaxed);
    }

    pub(crate) fn entered(&self) {
        self.depth.fetch_add(1, Relaxed);
        self.sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn left(&self) {
        self.depth.fetch_sub(1, Relaxed);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited_nanos.fetch_add(time.as_nanos().min(u128::from(u64::MAX)) as u64, Relaxed);
    }

    /// Reads all counters.
    pub fn read(&self) -> Reading {
        Reading {
            name: self.name,
            depth: self.depth.load(Relaxed).max(0) as u64,
            capacity: self.capacity.load(Relaxed).max(0) as u64,
            sent: self.sent.load(Relaxed),
            waited: Duration::from_nanos(self.waited_nanos.load(Relaxed)),
        }
    }
}

/// All meters of a process; a Prometheus collector.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Mutex<Vec<Arc<Meter>>>>);

impl Meters {
    /// The meter of that name, made on first use.
    pub fn of(&self, name: &'static str) -> Arc<Meter> {
        let mut meters = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(meter) = meters.iter().find(|meter| meter.name == name) {
            return meter.clone();
        }
        let meter = Arc::new(Meter {
            name,
            depth: AtomicI64::new(0),
            capacity: AtomicI64::new(0),
            sent: AtomicU64::new(0),
            waited_nanos: AtomicU64::new(0),
        });
        meters.push(meter.clone());
        meter
    }

    /// Readings in the order the names were first used.
    pub fn read(&self) -> Vec<Reading> {
        let meters = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        meters.iter().map(|meter| meter.read()).collect()
    }
}

const DEPTH: (&str, &str) = ("mailbox_depth", "Messages waiting or being handled, by mailbox.");
const CAPACITY: (&str, &str) = ("mailbox_capacity", "Messages that may wait, by mailbox.");
const SENT: (&str, &str) = ("mailbox_messages_total", "Messages sent, by mailbox.");
const WAIT: (&str, &str) = ("mailbox_wait_seconds_total", "Time senders waited for room, by mailbox.");

fn described((name, help): (&str, &str), mailbox: &str) -> Opts {
    Opts::new(name, help).const_label("mailbox", mailbox)
}

impl Collector for Meters {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families: Vec<MetricFamily> = Vec::new();
        let mut add = |collected: Vec<MetricFamily>| {
            for mut family in collected {
                match families.iter_mut().find(|known| known.name() == family.name()) {
                    Some(known) => known.mut_metric().extend(family.take_metric()),
                    None => families.push(family),
                }
            }
        };
        for reading in self.read() {
            for (opts, value) in [(DEPTH, reading.depth), (CAPACITY, reading.capacity)] {
                if let Ok(gauge) = IntGauge::with_opts(described(opts, reading.name)) {
                    gauge.set(value as i64);
                    add(gauge.collect());
                }
            }
            if let Ok(counter) = prometheus::IntCounter::with_opts(described(SENT, reading.name)) {
                counter.inc_by(reading.sent);
                add(counter.collect());
            }
            if let Ok(counter) = prometheus::Counter::with_opts(described(WAIT, reading.name)) {
                counter.inc_by(reading.waited.as_secs_f64());
                add(counter.collect());
            }
        }
        families
    }
}
