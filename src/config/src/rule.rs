//! `[[rules]]` and `POST /api/rules`: the object of contract section 5, its shape checked. What the condition and the
//! actions mean is the rules room's to judge.

use crate::error::{ConfigError, Fault, Origin};
use crate::kind::Kind;
use crate::series::is_name;
use crate::table::{Key, Values};
use crate::written::{HIDDEN, Node, Raw, quoted};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fmt;

const EVENT_TYPES: &[&str] =
    &["FORECAST_GENERATED", "ANOMALY_DETECTED", "SYSTEM_ERROR", "WINDOW_CLOSED", "MODEL_RETRAINED", "*"];
const PRIORITIES: &[&str] = &["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// The table of a `[[rules]]`.
pub(crate) const RULE_KEYS: &[Key] = &[
    Key::new("name", Kind::Text, None, "its name; required"),
    Key::new("event_type", Kind::Choice(EVENT_TYPES), None, "the events it looks at, `*` for all; required"),
    Key::new(
        "condition",
        Kind::Text,
        None,
        "CEL over `data`, `model_id`, `priority`, `event_type`, `timestamp`, `metadata`; required",
    ),
    Key::new("action", Kind::Json, None, "a name, an object with `type`, or a list of these; required"),
    Key::new("priority_filter", Kind::Choice(PRIORITIES), None, "only events of this priority"),
    Key::new("enabled", Kind::Flag, Some("true"), "whether it is evaluated"),
];

/// Fields of an action whose values are secrets: a webhook's path is its password.
const SECRET_FIELDS: [&str; 5] = ["url", "headers", "password", "token", "secret"];

/// A rule as registered. Serialises to the contract's object, secrets included: for readers, take
/// [`RuleSpec::redacted`] first. `Debug` hides them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Json")]
pub struct RuleSpec {
    /// Its name.
    pub name: String,
    /// The contract's name of the events it looks at; `*`: all.
    pub event_type: String,
    /// CEL.
    pub condition: String,
    /// A name, an object with `type`, or a list of these.
    pub action: Json,
    /// Only events of this priority.
    pub priority_filter: Option<String>,
    /// Whether it is evaluated.
    pub enabled: bool,
}

impl fmt::Debug for RuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSpec")
            .field("name", &self.name)
            .field("event_type", &self.event_type)
            .field("condition", &self.condition)
            .field("action", &redact(&self.action, false).to_string())
            .field("priority_filter", &self.priority_filter)
            .field("enabled", &self.enabled)
            .finish()
    }
}

impl TryFrom<Json> for RuleSpec {
    type Error = Fault;

    fn try_from(json: Json) -> Result<Self, Fault> {
        RuleSpec::from_json(&json)
    }
}

impl RuleSpec {
    /// Reads the object of a REST body or a record.
    pub fn from_json(json: &Json) -> Result<Self, Fault> {
        RuleSpec::read(&Node::from_json(json, &Origin::Request)).map_err(Fault::from)
    }

    /// The rule for readers: secrets in its actions replaced by `[REDACTED]`.
    pub fn redacted(&self) -> RuleSpec {
        RuleSpec { action: redact(&self.action, false), ..self.clone() }
    }

    /// Puts the secrets of `stored` back where this rule, read and written again by a client, has `[REDACTED]`. An action
    /// is the same one when it stands at the same place with the same type. The fault is a place for which nothing is
    /// stored. What goes with an address goes to that address alone: whoever gives another writes the headers anew,
    /// or they could be had by sending them to oneself.
    pub fn with_secrets_of(&self, stored: &RuleSpec) -> Result<RuleSpec, Fault> {
        let mut rule = self.clone();
        restore("action", &mut rule.action, Some(&stored.action), false)?;
        Ok(rule)
    }

