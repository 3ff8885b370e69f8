//! `/api/stats` and health, from the counters and the topology.

use crate::elsewhere::Elsewhere;
use crate::flow::{self, Place};
use crate::house::House;
use crate::topology::{PipelineState, Topology};
use prometheus::core::Collector;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidecast_event::EventTime;
use tidecast_mailbox::Reading;
use tidecast_ports::stats::{
    BufferStats, ComponentHealth, KafkaStats, ProcessorStats, ServiceStats, SourceCount, WorkerStats,
};
use tidecast_ports::{Health, StatsSource};

/// Samples kept, one a second.
const SAMPLES: usize = 16;
/// Samples that a rate looks back.
const RATE_OVER: usize = 10;

#[derive(Clone)]
struct Sample {
    at: Instant,
    processed: u64,
    /// Count, sum of milliseconds, and cumulative counts by upper bound.
    latency: (u64, f64, Vec<(f64, u64)>),
    readings: Vec<Reading>,
    /// By topic and partition; those of repartition topics have a lag alone.
    places: BTreeMap<(String, String), Place>,
}

impl Sample {
    fn lag(&self) -> u64 {
        self.places.values().map(|place| place.lag).sum()
    }
}

/// How the flow goes, from the newest sample and one some seconds before it.
#[derive(Default)]
struct Flow {
    bottleneck: Option<&'static str>,
    lag_seconds: Option<f64>,
    seconds_to_clear: Option<f64>,
}

/// The figures of this process.
pub struct Stats {
    house: Arc<House>,
    topology: Option<Topology>,
    elsewhere: Arc<Elsewhere>,
    started: Instant,
    samples: Mutex<VecDeque<Sample>>,
    /// Why Kafka does not answer a process that only reads outputs.
    far: Mutex<Option<String>>,
}

