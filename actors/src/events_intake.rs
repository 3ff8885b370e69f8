//! The top of an events partition's tree: decodes records, gives them to every series that wants them, and keeps the
//! ledger. One read of the event serves all series; nothing is allocated per event.

mod keyed;
mod part;

use crate::closed_window::WindowWriter;
use crate::decisions::SET_APART;
use crate::house::House;
use crate::intake::{Intake, went};
use crate::ledger::{Ledger, LedgerMetrics};
use crate::letters::{Letters, panicked};
use crate::messages::BatchOutput;
use crate::repartition::Route;
use crate::snapshots;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::decode::{Decoded, Decoder};
use tidecast_event::{EventTime, Reason, Rejection, TopicPartition};
use tidecast_ports::RecordBatch;
use tidecast_ports::source::RecordMeta;
use tidecast_rules::{Filter, FilterEvent};
use tidecast_window::{Closed, Group, Outcome};

use keyed::Keyed;
use part::{Part, by_part, mark, marked, stem};
pub use part::{advance_of, window_spec};

const FORMAT: u8 = 1;
/// Begins the decision that parts are closed by quiet: their marks follow. The older one had their places.
const QUIET: char = 'q';
const QUIET_BY_PLACE: char = 'i';
/// Most parts that one decision names: it has to fit with the others.
const MARKS_MAX: usize = 8;

/// The state of one events partition.
pub struct EventsIntake {
    partition: TopicPartition,
    decoder: Decoder,
    parts: Vec<Part>,
    newest: EventTime,
    ledger: Ledger,
    max_future_micros: i64,
    letters: Letters,
    key: String,
    types: Vec<(Box<str>, u64)>,
    sources: HashMap<Box<str>, u64, foldhash::fast::RandomState>,
    house: Arc<House>,
    writer: WindowWriter,
    told: LedgerMetrics,
    dead_lettered_told: u64,
    /// Offset of the record that is taken.
    taking: i64,
    /// It, or a decision, has more windows to close, after so many. A record is looked at itself when it has none.
    midway: Option<u64>,
    /// Parts that are being closed because the partition is quiet: the first has more to close.
    idle: VecDeque<usize>,
    keyed: Keyed,
    /// Nothing that comes was said before.
    speaks: bool,
    /// Offsets of records that are not looked at: they made this code panic.
    set_apart: BTreeSet<i64>,
}

/// The state's record, as it is read.
#[derive(Deserialize)]
struct Record<'a> {
    newest: EventTime,
    ledger: Ledger,
    #[serde(borrow)]
    parts: Vec<(&'a str, &'a [u8])>,
}

impl EventsIntake {
    /// The state of a partition, from its record or anew.
    pub fn new(
        house: &Arc<House>,
        partition: &TopicPartition,
        record: Option<&[u8]>,
    ) -> Result<Self, String> {
        let settings = &house.settings;
        let record: Option<Record<'_>> = record.map(read).transpose()?;
        let mut parts = Vec::new();
        let wanted = by_part(settings, &partition.topic);
        let mut stored = record.as_ref().map(|record| record.parts.clone()).unwrap_or_default();
        for (id, specs) in &wanted {
            // That of the same name; or, when only how soon it is closed by quiet has changed, the one that nobody else wants.
            let is_free = |known: &str| stem(known) == stem(id) && !wanted.iter().any(|(id, _)| id == known);
            let at = stored.iter().position(|(known, _)| known == id);
            let at = at.or_else(|| stored.iter().position(|(known, _)| is_free(known)));
            let state = at.map(|at| stored.remove(at));
            let windows: Vec<_> = specs.iter().map(|spec| window_spec(spec)).collect();
            let advances = windows.iter().map(|spec| advance_of(spec.window)).collect();
            let repartitioned = specs[0].is_repartitioned();
            let group = match state {
                Some((_, bytes)) => Group::decode(windows, bytes).map_err(|error| error.to_string())?,
                None if repartitioned => Group::partial(windows).map_err(|error| error.to_string())?,
                None => Group::new(windows).map_err(|error| error.to_string())?,
            };
            for series in group.given_up() {
                tracing::warn!(%partition, series, "this series is gone or has other windows than before: what was open in it is given up");
            }
            let mut filters = Vec::new();
            for spec in specs {
                let filter = spec.filter.as_deref().map(Filter::compile).transpose();
                filters.push(filter.map_err(|error| format!("series.{}.where: {error}", spec.name))?);
            }
            parts.push(Part {
                mark: mark(id),
                key: specs[0].key.clone(),
                idle_after: specs[0].idle_after,
                filters,
                advances,
                routes: repartitioned
                    .then(|| specs.iter().map(|spec| Route::new(house, spec, partition)).collect()),
                open: true,
                left_out: (0..specs.len()).map(|at| group.values_dropped(at)).collect(),
                group,
            });
        }
        for (id, _) in &stored {
            let grouped_by = stem(id);
            tracing::warn!(%partition, grouped_by, "no series is grouped so any more: what was open of those that were is given up");
        }
        let (newest, ledger) = record.map_or((EventTime::MIN, Ledger::default()), |r| (r.newest, r.ledger));
        let max_future = settings.max_future(&partition.topic);
        let told = LedgerMetrics::new(&house.metrics, partition, &ledger);
        let groups_by_source = parts.iter().any(|part| part.key == "source");
        Ok(EventsIntake {
            speaks: false,
            keyed: Keyed::new(house, partition, groups_by_source),
            partition: partition.clone(),
            decoder: Decoder::new(),
            parts,
            newest,
            ledger,
            max_future_micros: i64::try_from(max_future.as_micros()).unwrap_or(i64::MAX),
            letters: Letters::new(settings, partition),
            key: String::new(),
            types: Vec::new(),
            sources: HashMap::default(),
            house: house.clone(),
            writer: WindowWriter::default(),
            told,
            dead_lettered_told: ledger.dead_lettered,
            taking: 0,
            midway: None,
            idle: VecDeque::new(),
            set_apart: BTreeSet::new(),
        })
    }

