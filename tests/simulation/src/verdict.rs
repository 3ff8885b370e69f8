//! The oracle's judgement of a history that has settled.

use crate::forecasts;
use crate::oracle::{self, Expected};
use crate::process::{Process, World};
use crate::workload::Input;
use serde_json::Value;
use std::collections::BTreeMap;
use tidecast_event::{OutputId, TopicPartition};

/// A record as a reader of committed records has it, each id once.
struct Read {
    value: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

struct Judge<'w> {
    world: &'w World,
    problems: Vec<String>,
}

/// What is wrong with a history; empty when nothing is.
pub fn judge(world: &World, live: &[&Process]) -> Vec<String> {
    let expected = oracle::expect(&world.plan.input, &world.plan.series);
    let mut judge = Judge { world, problems: Vec::new() };
    judge.ledger(&expected, live);
    judge.letters(&expected);
    let windows = judge.windows(&expected);
    let forecasts = judge.forecasts(&windows);
    judge.alerts(&forecasts);
    judge.ahead_of_commits();
    judge.problems
}

impl Judge<'_> {
    fn wrong(&mut self, what: String) {
        if self.problems.len() < 20 {
            self.problems.push(what);
        }
    }

    /// The committed records of a topic. Exactly once: no id may come twice. At least once: a repeat is the same.
    fn read(&mut self, topic: &str) -> Vec<Read> {
        let broker = self.world.broker();
        let mut found: Vec<Read> = Vec::new();
        let mut seen: BTreeMap<OutputId, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        for place in broker.logs.keys().filter(|place| &*place.topic == topic) {
            for (offset, record) in broker.read_committed(place) {
                let value = record.value.as_deref().unwrap_or_default();
                if let Some(before) = record.id.and_then(|id| seen.get(&id)) {
                    if self.world.plan.exactly_once {
                        wrong
                            .push(format!("{place} has an output twice, again at {offset}: {}", text(value)));
                    } else if found[*before].value != value {
                        let (one, other) = (text(&found[*before].value), text(value));
                        wrong.push(format!("{place} has two outputs under one id: {one} and {other}"));
                    }
                    continue;
                }
                if let Some(id) = record.id {
                    seen.insert(id, found.len());
                }
                let header = |(name, value): &(&'static str, bytes::Bytes)| (*name, text(value));
                found.push(Read {
                    value: value.to_vec(),
                    headers: record.headers.iter().map(header).collect(),
                });
            }
        }
        drop(broker);
        wrong.into_iter().for_each(|what| self.wrong(what));
        found
    }

    fn messages(&mut self, topic: &str) -> Vec<Value> {
        let read = self.read(topic);
        read.iter().map(|read| serde_json::from_slice(&read.value).unwrap_or(Value::Null)).collect()
    }

    fn ledger(&mut self, expected: &Expected, live: &[&Process]) {
        for (partition, counts) in &expected.counts {
            let entries = [
                ("events_in_total", counts.input),
                ("events_windowed_total", counts.windowed),
                ("events_late_total", counts.late),
                ("events_dead_lettered_total", counts.dead_lettered),
                ("events_filtered_total", counts.filtered),
            ];
            for (name, wanted) in entries {
                let found: Vec<u64> =
                    live.iter().filter_map(|process| process.counter(name, *partition)).collect();
                if found != [wanted] {
                    self.wrong(format!(
                        "ledger of partition {partition}: {name} {found:?} instead of {wanted}"
                    ));
                }
            }
        }
    }

    fn letters(&mut self, expected: &Expected) {
        let offsets = offsets(self.world);
        let mut wanted: BTreeMap<(i32, i64), &Input> = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        let mut places: BTreeMap<i32, usize> = BTreeMap::new();
        for input in &self.world.plan.input {
            let place = places.entry(input.partition).or_default();
            let here = (input.partition, *place);
            *place += 1;
            if let Some(reason) = expected.letters.get(&here) {
                let at = (input.partition, offsets[&here]);
                wanted.insert(at, input);
                reasons.insert(at, *reason);
            }
        }
        for letter in self.read("streaming-events-dlq") {
            let header = |name: &str| {
                letter.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
            };
            let at = header("partition").zip(header("offset"));
            let at = at.and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
            let Some((at, input)) = at.and_then(|at: (i32, i64)| Some((at, wanted.remove(&at)?))) else {
                self.wrong(format!("a dead letter that should not be: {:?}", letter.headers));
                continue;
            };
            if header("reason").as_deref() != Some(reasons[&at]) {
                let reason = reasons[&at];
                self.wrong(format!("the letter of {at:?} says {:?} instead of {reason}", header("reason")));
            }
            if input.content.bytes().unwrap_or_default() != letter.value {
                self.wrong(format!("the letter of {at:?} has other bytes than its record"));
            }
        }
        for at in wanted.keys() {
            self.wrong(format!("no dead letter for {at:?}"));
        }
    }

    /// Every window in the end as it must be, its revisions without a gap. Returns the first emissions in order.
    fn windows(&mut self, expected: &Expected) -> Vec<Value> {
        let messages = self.messages("streaming-aggregates");
        let mut newest: BTreeMap<(String, String, i64), Value> = BTreeMap::new();
        let mut first = Vec::new();
        for message in messages {
            let word = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            let start = (message["window_start"].as_f64().unwrap_or(f64::NAN) * 1e3).round() as i64;
            let window = (word("series"), word("key"), start);
            let revision =
                newest.get(&window).map_or(0, |before| before["revision"].as_u64().unwrap_or(0) + 1);
            if message["revision"] != revision {
                let found = &message["revision"];
                self.wrong(format!("{window:?} has revision {found} where {revision} comes next"));
            }
            if revision == 0 {
                first.push(message.clone());
            }
            newest.insert(window, message);
        }
        for ((series, key, start), wanted) in &expected.windows {
            match newest.remove(&((*series).to_owned(), key.clone(), *start)) {
                None => self.wrong(format!("no window {series}:{key} at {start}")),
                Some(found) => {
                    if let Some(what) = wanted.differs(&found) {
                        let revision = &found["revision"];
                        self.wrong(format!("window {series}:{key} at {start}, revision {revision}: {what}"));
                    }
                }
            }
        }
        for window in newest.keys() {
            self.wrong(format!("a window that should not be: {window:?}"));
        }
        first
    }

    fn forecasts(&mut self, windows: &[Value]) -> Vec<Value> {
        let mut expected = forecasts::expect(&self.world.plan, windows.iter());
        let messages = self.messages("ml-predictions");
        let mut found = forecasts::Told::new();
        for message in &messages {
            match forecasts::read(message) {
                Some((model, told)) => found.entry(model).or_default().push(told),
                None => self.wrong(format!("a forecast that cannot be read: {message}")),
            }
        }
        for (model, told) in found {
            let wanted = expected.remove(&model).unwrap_or_default();
            if told.len() != wanted.len() {
                self.wrong(format!("{model} has {} forecasts instead of {}", told.len(), wanted.len()));
            }
            if let Some((found, wanted)) = told.iter().zip(&wanted).find(|(found, wanted)| found != wanted) {
                self.wrong(format!("{model} forecasts {found:?} instead of {wanted:?}"));
            }
        }
        for (model, told) in expected {
            self.wrong(format!("{model} has no forecast instead of {}", told.len()));
        }
        messages
    }

    fn alerts(&mut self, forecasts: &[Value]) {
        let Some((rule, over)) = self.world.plan.rule.clone() else { return };
        let great = |message: &&Value| message["predicted_value"].as_f64().is_some_and(|value| value > over);
        let wanted = forecasts.iter().filter(great).count();
        let found = self.messages("streaming-alerts");
        let found = found.iter().filter(|alert| alert["rule"] == rule.name).count();
        if found != wanted {
            self.wrong(format!("the rule fired {found} times instead of {wanted}"));
        }
    }

    /// A reader ahead of the commits drops repeats by their ids: one id is one output, committed or aborted.
    fn ahead_of_commits(&mut self) {
        let broker = self.world.broker();
        let mut seen: BTreeMap<(String, OutputId), &[u8]> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (place, log) in &broker.logs {
            for record in log.iter().filter_map(|entry| entry.record.as_ref()) {
                let Some(id) = record.id else { continue };
                let value = record.value.as_deref().unwrap_or_default();
                let before = seen.entry((place.topic.to_string(), id)).or_insert(value);
                if *before != value {
                    wrong.push(format!(
                        "{place}: under one id were written {} and {}",
                        text(before),
                        text(value)
                    ));
                }
            }
        }
        drop(seen);
        drop(broker);
        wrong.into_iter().for_each(|what| self.wrong(what));
    }
}

/// Offsets of the input records, by partition and place among its inputs.
fn offsets(world: &World) -> BTreeMap<(i32, usize), i64> {
    let broker = world.broker();
    let mut offsets = BTreeMap::new();
    for partition in 0..world.plan.partitions {
        let log = &broker.logs[&TopicPartition::new("analytics-events", partition)];
        let records = log.iter().enumerate().filter(|(_, entry)| entry.record.is_some());
        offsets.extend(records.enumerate().map(|(place, (offset, _))| ((partition, place), offset as i64)));
    }
    offsets
}

fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if let Some((at, _)) = text.char_indices().nth(300) {
        text.truncate(at);
    }
    text
}
