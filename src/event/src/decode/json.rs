//! The JSON scanner: one pass over text that is valid UTF-8 already, checking the grammar of RFC 8259 to the last byte.
//! Lists and objects that nobody asks about are walked with a stack of bits, so depth costs no stack memory.

mod number;

use super::fault::Fault;
use super::text::{Pool, Text, hex4, unescape};
use super::{Data, Fields, Known, MAX_DEPTH, MAX_NUMBERS, MAX_PATH_BYTES, Name, Stamp};
use crate::Reason;

/// Reads one event. What is no JSON, or too deep, is a fault; everything else is noted in `fields` to be judged after.
pub(super) fn scan(text: &str, fields: &mut Fields, pool: &mut Pool) -> Result<(), Fault> {
    let mut scanner = Scanner::new(text, 0);
    if scanner.token() == b'{' {
        scanner.event(fields, pool)?;
    } else {
        scanner.skip(0)?;
        scanner.end()?;
        fields.not_finite = scanner.not_finite;
        if fields.not_finite.is_none() {
            return Err(Fault {
                reason: Reason::WrongType,
                what: "the event must be a JSON object, found another value",
                at: 0,
            });
        }
        return Ok(());
    }
    scanner.end()?;
    fields.not_finite = scanner.not_finite;
    Ok(())
}

/// A place in a text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub pos: usize,
    /// Where the first number stood that no double holds; told only when the rest is valid.
    not_finite: Option<usize>,
}

/// A string's span between its quotes, and whether it holds escapes.
pub(super) struct Quoted {
    pub start: usize,
    pub end: usize,
    pub escaped: bool,
}

