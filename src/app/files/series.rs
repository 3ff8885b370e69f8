//! Series from a CSV file: Nixtla's long form (`unique_id,ds,y`, in any order and among others), or one column of numbers.

use super::csv::{Record, Records, number};
use super::stamp::Stamp;
use super::timeline::Timeline;
use super::{open, shown, stem};
use anyhow::{Context, bail};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// One series of a file.
#[derive(Debug)]
pub struct Series {
    /// Its name.
    pub id: String,
    /// What was observed, or why that cannot be used.
    pub history: Result<History, String>,
}

/// Most steps without a row that are taken as missing, for each row that there is.
const LEFT_OUT_MAX: usize = 10;

/// Observations in order of time.
#[derive(Debug)]
pub struct History {
    /// Values, NaN where missing.
    pub values: Vec<f64>,
    /// How many of them are missing because no row has their time.
    pub left_out: usize,
    /// When the next ones are.
    pub timeline: Timeline,
}

/// All series of a file, in the order in which they first appear.
pub fn read(path: &Path) -> anyhow::Result<Vec<Series>> {
    let series = parse(open(path)?, stem(path)).with_context(|| shown(path))?;
    if series.is_empty() {
        bail!("{}: no rows: give unique_id,ds,y or one column of numbers", shown(path));
    }
    Ok(series)
}

fn parse(input: impl Read + 'static, name: String) -> anyhow::Result<Vec<Series>> {
    let mut records = Records::new(input)?;
    let mut record = Record::default();
    loop {
        if !records.read(&mut record)? {
            bail!("empty: give unique_id,ds,y or one column of numbers");
        }
        if !record.is_blank() {
            break;
        }
    }
    if record.len() == 1 && !record.cell(0).trim().eq_ignore_ascii_case("unique_id") {
        Ok(vec![column(records, record, name)?])
    } else {
        long(records, record, name)
    }
}

/// One column. A blank line is an empty cell, but those at the end of the file are nothing.
fn column(mut records: Records, mut record: Record, name: String) -> anyhow::Result<Series> {
    let mut rows = Rows::default();
    let mut blank = 0;
    let is_header = number(&record.cell(0)).is_err();
    let cell = record.cell(0).into_owned();
    if is_header && cell.contains([';', '\t']) {
        bail!(
            "cells are separated by commas, and the first line has none: {:?}",
            cell.chars().take(40).collect::<String>()
        );
    }
    let mut more = if is_header { records.read(&mut record)? } else { true };
    while more {
        if record.len() > 1 {
            bail!("line {}: {} cells where the first line has one", record.line(), record.len());
        }
        if record.is_blank() {
            blank += 1;
        } else {
            rows.values.extend(std::iter::repeat_n(f64::NAN, std::mem::take(&mut blank)));
            rows.take(&record, 0, None);
        }
        more = records.read(&mut record)?;
    }
    if rows.values.is_empty() && rows.fault.is_none() {
        bail!("no rows below the header");
    }
    Ok(Series { id: name, history: rows.finish() })
}

fn long(mut records: Records, mut record: Record, name: String) -> anyhow::Result<Vec<Series>> {
    let (id, ds, y) = (record.position("unique_id")?, record.position("ds")?, record.position("y")?);
    let width = record.width();
    let Some(y) = y else {
        let names: Vec<String> = record.cells().take(8).map(|cell| cell.trim().to_owned()).collect();
        bail!(
            "the first line must name the columns unique_id, ds and y, unless there is one column of numbers; it has {:?}",
            names.join(",")
        );
    };
    let mut found: Vec<(String, Rows)> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    while records.read(&mut record)? {
        if record.is_blank() {
            continue;
        }
        record.check_width(width)?;
        let cell = id.map(|at| record.cell(at));
        let key = cell.as_deref().map_or(name.as_str(), str::trim);
        let at = match index.get(key) {
            Some(at) => *at,
            None => {
                index.insert(key.to_owned(), found.len());
                found.push((key.to_owned(), Rows::default()));
                found.len() - 1
            }
        };
        found[at].1.take(&record, y, ds);
    }
    Ok(found.into_iter().map(|(id, rows)| Series { id, history: rows.finish() }).collect())
}

