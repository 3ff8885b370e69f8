//! The two protocols, as far as the load speaks them: what a client says to subscribe and to come back, and what it makes
//! of the answers.

use super::record::{Models, name};
use super::wire::{TEXT, put};
use serde_json::{Value, json};

/// Whose protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/forecast-updates`.
    Tidecast,
    /// Centrifuge's JSON protocol.
    Centrifuge,
}

/// The request of Centrifuge's `connect`; the subscriptions follow it.
const CONNECT: u64 = 1;

/// Where a client stands, to come back to: a position, or the epoch of each channel (the offset follows from the number of
/// the last message).
#[derive(Debug, Default, Clone)]
pub(super) struct Place {
    pub position: Vec<u8>,
    pub epochs: Vec<String>,
}

/// What an answer means to a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// May subscribe now.
    Welcome,
    /// One subscription is there.
    Subscribed,
    /// What was asked for is not to be had.
    Refused(String),
    /// So many updates were left out.
    Skipped(u64),
    /// A sign of life that wants this answer.
    Beat(&'static [u8]),
    /// Nothing to the load.
    Nothing,
}

impl Dialect {
    pub fn path(self) -> &'static str {
        match self {
            Dialect::Tidecast => "/forecast-updates",
            Dialect::Centrifuge => "/connection/websocket",
        }
    }

    /// What is said first on a new connection, if anything is.
    pub fn greeting(self) -> Option<Vec<u8>> {
        let Dialect::Centrifuge = self else { return None };
        let mut out = Vec::new();
        put(&mut out, TEXT, json!({"id": CONNECT, "connect": {}}).to_string().as_bytes());
        Some(out)
    }

    /// Answers that follow on [`Dialect::subscribe`].
    pub fn answers(self, models: Models) -> u32 {
        match self {
            Dialect::Tidecast => 1,
            Dialect::Centrifuge => models.count,
        }
    }

    /// Subscribes to models; `back` where the client was there before, with the number that it wants next of each.
    pub fn subscribe(self, models: Models, back: Option<(&Place, &[u32])>) -> Vec<u8> {
        let names = (models.first..models.first + models.count).map(name);
        let text = match self {
            Dialect::Tidecast => {
                let names: Vec<String> = names.collect();
                let mut ask =
                    json!({"type": "subscribe", "model_ids": names, "update_types": ["new_forecast"]});
                if let Some((place, _)) = back {
                    ask["resume"] = String::from_utf8_lossy(&place.position).into();
                }
                ask.to_string()
            }
            Dialect::Centrifuge => {
                let line = |(index, channel): (usize, String)| {
                    let mut ask = json!({"channel": channel});
                    if let Some((place, next)) = back {
                        ask["recover"] = true.into();
                        ask["epoch"] = place.epochs.get(index).cloned().unwrap_or_default().into();
                        // The first message of a channel has offset 1: the last one seen has what comes next here.
                        ask["offset"] = next[index].into();
                    }
                    json!({"id": CONNECT + 1 + index as u64, "subscribe": ask}).to_string()
                };
                names.enumerate().map(line).collect::<Vec<_>>().join("\n")
            }
        };
        let mut out = Vec::new();
        put(&mut out, TEXT, text.as_bytes());
        out
    }

    /// Whether a line can only be an update: those are not read as JSON, for there are very many.
    pub fn is_update(self, line: &[u8]) -> bool {
        match self {
            Dialect::Tidecast => line.starts_with(b"{\"type\":\"forecast_update\""),
            Dialect::Centrifuge => line.starts_with(b"{\"push\":{\"channel\""),
        }
    }

    /// Reads anything else; what it says of where the client stands goes into `place`.
    pub fn read(self, line: &[u8], place: &mut Place) -> Said {
        if self == Dialect::Centrifuge && line == b"{}" {
            return Said::Beat(b"{}");
        }
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            return Said::Refused(format!("not JSON: {}", String::from_utf8_lossy(line)));
        };
        match self {
            Dialect::Tidecast => read_ours(&message, place),
            Dialect::Centrifuge => read_theirs(&message, place),
        }
    }
}

fn read_ours(message: &Value, place: &mut Place) -> Said {
    match message["type"].as_str() {
        Some("subscribed") => {
            place.position = message["position"].as_str().unwrap_or_default().into();
            match message["resumed"].as_bool() {
                Some(false) => Said::Refused("not resumed".into()),
                _ => Said::Subscribed,
            }
        }
        Some("gap") => Said::Skipped(message["data"]["skipped"].as_u64().unwrap_or(0)),
        Some("error") => Said::Refused(message["data"].to_string()),
        _ => Said::Nothing,
    }
}

fn read_theirs(message: &Value, place: &mut Place) -> Said {
    if let Some(error) = message.get("error") {
        return Said::Refused(error.to_string());
    }
    let Some(id) = message["id"].as_u64() else {
        // A push that is no publication: the server ends a subscription, or the connection.
        return Said::Refused(message.to_string());
    };
    if id == CONNECT {
        return Said::Welcome;
    }
    let (index, answer) = ((id - CONNECT - 1) as usize, &message["subscribe"]);
    if place.epochs.len() <= index {
        place.epochs.resize(index + 1, String::new());
    }
    place.epochs[index] = answer["epoch"].as_str().unwrap_or_default().into();
    match (answer["was_recovering"].as_bool(), answer["recovered"].as_bool()) {
        (Some(true), None | Some(false)) => Said::Refused("not recovered".into()),
        _ => Said::Subscribed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_are_understood() {
        let mut place = Place::default();
        let ours = |text: &str, place: &mut Place| Dialect::Tidecast.read(text.as_bytes(), place);
        assert_eq!(ours(r#"{"type":"subscribed","position":"AQ"}"#, &mut place), Said::Subscribed);
        assert_eq!(place.position, b"AQ");
        assert_eq!(ours(r#"{"type":"gap","data":{"skipped":3}}"#, &mut place), Said::Skipped(3));
        assert!(matches!(ours(r#"{"type":"subscribed","resumed":false}"#, &mut place), Said::Refused(_)));
        let theirs = |text: &str, place: &mut Place| Dialect::Centrifuge.read(text.as_bytes(), place);
        assert_eq!(theirs("{}", &mut place), Said::Beat(b"{}"));
        assert_eq!(theirs(r#"{"id":1,"connect":{"client":"c"}}"#, &mut place), Said::Welcome);
        assert_eq!(theirs(r#"{"id":3,"subscribe":{"epoch":"e"}}"#, &mut place), Said::Subscribed);
        assert_eq!(place.epochs, ["", "e"]);
        let lost = r#"{"id":2,"subscribe":{"epoch":"e","was_recovering":true}}"#;
        assert!(matches!(theirs(lost, &mut place), Said::Refused(_)));
    }
}