impl Stats {
    /// Begins to sample, once a second, for as long as the result is held.
    pub fn start(house: Arc<House>, topology: Option<Topology>, elsewhere: Arc<Elsewhere>) -> Arc<Stats> {
        let (started, samples, far) = (Instant::now(), Mutex::default(), Mutex::default());
        let stats = Arc::new(Stats { house, topology, elsewhere, started, samples, far });
        let weak = Arc::downgrade(&stats);
        tokio::spawn(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                let Some(stats) = weak.upgrade() else { return };
                stats.sample();
            }
        });
        stats
    }

    fn sample(&self) {
        let metrics = &self.house.metrics;
        let families = metrics.processing_ms.collect();
        let latency = families.first().and_then(|family| family.get_metric().first()).map(|metric| {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket().iter();
            (
                histogram.get_sample_count(),
                histogram.get_sample_sum(),
                buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect(),
            )
        });
        let sample = Sample {
            at: Instant::now(),
            processed: metrics.processed.get(),
            latency: latency.unwrap_or_default(),
            readings: self.house.meters.read(),
            places: self.places(),
        };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
        drop(samples);
        let (rate, _, _) = self.rates();
        let flow = self.flow(rate, |place, seconds| {
            metrics.lag_seconds.with_label_values(&[&*place.0, &*place.1]).set(seconds);
        });
        metrics.clear_seconds.set(flow.seconds_to_clear.unwrap_or(f64::INFINITY));
        metrics.bottleneck.reset();
        if let Some(stage) = flow.bottleneck {
            metrics.bottleneck.with_label_values(&[stage]).set(1);
        }
    }

    /// Every partition as its counters have it now.
    fn places(&self) -> BTreeMap<(String, String), Place> {
        let metrics = &self.house.metrics;
        let mut places: BTreeMap<(String, String), Place> = BTreeMap::new();
        let mut add = |families: Vec<prometheus::proto::MetricFamily>, set: &dyn Fn(&mut Place, f64)| {
            for metric in families.iter().flat_map(|family| family.get_metric()) {
                // One of the two is there; the other is 0.
                let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
                set(places.entry((label(metric, "topic"), label(metric, "partition"))).or_default(), value);
            }
        };
        add(metrics.lag.collect(), &|place, value| place.lag = value as u64);
        add(metrics.newest.collect(), &|place, value| place.newest = value);
        add(metrics.ledger[0].collect(), &|place, value| place.read = value as u64);
        places
    }

    /// How the flow goes at `rate` events a second; `each` is told the lag in seconds of each partition where it is known.
    fn flow(&self, rate: f64, mut each: impl FnMut(&(String, String), f64)) -> Flow {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) = samples.back() else { return Flow::default() };
        let before = samples.iter().rev().nth(RATE_OVER).or(samples.front()).unwrap_or(now);
        let over = now.at.duration_since(before.at);
        let mut most: Option<f64> = None;
        for (name, place) in &now.places {
            let earlier = before.places.get(name).copied().unwrap_or_default();
            if place.read > 0
                && let Some(seconds) = flow::lag_seconds(&earlier, place)
            {
                each(name, seconds);
                most = Some(most.map_or(seconds, |most| most.max(seconds)));
            }
        }
        Flow {
            bottleneck: flow::bottleneck(&before.readings, &now.readings, over, now.lag(), rate),
            lag_seconds: most,
            seconds_to_clear: flow::seconds_to_clear(before.lag(), now.lag(), over),
        }
    }

    /// Where the ledger does not add up.
    fn unbalanced(&self) -> Option<String> {
        let families = self.house.metrics.unbalanced.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let wrong = metrics.into_iter().find(|metric| metric.get_gauge().get_value() != 0.0)?;
        let (topic, partition, stage) =
            (label(wrong, "topic"), label(wrong, "partition"), label(wrong, "stage"));
        Some(format!(
            "the ledger of {topic}[{partition}] does not add up at stage {stage}: records were counted nowhere or twice; \
             the log has the figures"
        ))
    }

    fn pipeline(&self) -> PipelineState {
        self.topology.as_ref().map(Topology::state).unwrap_or_default()
    }

    /// Kafka answers whoever reads the outputs here, or why it does not. A process with a pipeline has that to tell of it.
    pub fn reached(&self, trouble: Option<&str>) {
        if self.topology.is_some() {
            return;
        }
        self.house.metrics.connected.set(if trouble.is_some() { 0.0 } else { 1.0 });
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*far, trouble) {
            (None, Some(trouble)) => {
                tracing::warn!(trouble, "Kafka is away: clients are told what was read before")
            }
            (Some(_), None) => tracing::info!("Kafka is back"),
            _ => {}
        }
        *far = trouble.map(str::to_owned);
    }

    /// What keeps this process from Kafka.
    fn trouble(&self) -> Option<String> {
        let PipelineState { source_trouble, producer_trouble, .. } = self.pipeline();
        let far = || self.far.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source_trouble.or(producer_trouble).or_else(far)
    }

    /// Events a second over the last ten, mean and 99th percentile of milliseconds over the last quarter of a minute:
    /// what was read at the start all at once is not what is slow now.
    fn rates(&self) -> (f64, f64, f64) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return (0.0, 0.0, 0.0) };
        let earlier = samples.iter().rev().nth(RATE_OVER).unwrap_or(first);
        let seconds = last.at.duration_since(earlier.at).as_secs_f64();
        let rate = if seconds > 0.0 { (last.processed - earlier.processed) as f64 / seconds } else { 0.0 };
        let count = last.latency.0 - first.latency.0;
        if count == 0 {
            return (rate, 0.0, 0.0);
        }
        let mean = (last.latency.1 - first.latency.1) / count as f64;
        let wanted = (count as f64 * 0.99).ceil() as u64;
        let mut below = (0.0, 0);
        for (at, (bound, cumulative)) in last.latency.2.iter().enumerate() {
            let here = cumulative - first.latency.2.get(at).map_or(0, |(_, cumulative)| *cumulative);
            if here >= wanted {
                let within = (wanted - below.1) as f64 / (here - below.1).max(1) as f64;
                return (rate, mean, below.0 + (bound - below.0) * within);
            }
            below = (*bound, here);
        }
        (rate, mean, below.0)
    }

    /// The ledger of each partition, as this process has told it.
    fn ledgers(&self) -> BTreeMap<(String, String), [u64; 5]> {
        let mut ledgers: BTreeMap<(String, String), [u64; 5]> = BTreeMap::new();
        for (at, counters) in self.house.metrics.ledger.iter().enumerate() {
            for metric in counters.collect().iter().flat_map(|family| family.get_metric()) {
                let place = (label(metric, "topic"), label(metric, "partition"));
                ledgers.entry(place).or_default()[at] = metric.get_counter().get_value() as u64;
            }
        }
        ledgers
    }

    fn lag(&self) -> u64 {
        let families = self.house.metrics.lag.collect();
        families
            .iter()
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_gauge().get_value() as u64)
            .sum()
    }
}

