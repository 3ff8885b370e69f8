//! `tidecast backtest`: models compared on the last steps of each series of a file.

use crate::cli::{BacktestOptions, Format};
use crate::files::csv::quoted;
use crate::files::series::{self, Series};
use crate::print::{self, Usage, columns, short_or_dash};
use crate::{forecast, workers};
use anyhow::bail;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use tidecast_forecast::backtest::{Backtest, Report, Tally};
use tidecast_forecast::{Budget, Fit, Spec};

/// Compares the models.
pub fn run(options: &BacktestOptions) -> anyhow::Result<ExitCode> {
    let models = models(&options.models, options.season)?;
    let backtest = Backtest {
        horizon: options.horizon as usize,
        season: options.season as usize,
        windows: options.windows as usize,
        level: options.level / 100.0,
        conformal: options.conformal,
    };
    let series = series::read(&options.file)?;
    let bar = workers::progress(series.len() * models.len(), "");
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for (name, spec) in &models {
        bar.set_message(name.clone());
        let (report, failed) = measure(&backtest, spec, &series, &bar)?;
        reports.push((name, report));
        failures.extend(failed.map(|at| (name, spec, at, report.failed)));
    }
    bar.finish_and_clear();
    let mut notes: Vec<String> = failures
        .into_iter()
        .map(|(name, spec, at, failed)| {
            let reason = why(&backtest, spec, &series[at]);
            format!("{name}: {failed} of {} series could not be measured; {reason}", series.len())
        })
        .collect();
    notes.extend(fewer_windows(&backtest, &series));
    notes.extend(series::left_out(&series));
    let mut out = print::out();
    match options.format {
        Format::Json => write_json(&mut out, &reports, &notes)?,
        Format::Csv => write_csv(&mut out, &reports)?,
        Format::Table => write_table(&mut out, &reports)?,
    }
    out.flush()?;
    if reports.iter().all(|(_, report)| report.series == 0) {
        bail!(
            "no model could be measured on any of {} series; {}",
            series.len(),
            models.first().map_or_else(String::new, |(_, spec)| why(&backtest, spec, &series[0]))
        );
    }
    // A table has no place for them; the object has told them.
    if options.format != Format::Json {
        notes.iter().for_each(|note| eprintln!("tidecast: {note}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be said where series are too short for the windows that were asked for.
fn fewer_windows(backtest: &Backtest, series: &[Series]) -> Option<String> {
    let known = || series.iter().filter_map(|one| one.history.as_ref().ok().map(|h| (one, h.values.len())));
    // A window needs something before it to learn from.
    let room = |length: usize| length.saturating_sub(1) / backtest.horizon;
    let short = || known().filter(|(_, length)| (1..backtest.windows).contains(&room(*length)));
    let (one, length) = short().next()?;
    Some(format!(
        "{} of {} series have fewer windows than --windows {}; {:?}: {length} observations have room for {} of {} steps",
        short().count(),
        series.len(),
        backtest.windows,
        one.id,
        room(length),
        backtest.horizon
    ))
}

/// Names as they are typed, and what they mean. Commas inside parentheses belong to a name.
fn models(list: &str, season: u32) -> anyhow::Result<Vec<(String, Spec)>> {
    let mut depth = 0_i32;
    let names = list.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth <= 0
    });
    let mut found: Vec<(String, Spec)> = Vec::new();
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        if found.iter().all(|(other, _)| other != name) {
            found.push((name.to_owned(), forecast::model(name, season)?));
        }
    }
    if found.is_empty() {
        return Err(
            Usage("--models names none, e.g. --models 'Theta,AutoETS,ARIMA(0,1,1)'".to_owned()).into()
        );
    }
    Ok(found)
}

/// Averages over the series, and the place of the first one that could not be measured.
fn measure(
    backtest: &Backtest,
    spec: &Spec,
    series: &[Series],
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<(Report, Option<usize>)> {
    let started = Instant::now();
    let now = || started.elapsed().as_secs_f64();
    let mut total = Tally::default();
    let (mut unusable, mut failed) = (0, None);
    let one = |one: &Series| one.history.as_ref().ok().map(|h| backtest.run(spec, &h.values, &now));
    workers::in_order(series, bar, one, |at, tally| {
        if tally.as_ref().is_none_or(|tally| tally.report().series == 0) {
            failed.get_or_insert(at);
        }
        match tally {
            Some(tally) => total.merge(&tally),
            None => unusable += 1,
        }
        Ok(())
    })?;
    let mut report = total.report();
    report.failed += unusable;
    // Of the clock: several series are worked on at once.
    report.seconds = now();
    Ok((report, failed))
}

/// Why a series could not be measured with a model.
fn why(backtest: &Backtest, spec: &Spec, series: &Series) -> String {
    let reason = match &series.history {
        Err(error) => error.clone(),
        Ok(history) if history.values.len() <= backtest.horizon => {
            format!("{} observations leave none to learn from: shorten --horizon", history.values.len())
        }
        Ok(history) => {
            let learnt = &history.values[..history.values.len() - backtest.horizon];
            match spec.fit(learnt, &mut Budget::default()) {
                Err(error) => error.to_string(),
                Ok(_) => "the steps held out are all missing".to_owned(),
            }
        }
    };
    format!("{:?}: {reason}", series.id)
}

fn write_json(out: &mut impl Write, reports: &[(&String, Report)], notes: &[String]) -> std::io::Result<()> {
    let models: Map<String, Value> = reports
        .iter()
        .map(|(name, r)| {
            let report = json!({
                "smape": r.smape, "mase": r.mase, "rmsse": r.rmsse, "coverage": r.coverage, "mean_width": r.mean_width,
                "seconds": r.seconds, "series": r.series, "failed": r.failed,
            });
            ((*name).clone(), report)
        })
        .collect();
    let mut object = json!({"models": models});
    if !notes.is_empty() {
        object["notes"] = json!(notes);
    }
    writeln!(out, "{object}")
}

const COLUMNS: [&str; 9] =
    ["model", "smape", "mase", "rmsse", "coverage", "mean_width", "seconds", "series", "failed"];

fn write_csv(out: &mut impl Write, reports: &[(&String, Report)]) -> std::io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))?;
    for (name, r) in reports {
        let cells = [r.smape, r.mase, r.rmsse, r.coverage, r.mean_width, Some(r.seconds)];
        let cells = cells.map(|v| v.map_or_else(String::new, |v| v.to_string()));
        writeln!(out, "{},{},{},{}", quoted(name), cells.join(","), r.series, r.failed)?;
    }
    Ok(())
}

