//! The hub: takes output records from the reader and offers each to the clients that want it.
//!
//! The fan-out runs on the reader's own thread and never waits for a client: an offer is a push under a lock that is
//! held for nanoseconds. A hub that cannot keep up slows its reader down, and Kafka keeps the rest.

use super::alerts::RecentAlerts;
use super::flusher::Flusher;
use super::index::{Index, Pattern};
use super::latest::{Latest, SeenIds};
use super::outbox::{Offered, Outbox};
use super::position::Position;
use super::pulse::{CLOSE_PATIENCE, Due, Pulse};
use super::recent::Recent;
use super::roster::{About, Member, Sender, SenderFigures, SenderPlace, SessionItem};
use super::update::{Update, UpdateType};
use crate::metrics::Metrics;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tidecast_config::Settings;
use tidecast_ports::live::Stretch;
use tidecast_ports::{LiveRecord, LiveSink, OutputKind, Tracer};
use tokio::sync::watch;

/// Bytes of newest forecasts kept for clients that come later (10,000 models with a path of 24 steps take half).
const LATEST_BYTES_MAX: usize = 48 << 20;
/// Ids of outputs remembered. A transaction that is repeated is a second old at most.
const SEEN_IDS_MAX: usize = 1 << 16;
/// Alerts kept for `GET /api/alerts`, and their bytes.
const ALERTS_MAX: usize = 1_000;
const ALERT_BYTES_MAX: usize = 4 << 20;

/// The numbers that the hub takes from the settings.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Bytes that may wait for one client.
    pub queue_bytes_max: usize,
    /// Between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Bytes of newest updates kept for clients that come back.
    pub recent_bytes_max: usize,
}

impl From<&Settings> for HubOptions {
    fn from(settings: &Settings) -> Self {
        HubOptions {
            queue_bytes_max: settings.limits.session_queue_size,
            heartbeat_interval: settings.websocket.heartbeat_interval,
            recent_bytes_max: settings.limits.resume_buffer_size,
        }
    }
}

/// See the module.
pub struct Hub {
    /// From the settings.
    pub options: HubOptions,
    /// Connections' clock.
    pub pulse: Pulse,
    /// Counters of delivery.
    pub metrics: Metrics,
    /// When clients are woken for what was queued.
    pub flusher: Flusher,
    state: Mutex<State>,
    next_client: AtomicU64,
    caught_up: watch::Sender<bool>,
    tracer: OnceLock<Arc<dyn Tracer>>,
}

struct State {
    index: Index,
    streams: Vec<(Arc<str>, Arc<Outbox>)>,
    sessions: hashbrown::HashMap<u64, Member>,
    senders: hashbrown::HashMap<u64, Sender>,
    latest: Latest,
    seen: SeenIds,
    alerts: RecentAlerts,
    recent: Recent,
    /// Everything that came, repeats included.
    head: Position,
    offers: u64,
    closed: Option<(u16, &'static str)>,
}

impl Hub {
    /// A hub without clients. Give it to the reader of the output topics, and to `serve`.
    pub fn new(settings: &Settings, metrics: Metrics) -> Arc<Self> {
        Hub::with_options(HubOptions::from(settings), metrics)
    }

    /// As [`Hub::new`], with its numbers given.
    pub fn with_options(options: HubOptions, metrics: Metrics) -> Arc<Self> {
        let recent = Recent::new(options.recent_bytes_max);
        Arc::new(Hub {
            options,
            pulse: Pulse::default(),
            flusher: Flusher::default(),
            metrics,
            state: Mutex::new(State {
                index: Index::default(),
                streams: Vec::new(),
                sessions: hashbrown::HashMap::new(),
                senders: hashbrown::HashMap::new(),
                latest: Latest::new(LATEST_BYTES_MAX),
                seen: SeenIds::new(SEEN_IDS_MAX),
                alerts: RecentAlerts::new(ALERTS_MAX, ALERT_BYTES_MAX),
                recent,
                head: Position::default(),
                offers: 0,
                closed: None,
            }),
            next_client: AtomicU64::new(1),
            caught_up: watch::Sender::new(false),
            tracer: OnceLock::new(),
        })
    }