fn label(metric: &prometheus::proto::Metric, name: &str) -> String {
    let found = metric.get_label().iter().find(|label| label.name() == name);
    found.map(|label| label.value().to_owned()).unwrap_or_default()
}

impl StatsSource for Stats {
    /// Of all processes of the group.
    fn stats(&self) -> WorkerStats {
        let mut stats = self.own();
        self.elsewhere.add_figures(&mut stats);
        stats.service.registered_models = self.single_models() + stats.service.template_models;
        stats
    }
}

impl Stats {
    /// How many workers the group has, how many are wanted, and why.
    pub fn scaling(&self) -> Value {
        let all = self.stats();
        let settings = &self.house.settings;
        let partitions =
            settings.input_topics().iter().map(|topic| self.house.partitions_of(topic)).sum::<i32>();
        let seconds_to_clear = all.processor.more.get("seconds_to_clear").and_then(Value::as_f64);
        let workers = u64::from(self.topology.is_some()) + self.elsewhere.workers();
        let load = flow::Load {
            workers,
            partitions: partitions.max(0) as u64,
            lag: all.processor.lag.unwrap_or(0),
            seconds_to_clear,
            rate: all.processor.events_per_second,
            utilization: all.buffer.utilization,
        };
        let (wanted, why) = flow::wanted_workers(&load);
        json!({"workers": workers, "wanted_workers": wanted, "reason": why})
    }

    /// Of this process alone.
    pub fn own(&self) -> WorkerStats {
        let (events_per_second, processing_time_ms, p99_latency_ms) = self.rates();
        let ledgers = self.ledgers();
        let sum = |at: usize| ledgers.values().map(|ledger| ledger[at]).sum::<u64>();
        let [input, windowed, late, dead_lettered, filtered] = std::array::from_fn(sum);
        let readings = self.house.meters.read();
        let stages: Vec<Value> = readings
            .iter()
            .map(|reading| {
                json!({"name": reading.name, "depth": reading.depth, "capacity": reading.capacity,
                       "wait_seconds": reading.waited.as_secs_f64(), "messages": reading.sent})
            })
            .collect();
        let fill =
            |depth: u64, capacity: u64| if capacity == 0 { 0.0 } else { depth as f64 / capacity as f64 };
        let fullest =
            readings.iter().max_by(|a, b| fill(a.depth, a.capacity).total_cmp(&fill(b.depth, b.capacity)));
        let mut more = Map::new();
        more.insert(
            "ledger".into(),
            json!({"in": input, "windowed": windowed, "late": late, "dead_lettered": dead_lettered, "filtered": filtered}),
        );
        more.insert("stages".into(), Value::from(stages));
        let mut lag_seconds = BTreeMap::new();
        let flow = self.flow(events_per_second, |place, seconds| {
            lag_seconds.insert(place.clone(), seconds);
        });
        let each = ledgers.iter().map(|(place, [input, windowed, late, dead_lettered, filtered])| {
            let (topic, partition) = place;
            json!({"topic": topic, "partition": partition.parse::<i32>().unwrap_or(-1), "in": input,
                   "windowed": windowed, "late": late, "dead_lettered": dead_lettered, "filtered": filtered,
                   "lag_seconds": lag_seconds.get(place)})
        });
        more.insert("ledgers".into(), each.collect());
        more.insert("bottleneck".into(), Value::from(flow.bottleneck));
        more.insert("lag_seconds".into(), Value::from(flow.lag_seconds));
        more.insert("seconds_to_clear".into(), Value::from(flow.seconds_to_clear));
        let state = self.pipeline();
        more.insert("partitions".into(), Value::from(state.running.len()));
        let metrics = &self.house.metrics;
        let registry = &self.house.registry;
        let failures = metrics.models.inference_failures.get() + metrics.publish_failures.get();
        let errors = dead_lettered + failures;
        let tried = input + metrics.models.inference_requests.get();
        let last = registry.last_forecast_ms.load(Relaxed);
        let template_models = registry.of_templates() as u64;
        let trouble = self.trouble().is_some();
        WorkerStats {
            processor: ProcessorStats {
                events_per_second,
                total_events: windowed + late + filtered,
                processing_time_ms,
                p99_latency_ms,
                errors: dead_lettered,
                lag: (!trouble && !state.running.is_empty()).then(|| self.lag()),
                more,
            },
            buffer: fullest.map_or_else(BufferStats::default, |reading| BufferStats {
                utilization: fill(reading.depth, reading.capacity).min(1.0),
                // Nothing on this way is ever dropped: a full stage holds back the one before it.
                drop_rate: 0.0,
                size: reading.depth,
                capacity: reading.capacity,
            }),
            service: ServiceStats {
                uptime_seconds: self.started.elapsed().as_secs_f64(),
                registered_models: self.single_models() + template_models,
                template_models,
                forecast_count: registry.forecasts.load(Relaxed),
                error_count: errors,
                error_rate: if tried == 0 { 0.0 } else { errors as f64 / tried as f64 },
                last_forecast_time: (last > 0).then(|| EventTime::from_millis(last as i64).to_rfc3339()),
            },
            kafka: KafkaStats {
                is_connected: !trouble,
                topic: self.house.settings.topics.events.clone(),
                messages_sent: metrics.published.get(),
                errors: metrics.publish_failures.get(),
            },
            distribution: self
                .house
                .tally
                .types(50)
                .into_iter()
                .map(|(name, count)| (name, count.into()))
                .collect(),
            top_sources: (self.house.tally.sources(10).into_iter())
                .map(|(source, count)| SourceCount { source, count })
                .collect(),
        }
    }
}

