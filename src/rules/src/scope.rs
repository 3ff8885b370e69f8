//! What a condition sees: an event's JSON as CEL values that borrow it, converted once for all the rules.

use cel::common::types::{
    CelBool, CelDouble, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use regex::Regex;
use serde_json::{Map, Value as Json};
use std::any::Any;
use tidecast_event::{EventTime, Priority};

/// Deeper than this, JSON is not looked into: the contract's limit on events.
const MAX_JSON_DEPTH: usize = 128;

/// The variables of one event, shared by every condition that looks at it.
#[derive(Debug)]
pub struct Scope<'v> {
    pub(crate) data: CelMap<'v>,
    pub(crate) metadata: CelMap<'v>,
    pub(crate) timestamp: Option<CelTimestamp>,
    /// `model_id` of rules, `source` of filters.
    pub(crate) subject: Option<CelString<'v>>,
    /// `event_type` of rules, `type` of filters.
    pub(crate) kind: CelString<'v>,
    pub(crate) priority: CelString<'v>,
    pub(crate) rank: CelDouble,
    /// Values in `data` and `metadata`: what a loop over them can cost.
    pub(crate) values: usize,
}

impl<'v> Scope<'v> {
    pub(crate) fn new(
        kind: &'v str,
        subject: Option<&'v str>,
        priority: Priority,
        timestamp: Option<EventTime>,
        data: &'v Map<String, Json>,
        metadata: Option<&'v Map<String, Json>>,
    ) -> Self {
        let mut values = 0;
        Scope {
            data: map(data, 0, &mut values),
            metadata: metadata.map(|metadata| map(metadata, 0, &mut values)).unwrap_or_default(),
            timestamp: timestamp
                .and_then(|time| chrono::DateTime::from_timestamp_micros(time.0))
                .map(|time| CelTimestamp::from(time.fixed_offset())),
            subject: subject.map(CelString::from),
            kind: CelString::from(kind),
            priority: CelString::from(priority.as_str()),
            rank: CelDouble::from(rank(priority)),
            values,
        }
    }
}

/// Priorities in their order, for comparisons.
pub(crate) fn rank(priority: Priority) -> f64 {
    f64::from(priority as u8)
}

/// Priorities in the order of their ranks.
pub(crate) const PRIORITIES: [Priority; 4] =
    [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];

/// The priority of this name.
pub(crate) fn priority_named(name: &str) -> Option<Priority> {
    PRIORITIES.into_iter().find(|priority| priority.as_str() == name)
}

fn map<'v>(object: &'v Map<String, Json>, depth: usize, values: &mut usize) -> CelMap<'v> {
    *values += object.len();
    let entry = |(name, json): (&'v String, &'v Json)| {
        (CelMapKey::String(CelString::from(name.as_str())), value(json, depth + 1, values))
    };
    CelMap::from(object.iter().map(entry).collect::<std::collections::HashMap<_, _>>())
}

/// Numbers are all doubles: `51` and `51.3` of two events have to behave alike in `data.value / 2`.
fn value<'v>(json: &'v Json, depth: usize, values: &mut usize) -> Box<dyn Val + 'v> {
    match json {
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(items) if depth < MAX_JSON_DEPTH => {
            *values += items.len();
            let items: Vec<Box<dyn Val + 'v>> =
                items.iter().map(|item| value(item, depth + 1, values)).collect();
            Box::new(CelList::from(items))
        }
        Json::Object(object) if depth < MAX_JSON_DEPTH => Box::new(map(object, depth, values)),
        _ => Box::new(CelNull),
    }
}

/// A pattern compiled with its condition.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(pub Regex);

pub(crate) static PATTERN_TYPE: Type = Type::new_unspecified_type("tidecast.pattern");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// Names resolved for one condition: the event's, and the condition's own patterns.
pub(crate) struct Names<'a> {
    pub scope: &'a Scope<'a>,
    pub patterns: &'a [Pattern],
}

/// Names that no source can spell, for what the compiler puts in.
pub(crate) const RANK: &str = "@rank";
pub(crate) const RANK_OF: &str = "@rank_of";
pub(crate) const PATTERN: &str = "@pattern";

static NULL: CelNull = CelNull;

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let scope = self.scope;
        let borrowed: &'b (dyn Val + 'b) = match variable {
            "data" => &scope.data,
            "metadata" => &scope.metadata,
            "priority" => &scope.priority,
            "event_type" | "type" => &scope.kind,
            "model_id" | "source" => scope.subject.as_ref().map_or(&NULL as &dyn Val, |subject| subject),
            "timestamp" => scope.timestamp.as_ref().map_or(&NULL as &dyn Val, |time| time),
            RANK => &scope.rank,
            other => self.patterns.get(other.strip_prefix(PATTERN)?.parse::<usize>().ok()?)?,
        };
        Some(CowVal::Borrowed(borrowed))
    }
}
