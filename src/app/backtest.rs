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
    let mut reports = Vec::new();
    for (name, spec) in &models {
        bar.set_message(name.clone());
        reports.push((name, measure(&backtest, spec, &series, &bar)?));
    }
    bar.finish_and_clear();
    let mut out = print::out();
    match options.format {
        Format::Json => write_json(&mut out, &reports)?,
        Format::Csv => write_csv(&mut out, &reports)?,
        Format::Table => write_table(&mut out, &reports)?,
    }
    out.flush()?;
    if reports.iter().all(|(_, report)| report.series == 0) {
        bail!(
            "no model could be measured on any of {} series; {}",
            series.len(),
            why(&backtest, &models, &series)
        );
    }
    Ok(ExitCode::SUCCESS)
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

fn measure(
    backtest: &Backtest,
    spec: &Spec,
    series: &[Series],
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let now = || started.elapsed().as_secs_f64();
    let mut total = Tally::default();
    let mut unusable = 0;
    let one = |one: &Series| one.history.as_ref().ok().map(|h| backtest.run(spec, &h.values, &now));
    workers::in_order(series, bar, one, |_, tally| {
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
    Ok(report)
}

/// Why the first series could not be measured with the first model.
fn why(backtest: &Backtest, models: &[(String, Spec)], series: &[Series]) -> String {
    let (Some(first), Some((_, spec))) = (series.first(), models.first()) else { return String::new() };
    let reason = match &first.history {
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
    format!("{:?}: {reason}", first.id)
}

fn write_json(out: &mut impl Write, reports: &[(&String, Report)]) -> std::io::Result<()> {
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
    writeln!(out, "{}", json!({"models": models}))
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