impl Stats {
    /// Registered models that are no templates: they are the same for all processes.
    fn single_models(&self) -> u64 {
        let catalog = self.house.catalog.models();
        let specs = catalog.values().filter_map(|model| model.spec.as_ref());
        specs.filter(|spec| !spec.is_template()).count() as u64
    }
}

fn well(detail: impl Into<String>) -> ComponentHealth {
    ComponentHealth { ok: true, detail: detail.into() }
}

fn ill(detail: impl Into<String>) -> ComponentHealth {
    ComponentHealth { ok: false, detail: detail.into() }
}

impl Health for Stats {
    fn live(&self) -> ComponentHealth {
        well("serving")
    }

    fn ready(&self) -> ComponentHealth {
        let state = self.pipeline();
        if state.stopping {
            return ill("stopping");
        }
        if let Some(trouble) = self.trouble() {
            return ill(trouble);
        }
        if let Some((partition, why)) = state.quarantined.first_key_value() {
            return ill(format!("partition {partition} is stopped: {why}"));
        }
        if let Some(wrong) = self.unbalanced() {
            return ill(wrong);
        }
        if self.house.partitions.get().is_none() {
            return ill("waiting for Kafka and the topics");
        }
        if !self.house.catalog.is_read() {
            return ill("waiting for the registered models and rules to be read");
        }
        if self.topology.is_some() && !state.assigned_once {
            return ill("waiting for partitions to be assigned");
        }
        well(format!("{} partitions assigned", state.running.len()))
    }

    fn started(&self) -> ComponentHealth {
        match self.topology {
            Some(_) if !self.pipeline().assigned_once => {
                ill("waiting for the first assignment of partitions")
            }
            _ => well("started"),
        }
    }

    fn state(&self) -> ComponentHealth {
        if self.house.metrics.snapshots_failing.get() == 0 {
            return well("kept");
        }
        ill(
            "the newest snapshot was not written (the log says why): results are right, and a restart has to read more of \
             the topics again; make room in state.dir, or let it be written to",
        )
    }

    fn kafka(&self) -> ComponentHealth {
        match self.trouble() {
            Some(trouble) => ill(trouble),
            None => well("connected"),
        }
    }
}
