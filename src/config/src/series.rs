//! `[[series]]`: which events make a family of series, and the windows they are counted in.

use crate::duration;
use crate::error::ConfigError;
use crate::keys::LONGEST;
use crate::kind::Kind;
use crate::table::{Key, Values};
use crate::written::Node;
use serde::Serialize;
use std::time::Duration;

/// How far ahead of its record an event may be, unless a series says otherwise.
pub const MAX_FUTURE: Duration = Duration::from_secs(86_400);

const POSITIVE: Kind = Kind::Duration { min: Duration::from_millis(1), max: LONGEST };
const ANY: Kind = Kind::Duration { min: Duration::ZERO, max: LONGEST };

/// The table of a `[[series]]`.
pub(crate) const SERIES_KEYS: &[Key] = &[
    Key::new("name", Kind::Text, None, "the family: its series are `name:<key>`; required"),
    Key::new("topic", Kind::Topic, None, "where its events come from (absent: `topics.events`)"),
    Key::new("where", Kind::Text, None, "CEL over the event (absent: every event)"),
    Key::new("key", Kind::Text, Some("source"), "path of the grouping field"),
    Key::new(
        "values",
        Kind::Texts,
        None,
        "numeric paths under `data` (absent: every numeric leaf, up to 4,096 at a time)",
    ),
    Key::new(
        "window.kind",
        Kind::Choice(&["tumbling", "hopping", "session"]),
        Some("tumbling"),
        "kind of window",
    ),
    Key::new("window.size", POSITIVE, None, "length of a tumbling (absent: 10s) or hopping window"),
    Key::new(
        "window.advance",
        POSITIVE,
        None,
        "from one hopping window's start to the next's; divides `size`",
    ),
    Key::new("window.gap", POSITIVE, None, "events of a session are at most that far apart"),
    Key::new("lateness", ANY, Some("5s"), "watermark = newest event time of the partition - lateness"),
    Key::new("grace", ANY, Some("0s"), "after closing, an event still corrects its window for that long"),
    Key::new("idle_after", POSITIVE, Some("30s"), "a partition quiet for that long closes its windows"),
    Key::new(
        "empty_windows",
        Kind::Choice(&["skip", "emit"]),
        Some("skip"),
        "emit: count 0 for a known key without an event",
    ),
    Key::new("percentiles", Kind::Flag, Some("true"), "p50, p95 and p99"),
    Key::new("max_future", POSITIVE, Some("1d"), "an event further ahead of its record is refused"),
];

/// A family of series. Durations are serialised as text (`10s`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesSpec {
    /// The family; its series are `name:<key>`.
    pub name: String,
    /// Where its events come from; `None`: `topics.events`.
    pub topic: Option<String>,
    /// CEL over the event; `None`: every event.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Path of the grouping field (`source`, `type`, `data.origin`, `metadata.region`).
    pub key: String,
    /// Numeric paths under `data`; `None`: every numeric leaf.
    pub values: Option<Vec<String>>,
    /// The windows.
    pub window: WindowSpec,
    /// The watermark stays that far behind the newest event of its partition.
    #[serde(with = "duration::as_text")]
    pub lateness: Duration,
    /// An event still corrects a closed window for that long.
    #[serde(with = "duration::as_text")]
    pub grace: Duration,
    /// A partition quiet for that long (wall clock) closes its windows.
    #[serde(with = "duration::as_text")]
    pub idle_after: Duration,
    /// Windows of a known key without an event.
    pub empty_windows: EmptyWindows,
    /// p50, p95, p99 are computed.
    pub percentiles: bool,
    /// An event further ahead of its record is refused.
    #[serde(with = "duration::as_text")]
    pub max_future: Duration,
}

/// Kinds of window, aligned to the epoch (sessions excepted).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum WindowSpec {
    /// One after the other.
    Tumbling {
        /// Length.
        #[serde(with = "duration::as_text")]
        size: Duration,
    },
    /// Overlapping.
    Hopping {
        /// Length; a multiple of `advance`.
        #[serde(with = "duration::as_text")]
        size: Duration,
        /// From one start to the next.
        #[serde(with = "duration::as_text")]
        advance: Duration,
    },
    /// As long as events keep coming.
    Session {
        /// Events at most that far apart belong together.
        #[serde(with = "duration::as_text")]
        gap: Duration,
    },
}

/// What becomes of a window without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyWindows {
    /// Nothing is written.
    Skip,
    /// Count 0 for each known key.
    Emit,
}

