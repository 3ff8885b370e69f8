//! One update and its encodings: each is made once, when the first client wants it, and shared by all.

use crate::websocket::deflate::Deflate;
use crate::websocket::frame::{self, Opcode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tidecast_config::Topics;
use tidecast_ports::{LiveRecord, OutputKind};
use tracing::Span;

/// What a client may ask for in `update_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateType {
    /// `new_forecast`, pushed as `forecast_update`.
    Forecast,
    /// `anomaly_detected`, pushed as `anomaly_alert`.
    Anomaly,
    /// `aggregation`, pushed as `aggregation_update`.
    Aggregation,
    /// `alert`, pushed as `rule_alert`.
    Alert,
    /// `metrics`, pushed as `metrics_update`.
    Metrics,
}

impl UpdateType {
    /// All of them, in the contract's order.
    pub const ALL: [UpdateType; 5] = [
        UpdateType::Forecast,
        UpdateType::Anomaly,
        UpdateType::Aggregation,
        UpdateType::Alert,
        UpdateType::Metrics,
    ];

    /// The name in `update_types`.
    pub fn name(self) -> &'static str {
        match self {
            UpdateType::Forecast => "new_forecast",
            UpdateType::Anomaly => "anomaly_detected",
            UpdateType::Aggregation => "aggregation",
            UpdateType::Alert => "alert",
            UpdateType::Metrics => "metrics",
        }
    }

    /// The `type` of the pushed message.
    pub fn message_type(self) -> &'static str {
        match self {
            UpdateType::Forecast => "forecast_update",
            UpdateType::Anomaly => "anomaly_alert",
            UpdateType::Aggregation => "aggregation_update",
            UpdateType::Alert => "rule_alert",
            UpdateType::Metrics => "metrics_update",
        }
    }

    /// Reads a name of `update_types`.
    pub fn parse(name: &str) -> Option<Self> {
        UpdateType::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The topic that it comes from.
    pub fn topic(self, topics: &Topics) -> &str {
        match self {
            UpdateType::Forecast => &topics.predictions,
            UpdateType::Anomaly | UpdateType::Alert => &topics.alerts,
            UpdateType::Aggregation => &topics.aggregates,
            UpdateType::Metrics => &topics.metrics,
        }
    }

    /// Its bit in a set of types.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Of two values of one name, only the newer is worth sending. Not so for alerts: each tells something of its own.
    pub fn newest_wins(self) -> bool {
        !matches!(self, UpdateType::Anomaly | UpdateType::Alert)
    }
}

/// One output record, ready to be pushed.
#[derive(Debug)]
pub struct Update {
    /// What it is.
    pub kind: UpdateType,
    /// What it is about: the model id, `<series>:<key>`, the rule or the instance. What subscriptions match.
    pub name: Arc<str>,
    /// `name` is a model's id, and is told as `model_id`.
    pub is_model: bool,
    /// The record's value: JSON, checked.
    pub value: Bytes,
    /// Its topic.
    pub topic: OutputKind,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Where a client stands that has everything up to this one, for a client to come back with: the text of a
    /// [`Position`](super::position::Position). Given by whoever offers it.
    pub position: Box<str>,
    /// Most updates of a busy stream are about names that nobody watches: those have none.
    encodings: OnceLock<Box<Encodings>>,
    /// Of a sampled event, until the first client's frame is made.
    span: Option<Box<Mutex<Option<Span>>>>,
}

/// A frame of an update that is the same for every client that gets it in this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Text,
    /// MessagePack.
    Binary,
    /// JSON, for a client that gets this as the newest value there is: it does not stand where the update stood.
    NewestText,
    /// MessagePack, likewise.
    NewestBinary,
}

#[derive(Debug, Default)]
struct Encodings {
    frames: [OnceLock<Bytes>; 4],
    /// The same compressed, once a client wants that.
    deflated: OnceLock<Box<[OnceLock<Bytes>; 4]>>,
    event: OnceLock<Bytes>,
}

#[derive(Deserialize)]
struct ForecastHead<'a> {
    #[serde(borrow)]
    model_id: Cow<'a, str>,
    /// Without it, it is no forecast: rules publish to any topic.
    #[serde(rename = "predicted_value")]
    _predicted_value: f64,
}

