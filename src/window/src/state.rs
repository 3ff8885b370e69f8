//! A group's whole state as bytes: a version byte, then bincode in small pieces, so that nothing is built twice.

use crate::group::Group;
use crate::keys::Keys;
use crate::spec::{SeriesSpec, SpecError};
use crate::types::{MAX_TYPES, TypeSeen};
use bincode::config::{Configuration, Limit, LittleEndian, Varint};

/// Written first. A newer binary reads what an older one wrote; an older one refuses the newer.
const VERSION: u8 = 1;

/// No piece is larger, so broken lengths ask for no more memory than this.
const PIECE_BYTES: usize = 64 * 1024 * 1024;

fn config() -> Configuration<LittleEndian, Varint, Limit<PIECE_BYTES>> {
    bincode::config::standard().with_limit()
}

/// Why a state was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by a newer version.
    #[error(
        "window state of version {found}, this program reads up to {VERSION}: run the newer program or recover by replay"
    )]
    Newer {
        /// The version byte.
        found: u8,
    },
    /// Not what was written.
    #[error("window state broken at byte {at}: {what}; use the snapshot before it")]
    Broken {
        /// How far it could be read.
        at: usize,
        /// What is wrong there.
        what: String,
    },
    /// The series asked for cannot work.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// Appends one piece.
pub(crate) fn put<T: bincode::Encode>(piece: &T, out: &mut Vec<u8>) {
    bincode::encode_into_std_write(piece, out, config()).expect("memory takes what is written");
}

/// Reads one piece.
pub(crate) fn get<T: bincode::Decode<()>>(bytes: &[u8], at: &mut usize) -> Result<T, StateError> {
    let rest = bytes.get(*at..).unwrap_or_default();
    match bincode::decode_from_slice(rest, config()) {
        Ok((piece, read)) => {
            *at += read;
            Ok(piece)
        }
        Err(error) => Err(StateError::Broken { at: *at, what: error.to_string() }),
    }
}

/// Appends pieces.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    pub fn put<T: bincode::Encode>(&mut self, piece: &T) {
        put(piece, self.out);
    }
}

/// Reads pieces.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub at: usize,
    /// Numbers of keys and types are below these.
    keys: u32,
    types: u32,
}

impl<'a> Reader<'a> {
    pub fn get<T: bincode::Decode<()>>(&mut self) -> Result<T, StateError> {
        get(self.bytes, &mut self.at)
    }

    fn text(&mut self) -> Result<&'a str, StateError> {
        let length: usize = self.get()?;
        let bytes = self.bytes[self.at..].get(..length).ok_or_else(|| self.broken("cut short"))?;
        let text = std::str::from_utf8(bytes).map_err(|error| self.broken(error))?;
        self.at += length;
        Ok(text)
    }

    pub fn broken(&self, what: impl ToString) -> StateError {
        StateError::Broken { at: self.at, what: what.to_string() }
    }

    /// A key's number that has a text.
    pub fn key(&self, number: u32) -> Result<u32, StateError> {
        if number < self.keys { Ok(number) } else { Err(self.broken("a key without a text")) }
    }

    /// A type whose number has a text.
    pub fn event_type(&self, seen: TypeSeen) -> Result<TypeSeen, StateError> {
        match seen.one() {
            Some(number) if number >= self.types => Err(self.broken("a type without a text")),
            _ => Ok(seen),
        }
    }
}

impl Group {
    /// Appends the whole state. Keys that no window holds are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let mut writer = Writer { out };
        writer.put(&self.partial);
        let (live, _) = self.live();
        let mut renumbered = vec![0; live.len()];
        let mut count: u32 = 0;
        for (renumbered, _) in renumbered.iter_mut().zip(&live).filter(|(_, live)| **live) {
            *renumbered = count;
            count += 1;
        }
        put_texts(
            &mut writer,
            count,
            (0..live.len() as u32).filter(|id| live[*id as usize]).map(|id| self.keys.get(id)),
        );
        put_texts(
            &mut writer,
            self.types.len() as u32,
            (0..self.types.len() as u32).map(|id| self.types.get(id)),
        );
        writer.put(&(self.series.len() as u32));
        for series in &self.series {
            writer.put(&series.spec);
            // The length of what follows, so that a reader with another definition can step over it.
            let length_at = writer.out.len();
            writer.out.extend_from_slice(&[0; 8]);
            series.encode(&renumbered, &mut writer);
            let length = (writer.out.len() - length_at - 8) as u64;
            writer.out[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// A group of `specs` with what was encoded. A series that is another one than it was (see [`SeriesSpec::continues`])
    /// begins without state, and what it held is named in [`Group::given_up`]; the others are as they were.
    pub fn decode(specs: Vec<SeriesSpec>, bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Reader { bytes, at: 1, keys: 0, types: 0 };
        match bytes.first() {
            None => return Err(StateError::Broken { at: 0, what: "no bytes".to_owned() }),
            Some(&found) if found > VERSION => return Err(StateError::Newer { found }),
            Some(0) => return Err(StateError::Broken { at: 0, what: "version 0".to_owned() }),
            Some(_) => {}
        }
        let partial = input.get()?;
        let mut group = if partial { Group::partial(specs)? } else { Group::new(specs)? };
        group.keys = get_texts(&mut input)?;
        group.types = get_texts(&mut input)?;
        (input.keys, input.types) = (group.keys.len() as u32, group.types.len() as u32);
        if group.types.len() > MAX_TYPES + 1 {
            return Err(input.broken("too many types"));
        }
        for _ in 0..input.get::<u32>()? {
            let spec: SeriesSpec = input.get()?;
            let length = input.bytes[input.at..].get(..8).and_then(|bytes| bytes.try_into().ok());
            let length = u64::from_le_bytes(length.ok_or_else(|| input.broken("cut short"))?);
            input.at += 8;
            let end = usize::try_from(length).ok().and_then(|length| input.at.checked_add(length));
            let end = end.filter(|end| *end <= bytes.len()).ok_or_else(|| input.broken("cut short"))?;
            if let Some(series) = group.series.iter_mut().find(|series| series.spec.continues(&spec)) {
                let mut inner = Reader { bytes: &bytes[..end], ..input };
                series.decode(&spec, &mut inner)?;
                if inner.at != end {
                    return Err(inner.broken("more than was expected"));
                }
            } else {
                group.given_up.push(spec.name);
            }
            input.at = end;
        }
        if input.at != bytes.len() {
            return Err(input.broken("more than was expected"));
        }
        Ok(group)
    }
}

fn put_texts<'t>(writer: &mut Writer<'_>, count: u32, texts: impl Iterator<Item = &'t str>) {
    writer.put(&count);
    for text in texts {
        writer.put(&text.len());
        writer.out.extend_from_slice(text.as_bytes());
    }
}

fn get_texts(input: &mut Reader<'_>) -> Result<Keys, StateError> {
    let count: u32 = input.get()?;
    let mut keys = Keys::default();
    for id in 0..count {
        if keys.intern(input.text()?) != id {
            return Err(input.broken("a text stands twice"));
        }
    }
    Ok(keys)
}