impl SeriesSpec {
    /// The series of a configuration that names none: `by_source` and `by_type`, tumbling 10 s.
    pub fn defaults() -> Vec<SeriesSpec> {
        let series = |name: &str, key: &str| SeriesSpec {
            name: name.to_owned(),
            topic: None,
            filter: None,
            key: key.to_owned(),
            values: None,
            window: WindowSpec::Tumbling { size: Duration::from_secs(10) },
            lateness: Duration::from_secs(5),
            grace: Duration::ZERO,
            idle_after: Duration::from_secs(30),
            empty_windows: EmptyWindows::Skip,
            percentiles: true,
            max_future: MAX_FUTURE,
        };
        vec![series("by_source", "source"), series("by_type", "type")]
    }

    pub(crate) fn read(node: &Node) -> Result<SeriesSpec, ConfigError> {
        let values = Values::of_object(SERIES_KEYS, node)?;
        let name = values.required_text("name", &node.origin)?;
        // The colon ends the name in `name:key`, the star is a template's and a pattern's.
        if !is_name(&name, 100) || name.contains(':') {
            let allowed =
                "up to 100 characters without : or * and without control characters, neither . nor ..";
            return Err(values.refuse("name", crate::written::quoted(&name), allowed));
        }
        Ok(SeriesSpec {
            name,
            topic: values.opt_text("topic"),
            filter: values.opt_text("where"),
            key: key_of(&values)?,
            values: paths_of(&values)?,
            window: window_of(&values, node)?,
            lateness: values.duration("lateness"),
            grace: values.duration("grace"),
            idle_after: values.duration("idle_after"),
            empty_windows: if values.text("empty_windows") == "emit" {
                EmptyWindows::Emit
            } else {
                EmptyWindows::Skip
            },
            percentiles: values.flag("percentiles"),
            max_future: values.duration("max_future"),
        })
    }
}

/// A name as models, series and rules have them.
pub(crate) fn is_name(name: &str, longest: usize) -> bool {
    !name.is_empty()
        && name.chars().count() <= longest
        // In an address these two go up or nowhere, however they are written.
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '*' || c.is_control())
}

fn key_of(values: &Values) -> Result<String, ConfigError> {
    let key = values.text("key");
    match is_path(&key) {
        true => Ok(key),
        false => Err(values.refuse(
            "key",
            crate::written::quoted(&key),
            "names with dots between, such as data.origin",
        )),
    }
}

fn paths_of(values: &Values) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(paths) = values.opt_texts("values") else { return Ok(None) };
    for (index, path) in paths.iter().enumerate() {
        let setting = format!("values[{index}]");
        let refuse = |allowed: &str| {
            Err(ConfigError::new(&*setting, &values.origin("values"), crate::written::quoted(path), allowed))
        };
        if !is_path(path) {
            return refuse("names with dots between, such as engine.temperature");
        }
        if paths[..index].contains(path) {
            return refuse("each path once");
        }
    }
    Ok(Some(paths))
}

fn is_path(path: &str) -> bool {
    path.split('.').all(|name| !name.is_empty()) && path.len() <= 1_000
}

fn window_of(values: &Values, node: &Node) -> Result<WindowSpec, ConfigError> {
    let kind = values.text("window.kind");
    let takes: &[&str] = match kind.as_str() {
        "hopping" => &["window.size", "window.advance"],
        "session" => &["window.gap"],
        _ => &["window.size"],
    };
    for path in ["window.size", "window.advance", "window.gap"] {
        if values.is_given(path) && !takes.contains(&path) {
            let names: Vec<&str> = takes.iter().filter_map(|path| path.strip_prefix("window.")).collect();
            let allowed = format!("{} for kind = \"{kind}\"", names.join(" and "));
            return Err(values.refuse(
                path,
                format!("a setting that a {kind} window does not have"),
                allowed,
            ));
        }
    }
    let need = |path: &str, allowed: &str| {
        values.opt_duration(path).ok_or_else(|| ConfigError::new(path, &node.origin, "nothing", allowed))
    };
    match kind.as_str() {
        "hopping" => {
            let size = need("window.size", "the length of the window, such as 10s")?;
            let advance = need("window.advance", "a duration that divides window.size, such as 1s")?;
            if advance > size || size.as_micros() % advance.as_micros() != 0 {
                let (written, size) = (duration::format_duration(advance), duration::format_duration(size));
                return Err(values.refuse(
                    "window.advance",
                    format!("{written} in a window of size {size}"),
                    format!("a duration that divides {size} without rest"),
                ));
            }
            Ok(WindowSpec::Hopping { size, advance })
        }
        "session" => Ok(WindowSpec::Session {
            gap: need("window.gap", "the longest pause inside a session, such as 5m")?,
        }),
        _ => Ok(WindowSpec::Tumbling {
            size: values.opt_duration("window.size").unwrap_or(Duration::from_secs(10)),
        }),
    }
}