fn write_table(out: &mut impl Write, reports: &[(&String, Report)]) -> std::io::Result<()> {
    let heads =
        ["model", "sMAPE %", "MASE", "RMSSE", "coverage", "mean width", "seconds", "series", "failed"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(reports.iter().map(|(name, r)| {
        let fixed = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        vec![
            (*name).clone(),
            fixed(r.smape),
            fixed(r.mase),
            fixed(r.rmsse),
            fixed(r.coverage),
            short_or_dash(r.mean_width),
            format!("{:.2}", r.seconds),
            r.series.to_string(),
            r.failed.to_string(),
        ]
    }));
    columns(out, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_have_no_room_are_told() {
        use crate::files::{series::History, timeline::Timeline};
        let series = |id: &str, length: usize| Series {
            id: id.to_owned(),
            history: Ok(History {
                values: vec![1.0; length],
                left_out: 0,
                timeline: Timeline::of(&[], length),
            }),
        };
        let with =
            |windows: usize| Backtest { horizon: 3, season: 1, windows, level: 0.95, conformal: false };
        let both = [series("long", 200), series("short", 60)];
        let told = fewer_windows(&with(50), &both).unwrap();
        assert!(
            told.contains("1 of 2") && told.contains("\"short\"") && told.contains("room for 19"),
            "{told}"
        );
        assert_eq!(fewer_windows(&with(19), &both), None);
    }

    #[test]
    fn commas_inside_a_model_do_not_divide() {
        let names: Vec<String> = models("Theta, ARIMA(0,1,1)(0,1,1)12,Theta,ETS(M,Ad,M),", 12)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["Theta", "ARIMA(0,1,1)(0,1,1)12", "ETS(M,Ad,M)"]);
        assert!(models(" ,", 1).unwrap_err().is::<Usage>());
        assert!(models("Theta,Oracle", 1).unwrap_err().is::<Usage>());
    }
}
