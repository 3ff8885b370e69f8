//! What a fired rule asks for, as data. Carrying it out is the shell's work.

use crate::fault::RuleFault;
use serde_json::{Map, Value as Json, json};
use std::fmt;
use std::time::Duration;

/// Most actions of one rule.
const MAX_ACTIONS: usize = 10;
const NAMES: [&str; 7] =
    ["log", "save_to_file", "send_alert", "update_metrics", "publish", "webhook", "slack_notify"];

/// One action.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A line in the log.
    Log {
        /// How loud.
        level: LogLevel,
    },
    /// A line of JSON at the end of a file below the state folder.
    SaveToFile {
        /// File name, no folders; the rule's name with `.jsonl` where `None`.
        file: Option<String>,
        /// The file is renamed to `.1` when it would grow past this many bytes.
        max_bytes: u64,
    },
    /// An e-mail.
    SendAlert {
        /// Recipients; the configured ones where empty.
        to: Vec<String>,
        /// Subject; made from the rule and event where `None`.
        subject: Option<String>,
    },
    /// A counter of the rule, and a gauge of one of the event's numbers.
    UpdateMetrics {
        /// Dotted path of the number under `data`; `None`: the counter alone.
        field: Option<String>,
    },
    /// A record on a Kafka topic.
    Publish {
        /// The topic; that of alerts where `None`.
        topic: Option<String>,
    },
    /// A JSON POST.
    Webhook {
        /// Where to.
        url: HiddenUrl,
        /// Headers to send; values are secrets.
        headers: Vec<(String, HiddenText)>,
        /// Gives up after.
        timeout: Duration,
    },
    /// A message in Slack's incoming-webhook shape.
    SlackNotify {
        /// The incoming webhook.
        url: HiddenUrl,
        /// The channel, where the webhook lets it be chosen.
        channel: Option<String>,
        /// Gives up after.
        timeout: Duration,
    },
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the usual five
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

const LEVELS: [(&str, LogLevel); 5] = [
    ("trace", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
];

/// An address whose path and query are secrets. Shows as `https://host/…`.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenUrl(String);

impl HiddenUrl {
    /// The whole address, for who calls it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HiddenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", ""));
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://{host}/…")
    }
}

impl fmt::Debug for HiddenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(String);

impl HiddenText {
    /// The text, for who sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Action {
    /// Reads what a rule has under `action`: a name, an object with `type`, or a list of these in order (also written
    /// as `{"type": "chain", "actions": [...]}`).
    pub fn read(json: &Json) -> Result<Vec<Action>, RuleFault> {
        let mut actions = Vec::new();
        read("action", json, 0, &mut actions)?;
        match actions.is_empty() {
            true => Err(RuleFault::new("action", "an empty list", "at least one action")),
            false => Ok(actions),
        }
    }

    /// The name by which it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Log { .. } => "log",
            Action::SaveToFile { .. } => "save_to_file",
            Action::SendAlert { .. } => "send_alert",
            Action::UpdateMetrics { .. } => "update_metrics",
            Action::Publish { .. } => "publish",
            Action::Webhook { .. } => "webhook",
            Action::SlackNotify { .. } => "slack_notify",
        }
    }

    /// What would be done, for a dry run; secrets are left out.
    pub fn describe(&self) -> Json {
        let mut json = match self {
            Action::Log { level } => {
                let name = LEVELS.iter().find(|(_, known)| known == level).map(|(name, _)| name);
                json!({"level": name})
            }
            Action::SaveToFile { file, max_bytes } => json!({"file": file, "max_bytes": max_bytes}),
            Action::SendAlert { to, subject } => json!({"to": to, "subject": subject}),
            Action::UpdateMetrics { field } => json!({"field": field}),
            Action::Publish { topic } => json!({"topic": topic}),
            Action::Webhook { url, headers, timeout } => {
                let names: Vec<&String> = headers.iter().map(|(name, _)| name).collect();
                json!({"url": url.to_string(), "headers": names, "timeout_seconds": timeout.as_secs_f64()})
            }
            Action::SlackNotify { url, channel, timeout } => {
                json!({"url": url.to_string(), "channel": channel, "timeout_seconds": timeout.as_secs_f64()})
            }
        };
        json["type"] = Json::from(self.name());
        json
    }
}

