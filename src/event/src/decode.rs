//! From a record's bytes to what the windows need, in one pass, without a copy and, once warm, without allocation.
//!
//! The scanner is written by hand because no library gives together what the contract asks for: repeated names told
//! (serde_json keeps the last in silence), nesting bounded without recursion, numbers that overflow a double told apart
//! from broken text, spans to look at a field again later, and no allocation for each event. It accepts exactly what
//! serde_json accepts but for the differences the contract names, and the property tests beside it hold it to that.
//!
//! Bounds: a document has at most 2 GiB; of `data`, the first [`MAX_NUMBERS`] numeric leaves with a path of at most
//! [`MAX_PATH_BYTES`] bytes are reported (all of it is checked, and stays in [`Decoded::raw`]).

mod fault;
mod json;
mod lookup;
mod messagepack;
mod text;
mod timestamp;

use crate::{EventTime, Reason, Rejection};
use fault::Fault;
use serde::Deserialize;
use serde_json::Value;
use text::{Pool, Text};

/// Levels of nesting that an event may have; the top-level object is the first.
pub const MAX_DEPTH: usize = 128;
/// Numeric leaves of `data` that one event reports.
pub const MAX_NUMBERS: usize = 4_096;
/// Longest dotted path of a numeric leaf, in bytes.
pub const MAX_PATH_BYTES: usize = 1_024;
/// Longest `source` and `type`, bytes: they stand in the keys of outputs, and a key takes its room of a request.
pub const NAME_BYTES_MAX: usize = 32 * 1024;
/// Up to so many names or paths are compared in pairs; more are sorted.
const FEW: usize = 64;
/// Scratch kept between events; more, after an unusually large one, is given back.
const SCRATCH_KEPT_BYTES: usize = 64 * 1024;

/// Decodes one event after another, reusing its scratch memory. One per thread or partition.
#[derive(Debug, Default)]
pub struct Decoder {
    pool: Pool,
    fields: Fields,
}

/// What a scan found, before it is judged. Kept in the decoder so that its vectors keep their room.
#[derive(Debug, Default)]
struct Fields {
    source: Name,
    event_type: Name,
    id: Option<Text>,
    timestamp: Stamp,
    data: Data,
    /// Bits of [`Known`] names met.
    known: u8,
    /// The other names of the top level, to find one that stands twice.
    others: Vec<Text>,
    repeated: Option<Text>,
    numbers: Vec<(Text, f64)>,
    /// Where a number stands that no double holds.
    not_finite: Option<usize>,
}

/// A field that must be a string with something in it.
#[derive(Debug, Default, Clone, Copy)]
enum Name {
    #[default]
    Missing,
    Wrong,
    Text(Text),
}

/// `timestamp` as it stands there.
#[derive(Debug, Default, Clone, Copy)]
enum Stamp {
    #[default]
    Missing,
    Wrong,
    Number(f64),
    Text(Text),
}

/// `data` as it stands there: an object, and the byte at which it begins.
#[derive(Debug, Default, Clone, Copy)]
enum Data {
    #[default]
    Missing,
    Wrong,
    Object(u32),
}

/// The names of the top level that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Source = 1,
    Type = 2,
    Timestamp = 4,
    Data = 8,
    Id = 16,
}

impl Known {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"source" => Some(Known::Source),
            b"type" => Some(Known::Type),
            b"timestamp" => Some(Known::Timestamp),
            b"data" => Some(Known::Data),
            b"id" => Some(Known::Id),
            _ => None,
        }
    }
}

impl Fields {
    fn clear(&mut self) {
        self.others.clear();
        self.numbers.clear();
        self.source = Name::Missing;
        self.event_type = Name::Missing;
        self.id = None;
        self.timestamp = Stamp::Missing;
        self.data = Data::Missing;
        self.known = 0;
        self.repeated = None;
        self.not_finite = None;
    }

    /// Notes that a known name was met; the text is kept when it was met before.
    fn met(&mut self, known: Known, name: Text) {
        if self.known & known as u8 != 0 {
            self.repeated.get_or_insert(name);
        }
        self.known |= known as u8;
    }

    /// Finds an unknown name that stands twice. Pairs while they are few, by sorting when a sender made many.
    fn find_repeated(&mut self, document: &str, pool: &Pool) {
        if self.repeated.is_some() || self.others.len() < 2 {
            return;
        }
        let text = |name: Text| name.read(document, pool);
        if self.others.len() <= FEW {
            for (at, &name) in self.others.iter().enumerate().skip(1) {
                if self.others[..at].iter().any(|&before| text(before) == text(name)) {
                    self.repeated = Some(name);
                    return;
                }
            }
        } else {
            self.others.sort_unstable_by(|&a, &b| text(a).cmp(text(b)));
            self.repeated =
                self.others.windows(2).find(|pair| text(pair[0]) == text(pair[1])).map(|pair| pair[0]);
        }
    }

