//! A second look at a validated document: one scalar by its dotted path.

use super::json::{Quoted, Scanner};
use super::text::unescape;
use std::borrow::Cow;

/// Finds `path` below the object that begins at byte `start`. A name may hold dots itself; where a path stands twice
/// the last one counts, as for any reader of JSON.
pub(super) fn json<'b>(text: &'b str, start: usize, path: &str, buffer: &'b mut String) -> Option<&'b str> {
    let (from, to) = find(&mut Scanner::new(text, start), text, path)?;
    match text.as_bytes()[from] {
        b'"' => {
            let inner = &text[from + 1..to - 1];
            if !inner.contains('\\') {
                return Some(inner);
            }
            buffer.clear();
            unescape(inner, buffer);
            Some(buffer)
        }
        b'{' | b'[' | b'n' => None,
        _ => Some(&text[from..to]),
    }
}

/// The span of the value at `path`; the scanner stands before the object's brace. Recursion ends with the path.
fn find(scanner: &mut Scanner<'_>, text: &str, path: &str) -> Option<(usize, usize)> {
    if scanner.token() != b'{' {
        return None;
    }
    scanner.pos += 1;
    let mut found = None;
    if scanner.token() == b'}' {
        return None;
    }
    loop {
        let name = plain(&scanner.name().ok()?, text);
        let first = scanner.token();
        let from = scanner.pos;
        scanner.skip(0).ok()?;
        if let Some(rest) = path.strip_prefix(&*name) {
            if rest.is_empty() {
                found = Some((from, scanner.pos));
            } else if let Some(rest) = rest.strip_prefix('.')
                && first == b'{'
            {
                found = find(&mut Scanner::new(text, from), text, rest).or(found);
            }
        }
        match scanner.token() {
            b',' => scanner.pos += 1,
            _ => return found,
        }
    }
}

fn plain<'a>(quoted: &Quoted, text: &'a str) -> Cow<'a, str> {
    let raw = &text[quoted.start..quoted.end];
    if !quoted.escaped {
        return Cow::Borrowed(raw);
    }
    let mut out = String::new();
    unescape(raw, &mut out);
    Cow::Owned(out)
}