fn read(place: &str, json: &Json, depth: usize, out: &mut Vec<Action>) -> Result<(), RuleFault> {
    const ALLOWED: &str = "an action's name, an object with type, or a list of these";
    match json {
        Json::String(name) => out.push(single(place, name, &Map::new())?),
        Json::Array(items) if depth < 3 => {
            for (index, item) in items.iter().enumerate() {
                read(&format!("{place}[{index}]"), item, depth + 1, out)?;
            }
        }
        Json::Object(object) => match object.get("type").and_then(Json::as_str) {
            Some("chain") if depth < 3 => {
                Fields { place, object }.only(&["actions"])?;
                let items = object.get("actions").filter(|actions| actions.is_array());
                let place = format!("{place}.actions");
                let items = items.ok_or_else(|| RuleFault::new(&place, "no list", "a list of actions"))?;
                read(&place, items, depth + 1, out)?;
            }
            Some(name) => out.push(single(place, name, object)?),
            None => return Err(RuleFault::new(format!("{place}.type"), "nothing", NAMES.join(", "))),
        },
        Json::Array(_) => return Err(RuleFault::new(place, "lists nested deeper than 3", ALLOWED)),
        _ => return Err(RuleFault::new(place, "another value", ALLOWED)),
    }
    match out.len() > MAX_ACTIONS {
        true => Err(RuleFault::new("action", "more actions", format!("at most {MAX_ACTIONS} actions"))),
        false => Ok(()),
    }
}

fn single(place: &str, name: &str, object: &Map<String, Json>) -> Result<Action, RuleFault> {
    let fields = Fields { place, object };
    Ok(match name {
        "log" => {
            fields.only(&["level"])?;
            let level = fields.text("level")?.unwrap_or("info");
            let known = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(level));
            let allowed = "trace, debug, info, warn or error";
            let (_, level) = known.ok_or_else(|| fields.fault("level", &format!("{level:?}"), allowed))?;
            Action::Log { level: *level }
        }
        "save_to_file" => {
            fields.only(&["file", "max_bytes"])?;
            let file = fields.text("file")?;
            if let Some(name) = file.filter(|name| !is_file_name(name)) {
                let allowed =
                    "a file name of a-z A-Z 0-9 . _ - without folders; it lies below the state folder";
                return Err(fields.fault("file", &format!("{name:?}"), allowed));
            }
            let max_bytes = fields.number("max_bytes", 1_024.0, 1e12)?.unwrap_or(10_485_760.0);
            Action::SaveToFile { file: file.map(str::to_owned), max_bytes: max_bytes as u64 }
        }
        "send_alert" => {
            fields.only(&["to", "subject"])?;
            let to = fields.texts("to")?;
            if let Some(wrong) = to.iter().find(|address| !is_mail_address(address)) {
                let allowed = "mail addresses such as ops@example.com or Operations <ops@example.com>";
                return Err(fields.fault("to", &format!("{wrong:?}"), allowed));
            }
            Action::SendAlert { to, subject: fields.text("subject")?.map(str::to_owned) }
        }
        "update_metrics" => {
            fields.only(&["field"])?;
            Action::UpdateMetrics { field: fields.text("field")?.map(str::to_owned) }
        }
        "publish" => {
            fields.only(&["topic"])?;
            let topic = fields.text("topic")?;
            if let Some(name) = topic.filter(|name| !is_file_name(name) || name.len() > 249) {
                let allowed = "a topic name: 1 to 249 of a-z A-Z 0-9 . _ -";
                return Err(fields.fault("topic", &format!("{name:?}"), allowed));
            }
            Action::Publish { topic: topic.map(str::to_owned) }
        }
        "webhook" => {
            fields.only(&["url", "headers", "timeout_seconds"])?;
            Action::Webhook { url: fields.url()?, headers: fields.headers()?, timeout: fields.timeout()? }
        }
        "slack_notify" => {
            fields.only(&["url", "channel", "timeout_seconds"])?;
            let channel = fields.text("channel")?.map(str::to_owned);
            Action::SlackNotify { url: fields.url()?, channel, timeout: fields.timeout()? }
        }
        other => {
            let field = if object.is_empty() { place.to_owned() } else { format!("{place}.type") };
            return Err(RuleFault::new(
                field,
                format!("{other:?}"),
                format!("{} or a list", NAMES.join(", ")),
            ));
        }
    })
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// One address, perhaps within `Name <…>`: what a mail's header is made of has no line of its own to add.
fn is_mail_address(text: &str) -> bool {
    let address = match text.strip_suffix('>') {
        Some(named) => named.rsplit('<').next().unwrap_or_default(),
        None => text,
    };
    let sides = address.rsplit_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    sides.is_some()
        && text.len() <= 1_000
        && !text.contains(char::is_control)
        && !address.contains(|c: char| c.is_whitespace() || ",;<>".contains(c))
}