    /// Keeps the last of the numbers that share a path, as a reader of the JSON would.
    fn drop_overwritten(&mut self, document: &str, pool: &Pool) {
        let count = self.numbers.len();
        let same = |a: Text, b: Text| a.len() == b.len() && a.read(document, pool) == b.read(document, pool);
        let twice = if count <= FEW {
            let numbers = &self.numbers;
            (1..count).any(|at| numbers[..at].iter().any(|&(path, _)| same(path, numbers[at].0)))
        } else {
            true
        };
        if !twice {
            return;
        }
        // Sort by path, stably; keep the last of each run.
        self.numbers.sort_by(|a, b| a.0.read(document, pool).cmp(b.0.read(document, pool)));
        let mut kept = 0;
        for at in 0..count {
            if at + 1 == count || !same(self.numbers[at].0, self.numbers[at + 1].0) {
                self.numbers[kept] = self.numbers[at];
                kept += 1;
            }
        }
        self.numbers.truncate(kept);
    }
}

impl Decoder {
    /// A decoder with no scratch yet.
    pub fn new() -> Self {
        Decoder::default()
    }

    /// Reads one event and judges every byte of it. `record_time` is the Kafka record's own timestamp (or the arrival
    /// time): it stands in for a missing `timestamp`, and a `timestamp` more than `max_future_micros` after it is
    /// refused. What is wrong is told in this order: the bytes, then a name that stands twice, then each field.
    pub fn decode<'a>(
        &'a mut self,
        bytes: &'a [u8],
        record_time: EventTime,
        max_future_micros: i64,
    ) -> Result<Decoded<'a>, Rejection> {
        self.pool.clear(SCRATCH_KEPT_BYTES);
        self.fields.clear();
        if self.fields.numbers.capacity() > MAX_NUMBERS / 4 {
            self.fields.numbers.shrink_to(64);
            self.fields.others.shrink_to(64);
        }
        let (format, text) = match bytes.first() {
            None => return Err(Rejection::new(Reason::Empty, "the record has no bytes")),
            Some(_) if bytes.len() > i32::MAX as usize => {
                return Err(Rejection::new(Reason::InvalidJson, "over 2 GiB: send smaller events"));
            }
            Some(0x80..=0x8f | 0xde | 0xdf) => {
                messagepack::scan(bytes, &mut self.fields, &mut self.pool).map_err(Fault::into_rejection)?;
                (Format::MessagePack, "")
            }
            // An array: no JSON begins so.
            Some(0x90..=0x9f | 0xdc | 0xdd) => {
                let detail =
                    "an event is a map, found a MessagePack array: send each event as a record of its own";
                return Err(Rejection::new(Reason::WrongType, detail));
            }
            Some(_) => {
                let text = std::str::from_utf8(bytes).map_err(|error| {
                    Rejection::new(Reason::InvalidJson, format!("not UTF-8 at byte {}", error.valid_up_to()))
                })?;
                json::scan(text, &mut self.fields, &mut self.pool).map_err(Fault::into_rejection)?;
                (Format::Json, text)
            }
        };
        if let Some(at) = self.fields.not_finite {
            let detail = format!("a number at byte {at} is NaN, infinite or overflows a double");
            return Err(Rejection::new(Reason::NotFinite, detail));
        }
        self.fields.find_repeated(text, &self.pool);
        self.fields.drop_overwritten(text, &self.pool);
        let (fields, pool) = (&self.fields, &self.pool);
        if let Some(name) = fields.repeated {
            let detail = format!("{:?} stands twice at the top level", name.read(text, pool));
            return Err(Rejection::new(Reason::RepeatedField, detail));
        }
        let source = required_name(fields.source, "source", text, pool)?;
        let event_type = required_name(fields.event_type, "type", text, pool)?;
        let data = match fields.data {
            Data::Missing => return Err(missing("data")),
            Data::Wrong => return Err(Rejection::new(Reason::WrongType, "data must be an object")),
            Data::Object(at) => at as usize,
        };
        let time = event_time(fields.timestamp, text, pool, record_time, max_future_micros)?;
        Ok(Decoded {
            source,
            event_type,
            id: fields.id.map(|id| id.read(text, pool)),
            time,
            numbers: &fields.numbers,
            raw: bytes,
            text,
            pool,
            format,
            data,
        })
    }
}

/// The end of the year 9999, the last that RFC 3339 can write: past it lies what was sent in another unit, and one such event would
/// make all that come after it late.
const LAST_TIME: EventTime = EventTime(253_402_300_799_999_999);

fn missing(name: &str) -> Rejection {
    Rejection::new(Reason::MissingField, format!("{name} is missing"))
}

fn required_name<'a>(
    found: Name,
    name: &str,
    document: &'a str,
    pool: &'a Pool,
) -> Result<&'a str, Rejection> {
    match found {
        Name::Text(text) if text.len() > NAME_BYTES_MAX => {
            let detail = format!("{name} has {} bytes; allowed are {NAME_BYTES_MAX}", text.len());
            Err(Rejection::new(Reason::WrongType, detail))
        }
        Name::Text(text) if text.len() > 0 => Ok(text.read(document, pool)),
        Name::Missing => Err(missing(name)),
        Name::Text(_) | Name::Wrong => {
            Err(Rejection::new(Reason::WrongType, format!("{name} must be a string that is not empty")))
        }
    }
}

