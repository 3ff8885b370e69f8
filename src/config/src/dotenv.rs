//! The `.env` file: `NAME=value` lines.

use crate::error::{ConfigError, Origin};
use std::sync::Arc;

/// One variable and its line, from 1.
pub(crate) struct Variable {
    pub name: String,
    pub value: String,
    pub line: usize,
}

/// Reads `NAME=value`, with `export` before it or not; `#` starts a comment at the start of a line or after a blank.
/// A value in single quotes is taken as it stands, one in double quotes knows `\n`, `\t`, `\"`, `\\` and `\$`.
/// Nothing is substituted.
pub(crate) fn parse(text: &str) -> Result<Vec<Variable>, ConfigError> {
    let mut variables = Vec::new();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        // The line itself stays out of messages: it may hold a password.
        let (name, value) = line.split_once('=').ok_or_else(|| fault("", line_number, "a line without ="))?;
        let name = name.trim();
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b'-')
        {
            return Err(fault("", line_number, "a name with other characters than letters, digits and _"));
        }
        let value =
            value_of(value.trim()).ok_or_else(|| fault(name, line_number, "quotes that do not end"))?;
        variables.push(Variable { name: name.to_owned(), value, line: line_number });
    }
    Ok(variables)
}

fn fault(name: &str, line: usize, found: &str) -> ConfigError {
    let origin = if name.is_empty() {
        Origin::File { name: Arc::from(".env"), line }
    } else {
        Origin::DotEnv { variable: name.into(), line }
    };
    ConfigError::new("file", &origin, found, "NAME=value, NAME=\"value\", NAME='value', or a comment after #")
}

fn value_of(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('\'') {
        let (value, rest) = inner.split_once('\'')?;
        return comment_or_nothing(rest).then(|| value.to_owned());
    }
    if let Some(inner) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => return comment_or_nothing(chars.as_str()).then_some(value),
                '\\' => match chars.next()? {
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    c @ ('"' | '\\' | '$') => value.push(c),
                    other => value.extend(['\\', other]),
                },
                other => value.push(other),
            }
        }
        return None;
    }
    let end = text
        .char_indices()
        .find(|(at, c)| *c == '#' && (*at == 0 || text[..*at].ends_with([' ', '\t'])))
        .map_or(text.len(), |(at, _)| at);
    Some(text[..end].trim_end().to_owned())
}

fn comment_or_nothing(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn quotes_comments_and_export() {
        let text = "# top\nexport A=1\nB = two words # note\nC='a # b \\n'\nD=\"x\\ty\\\"z\" # end\nE=p#q\nF=\n\nG=[\"a:1\",\"b:2\"]\n";
        let read: Vec<(String, String, usize)> =
            parse(text).unwrap().into_iter().map(|v| (v.name, v.value, v.line)).collect();
        let expected = [
            ("A", "1", 2),
            ("B", "two words", 3),
            ("C", "a # b \\n", 4),
            ("D", "x\ty\"z", 5),
            ("E", "p#q", 6),
            ("F", "", 7),
            ("G", "[\"a:1\",\"b:2\"]", 9),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(n, v, l)| ((*n).to_owned(), (*v).to_owned(), *l)).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_broken_line_is_named_and_not_quoted() {
        let error = parse("A=1\nPASSWORD \"hunter2\"\n").err().unwrap().to_string();
        assert!(error.contains(".env:2"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let error = parse("P=\"hunter2\n").err().unwrap().to_string();
        assert!(error.contains("P in .env:1") && !error.contains("hunter2"), "{error}");
    }
}
