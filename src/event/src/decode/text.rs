//! Strings of a document: borrowed where they stand as they are, unescaped or joined into a pool where not.

/// The pool of unescaped strings and joined paths of one event.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub text: String,
}

impl Pool {
    /// Empties it, and gives back what an unusually large event made it take.
    pub fn clear(&mut self, kept_bytes: usize) {
        self.text.clear();
        if self.text.capacity() > kept_bytes {
            self.text.shrink_to(kept_bytes);
        }
    }

    /// What was pushed since `start`.
    pub fn since(&self, start: usize) -> Text {
        Text { start: start as u32, length_and_place: ((self.text.len() - start) as u32) | IN_POOL }
    }
}

/// Set in [`Text::length_and_place`] when the text is in the pool.
const IN_POOL: u32 = 1 << 31;

/// A string by place and length: in the document, or in the pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    start: u32,
    length_and_place: u32,
}

impl Text {
    /// A part of the document.
    #[inline]
    pub fn in_document(start: usize, end: usize) -> Self {
        Text { start: start as u32, length_and_place: (end - start) as u32 }
    }

    #[inline]
    pub fn len(self) -> usize {
        (self.length_and_place & !IN_POOL) as usize
    }

    /// Appends to the pool what it says; the text itself must be in the pool.
    pub fn append_copy(self, pool: &mut Pool) {
        let start = self.start as usize;
        pool.text.extend_from_within(start..start + self.len());
    }

    #[inline]
    pub fn read<'a>(self, document: &'a str, pool: &'a Pool) -> &'a str {
        let range = self.start as usize..self.start as usize + self.len();
        if self.length_and_place & IN_POOL == 0 { &document[range] } else { &pool.text[range] }
    }
}

/// Appends what a JSON string says. `raw` stands between the quotes and has been checked by the scanner.
pub(super) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let mut taken = at + 2;
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let mut code = hex4(rest.as_bytes(), at + 2).unwrap_or(0xfffd);
                taken += 4;
                if (0xd800..0xdc00).contains(&code) {
                    let low = hex4(rest.as_bytes(), at + 8).unwrap_or(0xdc00);
                    code = 0x10000 + ((code - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                    taken += 6;
                }
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            other => out.push(char::from(other)),
        }
        rest = rest.get(taken..).unwrap_or("");
    }
    out.push_str(rest);
}

/// Four hexadecimal digits at `at`.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}
