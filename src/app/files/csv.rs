//! Records of a CSV file (RFC 4180), one at a time and as they are found: byte order mark, any line ends, quotes, lines of
//! unequal length. Blank lines are told, not skipped, for in a file of one column they are cells.

use anyhow::{Context, bail};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Cursor, Read};

/// Longest record. What is longer is another kind of file, or a quote that nobody closed.
const RECORD_MAX: usize = 1 << 20;

/// Reads records.
pub struct Records {
    input: BufReader<Box<dyn Read>>,
    line: u64,
    /// The last record ended with a carriage return: a line feed next belongs to it.
    after_return: bool,
}

/// One record; reading the next one overwrites it.
#[derive(Debug, Default)]
pub struct Record {
    text: Vec<u8>,
    ends: Vec<usize>,
    quoted: bool,
    line: u64,
}

#[derive(PartialEq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// Behind a quote inside quotes: its end, or half of a doubled one.
    Quote,
}

impl Records {
    /// Reads from the start of a file. Fails for one that is UTF-16, which is not CSV to anybody else either.
    pub fn new(input: impl Read + 'static) -> anyhow::Result<Records> {
        Records::with_capacity(1 << 16, input)
    }

    fn with_capacity(capacity: usize, mut input: impl Read + 'static) -> anyhow::Result<Records> {
        let mut first = Vec::new();
        input.by_ref().take(3).read_to_end(&mut first).context("cannot be read")?;
        if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
            bail!("is UTF-16: save it as UTF-8");
        }
        if first == [0xef, 0xbb, 0xbf] {
            first.clear();
        }
        let whole: Box<dyn Read> = Box::new(Cursor::new(first).chain(input));
        Ok(Records { input: BufReader::with_capacity(capacity, whole), line: 0, after_return: false })
    }

    /// Whether the next record must be waited for, as far as is known.
    pub fn must_wait(&self) -> bool {
        self.input.buffer().is_empty()
    }

    /// The next record; false at the end.
    pub fn read(&mut self, record: &mut Record) -> anyhow::Result<bool> {
        self.line += 1;
        record.text.clear();
        record.ends.clear();
        record.quoted = false;
        record.line = self.line;
        let mut at = At::Start;
        loop {
            let chunk =
                self.input.fill_buf().with_context(|| format!("line {}: cannot be read", self.line))?;
            if chunk.is_empty() {
                return self.end_of_file(record, &at);
            }
            let mut ended = false;
            let mut used = 0;
            for &byte in chunk {
                used += 1;
                if std::mem::take(&mut self.after_return) && byte == b'\n' {
                    continue;
                }
                match (&at, byte) {
                    (At::Start, b'"') => {
                        record.quoted = true;
                        at = At::Quoted;
                    }
                    (At::Quoted, b'"') => at = At::Quote,
                    (At::Quoted, _) => {
                        self.line += u64::from(byte == b'\n');
                        record.text.push(byte);
                    }
                    (_, b',') => {
                        record.ends.push(record.text.len());
                        at = At::Start;
                    }
                    (_, b'\n' | b'\r') => {
                        self.after_return = byte == b'\r';
                        ended = true;
                        break;
                    }
                    (At::Quote, b'"') => {
                        record.text.push(byte);
                        at = At::Quoted;
                    }
                    _ => {
                        record.text.push(byte);
                        at = At::Plain;
                    }
                }
            }
            self.input.consume(used);
            if ended {
                return record.end();
            }
            if record.text.len() > RECORD_MAX {
                bail!("line {}: longer than {RECORD_MAX} bytes: is a quote not closed?", record.line);
            }
        }
    }

    fn end_of_file(&self, record: &mut Record, at: &At) -> anyhow::Result<bool> {
        if *at == At::Quoted {
            bail!("line {}: a quote is opened here and never closed", record.line);
        }
        if record.text.is_empty() && record.ends.is_empty() && !record.quoted {
            return Ok(false);
        }
        record.end()
    }
}

impl Record {
    /// Ends the last cell. Fails where the text is not UTF-8: two names that differ in letters nobody can read would be one.
    fn end(&mut self) -> anyhow::Result<bool> {
        if let Err(fault) = std::str::from_utf8(&self.text) {
            let byte = self.text[fault.valid_up_to()];
            bail!("line {}: has the byte {byte:#04x}, which is not UTF-8: save it as UTF-8", self.line);
        }
        self.ends.push(self.text.len());
        Ok(true)
    }

    /// Cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A line with nothing on it.
    pub fn is_blank(&self) -> bool {
        self.ends.len() == 1 && !self.quoted && self.text.iter().all(u8::is_ascii_whitespace)
    }