    pub(crate) fn read(node: &Node) -> Result<RuleSpec, ConfigError> {
        let values = Values::of_object(RULE_KEYS, node)?;
        let name = values.required_text("name", &node.origin)?;
        if !is_name(&name, 200) {
            return Err(values.refuse(
                "name",
                quoted(&name),
                "up to 200 characters without * and control characters, neither . nor ..",
            ));
        }
        let event_type = values.opt_text("event_type").ok_or_else(|| {
            ConfigError::new("event_type", &node.origin, "nothing", Kind::Choice(EVENT_TYPES).allowed())
        })?;
        let condition = values.opt_text("condition").ok_or_else(|| {
            ConfigError::new("condition", &node.origin, "nothing", "a CEL expression; true for every event")
        })?;
        let allowed = "a name such as \"log\", an object such as {\"type\": \"publish\", \"topic\": \"hot\"}, or a list";
        let action = values
            .node("action")
            .ok_or_else(|| ConfigError::new("action", &node.origin, "nothing", allowed))
            // A variable's text may be JSON or the bare name of an action.
            .map(|action| action.parsed().unwrap_or_else(|| action.clone()))?;
        let action = match action.raw {
            Raw::Str(_) | Raw::Text(_) | Raw::Map(_) | Raw::List(_) => action.to_json(),
            _ => None,
        };
        let action = action.ok_or_else(|| values.refuse("action", "another value", allowed))?;
        if let Some(place) = without_name("action", &action) {
            return Err(ConfigError::new(
                place,
                &values.origin("action"),
                "a text that is no name of an action",
                allowed,
            ));
        }
        Ok(RuleSpec {
            name,
            event_type,
            condition,
            action,
            priority_filter: values.opt_text("priority_filter"),
            enabled: values.flag("enabled"),
        })
    }
}

/// The place of an action's name that cannot be one. Which names there are is not known here, but a webhook's address or
/// an object's text in the place of a name would be quoted by who looks for it among them.
fn without_name(place: &str, action: &Json) -> Option<String> {
    let part = |c: char| c.is_alphanumeric() || "_- ".contains(c);
    match action {
        Json::String(name) => (!name.chars().all(part)).then(|| place.to_owned()),
        Json::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| without_name(&format!("{place}[{index}]"), item))
        }
        Json::Object(fields) => ["type", "actions"].into_iter().find_map(|name| {
            fields.get(name).and_then(|value| without_name(&format!("{place}.{name}"), value))
        }),
        _ => None,
    }
}

fn redact(action: &Json, secret: bool) -> Json {
    match action {
        Json::Object(map) => Json::Object(
            map.iter()
                .map(|(name, value)| {
                    let secret = secret || SECRET_FIELDS.contains(&name.as_str());
                    (name.clone(), redact(value, secret))
                })
                .collect(),
        ),
        Json::Array(items) => Json::Array(items.iter().map(|item| redact(item, secret)).collect()),
        _ if secret => Json::String(HIDDEN.to_owned()),
        other => other.clone(),
    }
}

fn restore(place: &str, action: &mut Json, stored: Option<&Json>, secret: bool) -> Result<(), Fault> {
    match action {
        Json::Object(map) => {
            let same = |stored: &&Map<String, Json>| stored.get("type") == map.get("type");
            let stored = stored.and_then(Json::as_object).filter(same);
            let keeps =
                |url: &Json| url == HIDDEN || stored.is_some_and(|stored| stored.get("url") == Some(url));
            let stored = stored.filter(|_| map.get("url").is_none_or(keeps));
            map.iter_mut().try_for_each(|(name, value)| {
                let secret = secret || SECRET_FIELDS.contains(&name.as_str());
                restore(&format!("{place}.{name}"), value, stored.and_then(|stored| stored.get(name)), secret)
            })
        }
        Json::Array(items) => {
            // Of a list that has become another, nobody can tell which action is which.
            let stored = stored.and_then(Json::as_array).filter(|stored| stored.len() == items.len());
            items.iter_mut().enumerate().try_for_each(|(index, item)| {
                let stored = stored.and_then(|stored| stored.get(index));
                restore(&format!("{place}[{index}]"), item, stored, secret)
            })
        }
        Json::String(text) if secret && text == HIDDEN => {
            let allowed = "the value itself, where the action or its url is another than before";
            *action = stored.cloned().ok_or_else(|| Fault::new(place, quoted(HIDDEN), allowed))?;
            Ok(())
        }
        _ => Ok(()),
    }
}