impl Quoted {
    /// Borrowed where that is possible.
    fn text(&self, document: &str, pool: &mut Pool) -> Text {
        if self.escaped {
            let start = pool.text.len();
            unescape(&document[self.start..self.end], &mut pool.text);
            pool.since(start)
        } else {
            Text::in_document(self.start, self.end)
        }
    }
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, pos: usize) -> Self {
        Scanner { text, bytes: text.as_bytes(), pos, not_finite: None }
    }

    #[cold]
    fn invalid<T>(&self, what: &'static str) -> Result<T, Fault> {
        let what = if self.pos >= self.bytes.len() { "the text ends too soon" } else { what };
        Err(Fault { reason: Reason::InvalidJson, what, at: self.pos })
    }

    #[cold]
    fn too_deep<T>(&self) -> Result<T, Fault> {
        Err(Fault { reason: Reason::TooDeep, what: "nested deeper than 128 levels", at: self.pos })
    }

    /// The byte here; 0 at the end, which is valid nowhere outside a string and inside none.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.pos).copied().unwrap_or(0)
    }

    /// Skips white space and shows the byte after it.
    #[inline(always)]
    pub fn token(&mut self) -> u8 {
        loop {
            let byte = self.peek();
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.pos += 1;
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.token();
        if self.pos == self.bytes.len() { Ok(()) } else { self.invalid("something follows the value") }
    }

    /// The top-level object; the scanner stands on its brace.
    fn event(&mut self, fields: &mut Fields, pool: &mut Pool) -> Result<(), Fault> {
        self.pos += 1;
        if self.token() == b'}' {
            self.pos += 1;
            return Ok(());
        }
        loop {
            let quoted = self.name()?;
            let name = quoted.text(self.text, pool);
            let known = Known::of(name.read(self.text, pool).as_bytes());
            let first = self.token();
            match known {
                Some(known) => {
                    fields.met(known, name);
                    self.known(known, first, fields, pool)?;
                }
                None => {
                    fields.others.push(name);
                    self.skip(1)?;
                }
            }
            match self.token() {
                b',' => self.pos += 1,
                b'}' => {
                    self.pos += 1;
                    return Ok(());
                }
                _ => return self.invalid("expected , or } after a value"),
            }
        }
    }

    #[inline]
    fn known(&mut self, known: Known, first: u8, fields: &mut Fields, pool: &mut Pool) -> Result<(), Fault> {
        match known {
            Known::Source | Known::Type | Known::Id => {
                let name = if first == b'"' {
                    Name::Text(self.string()?.text(self.text, pool))
                } else {
                    self.skip(1)?;
                    Name::Wrong
                };
                match (known, name) {
                    (Known::Source, name) => fields.source = name,
                    (Known::Type, name) => fields.event_type = name,
                    (_, Name::Text(id)) => fields.id = Some(id),
                    _ => fields.id = None,
                }
            }
            Known::Timestamp => {
                fields.timestamp = match first {
                    b'"' => Stamp::Text(self.string()?.text(self.text, pool)),
                    b'-' | b'0'..=b'9' => Stamp::Number(self.number()?),
                    other => {
                        self.skip(1)?;
                        if other == b'n' { Stamp::Missing } else { Stamp::Wrong }
                    }
                }
            }
            Known::Data => {
                fields.data = if first == b'{' {
                    let at = self.pos;
                    self.data(2, None, fields, pool)?;
                    Data::Object(at as u32)
                } else {
                    self.skip(1)?;
                    Data::Wrong
                }
            }
        }
        Ok(())
    }

    /// An object of `data` at a nesting `level`, collecting its numbers. `prefix` is the path so far, in the pool;
    /// recursion is bounded by [`MAX_DEPTH`].
    fn data(
        &mut self,
        level: usize,
        prefix: Option<Text>,
        fields: &mut Fields,
        pool: &mut Pool,
    ) -> Result<(), Fault> {
        if level > MAX_DEPTH {
            return self.too_deep();
        }
        self.pos += 1;
        if self.token() == b'}' {
            self.pos += 1;
            return Ok(());
        }
        loop {
            let quoted = self.name()?;
            match self.token() {
                b'-' | b'0'..=b'9' => {
                    let value = self.number()?;
                    self.leaf(&quoted, value, prefix, fields, pool);
                }
                b'"' => {
                    self.string()?;
                }
                b'{' => match self.path(&quoted, prefix, pool) {
                    Some(path) => self.data(level + 1, Some(path), fields, pool)?,
                    None => self.skip(level)?,
                },
                _ => self.skip(level)?,
            }
            match self.token() {
                b',' => self.pos += 1,
                b'}' => {
                    self.pos += 1;
                    return Ok(());
                }
                _ => return self.invalid("expected , or } after a value"),
            }
        }
    }

    #[inline]
    fn leaf(&self, quoted: &Quoted, value: f64, prefix: Option<Text>, fields: &mut Fields, pool: &mut Pool) {
        if fields.numbers.len() == MAX_NUMBERS {
            return;
        }
        if prefix.is_none() && !quoted.escaped && quoted.end - quoted.start <= MAX_PATH_BYTES {
            fields.numbers.push((Text::in_document(quoted.start, quoted.end), value));
        } else if let Some(path) = self.path(quoted, prefix, pool) {
            fields.numbers.push((path, value));
        }
    }

    /// Joins a path in the pool; none when it is too long.
    fn path(&self, quoted: &Quoted, prefix: Option<Text>, pool: &mut Pool) -> Option<Text> {
        let start = pool.text.len();
        if prefix.map_or(0, Text::len) + (quoted.end - quoted.start) > MAX_PATH_BYTES {
            return None;
        }
        if let Some(prefix) = prefix {
            prefix.append_copy(pool);
            pool.text.push('.');
        }
        let name = &self.text[quoted.start..quoted.end];
        if quoted.escaped {
            unescape(name, &mut pool.text)
        } else {
            pool.text.push_str(name)
        }
        Some(pool.since(start))
    }

    /// A member's name and the colon after it.
    #[inline(always)]
    pub fn name(&mut self) -> Result<Quoted, Fault> {
        if self.token() != b'"' {
            return self.invalid("expected a name in quotes");
        }
        let quoted = self.string()?;
        if self.token() != b':' {
            return self.invalid("expected : after a name");
        }
        self.pos += 1;
        Ok(quoted)
    }

    /// A string; the scanner stands on its opening quote.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Quoted, Fault> {
        let start = self.pos + 1;
        self.pos = special(self.bytes, start);
        if self.peek() == b'"' {
            let end = self.pos;
            self.pos += 1;
            return Ok(Quoted { start, end, escaped: false });
        }
        self.string_with_escapes(start)
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<Quoted, Fault> {
        loop {
            match self.peek() {
                b'"' => {
                    let end = self.pos;
                    self.pos += 1;
                    return Ok(Quoted { start, end, escaped: true });
                }
                b'\\' => self.escape()?,
                _ => return self.invalid("a control character in a string must be escaped"),
            }
            self.pos = special(self.bytes, self.pos);
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.pos += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.pos += 1,
            b'u' => {
                let Some(code) = hex4(self.bytes, self.pos + 1) else {
                    return self.invalid("\\u wants four hexadecimal digits");
                };
                self.pos += 5;
                match code {
                    0xd800..0xdc00 => {
                        let low = (self.peek() == b'\\' && self.bytes.get(self.pos + 1) == Some(&b'u'))
                            .then(|| hex4(self.bytes, self.pos + 2))
                            .flatten();
                        if !matches!(low, Some(0xdc00..0xe000)) {
                            return self.invalid("a leading surrogate without its trailing one");
                        }
                        self.pos += 6;
                    }
                    0xdc00..0xe000 => return self.invalid("a trailing surrogate without its leading one"),
                    _ => {}
                }
            }
            _ => return self.invalid("an escape that JSON does not know"),
        }
        Ok(())
    }

    /// Walks over one value that lies inside `level` others.
    pub fn skip(&mut self, level: usize) -> Result<(), Fault> {
        // One bit for each list (0) or object (1) that is open, the innermost lowest.
        let mut kinds: u128 = 0;
        let mut open = 0;
        loop {
            match self.token() {
                b'"' => {
                    self.string()?;
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                bracket @ (b'{' | b'[') => {
                    if level + open >= MAX_DEPTH {
                        return self.too_deep();
                    }
                    self.pos += 1;
                    let object = bracket == b'{';
                    // The closing bracket is two after the opening one, in ASCII.
                    if self.token() == bracket + 2 {
                        self.pos += 1;
                    } else {
                        open += 1;
                        kinds = kinds << 1 | u128::from(object);
                        if object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                _ => self.literal()?,
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                let object = kinds & 1 == 1;
                match self.token() {
                    b',' => {
                        self.pos += 1;
                        if object {
                            self.name()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return self.invalid("expected a comma or the closing bracket after a value"),
                }
                self.pos += 1;
                kinds >>= 1;
                open -= 1;
            }
        }
    }

    fn literal(&mut self) -> Result<(), Fault> {
        let rest = &self.bytes[self.pos..];
        if rest.starts_with(b"true") || rest.starts_with(b"null") {
            self.pos += 4;
        } else if rest.starts_with(b"false") {
            self.pos += 5;
        } else if rest.starts_with(b"NaN") {
            self.not_finite.get_or_insert(self.pos);
            self.pos += 3;
        } else if rest.starts_with(b"Infinity") {
            self.not_finite.get_or_insert(self.pos);
            self.pos += 8;
        } else {
            return self.invalid("expected a value");
        }
        Ok(())
    }
}

/// The first byte at or after `from` that ends or interrupts a string: a quote, a backslash, a control character, or
/// the end. Eight bytes at a time; a borrow can mark only bytes after the first that is truly special.
#[inline(always)]
fn special(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while let Some(Ok(chunk)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let marks = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGH;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..0x20) {
        at += 1;
    }
    at.min(bytes.len())
}
