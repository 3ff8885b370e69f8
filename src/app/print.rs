//! What commands print: numbers for people, and a standard output that may be closed by whoever reads it.

use std::io::{BufWriter, StdoutLock, Write};

/// Standard output, written in blocks. A reader that goes away is an error of kind `BrokenPipe`, which `main` takes for
/// a good end.
pub fn out() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, std::io::stdout().lock())
}

/// Wrong usage: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A number for people: seven digits that mean something.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e12).contains(&size) {
        format!("{value:.4e}")
    } else {
        let digits = (6 - size.log10().floor() as i32).clamp(0, 8) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// A number for people in a column whose largest is `largest`: as many digits behind the point as that one has.
pub fn even(value: f64, largest: f64) -> String {
    if !(1e-4..1e12).contains(&largest.abs()) {
        return short(value);
    }
    let digits = (5 - largest.abs().log10().floor() as i32).clamp(0, 8) as usize;
    format!("{value:.digits$}")
}

/// A number for people, or a dash.
pub fn short_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), short)
}

/// Rows in columns: the first to the left, the others to the right, as wide as they must be.
pub fn columns(out: &mut impl Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at: usize| rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            match at {
                0 => line += &format!("{cell:<0$}", widths[0]),
                _ => line += &format!("  {cell:>0$}", widths[at]),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_can_be_read() {
        for (value, text) in [
            (0.0, "0"),
            (-685.169_123, "-685.1691"),
            (1.5, "1.5"),
            (0.001_234_567_89, "0.00123457"),
            (123_456_789.0, "123456789"),
            (1e-9, "1.0000e-9"),
            (-3e300, "-3.0000e300"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_column_has_one_number_of_digits() {
        assert_eq!([450.4, 9.0, -0.25].map(|v| even(v, 450.4)), ["450.400", "9.000", "-0.250"]);
        assert_eq!([1e15, 3.0].map(|v| even(v, 1e15)), ["1.0000e15", "3"]);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["model".to_owned(), "x".to_owned()], vec!["a".to_owned(), "12.5".to_owned()]];
        let mut out = Vec::new();
        columns(&mut out, &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "model     x\na      12.5\n");
    }
}
