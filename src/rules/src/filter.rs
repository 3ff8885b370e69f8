//! A series' `where`: which events it takes. Comparisons of `type` and `source` with texts, the usual case, are
//! answered without CEL and without looking into the event's data.

use crate::condition::{Condition, ConditionError, EvaluationError, FILTER_VARIABLES};
use crate::scope::Scope;
use crate::simple::Simple;
use serde_json::{Map, Value as Json};
use tidecast_event::{EventTime, Priority};

/// What a filter sees of an event.
#[derive(Debug, Clone, Copy)]
pub struct FilterEvent<'a> {
    /// `type`.
    pub kind: &'a str,
    /// `source`.
    pub source: &'a str,
    /// `timestamp`.
    pub timestamp: Option<EventTime>,
    /// `data`.
    pub data: &'a Map<String, Json>,
    /// `metadata`.
    pub metadata: Option<&'a Map<String, Json>>,
}

/// A compiled `where`.
#[derive(Debug)]
pub struct Filter {
    simple: Option<Simple>,
    condition: Condition,
}

impl Filter {
    /// Compiles a source over `type`, `source`, `data`, `metadata` and `timestamp`.
    pub fn compile(source: &str) -> Result<Filter, ConditionError> {
        let condition = Condition::compile(source, &FILTER_VARIABLES)?;
        Ok(Filter { simple: Simple::of(condition.expression()), condition })
    }

    /// The source.
    pub fn source(&self) -> &str {
        self.condition.source()
    }

    /// The answer, where `type` and `source` alone give it: a few nanoseconds. `None`: [`Filter::evaluate`] is
    /// needed; the same filter answers always the same way.
    pub fn quick(&self, kind: &str, source: &str) -> Option<bool> {
        self.simple.as_ref().map(|simple| simple.evaluate(kind, source))
    }

    /// Whether [`Filter::quick`] answers.
    pub fn is_quick(&self) -> bool {
        self.simple.is_some()
    }

    /// The answer from the whole event. An error stands for false.
    pub fn evaluate(&self, event: &FilterEvent<'_>) -> Result<bool, EvaluationError> {
        if let Some(answer) = self.quick(event.kind, event.source) {
            return Ok(answer);
        }
        let FilterEvent { kind, source, timestamp, data, metadata } = *event;
        self.condition.evaluate(&Scope::new(kind, Some(source), Priority::Medium, timestamp, data, metadata))
    }
}