    fn reject(
        &mut self,
        batch: &RecordBatch,
        record: &RecordMeta,
        rejection: &Rejection,
        output: &mut BatchOutput,
    ) {
        self.ledger.dead_lettered += 1;
        output.records.push(self.letters.of(batch, record, rejection));
    }
}

/// Sends a closed window on: to the stages below, or as a partial through the repartition topic.
fn emit(
    output: &mut BatchOutput,
    closed: &Closed<'_>,
    advances: &[i64],
    routes: Option<&mut [Route]>,
    newest: EventTime,
    partition: &TopicPartition,
    writer: &mut WindowWriter,
) {
    if let Some(routes) = routes {
        routes[closed.series_index].partial(closed, output);
        return;
    }
    writer.push(output, closed, advances[closed.series_index], newest, partition);
}

/// What a condition sees of an event when `type` and `source` alone do not answer it.
type Document = (Map<String, Value>, Option<Map<String, Value>>);

/// Whether a series wants the event. The document is read whole only for conditions that need it, and once.
fn passes(filter: &Filter, event: &Decoded<'_>, document: &mut Option<Document>) -> bool {
    if let Some(answer) = filter.quick(event.event_type(), event.source()) {
        return answer;
    }
    let (data, metadata) = document.get_or_insert_with(|| {
        let mut whole = match event.to_value() {
            Ok(Value::Object(whole)) => whole,
            _ => Map::new(),
        };
        let mut object = |name: &str| match whole.remove(name) {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        };
        (object("data").unwrap_or_default(), object("metadata"))
    });
    let event = FilterEvent {
        kind: event.event_type(),
        source: event.source(),
        timestamp: Some(event.time()),
        data,
        metadata: metadata.as_ref(),
    };
    // A condition without an answer does not hold.
    filter.evaluate(&event).unwrap_or(false)
}

fn count_type(types: &mut Vec<(Box<str>, u64)>, event_type: &str) {
    /// Types counted apart in one batch; more are counted with the last.
    const TYPES: usize = 64;
    match types.iter().position(|(name, _)| **name == *event_type) {
        Some(at) => types[at].1 += 1,
        None if types.len() < TYPES => types.push((event_type.into(), 1)),
        None => {}
    }
}

fn read(bytes: &[u8]) -> Result<Record<'_>, String> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => bincode::serde::borrow_decode_from_slice(rest, bincode::config::standard())
            .map(|(record, _)| record)
            .map_err(|error| format!("the state of an events partition cannot be read: {error}")),
        Some((format, _)) => {
            Err(format!("the state has format {format}, this version reads {FORMAT}: run the newer version"))
        }
        None => Err("the state is empty".to_owned()),
    }
}

fn put(piece: &impl Serialize, out: &mut Vec<u8>) {
    // Writing plain data into memory does not fail.
    let _ = bincode::serde::encode_into_std_write(piece, out, bincode::config::standard());
}

impl Intake for EventsIntake {
    fn begin(&mut self, output: &mut BatchOutput) {
        // One that was added to the topic while others were read: downstream would learn of it by its first window, when
        // it may have closed that by the others.
        if self.newest == EventTime::MIN {
            self.parts
                .iter()
                .flat_map(|part| part.routes.iter().flatten())
                .for_each(|route| route.begin(output));
        }
    }

