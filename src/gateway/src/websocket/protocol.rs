//! The messages of `/forecast-updates`, both ways.

use super::frame::{Opcode, frame};
use crate::live::outbox::Gap;
use crate::live::update::UpdateType;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Longest name or pattern that a client may give, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// How a session's messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON in text frames.
    #[default]
    Json,
    /// MessagePack in binary frames.
    MessagePack,
}

impl Format {
    /// A message as a whole frame.
    pub fn frame(self, message: &Value) -> Bytes {
        match self {
            Format::Json => frame(Opcode::Text, message.to_string().as_bytes()),
            Format::MessagePack => {
                frame(Opcode::Binary, &rmp_serde::to_vec_named(message).expect("JSON is MessagePack"))
            }
        }
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Wants updates.
    Subscribe {
        /// Names and patterns; `*` where it named none.
        model_ids: Vec<String>,
        /// At least one.
        update_types: Vec<UpdateType>,
        /// The format from now on, if it says.
        format: Option<Format>,
        /// Where it was when it lost its connection.
        resume: Option<String>,
    },
    /// Wants them no more.
    Unsubscribe {
        /// Names and patterns as subscribed; empty: all.
        model_ids: Vec<String>,
        /// Empty: all.
        update_types: Vec<UpdateType>,
    },
    /// Wants a sign of life.
    Ping,
    /// Shows a token.
    Auth {
        /// The token.
        token: String,
    },
}

/// Why a message was not done, as told to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Fixed.
    pub code: &'static str,
    /// For a person: what was found and what is allowed.
    pub message: String,
}

impl Complaint {
    /// A complaint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Complaint { code, message: message.into() }
    }

    /// The `error` message.
    pub fn to_message(&self) -> Value {
        json!({"type": "error", "data": {"code": self.code, "message": self.message}})
    }
}

#[derive(Deserialize)]
struct Written {
    r#type: String,
    model_ids: Option<Vec<String>>,
    update_types: Option<Vec<String>>,
    data_format: Option<String>,
    resume: Option<String>,
    token: Option<String>,
}

/// Reads a text frame.
pub fn read_text(text: &[u8]) -> Result<ClientMessage, Complaint> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(Complaint::new("invalid_message", "a message is a JSON object with a \"type\""));
    }
    let written = serde_json::from_slice(text)
        .map_err(|error| Complaint::new("invalid_message", format!("not a message: {error}")))?;
    understand(written)
}

/// Reads a binary frame.
pub fn read_binary(bytes: &[u8]) -> Result<ClientMessage, Complaint> {
    if !matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(Complaint::new(
            "invalid_message",
            "a binary message is a MessagePack map with a \"type\"",
        ));
    }
    let written = rmp_serde::from_slice(bytes)
        .map_err(|error| Complaint::new("invalid_message", format!("not a message: {error}")))?;
    understand(written)
}

