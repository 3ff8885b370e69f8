//! The MessagePack reader: the same event, the same checks. Strings are checked to be UTF-8 where they stand; those
//! that are needed are copied into the pool.

use super::fault::Fault;
use super::text::Pool;
use super::{Data, Fields, Known, MAX_DEPTH, MAX_NUMBERS, MAX_PATH_BYTES, Name, Stamp};
use crate::Reason;
use serde_json::{Map, Number, Value};

/// Reads one event that begins as a map.
pub(super) fn scan(bytes: &[u8], fields: &mut Fields, pool: &mut Pool) -> Result<(), Fault> {
    let mut reader = Reader { bytes, pos: 0, not_finite: None };
    let Item::Map(members) = reader.item()? else { return reader.invalid("expected a map") };
    for _ in 0..members {
        let name = reader.name()?;
        let Some(known) = Known::of(name.as_bytes()) else {
            let name = pooled(name, pool);
            fields.others.push(name);
            reader.skip(1)?;
            continue;
        };
        let text = pooled(name, pool);
        fields.met(known, text);
        let at = reader.pos;
        let item = reader.item()?;
        match (known, item) {
            (Known::Source, Item::Text(text)) => fields.source = Name::Text(pooled(text, pool)),
            (Known::Type, Item::Text(text)) => fields.event_type = Name::Text(pooled(text, pool)),
            (Known::Id, Item::Text(text)) => fields.id = Some(pooled(text, pool)),
            (Known::Timestamp, Item::Text(text)) => fields.timestamp = Stamp::Text(pooled(text, pool)),
            (Known::Timestamp, Item::Number(number)) => {
                fields.timestamp = Stamp::Number(number.as_f64());
            }
            (Known::Timestamp, Item::Null) => fields.timestamp = Stamp::Missing,
            (Known::Data, Item::Map(members)) => {
                fields.data = Data::Object(at as u32);
                reader.data(members, 2, pool.text.len()..pool.text.len(), fields, pool)?;
            }
            (known, item) => {
                match known {
                    Known::Source => fields.source = Name::Wrong,
                    Known::Type => fields.event_type = Name::Wrong,
                    Known::Timestamp => fields.timestamp = Stamp::Wrong,
                    Known::Data => fields.data = Data::Wrong,
                    Known::Id => fields.id = None,
                }
                reader.rest_of(&item, 1)?;
            }
        }
    }
    if reader.pos != bytes.len() {
        return reader.invalid("something follows the map");
    }
    fields.not_finite = reader.not_finite;
    Ok(())
}

/// Finds a scalar by its path below the map that begins at `start`, as the JSON lookup does.
pub(super) fn lookup<'b>(
    bytes: &'b [u8],
    start: usize,
    path: &str,
    buffer: &'b mut String,
) -> Option<&'b str> {
    match find(&mut Reader { bytes, pos: start, not_finite: None }, path)? {
        Item::Text(text) => Some(text),
        Item::Boolean(true) => Some("true"),
        Item::Boolean(false) => Some("false"),
        Item::Number(number) => {
            buffer.clear();
            buffer.push_str(&number.to_json().to_string());
            Some(buffer)
        }
        Item::Null | Item::Map(_) | Item::List(_) | Item::Bytes(_) => None,
    }
}

fn find<'a>(reader: &mut Reader<'a>, path: &str) -> Option<Item<'a>> {
    let Item::Map(members) = reader.item().ok()? else { return None };
    let mut found = None;
    for _ in 0..members {
        let name = reader.name().ok()?;
        let from = reader.pos;
        reader.skip(0).ok()?;
        if let Some(rest) = path.strip_prefix(name) {
            let mut inner = Reader { bytes: reader.bytes, pos: from, not_finite: None };
            if rest.is_empty() {
                found = inner.item().ok();
            } else if let Some(rest) = rest.strip_prefix('.') {
                found = find(&mut inner, rest).or(found);
            }
        }
    }
    found
}