    /// Has sampled events followed to their first frame. The first tracer given stays.
    pub fn trace_with(&self, tracer: Arc<dyn Tracer>) {
        let _ = self.tracer.set(tracer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A queue for a new client, with a heartbeat `every` so often. Closed from the start when the hub is.
    pub fn join(&self, every: Duration, about: About) -> Arc<Outbox> {
        let id = self.next_client.fetch_add(1, Ordering::Relaxed);
        let outbox = Outbox::new(id, self.options.queue_bytes_max);
        let mut state = self.state();
        if let Some((code, reason)) = state.closed {
            outbox.close(code, reason);
        }
        state.sessions.insert(id, Member { outbox: outbox.clone(), about });
        drop(state);
        self.pulse.schedule(&outbox, Due::Heartbeat { every }, every);
        outbox
    }

    /// The client is gone; `patterns` are what it was subscribed to.
    pub fn leave<'a>(&self, outbox: &Outbox, patterns: impl Iterator<Item = &'a Pattern>) {
        outbox.hang_up();
        let mut state = self.state();
        for pattern in patterns {
            state.index.remove(pattern, u8::MAX, outbox.id);
        }
        state.streams.retain(|(_, stream)| stream.id != outbox.id);
        state.sessions.remove(&outbox.id);
    }

    /// Adds `types` for each pattern, and the aggregates of `series`, and gives what the client gets at once, in one
    /// step with it, so that no update falls between and none comes twice: without `from` the newest forecast of each
    /// model that is meant (and that `may` be seen), else what came after it.
    pub fn subscribe(
        &self,
        outbox: &Arc<Outbox>,
        (patterns, types): (&[Pattern], u8),
        series: &[Pattern],
        from: Option<&Position>,
        may: impl Fn(&str) -> bool,
    ) -> Entered {
        let mut state = self.state();
        for pattern in patterns {
            state.index.add(pattern, types, outbox);
        }
        for series in series {
            state.index.add(series, UpdateType::Aggregation.bit(), outbox);
        }
        let at_once = match from {
            Some(from) => state.missed_since(from, types, names(patterns, types, series).as_deref()),
            None => AtOnce::Newest(state.newest(outbox, patterns, types, may)),
        };
        Entered { head: state.head.encode(), at_once }
    }

    /// Takes `types` from each pattern.
    pub fn unsubscribe(&self, outbox: &Outbox, patterns: &[Pattern], types: u8) {
        let mut state = self.state();
        for pattern in patterns {
            state.index.remove(pattern, types, outbox.id);
        }
    }

    /// Has the aggregates of one family offered to `outbox` (for `GET /stream/metrics`); with `from`, gives what came
    /// after it, of all families.
    pub fn stream(&self, outbox: &Arc<Outbox>, series: &str, from: Option<&Position>) -> AtOnce {
        let mut state = self.state();
        state.streams.push((series.into(), outbox.clone()));
        match from {
            Some(from) => state.missed_since(from, UpdateType::Aggregation.bit(), None),
            None => AtOnce::Newest(Vec::new()),
        }
    }

    /// Waits until what was written before the start has come: before that nobody can be told what was missed.
    pub async fn when_caught_up(&self) {
        let mut caught_up = self.caught_up.subscribe();
        // The sender is this hub's own.
        let _ = caught_up.wait_for(|caught_up| *caught_up).await;
    }

    /// Asks every client's connection to close, and those that join later at once.
    pub fn close_all(&self, code: u16, reason: &'static str) {
        let mut state = self.state();
        state.closed = Some((code, reason));
        for Member { outbox, .. } in state.sessions.values() {
            outbox.close(code, reason);
            self.pulse.schedule(outbox, Due::Cut, CLOSE_PATIENCE);
        }
    }

    /// A place in the list for a client that sends events; nothing is delivered to it.
    pub fn join_sender(self: &Arc<Self>, about: About) -> SenderPlace {
        let id = self.next_client.fetch_add(1, Ordering::Relaxed);
        let figures = Arc::new(SenderFigures::default());
        self.state().senders.insert(id, Sender { about, figures: figures.clone() });
        self.metrics.ingest_connections.inc();
        SenderPlace { hub: self.clone(), id, figures }
    }

    pub(super) fn sender_left(&self, id: u64) {
        self.state().senders.remove(&id);
        self.metrics.ingest_connections.dec();
    }

    /// More became known of a client.
    pub fn describe(&self, client: u64, change: impl FnOnce(&mut About)) {
        let mut state = self.state();
        let State { sessions, senders, .. } = &mut *state;
        let session = sessions.get_mut(&client).map(|member| &mut member.about);
        if let Some(about) = session.or_else(|| senders.get_mut(&client).map(|sender| &mut sender.about)) {
            change(about);
        }
    }

    /// Who is connected, in the order in which they came.
    pub fn sessions(&self) -> Vec<SessionItem> {
        let state = self.state();
        let mut subscriptions = state.index.counts();
        for (_, outbox) in &state.streams {
            *subscriptions.entry(outbox.id).or_default() += 1;
        }
        let count = |id| subscriptions.get(id).copied().unwrap_or(0);
        let mut items: Vec<SessionItem> =
            state.sessions.iter().map(|(id, member)| member.item(count(id))).collect();
        items.extend(state.senders.iter().map(|(id, sender)| sender.item(*id)));
        drop(state);
        items.sort_unstable_by_key(|item| item.id);
        items
    }

    /// A removed model's newest forecast is not given to anybody any more.
    pub fn forget(&self, model: &str) {
        self.state().latest.forget(model);
    }

    /// Clients connected, streams included, and updates waiting for them.
    pub fn load(&self) -> (usize, usize) {
        let state = self.state();
        (state.sessions.len(), state.sessions.values().map(|member| member.outbox.len()).sum())
    }

    /// The newest alerts; see [`RecentAlerts::page`].
    pub fn alerts(
        &self,
        before: Option<u64>,
        limit: usize,
        wanted: impl Fn(&super::alerts::AlertItem) -> bool,
    ) -> (Vec<(u64, super::alerts::AlertItem)>, bool) {
        self.state().alerts.page(before, limit, wanted)
    }

    /// Offers one record; the clients that have to be woken for it are added to `woken`.
    fn take(&self, record: &LiveRecord, woken: &mut Vec<Arc<Outbox>>) {
        let read = Update::read(record);
        let mut state = self.state();
        state.head.advance(record.kind, record.partition, record.offset);
        state.recent.came(record.kind, record.partition, record.offset);
        let mut update = match read {
            Ok(update) => update,
            Err(error) => {
                drop(state);
                self.metrics.live_unreadable.inc();
                tracing::debug!(kind = ?record.kind, partition = record.partition, offset = record.offset, %error,
                    "an output record is not what its topic carries; nobody gets it");
                return;
            }
        };
        if let Some(id) = record.id
            && !state.seen.is_new(id)
        {
            return;
        }
        if let (Some(tracer), Some(header)) = (self.tracer.get(), &record.traceparent)
            && !record.replayed
            && let Some(span) = tracer.deliver(header, &update.name)
        {
            update.follow(span);
        }
        update.position = state.head.encode();
        let update = Arc::new(update);
        state.recent.keep(&update);
        match update.kind {
            UpdateType::Forecast => state.latest.keep(&update),
            UpdateType::Anomaly | UpdateType::Alert => state.alerts.keep(&update),
            UpdateType::Aggregation | UpdateType::Metrics => {}
        }
        if record.replayed {
            return;
        }
        state.offers += 1;
        let number = state.offers;
        let (mut queued, mut dropped) = (0, 0);
        let mut offer = |outbox: &Arc<Outbox>| {
            if let Offered::Queued { dropped: more, wake } = outbox.offer(&update, number) {
                queued += 1;
                dropped += more;
                if wake {
                    woken.push(outbox.clone());
                }
            }
        };
        state.index.matching(&update, &mut offer);
        for (series, outbox) in &state.streams {
            if update.series() == Some(&**series) {
                offer(outbox);
            }
        }
        drop(state);
        if queued == 0 {
            update.delivered();
        }
        self.metrics.deliveries.inc_by(queued);
        self.metrics.dropped.inc_by(dropped);
    }
}

/// What a client gets at once when it subscribes.
#[derive(Debug)]
pub enum AtOnce {
    /// The newest forecasts, in no order.
    Newest(Vec<Arc<Update>>),
    /// What was missed, in its order: of the names wanted and perhaps others, and likewise of the types.
    Missed(Vec<Arc<Update>>),
    /// What was missed has to be read from Kafka, or at least compared with it.
    Elsewhere(Vec<Stretch>),
}

/// A subscription as the hub has it.
#[derive(Debug)]
pub struct Entered {
    /// Where the hub stood: everything after it comes as it is offered.
    pub head: Box<str>,
    /// What goes first.
    pub at_once: AtOnce,
}

/// All names that can be meant; `None` where there is no telling: by patterns, and for metrics, which are everybody's.
fn names(patterns: &[Pattern], types: u8, series: &[Pattern]) -> Option<Vec<Arc<str>>> {
    if types & UpdateType::Metrics.bit() != 0 {
        return None;
    }
    let exact = patterns.iter().chain(series).map(|pattern| match pattern {
        Pattern::Exact(name) => Some(name.clone()),
        Pattern::Prefix(_) => None,
    });
    exact.collect()
}

/// Whether one of `types` comes from this topic.
fn is_wanted(types: u8, topic: OutputKind) -> bool {
    let of_topic = match topic {
        OutputKind::Forecast => UpdateType::Forecast.bit(),
        OutputKind::Alert => UpdateType::Anomaly.bit() | UpdateType::Alert.bit(),
        OutputKind::Aggregate => UpdateType::Aggregation.bit(),
        OutputKind::Metrics => UpdateType::Metrics.bit(),
    };
    types & of_topic != 0
}

impl State {
    /// What came after `from`: of these names, or of all.
    fn missed_since(&self, from: &Position, types: u8, names: Option<&[Arc<str>]>) -> AtOnce {
        if let Some(missed) = self.recent.since(from, &self.head, |topic| is_wanted(types, topic), names) {
            return AtOnce::Missed(missed);
        }
        // Every partition that one of the two knows: the other's may be new, or not read yet.
        let mut both = from.clone();
        both.merge(&self.head);
        let stretches = both.partitions().filter(|(kind, ..)| is_wanted(types, *kind));
        let stretches = stretches.map(|(kind, partition, _)| Stretch {
            kind,
            partition,
            from: from.next(kind, partition),
            until: self.head.next(kind, partition),
        });
        AtOnce::Elsewhere(stretches.filter(|stretch| stretch.from != stretch.until).collect())
    }