fn event_time(
    stamp: Stamp,
    document: &str,
    pool: &Pool,
    record_time: EventTime,
    max_future_micros: i64,
) -> Result<EventTime, Rejection> {
    let invalid = |detail: &str| Rejection::new(Reason::InvalidTimestamp, detail);
    let time = match stamp {
        Stamp::Missing if record_time.0 < 0 => {
            return Err(invalid("timestamp is missing and the record has none of its own"));
        }
        Stamp::Missing if record_time > LAST_TIME => {
            return Err(invalid(
                "timestamp is missing and the record's own is past the year 9999; check the sender's unit (milliseconds)",
            ));
        }
        Stamp::Missing => return Ok(record_time),
        Stamp::Wrong => return Err(invalid("timestamp must be a number, an RFC 3339 date-time or null")),
        Stamp::Number(number) => timestamp::from_number(number),
        Stamp::Text(text) => timestamp::from_rfc3339(text.read(document, pool)),
    };
    let time = time.map_err(invalid)?;
    if time > record_time.plus_micros(max_future_micros) {
        let ahead = time.0.saturating_sub(record_time.0) / 1_000_000;
        let detail =
            format!("timestamp is {ahead} s ahead of the record's own; check the sender's clock and unit");
        return Err(Rejection::new(Reason::FutureTimestamp, detail));
    }
    if time > LAST_TIME {
        return Err(invalid("timestamp is past the year 9999; check the sender's unit"));
    }
    Ok(time)
}

/// How the bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    MessagePack,
}

/// One valid event, borrowed from its bytes and from the decoder.
#[derive(Debug, Clone, Copy)]
pub struct Decoded<'a> {
    source: &'a str,
    event_type: &'a str,
    id: Option<&'a str>,
    time: EventTime,
    numbers: &'a [(Text, f64)],
    raw: &'a [u8],
    /// The JSON text; empty for MessagePack.
    text: &'a str,
    pool: &'a Pool,
    format: Format,
    /// Byte at which the object of `data` begins.
    data: usize,
}

impl<'a> Decoded<'a> {
    /// `source`, never empty.
    pub fn source(&self) -> &'a str {
        self.source
    }

    /// `type`, never empty.
    pub fn event_type(&self) -> &'a str {
        self.event_type
    }

    /// `id`, where it is a string.
    pub fn id(&self) -> Option<&'a str> {
        self.id
    }

    /// When it happened.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// The numeric leaves of `data` with their dotted paths, each path once (the last number wins), in the document's
    /// order unless one stood twice or they are more than 64 (then sorted by path).
    pub fn numbers(&self) -> Numbers<'a> {
        Numbers { text: self.text, pool: self.pool, left: self.numbers.iter() }
    }

    /// The bytes, untouched.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// A scalar by its dotted path from the top (`source`, `data.origin`, `metadata.a.b`), as a grouping key: strings
    /// as they are, numbers and booleans as their JSON text. Nothing for null, objects, arrays and what is not there.
    /// `buffer` is used when the text cannot be borrowed from the document.
    pub fn lookup<'b>(&'b self, path: &str, buffer: &'b mut String) -> Option<&'b str> {
        match path {
            "source" => return Some(self.source),
            "type" => return Some(self.event_type),
            _ => {}
        }
        let (start, rest) = match path.strip_prefix("data.") {
            Some(rest) => (self.data, rest),
            None => (0, path),
        };
        match self.format {
            Format::Json => lookup::json(self.text, start, rest, buffer),
            Format::MessagePack => messagepack::lookup(self.raw, start, rest, buffer),
        }
    }

    /// The whole document, for conditions and rules. MessagePack binary and extension bytes become arrays of numbers.
    pub fn to_value(&self) -> Result<Value, Rejection> {
        match self.format {
            Format::Json => {
                let mut reader = serde_json::Deserializer::from_str(self.text);
                // The scan has bounded the depth already, at one level more than serde_json's own limit.
                reader.disable_recursion_limit();
                Value::deserialize(&mut reader)
                    .map_err(|error| Rejection::new(Reason::InvalidJson, error.to_string()))
            }
            Format::MessagePack => messagepack::to_value(self.raw).map_err(Fault::into_rejection),
        }
    }
}

/// The numeric leaves of one event.
#[derive(Debug, Clone)]
pub struct Numbers<'a> {
    text: &'a str,
    pool: &'a Pool,
    left: std::slice::Iter<'a, (Text, f64)>,
}

impl<'a> Iterator for Numbers<'a> {
    type Item = (&'a str, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left.next().map(|&(path, value)| (path.read(self.text, self.pool), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl ExactSizeIterator for Numbers<'_> {}
