//! `tidecast detect`: rows scored one after the other, as they would have been live.

use crate::cli::{DetectOptions, Format};
use crate::files::csv::{Record, Records, number, quoted};
use crate::files::stamp::Stamp;
use crate::files::{open, shown};
use crate::print::{self, columns};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use tidecast_forecast::detect::Detector;
use tidecast_forecast::quantile::median;

/// Rows between two looks at the progress, and in a piece of a table.
const PIECE: usize = 1_000;

/// Steps that say how long one is.
const STEPS: usize = 8;
/// Most steps without a row that are counted, for each row that there is.
const LEFT_OUT_MAX: usize = 10;

/// Steps between rows that no row has, as far as the times tell: a season that is counted goes on through them.
#[derive(Default)]
struct Steps {
    last: Option<f64>,
    first: Vec<f64>,
    left_out: usize,
}

impl Steps {
    /// How many were left out before a row of that time, the `rows`-th. Months are about as long as one another.
    fn before(&mut self, time: Option<f64>, rows: usize) -> usize {
        let Some(now) = time else { return 0 };
        let since = self.last.replace(now).map_or(0.0, |last| now - last);
        if since <= 0.0 {
            return 0;
        }
        if self.first.len() < STEPS {
            self.first.push(since);
            return 0;
        }
        let steps = since / median(self.first.iter().copied());
        let left_out = (steps.round() as usize).saturating_sub(1);
        let is_even = (steps - steps.round()).abs() < 0.1;
        // Past that a time is wrong, or they are in no even steps.
        if !is_even || self.left_out.saturating_add(left_out) > LEFT_OUT_MAX * rows {
            return 0;
        }
        self.left_out += left_out;
        left_out
    }
}