    fn take_one(&mut self, batch: &RecordBatch, record: &RecordMeta, output: &mut BatchOutput) {
        self.taking = record.offset;
        if self.midway.is_none() {
            self.ledger.input += 1;
        }
        if !self.set_apart.is_empty() && self.set_apart.remove(&record.offset) {
            return self.reject(batch, record, &panicked(), output);
        }
        let bytes = match batch.value(record) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => {
                let rejection = Rejection::new(Reason::Empty, "the record has no value");
                return self.reject(batch, record, &rejection, output);
            }
        };
        let time = EventTime::from_millis(record.timestamp_ms);
        let event = match self.decoder.decode(bytes, time, self.max_future_micros) {
            Ok(event) => event,
            Err(rejection) => return self.reject(batch, record, &rejection, output),
        };
        self.keyed.look(&self.partition, record.offset, batch.key(record), event.source());
        self.newest = self.newest.max(event.time());
        let newest = self.newest;
        let mut room = output.room;
        let prepared = self.parts.iter_mut().all(|Part { group, routes, advances, .. }| {
            let mut sink = |closed: Closed<'_>| {
                let routes = routes.as_deref_mut();
                emit(output, &closed, advances, routes, newest, &self.partition, &mut self.writer)
            };
            group.prepare(newest, &mut room, &mut sink)
        });
        self.midway = went(self.midway, room, prepared, output);
        if !prepared {
            return;
        }
        let (mut taken, mut late) = (false, false);
        let mut document = None;
        let mut counted = false;
        for part in &mut self.parts {
            let Part { group, routes, filters, advances, key: path, open, .. } = part;
            let mut sink = |closed: Closed<'_>| {
                emit(
                    output,
                    &closed,
                    advances,
                    routes.as_deref_mut(),
                    newest,
                    &self.partition,
                    &mut self.writer,
                )
            };
            let mut who = None;
            for (index, filter) in filters.iter().enumerate() {
                if let Some(filter) = filter
                    && !passes(filter, &event, &mut document)
                {
                    continue;
                }
                if who.is_none() {
                    let by_source = path == "source";
                    let key =
                        if by_source { Some(event.source()) } else { event.lookup(path, &mut self.key) };
                    let Some(key) = key else { break };
                    let interned = group.intern(key, event.event_type());
                    if by_source && !counted {
                        // Where its source is looked up anyway.
                        group.count(interned);
                        counted = true;
                    }
                    who = Some(interned);
                }
                let Some(who) = who else { break };
                match group.observe(index, who, event.time(), event.numbers(), newest, &mut sink) {
                    Outcome::Taken => (taken, *open) = (true, true),
                    Outcome::Late => late = true,
                }
            }
            group.advance(newest, &mut sink);
            if let Some(routes) = routes {
                for route in routes {
                    route.watermark(newest, output);
                }
            }
        }
        count_type(&mut self.types, event.event_type());
        if !counted {
            *self.sources.entry_ref(event.source()).or_insert(0) += 1;
        }
        let time = event.time();
        if taken {
            self.ledger.windowed += 1;
        } else if late {
            self.ledger.late += 1;
            let rejection = Rejection::new(
                Reason::Late,
                format!("event time {time} is past the grace of its windows: the partition is at {newest}"),
            );
            output.records.push(self.letters.of(batch, record, &rejection));
        } else {
            self.ledger.filtered += 1;
        }
    }

    fn midway(&self) -> Option<u64> {
        self.midway
    }

    fn speak(&mut self) {
        if !std::mem::replace(&mut self.speaks, true) {
            self.parts.iter_mut().for_each(|part| part.group.adopt());
        }
    }

    fn about(&mut self, batch: &RecordBatch, record: &RecordMeta) -> Option<(EventTime, Box<str>)> {
        let arrived = EventTime::from_millis(record.timestamp_ms);
        let event = self.decoder.decode(batch.value(record)?, arrived, self.max_future_micros).ok()?;
        Some((event.time(), event.source().into()))
    }

    fn idle_after(&self) -> Option<Duration> {
        self.parts.iter().filter(|part| part.is_waiting()).map(|part| part.idle_after).min()
    }

    fn close_idle(&mut self, quiet: Duration, output: &mut BatchOutput) -> Option<String> {
        let quiet_parts =
            self.parts.iter().enumerate().filter(|(_, part)| part.is_waiting() && quiet >= part.idle_after);
        self.idle = quiet_parts.map(|(at, _)| at).take(MARKS_MAX).collect();
        let mut closed: Vec<String> = Vec::new();
        while let Some(&at) = self.idle.front() {
            let before = (output.closed.len(), output.records.len());
            let done = self.close_part(at, output);
            if !done {
                // The decision has to name what is still to come, too.
                closed.extend(self.idle.iter().map(|at| self.parts[*at].mark.clone()));
                break;
            }
            if before != (output.closed.len(), output.records.len()) {
                closed.push(self.parts[at].mark.clone());
            }
        }
        (!closed.is_empty()).then(|| format!("{QUIET}{}", closed.join(",")))
    }

    fn taking(&self) -> Option<i64> {
        Some(self.taking)
    }

    fn replay(&mut self, decision: &str, output: &mut BatchOutput) {
        if let Some(offset) = decision.strip_prefix(SET_APART) {
            self.set_apart.extend(offset.parse::<i64>());
            return;
        }
        let marks: Vec<&str> = self.parts.iter().map(|part| &*part.mark).collect();
        if let Some(wanted) = decision.strip_prefix(QUIET) {
            let (partition, found) = (&self.partition, |mark| marked(&marks, mark));
            if wanted.split(',').any(|mark| found(mark).is_none()) {
                tracing::warn!(%partition, "series that are gone from the configuration were closed by quiet: that is left out");
            }
            self.idle = wanted.split(',').filter_map(found).collect();
        } else if let Some(places) = decision.strip_prefix(QUIET_BY_PLACE) {
            let places = places.split(',').filter_map(|at| at.parse::<usize>().ok());
            self.idle = places.filter(|at| *at < self.parts.len()).collect();
        }
        self.go_on(output);
    }

    fn go_on(&mut self, output: &mut BatchOutput) {
        while let Some(&at) = self.idle.front()
            && self.close_part(at, output)
        {}
    }

    fn is_past(&self, time: EventTime) -> bool {
        let specs = self.parts.iter().flat_map(|part| part.group.specs());
        let behind = specs.map(|spec| spec.lateness_micros.saturating_add(spec.grace_micros)).max();
        self.newest >= time.plus_micros(behind.unwrap_or(0))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        // About: what a window of one value takes, its key and all.
        let records: usize = self.parts.iter().map(|part| part.group.record_count()).sum();
        out.reserve(records * 48);
        out.push(FORMAT);
        let ids = by_part(&self.house.settings, &self.partition.topic);
        // A `Record` piece by piece, so that nothing large is built twice.
        put(&(self.newest, self.ledger, self.parts.len() as u64), out);
        for ((id, _), part) in ids.into_iter().zip(&self.parts) {
            put(&id, out);
            snapshots::put_bytes(out, |out| part.group.encode(out));
        }
    }

    fn imbalance(&self) -> Option<String> {
        (!self.ledger.balances()).then(|| format!("{:?}", self.ledger))
    }

    fn tell_metrics(&mut self) {
        for part in self.parts.iter_mut().filter(|part| part.key == "source") {
            part.group.take_counts(|source, count| *self.sources.entry_ref(source).or_insert(0) += count);
        }
        self.writer.tell(&self.house.metrics);
        for part in &mut self.parts {
            part.tell_left_out(&self.partition, &self.house.metrics);
        }
        self.house.tally.add(
            self.types.iter().map(|(name, count)| (&**name, *count)),
            self.sources.iter().map(|(name, count)| (&**name, *count)),
        );
        self.types.clear();
        self.sources.clear();
        self.told.tell(&self.ledger, self.newest);
        self.house.metrics.failed.inc_by(self.ledger.dead_lettered - self.dead_lettered_told);
        self.dead_lettered_told = self.ledger.dead_lettered;
    }
}

impl EventsIntake {
    /// Closes what is open in a part, the first of those that are to be closed. True when that is all, and it is none of
    /// them any more.
    fn close_part(&mut self, at: usize, output: &mut BatchOutput) -> bool {
        let (newest, partition, writer) = (self.newest, &self.partition, &mut self.writer);
        let Part { group, routes, advances, open, .. } = &mut self.parts[at];
        *open = false;
        let mut room = output.room;
        let mut sink = |closed: Closed<'_>| {
            emit(output, &closed, advances, routes.as_deref_mut(), newest, partition, writer)
        };
        let done = group.close_idle(&mut room, &mut sink);
        if done {
            self.idle.pop_front();
            for route in routes.iter_mut().flatten() {
                route.idle(newest, output);
            }
        }
        self.midway = went(self.midway, room, self.idle.is_empty(), output);
        done
    }
}
