//! Why a record could not be used: the reasons of the dead-letter topic and of refused frames.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The reason, as written in the dead letter's `reason` header and in an ingest error's `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Null or no bytes.
    Empty,
    /// Not JSON text.
    InvalidJson,
    /// Begins as a MessagePack map and does not end as one.
    InvalidMessagepack,
    /// `source`, `type` or `data` is not there.
    MissingField,
    /// A field is there with another type, or an empty name.
    WrongType,
    /// A field of the top level stands twice.
    RepeatedField,
    /// `timestamp` is none of the forms, or before 1970.
    InvalidTimestamp,
    /// `timestamp` is too far ahead of the record's own.
    FutureTimestamp,
    /// A number that overflows a double, or is NaN or infinite.
    NotFinite,
    /// Nested deeper than 128 levels.
    TooDeep,
    /// Refused as late by every series that wanted it.
    Late,
    /// It made the code that handles it panic.
    Panic,
}

impl Reason {
    /// Every reason, in the contract's order.
    pub const ALL: [Reason; 12] = [
        Reason::Empty,
        Reason::InvalidJson,
        Reason::InvalidMessagepack,
        Reason::MissingField,
        Reason::WrongType,
        Reason::RepeatedField,
        Reason::InvalidTimestamp,
        Reason::FutureTimestamp,
        Reason::NotFinite,
        Reason::TooDeep,
        Reason::Late,
        Reason::Panic,
    ];

    /// The fixed text.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::InvalidJson => "invalid_json",
            Reason::InvalidMessagepack => "invalid_messagepack",
            Reason::MissingField => "missing_field",
            Reason::WrongType => "wrong_type",
            Reason::RepeatedField => "repeated_field",
            Reason::InvalidTimestamp => "invalid_timestamp",
            Reason::FutureTimestamp => "future_timestamp",
            Reason::NotFinite => "not_finite",
            Reason::TooDeep => "too_deep",
            Reason::Late => "late",
            Reason::Panic => "panic",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason, and the words that say what was found and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// The fixed reason.
    pub reason: Reason,
    /// What was found, for a person; never the payload itself.
    pub detail: String,
}

impl Rejection {
    /// A rejection.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Rejection { reason, detail: detail.into() }
    }
}