/// The whole document as JSON. Bytes and extensions become arrays of numbers, which JSON has for them.
pub(super) fn to_value(bytes: &[u8]) -> Result<Value, Fault> {
    Reader { bytes, pos: 0, not_finite: None }.value(0)
}

fn pooled(text: &str, pool: &mut Pool) -> super::Text {
    let start = pool.text.len();
    pool.text.push_str(text);
    pool.since(start)
}

/// One item, or the head of one that holds others.
enum Item<'a> {
    Null,
    Boolean(bool),
    Number(Numeric),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(usize),
    Map(usize),
}

#[derive(Clone, Copy)]
enum Numeric {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl Numeric {
    fn as_f64(self) -> f64 {
        match self {
            Numeric::Unsigned(number) => number as f64,
            Numeric::Signed(number) => number as f64,
            Numeric::Float(number) => number,
        }
    }

    fn to_json(self) -> Value {
        match self {
            Numeric::Unsigned(number) => number.into(),
            Numeric::Signed(number) => number.into(),
            Numeric::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    not_finite: Option<usize>,
}

impl<'a> Reader<'a> {
    #[cold]
    fn invalid<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { reason: Reason::InvalidMessagepack, what, at: self.pos })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        match self.bytes.get(self.pos..).and_then(|rest| rest.get(..count)) {
            Some(taken) => {
                self.pos += count;
                Ok(taken)
            }
            None => self.invalid("the bytes end too soon"),
        }
    }

    /// A big-endian unsigned integer of `width` bytes.
    fn unsigned(&mut self, width: usize) -> Result<u64, Fault> {
        Ok(self.take(width)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn length(&mut self, width: usize) -> Result<usize, Fault> {
        self.unsigned(width).map(|length| length as usize)
    }

    fn text(&mut self, length: usize) -> Result<Item<'a>, Fault> {
        let at = self.pos;
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Item::Text(text)),
            Err(_) => Err(Fault { reason: Reason::InvalidMessagepack, what: "a string is not UTF-8", at }),
        }
    }