#[derive(Deserialize)]
struct AggregateHead<'a> {
    #[serde(borrow)]
    series: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
}

#[derive(Deserialize)]
struct AlertHead<'a> {
    #[serde(borrow, default)]
    model_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rule: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    anomaly_score: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Update {
    /// Reads a record. The error says what is not as it should be; the record is then of no use to any client.
    pub fn read(record: &LiveRecord) -> Result<Self, serde_json::Error> {
        let value = record.value.clone();
        let (kind, name, is_model): (_, Arc<str>, _) = match (record.kind, key_of_ours(record)) {
            (OutputKind::Forecast, Some(model)) => (UpdateType::Forecast, model.into(), true),
            (OutputKind::Aggregate, Some(name)) => (UpdateType::Aggregation, name.into(), false),
            (OutputKind::Forecast, None) => {
                let head: ForecastHead<'_> = serde_json::from_slice(&value)?;
                (UpdateType::Forecast, head.model_id.into(), true)
            }
            (OutputKind::Aggregate, None) => {
                let head: AggregateHead<'_> = serde_json::from_slice(&value)?;
                (UpdateType::Aggregation, format!("{}:{}", head.series, head.key).into(), false)
            }
            (OutputKind::Alert, _) => {
                let head: AlertHead<'_> = serde_json::from_slice(&value)?;
                let kind = if head.anomaly_score.is_some() && head.rule.is_none() {
                    UpdateType::Anomaly
                } else {
                    UpdateType::Alert
                };
                match (head.model_id, head.data.and_then(series_of), head.rule) {
                    (Some(model), _, _) => (kind, model.into(), true),
                    (None, Some(series), _) => (kind, series.into(), false),
                    (None, None, rule) => (kind, rule.unwrap_or_default().into(), false),
                }
            }
            (OutputKind::Metrics, _) => {
                serde_json::from_slice::<serde::de::IgnoredAny>(&value)?;
                (UpdateType::Metrics, String::from_utf8_lossy(&record.key).into(), false)
            }
        };
        Ok(Update {
            kind,
            name,
            is_model,
            value: on_one_line(value)?,
            topic: record.kind,
            partition: record.partition,
            offset: record.offset,
            position: Box::default(),
            encodings: OnceLock::new(),
            span: None,
        })
    }

    /// The family of an aggregate.
    pub fn series(&self) -> Option<&str> {
        // No series has a colon in its name.
        let series_and_key = self.name.split_once(':').filter(|_| self.kind == UpdateType::Aggregation);
        series_and_key.map(|(series, _)| series)
    }

    fn encodings(&self) -> &Encodings {
        self.encodings.get_or_init(Box::default)
    }

    /// The span lasts until the first client's frame is made, or until [`Update::delivered`].
    pub fn follow(&mut self, span: Span) {
        self.span = Some(Box::new(Mutex::new(Some(span))));
    }

    /// Ends its span, if there is one.
    pub fn delivered(&self) {
        if let Some(span) = &self.span {
            span.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Which partition of which topic it is from.
    pub fn place(&self) -> (OutputKind, i32) {
        (self.topic, self.partition)
    }

    /// Names it among all updates: `<letter><partition>-<offset>`.
    pub fn name_of_place(&self) -> String {
        let letter = match self.topic {
            OutputKind::Forecast => 'f',
            OutputKind::Alert => 'a',
            OutputKind::Aggregate => 'w',
            OutputKind::Metrics => 'm',
        };
        format!("{letter}{}-{}", self.partition, self.offset)
    }

    /// An anomaly or a fired rule: those are told by their `id`, for an acknowledgement.
    fn is_alert(&self) -> bool {
        matches!(self.kind, UpdateType::Anomaly | UpdateType::Alert)
    }

    /// A whole WebSocket frame, compressed where that is agreed and worth it; made once for all clients.
    pub fn frame(&self, form: Form, deflate: Option<Deflate>) -> Bytes {
        let encodings = self.encodings();
        let plain = encodings.frames[form as usize].get_or_init(|| match form {
            Form::Text => self.text_at(Some(&self.position)),
            Form::Binary => self.binary_at(Some(&self.position)),
            Form::NewestText => self.text_at(None),
            Form::NewestBinary => self.binary_at(None),
        });
        match deflate {
            Some(deflate) if deflate.is_worth(plain) => {
                let deflated = encodings.deflated.get_or_init(Box::default);
                deflated[form as usize].get_or_init(|| deflate.apply(plain)).clone()
            }
            _ => plain.clone(),
        }
    }

    /// As [`Form::Text`], for a client that stands elsewhere.
    pub fn text_at(&self, position: Option<&str>) -> Bytes {
        let mut message = Vec::with_capacity(self.value.len() + self.name.len() + 160);
        message.extend_from_slice(b"{\"type\":\"");
        message.extend_from_slice(self.kind.message_type().as_bytes());
        message.push(b'"');
        if self.is_model {
            message.extend_from_slice(b",\"model_id\":");
            serde_json::to_writer(&mut message, &*self.name).expect("text is JSON");
        }
        if self.is_alert() {
            message.extend_from_slice(b",\"id\":\"");
            message.extend_from_slice(self.name_of_place().as_bytes());
            message.push(b'"');
        }
        if let Some(position) = position {
            message.extend_from_slice(b",\"position\":\"");
            message.extend_from_slice(position.as_bytes());
            message.push(b'"');
        }
        message.extend_from_slice(b",\"data\":");
        message.extend_from_slice(&self.value);
        message.push(b'}');
        self.delivered();
        frame::frame(Opcode::Text, &message)
    }

    /// As [`Form::Binary`], likewise.
    pub fn binary_at(&self, position: Option<&str>) -> Bytes {
        let data: serde_json::Value = serde_json::from_slice(&self.value).unwrap_or_default();
        let mut message = serde_json::Map::new();
        message.insert("type".into(), self.kind.message_type().into());
        if self.is_model {
            message.insert("model_id".into(), (&*self.name).into());
        }
        if self.is_alert() {
            message.insert("id".into(), self.name_of_place().into());
        }
        if let Some(position) = position {
            message.insert("position".into(), position.into());
        }
        message.insert("data".into(), data);
        self.delivered();
        frame::frame(Opcode::Binary, &rmp_serde::to_vec_named(&message).expect("JSON is MessagePack"))
    }

    /// A server-sent event: `id` is the position, one `data` line.
    pub fn server_sent_event(&self) -> Bytes {
        self.encodings().event.get_or_init(|| self.event_at(&self.position)).clone()
    }

    /// As [`Update::server_sent_event`], for a client that stands elsewhere.
    pub fn event_at(&self, position: &str) -> Bytes {
        let mut event = Vec::with_capacity(self.value.len() + position.len() + 16);
        event.extend_from_slice(b"id: ");
        event.extend_from_slice(position.as_bytes());
        event.extend_from_slice(b"\ndata: ");
        event.extend_from_slice(&self.value);
        event.extend_from_slice(b"\n\n");
        self.delivered();
        event.into()
    }

    /// What it counts against a queue's bound: its bytes as text, about, and what it takes besides.
    pub fn weight(&self) -> usize {
        self.value.len() + self.name.len() + self.position.len() + size_of::<Update>()
    }
}

/// The key of a record that this service wrote, which names what it is about. A record of another writer has no id, or
/// a value that cannot be one of ours: its value is read.
fn key_of_ours(record: &LiveRecord) -> Option<&str> {
    let begins: &[u8] = match record.kind {
        OutputKind::Forecast => b"{\"model_id\":",
        OutputKind::Aggregate => b"{\"series\":",
        OutputKind::Alert | OutputKind::Metrics => b"{",
    };
    let is_ours = record.id.is_some() && record.value.starts_with(begins) && record.value.ends_with(b"}");
    std::str::from_utf8(&record.key).ok().filter(|key| is_ours && !key.is_empty())
}

fn series_of(data: &RawValue) -> Option<String> {
    let head: AggregateHead<'_> = serde_json::from_str(data.get()).ok()?;
    Some(format!("{}:{}", head.series, head.key))
}

/// A line break in JSON is white space, and would end an event's line: those who write prettily are made compact.
fn on_one_line(value: Bytes) -> Result<Bytes, serde_json::Error> {
    if !value.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Ok(value);
    }
    let parsed: serde_json::Value = serde_json::from_slice(&value)?;
    Ok(serde_json::to_vec(&parsed)?.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn record(kind: OutputKind, offset: i64, value: &Value) -> LiveRecord {
        LiveRecord {
            kind,
            partition: 2,
            offset,
            id: None,
            timestamp_ms: 0,
            key: Bytes::from_static(b"node-1"),
            value: serde_json::to_vec(value).unwrap().into(),
            replayed: false,
            traceparent: None,
            observed: None,
        }
    }

    fn message(frame: &Bytes) -> Value {
        serde_json::from_slice(
            &frame[frame.len() - frame.iter().rev().position(|b| *b == b'{').unwrap_or(0)..],
        )
        .unwrap_or_else(|_| {
            serde_json::from_slice(&frame[2..]).or_else(|_| serde_json::from_slice(&frame[4..])).unwrap()
        })
    }

    #[test]
    fn what_a_rule_published_there_is_no_forecast() {
        let published = record(OutputKind::Forecast, 0, &json!({"rule": "r", "model_id": "m"}));
        let id = tidecast_event::OutputId::parse(&[b'7'; 32]);
        assert!(id.is_some());
        assert!(Update::read(&LiveRecord { id, ..published }).is_err());
    }

    #[test]
    fn the_value_travels_as_it_was_written() {
        let value = json!({"predicted_value": 1.50, "model_id": "a\"b", "metadata": {}});
        let mut update = Update::read(&record(OutputKind::Forecast, 7, &value)).unwrap();
        update.position = "here".into();
        assert_eq!((update.kind, &*update.name), (UpdateType::Forecast, "a\"b"));
        let sent = message(&update.frame(Form::Text, None));
        assert_eq!(sent, json!({"type":"forecast_update","model_id":"a\"b","position":"here","data":value}));
        assert_eq!(
            message(&update.frame(Form::NewestText, None)),
            json!({"type":"forecast_update","model_id":"a\"b","data":value})
        );
        assert!(update.server_sent_event().starts_with(b"id: here\ndata: {"));
    }

    #[test]
    fn what_this_service_wrote_is_named_by_its_key() {
        let mut ours = record(OutputKind::Aggregate, 0, &json!({"series": "not", "key": "read"}));
        (ours.id, ours.key) = (Some(tidecast_event::OutputId(1)), Bytes::from_static(b"s:a:b"));
        let update = Update::read(&ours).unwrap();
        assert_eq!((&*update.name, update.series()), ("s:a:b", Some("s")));
        ours.value = Bytes::from_static(b"cut of");
        assert!(Update::read(&ours).is_err());
    }

    #[test]
    fn alerts_are_told_apart_and_named_by_what_they_are_about() {
        let kind_and_name = |value: Value| {
            let update = Update::read(&record(OutputKind::Alert, 0, &value)).unwrap();
            (update.kind, update.name.to_string(), update.is_model)
        };
        assert_eq!(
            kind_and_name(json!({"model_id":"m","anomaly_score":0.9})),
            (UpdateType::Anomaly, "m".into(), true)
        );
        assert_eq!(
            kind_and_name(json!({"rule":"r","model_id":"m","data":{"anomaly_score":1}})),
            (UpdateType::Alert, "m".into(), true)
        );
        assert_eq!(
            kind_and_name(json!({"rule":"r","data":{"series":"s","key":"k"}})),
            (UpdateType::Alert, "s:k".into(), false)
        );
        assert_eq!(kind_and_name(json!({"rule":"r","data":{}})), (UpdateType::Alert, "r".into(), false));
    }

    #[test]
    fn what_is_not_json_or_has_no_name_is_refused() {
        let mut broken = record(OutputKind::Forecast, 0, &json!({}));
        assert!(Update::read(&broken).is_err());
        broken.value = Bytes::from_static(b"{\"model_id\":\"m\"");
        assert!(Update::read(&broken).is_err());
    }

    #[test]
    fn line_breaks_are_taken_out() {
        let mut pretty = record(OutputKind::Metrics, 0, &json!({}));
        pretty.value = Bytes::from_static(b"{\n  \"a\": 1\r\n}");
        assert_eq!(Update::read(&pretty).unwrap().value, Bytes::from_static(b"{\"a\":1}"));
    }
}