/// Rows of one series, as they come.
#[derive(Default)]
struct Rows {
    values: Vec<f64>,
    stamps: Vec<Stamp>,
    fault: Option<String>,
}

impl Rows {
    fn take(&mut self, record: &Record, y: usize, ds: Option<usize>) {
        if self.fault.is_some() {
            return;
        }
        let line = record.line();
        match number(&record.cell(y)) {
            Ok(value) if value.is_infinite() => {
                return self.fault = Some(format!(
                    "line {line}: y is infinite or beyond 1.8e308: leave the cell empty if the value is missing"
                ));
            }
            Ok(value) => self.values.push(value),
            Err(why) => return self.fault = Some(format!("line {line}: y {why}")),
        }
        let Some(cell) = ds.map(|at| record.cell(at)) else { return };
        match Stamp::parse(&cell) {
            Some(stamp) => self.stamps.push(stamp),
            // Nobody is told off for a column that is empty throughout.
            None if cell.trim().is_empty() && self.stamps.is_empty() => {}
            None => {
                let cell: String = cell.chars().take(40).collect();
                self.fault =
                    Some(format!("line {line}: ds {cell:?} is neither a whole number nor an ISO 8601 date"));
            }
        }
        if !self.stamps.is_empty() && self.stamps.len() < self.values.len() && self.fault.is_none() {
            self.fault = Some(format!("line {line}: ds is given here and not in the rows above"));
        }
    }

    fn finish(mut self) -> Result<History, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if let Some(dates) = self.stamps.iter().map(|s| s.compact_date()).collect::<Option<Vec<_>>>() {
            self.stamps = dates;
        }
        if let Some(other) = self.stamps.iter().find(|s| s.is_number() != self.stamps[0].is_number()) {
            let (first, other) = (self.stamps[0].text(), other.text());
            return Err(format!("ds has numbers and dates ({first} and {other}): use one of them"));
        }
        if !self.stamps.is_sorted_by(|a, b| a.order(b).is_lt()) {
            let mut order: Vec<usize> = (0..self.stamps.len()).collect();
            order.sort_by(|&a, &b| self.stamps[a].order(&self.stamps[b]));
            if let Some(pair) = order.windows(2).find(|w| self.stamps[w[0]].order(&self.stamps[w[1]]).is_eq())
            {
                return Err(format!(
                    "ds {} is there more than once: give one row a step",
                    self.stamps[pair[1]].text()
                ));
            }
            self.values = order.iter().map(|&at| self.values[at]).collect();
            self.stamps = order.iter().map(|&at| self.stamps[at]).collect();
        }
        let timeline = Timeline::of(&self.stamps, self.values.len());
        let left_out = self.fill(&timeline)?;
        Ok(History { values: self.values, left_out, timeline })
    }

    /// Puts a missing value at every step between the rows that none of them has, and says how many. A season counts steps,
    /// not rows. Times in no even steps stay as they are.
    fn fill(&mut self, timeline: &Timeline) -> Result<usize, String> {
        let places = timeline.places(&self.stamps).unwrap_or_default();
        let (rows, Some(last)) = (self.values.len(), places.last()) else { return Ok(0) };
        let left_out = last + 1 - rows as u64;
        if left_out > (LEFT_OUT_MAX * rows) as u64 {
            let ends = [&self.stamps[0], &self.stamps[rows - 1]].map(Stamp::text);
            return Err(format!(
                "ds goes from {} to {}, which is {left_out} steps more than the {rows} rows: mend a time that is wrong, or \
                 leave out the column ds if the order alone counts",
                ends[0], ends[1]
            ));
        }
        if left_out > 0 {
            let mut values = vec![f64::NAN; rows + left_out as usize];
            places.iter().zip(&self.values).for_each(|(place, value)| values[*place as usize] = *value);
            self.values = values;
        }
        Ok(left_out as usize)
    }
}