    fn newest(
        &self,
        outbox: &Outbox,
        patterns: &[Pattern],
        types: u8,
        may: impl Fn(&str) -> bool,
    ) -> Vec<Arc<Update>> {
        if types & UpdateType::Forecast.bit() == 0 {
            return Vec::new();
        }
        let mut newest: Vec<Arc<Update>> = Vec::new();
        let mut by_prefix = Vec::new();
        for pattern in patterns {
            match pattern {
                Pattern::Exact(name) => newest.extend(self.latest.get(name).cloned()),
                Pattern::Prefix(_) => by_prefix.push(pattern),
            }
        }
        if !by_prefix.is_empty() {
            newest.retain(|update| !by_prefix.iter().any(|pattern| pattern.matches(&update.name)));
            let matching =
                |update: &&Arc<Update>| by_prefix.iter().any(|pattern| pattern.matches(&update.name));
            newest.extend(self.latest.iter().filter(matching).cloned());
        }
        newest.retain(|update| may(&update.name));
        // Where something waits for this client already, the newest is at the end of it: not a second time.
        if !outbox.is_empty() {
            let waiting = outbox.forecasts_waiting();
            newest.retain(|update| !waiting.contains(&update.name));
        }
        newest
    }
}

impl LiveSink for Hub {
    fn publish(&self, records: Vec<LiveRecord>) {
        let mut woken = Vec::new();
        for record in &records {
            self.take(record, &mut woken);
        }
        self.flusher.wake(woken, Instant::now());
    }

    fn caught_up(&self) {
        self.caught_up.send_replace(true);
    }
}