    /// The line where it begins, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// A cell as it is written, quotes taken off; empty past the end of a short line.
    pub fn cell(&self, at: usize) -> Cow<'_, str> {
        let Some(&end) = self.ends.get(at) else { return Cow::Borrowed("") };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        String::from_utf8_lossy(&self.text[start..end])
    }

    /// All cells.
    pub fn cells(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.len()).map(|at| self.cell(at))
    }

    /// Where a column is, by the name in a header: as written, or else whatever its case. Two of the same name are an
    /// error, for nobody can tell which is meant.
    pub fn position(&self, name: &str) -> anyhow::Result<Option<usize>> {
        let the_one = |is: &dyn Fn(&str) -> bool| {
            let mut places = self.cells().enumerate().filter(|(_, cell)| is(cell.trim())).map(|(at, _)| at);
            match (places.next(), places.next()) {
                (Some(_), Some(_)) => {
                    bail!("line {}: two columns are named {name:?}: rename one of them", self.line)
                }
                (first, _) => Ok(first),
            }
        };
        match the_one(&|cell| cell == name)? {
            None => the_one(&|cell| cell.eq_ignore_ascii_case(name)),
            found => Ok(found),
        }
    }

    /// How many columns a header names; empty cells at its end are none.
    pub fn width(&self) -> usize {
        (0..self.len()).rev().find(|at| !self.cell(*at).trim().is_empty()).map_or(0, |at| at + 1)
    }

    /// An error for a row with fewer cells than the header has names, or with something beyond them: it is a number with a
    /// decimal comma or a text without its quotes, and what stands in the other columns is not what they are named.
    pub fn check_width(&self, width: usize) -> anyhow::Result<()> {
        if self.len() < width || self.width() > width {
            let cells = if self.len() < width { self.len() } else { self.width() };
            bail!(
                "line {}: {cells} cells where the first line has {width}: quote a cell that has a comma in it",
                self.line
            );
        }
        Ok(())
    }
}

/// A cell as it must be written.
pub fn quoted(cell: &str) -> Cow<'_, str> {
    if cell.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", cell.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(cell)
    }
}

/// A cell as a number: NaN where it is empty or one of the usual words for a missing value, an error where it is
/// anything else.
pub fn number(cell: &str) -> Result<f64, String> {
    const MISSING: [&str; 9] = ["", "nan", "na", "n/a", "#n/a", "null", "none", "<na>", "-nan"];
    let cell = cell.trim();
    match cell.parse::<f64>() {
        Ok(value) => Ok(value),
        Err(_) if MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word)) => Ok(f64::NAN),
        Err(_) => Err(format!("{:?} is not a number", cell.chars().take(40).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Vec<String>>, String> {
        // A buffer of two bytes: every border between chunks is met.
        let input = Cursor::new(text.to_vec());
        let mut records = Records::with_capacity(2, input).map_err(|e| e.to_string())?;
        let (mut record, mut found) = (Record::default(), Vec::new());
        while records.read(&mut record).map_err(|e| e.to_string())? {
            found.push(record.cells().map(Cow::into_owned).collect());
        }
        Ok(found)
    }

    #[test]
    fn line_ends_marks_and_quotes_are_those_that_programs_write() {
        let expected = vec![vec!["a", "b"], vec!["1", "x,\"y\"\nz"], vec!["", ""]];
        for text in [
            "a,b\n1,\"x,\"\"y\"\"\nz\"\n,\n",
            "\u{feff}a,b\r\n1,\"x,\"\"y\"\"\nz\"\r\n,",
            "\"a\",\"b\"\r1,\"x,\"\"y\"\"\nz\"\r\"\",\"\"\r",
        ] {
            assert_eq!(all(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        assert_eq!(all("\u{feff}\"a\"\n".as_bytes()).unwrap(), [["a"]]);
        assert_eq!(all(b"").unwrap(), Vec::<Vec<String>>::new());
    }

    #[test]
    fn blank_lines_are_told_and_a_quoted_empty_cell_is_no_blank_line() {
        let mut records = Records::new(&b"1\n\n\"\"\n \n2"[..]).unwrap();
        let (mut record, mut blank) = (Record::default(), Vec::new());
        while records.read(&mut record).unwrap() {
            blank.push((record.line(), record.is_blank()));
        }
        assert_eq!(blank, [(1, false), (2, true), (3, false), (4, true), (5, false)]);
    }

    #[test]
    fn what_is_no_csv_is_refused_with_its_line() {
        assert!(all(b"a\nb,\"c\n").unwrap_err().contains("line 2"));
        assert!(all(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
        assert!(all(&[&b"\""[..], &vec![b'x'; RECORD_MAX + 10]].concat()).unwrap_err().contains("line 1"));
        assert!(all(b"a,1\nM\xfcnchen,1\n").unwrap_err().starts_with("line 2: has the byte 0xfc"));
        assert!(all(b"a,1\nM\xfcnchen").unwrap_err().starts_with("line 2"));
    }

    #[test]
    fn numbers_and_the_words_for_none() {
        assert_eq!(number(" -1.5e3 "), Ok(-1500.0));
        for missing in ["", " ", "NaN", "NA", "null", "None", "#N/A"] {
            assert!(number(missing).unwrap().is_nan(), "{missing:?}");
        }
        assert_eq!(number("12 km").unwrap_err(), "\"12 km\" is not a number");
        assert!(number("1,5").is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for cell in ["plain", "a,b", "say \"so\"", "two\nlines", ""] {
            assert_eq!(all(format!("{},x", quoted(cell)).as_bytes()).unwrap(), [[cell, "x"]]);
        }
    }
}