fn understand(written: Written) -> Result<ClientMessage, Complaint> {
    let model_ids = written.model_ids.unwrap_or_default();
    if let Some(name) = model_ids.iter().find(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
        let found =
            if name.is_empty() { "an empty name".into() } else { format!("a name of {} bytes", name.len()) };
        return Err(Complaint::new(
            "invalid_message",
            format!("model_ids: {found}; a name has 1 to {NAME_BYTES_MAX} bytes"),
        ));
    }
    let update_types = written
        .update_types
        .unwrap_or_default()
        .iter()
        .map(|name| {
            UpdateType::parse(name).ok_or_else(|| {
                let known = UpdateType::ALL.map(UpdateType::name).join(", ");
                let found: String = name.chars().take(64).collect();
                Complaint::new(
                    "invalid_update_type",
                    format!("update_types: unknown \"{found}\"; there are {known}"),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    match &*written.r#type {
        "subscribe" => Ok(ClientMessage::Subscribe {
            model_ids: if model_ids.is_empty() { vec!["*".into()] } else { model_ids },
            update_types: if update_types.is_empty() {
                vec![UpdateType::Forecast, UpdateType::Anomaly]
            } else {
                update_types
            },
            format: match written.data_format.as_deref() {
                None => None,
                Some("json") => Some(Format::Json),
                Some("msgpack") => Some(Format::MessagePack),
                Some(_) => {
                    return Err(Complaint::new(
                        "invalid_data_format",
                        "data_format: \"json\" or \"msgpack\"",
                    ));
                }
            },
            resume: written.resume,
        }),
        "unsubscribe" => Ok(ClientMessage::Unsubscribe { model_ids, update_types }),
        "ping" => Ok(ClientMessage::Ping),
        "auth" => match written.token {
            Some(token) => Ok(ClientMessage::Auth { token }),
            None => Err(Complaint::new("invalid_message", "token: missing; \"auth\" carries one")),
        },
        _ => Err(Complaint::new("unknown_type", "type: there are subscribe, unsubscribe, ping and auth")),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    model_ids: &'a [String],
    update_types: Vec<&'static str>,
}

/// `subscribed` or `unsubscribed`, with what it was about.
pub fn answer(kind: &'static str, model_ids: &[String], update_types: &[UpdateType]) -> Value {
    let update_types = update_types.iter().map(|kind| kind.name()).collect();
    json!({"type": kind, "data": Answer { model_ids, update_types }})
}

/// `subscribed`, with the position at which the client stands, and whether what it missed follows if it asked for it.
pub fn subscribed(
    model_ids: &[String],
    update_types: &[UpdateType],
    position: &str,
    resumed: Option<bool>,
) -> Value {
    let mut message = answer("subscribed", model_ids, update_types);
    message["position"] = position.into();
    if let Some(resumed) = resumed {
        message["resumed"] = resumed.into();
    }
    message
}

/// `gap`: what was skipped.
pub fn gap(gap: &Gap) -> Value {
    let names: Vec<&str> = gap.names.iter().map(|name| &**name).collect();
    json!({"type": "gap", "data": {"skipped": gap.skipped, "model_ids": names}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_left_out_means_everything_and_the_first_two_types() {
        let expected = ClientMessage::Subscribe {
            model_ids: vec!["*".into()],
            update_types: vec![UpdateType::Forecast, UpdateType::Anomaly],
            format: None,
            resume: None,
        };
        assert_eq!(read_text(br#"{"type":"subscribe"}"#).unwrap(), expected);
        assert_eq!(read_text(br#" {"type":"subscribe","model_ids":[],"more":1}"#).unwrap(), expected);
    }

    #[test]
    fn both_formats_say_the_same() {
        let message = json!({"type": "subscribe", "model_ids": ["a", "b*"], "update_types": ["alert", "metrics"],
            "data_format": "msgpack"});
        let from_text = read_text(message.to_string().as_bytes()).unwrap();
        assert_eq!(read_binary(&rmp_serde::to_vec_named(&message).unwrap()).unwrap(), from_text);
        assert!(matches!(from_text, ClientMessage::Subscribe { format: Some(Format::MessagePack), .. }));
    }

    #[test]
    fn every_fault_has_its_code() {
        let code = |text: &str| read_text(text.as_bytes()).unwrap_err().code;
        for broken in ["", "null", "[]", "[\"ping\"]", "{", "{}", "{\"type\":1}", "{\"type\":\"ping\"} x"] {
            assert_eq!(code(broken), "invalid_message", "{broken}");
        }
        assert_eq!(code(r#"{"type":"subscribe","model_ids":"a"}"#), "invalid_message");
        assert_eq!(code(r#"{"type":"subscribe","model_ids":[""]}"#), "invalid_message");
        assert_eq!(code(r#"{"type":"auth"}"#), "invalid_message");
        assert_eq!(code(r#"{"type":"shout"}"#), "unknown_type");
        assert_eq!(code(r#"{"type":"subscribe","update_types":["all"]}"#), "invalid_update_type");
        assert_eq!(code(r#"{"type":"subscribe","data_format":"xml"}"#), "invalid_data_format");
        // However deep, it costs no stack: what is known is refused, what is unknown is passed over.
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(code(&format!("{{\"type\":{deep}}}")), "invalid_message");
        let unknown = format!("{{\"type\":\"ping\",\"x\":{deep}}}");
        assert_eq!(read_text(unknown.as_bytes()), Ok(ClientMessage::Ping));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = read_text(&bytes);
            let _ = read_binary(&bytes);
        }
    }
}