/// Scores the file.
pub fn run(options: &DetectOptions) -> anyhow::Result<ExitCode> {
    let name = shown(&options.file);
    let mut records = Records::new(open(&options.file)?).with_context(|| name.clone())?;
    let mut out = print::out();
    let scored = score(options, &mut records, &mut out).with_context(|| name.clone())?;
    out.flush()?;
    if scored == 0 {
        bail!("{name}: no row has a number in column {:?}", options.value);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the columns of times and values are, by the header, and how many columns there are.
fn header(options: &DetectOptions, records: &mut Records) -> anyhow::Result<(usize, usize, usize)> {
    let mut record = Record::default();
    loop {
        if !records.read(&mut record)? {
            bail!("empty: give a header and rows of {},{}", options.timestamp, options.value);
        }
        if !record.is_blank() {
            break;
        }
    }
    let find = |name: &str, option: &str| {
        record.position(name)?.with_context(|| {
            let names: Vec<String> = record.cells().take(12).map(|cell| cell.trim().to_owned()).collect();
            format!(
                "no column {name:?} in the first line, which has {:?}: name it with {option}",
                names.join(",")
            )
        })
    };
    Ok((find(&options.timestamp, "--timestamp")?, find(&options.value, "--value")?, record.width()))
}

/// Writes every row with its score; the number of rows that have one.
fn score(options: &DetectOptions, records: &mut Records, out: &mut impl Write) -> anyhow::Result<usize> {
    let (time_at, value_at, width) = header(options, records)?;
    let mut detector = options.season.map_or_else(Detector::new, |s| Detector::with_season(s as usize));
    let mut steps = Steps::default();
    let bar = crate::workers::rows("scoring");
    let mut table: Vec<Vec<String>> = Vec::new();
    let heads = ["timestamp", "value", "anomaly_score", "is_anomaly"];
    if options.format == Format::Csv {
        writeln!(out, "{}", heads.join(","))?;
    }
    let (mut rows, mut scored, mut skipped) = (0_usize, 0_usize, 0_usize);
    let mut unusable: Option<(u64, String)> = None;
    let mut record = Record::default();
    while records.read(&mut record)? {
        if record.is_blank() {
            continue;
        }
        if let Err(error) = record.check_width(width) {
            // Rows before it were scored, and whoever waits for them has them.
            bar.suspend(|| columns(out, &table))?;
            out.flush()?;
            return Err(error);
        }
        let (timestamp, text) = (record.cell(time_at), record.cell(value_at));
        // What is no number is no value: a stream goes on, and the end says how many there were.
        let read = number(&text).unwrap_or(f64::INFINITY);
        let value = read.is_finite().then_some(read);
        if read.is_infinite() {
            unusable.get_or_insert_with(|| (record.line(), text.trim().chars().take(40).collect::<String>()));
            skipped += 1;
        }
        let time = Stamp::parse(&timestamp).map(|stamp| stamp.value());
        // Without a season of rows the time of day tells where in it a row is.
        if options.season.is_some() {
            (0..steps.before(time, rows + 1)).for_each(|_| {
                detector.observe(None, f64::NAN);
            });
        }
        let score =
            detector.observe(time, value.unwrap_or(f64::NAN)).map(|score| (score * 1e6).round() / 1e6);
        let is_anomaly = score.is_some_and(|score| score >= options.threshold);
        let digits = || score.map_or_else(String::new, |score| format!("{score:.6}"));
        match options.format {
            Format::Csv => {
                writeln!(out, "{},{},{},{is_anomaly}", quoted(&timestamp), quoted(&text), digits())?
            }
            Format::Json => {
                let value = value.map_or(Value::Null, Value::from);
                let row = json!({"timestamp": timestamp, "value": value, "anomaly_score": score, "is_anomaly": is_anomaly});
                writeln!(out, "{row}")?;
            }
            Format::Table => {
                if table.is_empty() {
                    table.push(heads.map(str::to_owned).to_vec());
                }
                let mark = if is_anomaly { "true" } else { "" };
                table.push(vec![
                    timestamp.trim().to_owned(),
                    text.trim().to_owned(),
                    digits(),
                    mark.to_owned(),
                ]);
                if table.len() > PIECE || records.must_wait() {
                    bar.suspend(|| columns(out, &table))?;
                    table.clear();
                }
            }
        }
        rows += 1;
        scored += usize::from(score.is_some());
        if rows.is_multiple_of(PIECE) {
            bar.inc(PIECE as u64);
        }
        // Whoever feeds this row by row sees each answer before the next question.
        if records.must_wait() {
            bar.suspend(|| out.flush())?;
        }
    }
    bar.suspend(|| columns(out, &table))?;
    bar.finish_and_clear();
    if steps.left_out > 0 {
        eprintln!(
            "tidecast: {} steps are not in the file and count in the season as missing",
            steps.left_out
        );
    }
    if let Some((line, text)) = unusable.filter(|_| scored > 0) {
        eprintln!(
            "tidecast: {skipped} of {rows} rows have no score: {text:?} in line {line} is no finite number"
        );
    }
    Ok(scored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn scored(text: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let all = [&["tidecast", "detect", "-"], arguments].concat();
        let crate::cli::Command::Detect(options) = crate::cli::Cli::parse_from(all).command else { panic!() };
        let mut records = Records::new(std::io::Cursor::new(text.as_bytes().to_vec()))?;
        let mut out = Vec::new();
        score(&options, &mut records, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn rows_keep_their_text_and_a_row_without_a_value_has_no_score() {
        let text =
            "host,value,timestamp\r\na, 1.50,2014-04-01 00:00:00\r\na,,\"1, April\"\r\na,abc,\r\nb,,\r\n";
        assert_eq!(
            scored(text, &[]).unwrap(),
            "timestamp,value,anomaly_score,is_anomaly\n2014-04-01 00:00:00, 1.50,0.000000,false\n\"1, April\",,,false\n,abc,,false\n,,,false\n"
        );
    }

    #[test]
    fn rows_that_do_not_fit_the_header_and_columns_named_twice_are_refused() {
        let error = |text: &str| scored(text, &[]).unwrap_err().to_string();
        assert!(
            error("timestamp,value\n1,5\n2,1,5\n").contains("line 3: 3 cells where the first line has 2")
        );
        assert!(error("timestamp,value\n1\n").contains("line 2: 1 cells"));
        assert!(error("timestamp,value,value\n1,2,3\n").contains("two columns are named \"value\""));
    }

    #[test]
    fn columns_are_named_and_a_missing_one_is_told() {
        let text = "time,cpu\n1,5\n";
        let json = scored(text, &["--timestamp", "time", "--value", "cpu", "--format", "json"]).unwrap();
        assert_eq!(json, "{\"timestamp\":\"1\",\"value\":5.0,\"anomaly_score\":0.0,\"is_anomaly\":false}\n");
        let error = scored(text, &["--timestamp", "time"]).unwrap_err().to_string();
        assert!(
            error.contains("\"value\"") && error.contains("time,cpu") && error.contains("--value"),
            "{error}"
        );
    }

    #[test]
    fn a_season_goes_on_through_days_that_no_row_has() {
        let day = |t: i32| chrono::NaiveDate::from_num_days_from_ce_opt(738_000 + t).unwrap();
        let value = |t: i32| f64::from((t * 7919) % 101) / 101.0 + if t % 7 == 2 { 40.0 } else { 0.0 };
        let is_left_out = |t: i32| (300..303).contains(&t) || t == 350;
        let (mut whole, mut short) = ("timestamp,value\n".to_owned(), "timestamp,value\n".to_owned());
        for t in 0..500 {
            let row = if is_left_out(t) { String::new() } else { value(t).to_string() };
            whole += &format!("{},{row}\n", day(t));
            if !is_left_out(t) {
                short += &format!("{},{row}\n", day(t));
            }
        }
        let kept = |out: String| -> Vec<String> {
            out.lines().filter(|line| !line.contains(",,")).map(str::to_owned).collect()
        };
        let with = |text: &str| kept(scored(text, &["--season", "7"]).unwrap());
        assert_eq!(with(&whole), with(&short));
        // A year that is wrong by a thousand is not counted out.
        let wrong = short.clone() + "3020-01-01,0.5\n";
        assert_eq!(with(&wrong)[..with(&short).len()], with(&short));
    }

    #[test]
    fn the_threshold_divides() {
        let mut text = "timestamp,value\n".to_owned();
        for t in 0..400 {
            let value = if t == 390 { 90.0 } else { f64::from((t * 7919) % 101) / 101.0 };
            text += &format!("{t},{value}\n");
        }
        let anomalies = |arguments: &[&str]| scored(&text, arguments).unwrap().matches(",true\n").count();
        assert!(anomalies(&[]) >= 1);
        assert_eq!(anomalies(&["--threshold", "0"]), 400);
        assert_eq!(anomalies(&["--threshold", "1"]), 0);
    }
}