/// What is to be said of steps that no row has.
pub fn left_out(series: &[Series]) -> Option<String> {
    let with = || series.iter().filter_map(|one| Some((one, one.history.as_ref().ok()?.left_out)));
    let gaps = || with().filter(|(_, left_out)| *left_out > 0);
    let (first, of_first) = gaps().next()?;
    let all: usize = gaps().map(|(_, left_out)| left_out).sum();
    let others = match gaps().count() {
        1 => String::new(),
        several => format!(", and in all {all} of {several} series"),
    };
    let (steps, are) = if of_first == 1 { ("step", "is") } else { ("steps", "are") };
    Some(format!("{of_first} {steps} of {:?}{others} {are} not in the file and taken as missing", first.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &'static str) -> Vec<Series> {
        parse(text.as_bytes(), "file".to_owned()).unwrap()
    }

    fn refused(text: &'static str) -> String {
        format!("{:#}", parse(text.as_bytes(), "file".to_owned()).unwrap_err())
    }

    /// Values with −1 for missing, so that they can be compared.
    fn values(series: &Series) -> Vec<f64> {
        let history = series.history.as_ref().unwrap();
        history.values.iter().map(|v| if v.is_nan() { -1.0 } else { *v }).collect()
    }

    #[test]
    fn one_column_has_a_header_or_none_and_blank_lines_inside_are_missing() {
        for text in
            ["5\n\n7\nNaN\n9\n\n", "passengers\n5\n\n7\n\"\"\n9", "\n\"y\"\r\n5\r\n\r\n7\r\nna\r\n9\r\n\r\n"]
        {
            let series = parsed(text);
            assert_eq!((series.len(), series[0].id.as_str()), (1, "file"));
            assert_eq!(values(&series[0]), [5.0, -1.0, 7.0, -1.0, 9.0], "{text:?}");
        }
    }

    #[test]
    fn the_long_form_is_sorted_by_ds_and_other_columns_are_left_aside() {
        let series = parsed(
            ",y,unique_id,temp,ds\n0,2,b,x,2020-02-01\n1,1,b,x,2020-01-01\n2,10,a,x,10\n3,,a,x,9\n4,8,a,x,8\n5,3,b,x,2020-03-01\n",
        );
        assert_eq!(series.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(values(&series[0]), [1.0, 2.0, 3.0]);
        assert_eq!(values(&series[1]), [8.0, -1.0, 10.0]);
        let ahead = |s: &Series| s.history.as_ref().unwrap().timeline.ahead(1).unwrap().text();
        assert_eq!((ahead(&series[0]).as_str(), ahead(&series[1]).as_str()), ("2020-04-01", "11"));
    }

    #[test]
    fn without_ids_there_is_one_series_and_without_times_the_order_is_the_files() {
        let series = parsed("ds,y\n3,30\n1,10\n2,20\n");
        assert_eq!((series[0].id.as_str(), values(&series[0])), ("file", vec![10.0, 20.0, 30.0]));
        let series = parsed("unique_id,ds,y\na,,3\nb,,4\na,,1\n");
        assert_eq!(values(&series[0]), [3.0, 1.0]);
    }

    #[test]
    fn steps_that_no_row_has_are_missing_values_up_to_ten_for_a_row() {
        let series = parsed(
            "unique_id,ds,y\nday,2024-02-27,1\nday,2024-02-28,2\nday,2024-03-02,5\nday,2024-03-03,6\n\
             month,2023-11,1\nmonth,2023-12,2\nmonth,2024-02,4\nwhole,1,1\nwhole,2,2\nuneven,1,1\nuneven,3,2\nuneven,6,3\n",
        );
        assert_eq!(values(&series[0]), [1.0, 2.0, -1.0, -1.0, 5.0, 6.0]);
        assert_eq!(values(&series[1]), [1.0, 2.0, -1.0, 4.0]);
        assert_eq!((values(&series[2]), values(&series[3])), (vec![1.0, 2.0], vec![1.0, 2.0, 3.0]));
        let told = left_out(&series).unwrap();
        assert_eq!(
            told,
            "2 steps of \"day\", and in all 3 of 2 series are not in the file and taken as missing"
        );
        let told = left_out(&series[1..]).unwrap();
        assert_eq!(told, "1 step of \"month\" is not in the file and taken as missing");
        assert_eq!(left_out(&series[2..]), None);
        let far = |last: u32| {
            let text: &'static str = format!("ds,y\n1,1\n2,2\n3,3\n{last},4\n").leak();
            parsed(text).remove(0).history
        };
        assert_eq!(far(44).unwrap().values.len(), 44);
        let error = far(45).unwrap_err();
        assert!(error.contains("from 1 to 45") && error.contains("41 steps more than the 4 rows"), "{error}");
    }

    #[test]
    fn a_row_that_cannot_be_used_fails_its_series_and_no_other() {
        for (row, why) in [
            ("a,3,x", "line 3: y \"x\" is not a number"),
            ("a,yesterday,3", "line 3: ds \"yesterday\""),
            ("a,,3", "line 3: ds \"\""),
            ("a,1,3", "ds 1 is there more than once"),
            ("a,2020-01-01,3", "ds has numbers and dates"),
        ] {
            let text: &'static str = format!("unique_id,ds,y\na,1,1\n{row}\nb,1,5\n").leak();
            let series = parsed(text);
            let error = series[0].history.as_ref().unwrap_err();
            assert!(error.contains(why), "{error}");
            assert_eq!(values(&series[1]), [5.0]);
        }
    }

    #[test]
    fn rows_that_do_not_fit_the_header_are_refused_with_their_line() {
        assert!(refused("ds,y\n2020-01-01,1,5\n").contains("line 2: 3 cells where the first line has 2"));
        assert!(
            refused("unique_id,ds,y\na,1,2\na,2\n").contains("line 3: 2 cells where the first line has 3")
        );
        // Empty cells behind the last column are what spreadsheets leave.
        assert_eq!(values(&parsed("unique_id,ds,y,,\na,1,4\na,2,5,,,,\n")[0]), [4.0, 5.0]);
    }

    #[test]
    fn a_column_that_is_named_twice_is_refused() {
        for header in ["ds,y,y", "ds,Y,y ,Y,y", "ds,ds,y", "ds,Y,Y"] {
            let text: &'static str = format!("{header}\n1,2,3\n").leak();
            assert!(refused(text).contains("two columns are named"), "{header}");
        }
        assert_eq!(values(&parsed("ds,Y,y\n1,2,3\n")[0]), [3.0], "the name as it is written comes first");
    }

    #[test]
    fn infinite_values_are_refused_whatever_the_model() {
        for cell in ["inf", "-Infinity", "1e400"] {
            let text: &'static str = format!("ds,y\n1,2\n2,{cell}\n").leak();
            let error = parsed(text)[0].history.as_ref().unwrap_err().clone();
            assert!(error.contains("line 3") && error.contains("infinite"), "{error}");
        }
    }

    #[test]
    fn files_that_are_neither_form_are_refused_in_words() {
        assert!(refused("").contains("empty"));
        assert!(refused("\n\n").contains("empty"));
        assert!(refused("id,date,value\na,1,2\n").contains("unique_id, ds and y"));
        assert!(refused("y\n").contains("no rows"));
        assert!(refused("1\n2,3\n").contains("line 2"));
        assert!(parsed("unique_id,ds,y\n").is_empty());
    }
}