    fn float(&mut self, at: usize, number: f64) -> Item<'a> {
        if number.is_finite() {
            return Item::Number(Numeric::Float(number));
        }
        self.not_finite.get_or_insert(at);
        Item::Number(Numeric::Float(0.0))
    }

    fn item(&mut self) -> Result<Item<'a>, Fault> {
        let at = self.pos;
        let head = self.take(1)?[0];
        let signed = |number: i64| Item::Number(Numeric::Signed(number));
        Ok(match head {
            0x00..=0x7f => Item::Number(Numeric::Unsigned(u64::from(head))),
            0xe0..=0xff => signed(i64::from(head as i8)),
            0x80..=0x8f => Item::Map(usize::from(head & 0x0f)),
            0x90..=0x9f => Item::List(usize::from(head & 0x0f)),
            0xa0..=0xbf => self.text(usize::from(head & 0x1f))?,
            0xc0 => Item::Null,
            0xc1 => return self.invalid("the byte c1 is never used"),
            0xc2 => Item::Boolean(false),
            0xc3 => Item::Boolean(true),
            0xc4..=0xc6 => {
                let length = self.length(1 << (head - 0xc4))?;
                Item::Bytes(self.take(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (head - 0xc7))?;
                self.take(1)?;
                Item::Bytes(self.take(length)?)
            }
            0xca => {
                let number = f32::from_bits(self.unsigned(4)? as u32);
                self.float(at, f64::from(number))
            }
            0xcb => {
                let number = f64::from_bits(self.unsigned(8)?);
                self.float(at, number)
            }
            0xcc..=0xcf => Item::Number(Numeric::Unsigned(self.unsigned(1 << (head - 0xcc))?)),
            0xd0 => signed(i64::from(self.unsigned(1)? as i8)),
            0xd1 => signed(i64::from(self.unsigned(2)? as i16)),
            0xd2 => signed(i64::from(self.unsigned(4)? as i32)),
            0xd3 => signed(self.unsigned(8)? as i64),
            0xd4..=0xd8 => {
                self.take(1)?;
                Item::Bytes(self.take(1 << (head - 0xd4))?)
            }
            0xd9..=0xdb => {
                let length = self.length(1 << (head - 0xd9))?;
                self.text(length)?
            }
            0xdc | 0xdd => Item::List(self.length(2 << (head - 0xdc))?),
            0xde | 0xdf => Item::Map(self.length(2 << (head - 0xde))?),
        })
    }

    fn name(&mut self) -> Result<&'a str, Fault> {
        let at = self.pos;
        match self.item()? {
            Item::Text(name) => Ok(name),
            _ => Err(Fault {
                reason: Reason::WrongType,
                what: "a name in a map must be a string, found another type",
                at,
            }),
        }
    }

    fn enter(&self, level: usize) -> Result<(), Fault> {
        if level > MAX_DEPTH {
            return Err(Fault {
                reason: Reason::TooDeep,
                what: "nested deeper than 128 levels",
                at: self.pos,
            });
        }
        Ok(())
    }

    /// Walks over one item that lies inside `level` others; recursion is bounded by [`MAX_DEPTH`].
    fn skip(&mut self, level: usize) -> Result<(), Fault> {
        let item = self.item()?;
        self.rest_of(&item, level)
    }

    /// Walks over what an item holds, when its head has been read.
    fn rest_of(&mut self, item: &Item<'a>, level: usize) -> Result<(), Fault> {
        match *item {
            Item::List(length) => {
                self.enter(level + 1)?;
                for _ in 0..length {
                    self.skip(level + 1)?;
                }
            }
            Item::Map(members) => {
                self.enter(level + 1)?;
                for _ in 0..members {
                    self.name()?;
                    self.skip(level + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The members of a map of `data`, collecting its numbers. `prefix` is the path so far with its last dot, in the
    /// pool.
    fn data(
        &mut self,
        members: usize,
        level: usize,
        prefix: std::ops::Range<usize>,
        fields: &mut Fields,
        pool: &mut Pool,
    ) -> Result<(), Fault> {
        self.enter(level)?;
        for _ in 0..members {
            let name = self.name()?;
            let fits = prefix.len() + name.len() <= MAX_PATH_BYTES;
            match self.item()? {
                Item::Number(number) if fits && fields.numbers.len() < MAX_NUMBERS => {
                    let start = pool.text.len();
                    pool.text.extend_from_within(prefix.clone());
                    pool.text.push_str(name);
                    fields.numbers.push((pool.since(start), number.as_f64()));
                }
                Item::Map(members) if fits => {
                    let start = pool.text.len();
                    pool.text.extend_from_within(prefix.clone());
                    pool.text.push_str(name);
                    pool.text.push('.');
                    self.data(members, level + 1, start..pool.text.len(), fields, pool)?;
                }
                item => self.rest_of(&item, level)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, level: usize) -> Result<Value, Fault> {
        Ok(match self.item()? {
            Item::Null => Value::Null,
            Item::Boolean(boolean) => Value::Bool(boolean),
            Item::Number(number) => number.to_json(),
            Item::Text(text) => Value::String(text.to_owned()),
            Item::Bytes(bytes) => bytes.iter().map(|&byte| Value::from(byte)).collect(),
            Item::List(length) => {
                self.enter(level + 1)?;
                (0..length).map(|_| self.value(level + 1)).collect::<Result<_, _>>()?
            }
            Item::Map(members) => {
                self.enter(level + 1)?;
                let mut map = Map::new();
                for _ in 0..members {
                    let name = self.name()?.to_owned();
                    map.insert(name, self.value(level + 1)?);
                }
                Value::Object(map)
            }
        })
    }
}