/// The fields of one action's object.
struct Fields<'a> {
    place: &'a str,
    object: &'a Map<String, Json>,
}

impl Fields<'_> {
    fn fault(&self, name: &str, found: &str, allowed: &str) -> RuleFault {
        RuleFault::new(format!("{}.{name}", self.place), found, allowed)
    }

    fn only(&self, names: &[&str]) -> Result<(), RuleFault> {
        match self.object.keys().find(|name| *name != "type" && !names.contains(&name.as_str())) {
            Some(name) => Err(self.fault(name, "an unknown field", &names.join(", "))),
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, RuleFault> {
        match self.object.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.fault(name, "another value", "a text that is not empty")),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, RuleFault> {
        let refuse = || self.fault(name, "another value", "a list of texts");
        match self.object.get(name) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::String(text)) => Ok(vec![text.clone()]),
            Some(Json::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(refuse)).collect()
            }
            Some(_) => Err(refuse()),
        }
    }

    fn number(&self, name: &str, min: f64, max: f64) -> Result<Option<f64>, RuleFault> {
        match self.object.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|number| (min..=max).contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(self.fault(name, &value.to_string(), &format!("a number from {min} to {max}"))),
            },
        }
    }

    fn timeout(&self) -> Result<Duration, RuleFault> {
        let seconds = self.number("timeout_seconds", 0.1, 60.0)?.unwrap_or(5.0);
        Ok(Duration::from_secs_f64(seconds))
    }

    /// The address stays out of the message: it may be the whole of a secret.
    fn url(&self) -> Result<HiddenUrl, RuleFault> {
        let allowed = "an address that starts with https:// or http://, without a user in it";
        let text = self.text("url")?.ok_or_else(|| self.fault("url", "nothing", allowed))?;
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let plain = !host.is_empty() && !authority.contains('@');
        match plain && text.len() <= 2_048 && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            true => Ok(HiddenUrl(text.to_owned())),
            false => Err(self.fault("url", "no such address", allowed)),
        }
    }

    fn headers(&self) -> Result<Vec<(String, HiddenText)>, RuleFault> {
        let Some(headers) = self.object.get("headers").filter(|headers| !headers.is_null()) else {
            return Ok(Vec::new());
        };
        let refuse =
            |found: &str| self.fault("headers", found, "an object of up to 20 header names and their texts");
        let object =
            headers.as_object().filter(|object| object.len() <= 20).ok_or_else(|| refuse("another value"))?;
        let legal_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        // Where a message begins and ends, and whom it is for, is the address's and the sender's to say.
        let framing = [
            "content-length",
            "transfer-encoding",
            "host",
            "connection",
            "upgrade",
            "te",
            "trailer",
            "expect",
        ];
        if let Some(name) = object.keys().find(|name| framing.contains(&&*name.to_ascii_lowercase())) {
            return Err(refuse(&format!("\"{name}\", which is not for a rule to set")));
        }
        let header = |(name, value): (&String, &Json)| match value.as_str() {
            Some(text) if legal_name(name) && !text.contains(|c: char| c.is_control()) => {
                Ok((name.clone(), HiddenText(text.to_owned())))
            }
            _ => Err(refuse("a name or value that is none")),
        };
        object.iter().map(header).collect()
    }
}
