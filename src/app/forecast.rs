//! `tidecast forecast`: a model for each series of a file, and its path.

use crate::cli::{ForecastOptions, Format};
use crate::files::csv::quoted;
use crate::files::series::{self, History, Series};
use crate::print::{self, Usage, columns, even, short};
use crate::workers;
use anyhow::bail;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::ExitCode;
use tidecast_forecast::arima::Arima;
use tidecast_forecast::{Budget, Fit, Predict, Spec, Step, Summary, conformal};

/// What is done to each series.
struct Plan {
    spec: Spec,
    horizon: usize,
    level: f64,
    log: bool,
    conformal: bool,
}

/// A series' fit and its path.
struct Outcome {
    summary: Summary,
    path: Vec<Step>,
}

/// Forecasts every series of the file.
pub fn run(options: &ForecastOptions) -> anyhow::Result<ExitCode> {
    let spec = with_terms(model(&options.model, options.season)?, options)?;
    let plan = Plan {
        spec,
        horizon: options.horizon as usize,
        level: options.level / 100.0,
        log: options.log,
        conformal: options.conformal,
    };
    let series = series::read(&options.file)?;
    let bar = workers::progress(series.len(), "forecasting");
    let mut out = print::out();
    if options.format == Format::Csv {
        writeln!(out, "unique_id,step,ds,mean,lower,upper")?;
    }
    let (mut first, mut failed): (Option<String>, usize) = (None, 0);
    workers::in_order(
        &series,
        &bar,
        |one| plan.forecast(one),
        |at, outcome| {
            let one = &series[at];
            if let Err(error) = &outcome {
                failed += 1;
                first.get_or_insert_with(|| format!("{:?}: {error}", one.id));
            }
            bar.suspend(|| match options.format {
                Format::Json => write_json(&mut out, one, &outcome),
                Format::Csv => write_csv(&mut out, one, &outcome),
                Format::Table => write_table(&mut out, one, &outcome, options.level),
            })?;
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    out.flush()?;
    if failed < series.len()
        && let Some(note) = series::left_out(&series)
    {
        eprintln!("tidecast: {note}");
    }
    match first {
        Some(first) if series.len() == 1 => bail!("{first}"),
        Some(first) if failed == series.len() => bail!("none of {failed} series could be forecast; {first}"),
        // Rows are for forecasts alone; the other formats have told each failure in its place.
        Some(first) if options.format == Format::Csv => {
            eprintln!("tidecast: {failed} of {} series could not be forecast; {first}", series.len());
            Ok(ExitCode::SUCCESS)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A model as it is named, with the season where it takes one.
pub fn model(name: &str, season: u32) -> anyhow::Result<Spec> {
    let season = season as usize;
    let mut name = name.trim().to_owned();
    // ARIMA(p,d,q)(P,D,Q) says its season elsewhere.
    if season > 1 && name.ends_with(')') && name.matches('(').count() == 2 {
        name += &season.to_string();
    }
    Spec::from_parts(&name, None, None, Some(season)).map_err(|error| Usage(error.to_string()).into())
}

/// With the mean and drift that were asked for.
fn with_terms(spec: Spec, options: &ForecastOptions) -> anyhow::Result<Spec> {
    let Spec::Arima(arima) = spec else {
        for (given, name) in [(options.drift, "--drift"), (options.no_mean, "--no-mean")] {
            if given {
                let why = format!("{name} is for ARIMA models with their orders, and {spec} is none");
                return Err(Usage(why).into());
            }
        }
        return Ok(spec);
    };
    let arima = Arima { mean: !options.no_mean, drift: options.drift, ..arima };
    if arima.drift && arima.order.1 + arima.seasonal_order.1 > 1 {
        let why = format!("--drift: {spec} takes more than one difference, which leaves nothing of a drift");
        return Err(Usage(why).into());
    }
    Ok(Spec::Arima(arima))
}

impl Plan {
    fn forecast(&self, series: &Series) -> Result<Outcome, String> {
        let History { values, .. } = series.history.as_ref().map_err(Clone::clone)?;
        let logs: Vec<f64>;
        let y = if self.log {
            if let Some(value) = values.iter().find(|v| **v <= 0.0) {
                return Err(format!("--log needs values above 0 and there is {value}"));
            }
            logs = values.iter().map(|v| v.ln()).collect();
            &logs
        } else {
            values
        };
        let (fitted, mut path) = if self.conformal {
            conformal::forecast(&self.spec, y, self.horizon, self.level).map_err(|e| e.to_string())?
        } else {
            let fitted = self.spec.fit(y, &mut Budget::default()).map_err(|e| e.to_string())?;
            let path = fitted.forecast(self.horizon, self.level);
            (fitted, path)
        };
        if self.log {
            // The exponential of a median is the median, and of a bound the bound; a double ends at 1.8e308.
            let back = |v: f64| v.exp().min(f64::MAX);
            for step in &mut path {
                *step = Step { mean: back(step.mean), lower: back(step.lower), upper: back(step.upper) };
            }
        }
        Ok(Outcome { summary: fitted.summary(), path })
    }
}

/// Times of the steps, from 1.
fn times(series: &Series, step: usize) -> Option<crate::files::stamp::Stamp> {
    series.history.as_ref().ok()?.timeline.ahead(step)
}

fn write_json(
    out: &mut impl Write,
    series: &Series,
    outcome: &Result<Outcome, String>,
) -> std::io::Result<()> {
    let object = match outcome {
        Err(error) => json!({"unique_id": series.id, "error": error}),
        Ok(Outcome { summary, path }) => {
            let path: Vec<Value> = path
                .iter()
                .enumerate()
                .map(|(at, step)| {
                    let ds = times(series, at + 1).map_or(Value::Null, |stamp| stamp.json());
                    json!({"step": at + 1, "ds": ds, "mean": step.mean, "lower": step.lower, "upper": step.upper})
                })
                .collect();
            let params: Map<String, Value> =
                summary.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let mut object = json!({
                "unique_id": series.id,
                "model": summary.model,
                "n": summary.n,
                "loglik": summary.loglik,
                "aic": summary.aic,
                "aicc": summary.aicc,
                "bic": summary.bic,
                "sigma2": summary.sigma2,
                "params": params,
                "path": path,
            });
            if summary.budget_exhausted {
                // The search was cut short: this is the best model that it had found.
                object["budget_exhausted"] = Value::Bool(true);
            }
            object
        }
    };
    writeln!(out, "{object}")
}

fn write_csv(
    out: &mut impl Write,
    series: &Series,
    outcome: &Result<Outcome, String>,
) -> std::io::Result<()> {
    if let Ok(Outcome { path, .. }) = outcome {
        let id = quoted(&series.id);
        for (at, Step { mean, lower, upper }) in path.iter().enumerate() {
            let ds = times(series, at + 1).map_or_else(String::new, |stamp| stamp.text());
            writeln!(out, "{id},{},{ds},{mean},{lower},{upper}", at + 1)?;
        }
    }
    Ok(())
}

fn write_table(
    out: &mut impl Write,
    series: &Series,
    outcome: &Result<Outcome, String>,
    level: f64,
) -> std::io::Result<()> {
    match outcome {
        Err(error) => writeln!(out, "{}: {error}\n", series.id),
        Ok(Outcome { summary, path }) => {
            writeln!(out, "{}: {}, n = {}", series.id, summary.model, summary.n)?;
            let mut facts: Vec<String> =
                summary.params.iter().map(|(n, v)| format!("{n} {}", short(*v))).collect();
            for (name, value) in
                [("sigma2", summary.sigma2), ("loglik", summary.loglik), ("AICc", summary.aicc)]
            {
                facts.extend(value.map(|value| format!("{name} {}", short(value))));
            }
            if summary.budget_exhausted {
                facts.push("(the search was cut short)".to_owned());
            }
            if !facts.is_empty() {
                writeln!(out, "{}", facts.join("  "))?;
            }
            let largest = path.iter().fold(0.0, |a: f64, s| a.max(s.lower.abs()).max(s.upper.abs()));
            let mut rows = vec![["ds", "mean"].map(str::to_owned).to_vec()];
            rows[0].extend([format!("lower {level}%"), format!("upper {level}%")]);
            rows.extend(path.iter().enumerate().map(|(at, step)| {
                let ds = times(series, at + 1).map(|stamp| stamp.text());
                let numbers = [step.mean, step.lower, step.upper].map(|v| even(v, largest));
                [vec![ds.unwrap_or_else(|| format!("+{}", at + 1))], numbers.to_vec()].concat()
            }));
            columns(out, &rows)?;
            writeln!(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::timeline::Timeline;

    fn options(arguments: &[&str]) -> ForecastOptions {
        use clap::Parser;
        let all = [&["tidecast", "forecast", "x.csv"], arguments].concat();
        match crate::cli::Cli::parse_from(all).command {
            crate::cli::Command::Forecast(options) => options,
            other => panic!("{other:?}"),
        }
    }

    fn spec(arguments: &[&str]) -> anyhow::Result<Spec> {
        let options = options(arguments);
        with_terms(model(&options.model, options.season)?, &options)
    }

    fn series(values: Vec<f64>) -> Series {
        let timeline = Timeline::of(&[], values.len());
        Series { id: "s".into(), history: Ok(History { values, left_out: 0, timeline }) }
    }

    #[test]
    fn terms_are_for_arima_and_seasons_for_whoever_has_none() {
        let Ok(Spec::Arima(arima)) = spec(&["--model", "ARIMA(1,0,0)", "--no-mean"]) else { panic!() };
        assert!(!arima.mean && !arima.drift);
        let Ok(Spec::Arima(arima)) = spec(&["--model", "arima(0,1,1)(0,1,1)", "--season", "12"]) else {
            panic!()
        };
        assert_eq!((arima.season, arima.drift), (12, false));
        assert_eq!(spec(&["--model", "Theta", "--season", "7"]).unwrap(), Spec::Theta { season: 7 });
        for wrong in [
            vec!["--model", "Oracle"],
            vec!["--model", "ARIMA"],
            vec!["--model", "Theta", "--drift"],
            vec!["--model", "ARIMA(0,1,1)(0,1,1)12", "--drift"],
            vec!["--model", "AutoETS", "--season", "20000"],
        ] {
            assert!(spec(&wrong).unwrap_err().is::<Usage>(), "{wrong:?}");
        }
    }

    #[test]
    fn logarithms_come_back_as_medians_inside_their_interval() {
        let plan = Plan { spec: Spec::Naive, horizon: 3, level: 0.9, log: true, conformal: false };
        let outcome = plan.forecast(&series((1..30).map(|t| f64::from(t % 5 + 1)).collect())).ok().unwrap();
        let step = outcome.path[0];
        assert!((step.mean - 5.0).abs() < 1e-9);
        // Symmetric in logarithms: the median is the geometric middle.
        assert!(((step.lower * step.upper).sqrt() - step.mean).abs() < 1e-9);
        let error = plan.forecast(&series(vec![1.0, 0.0, 2.0])).err().unwrap();
        assert!(error.contains("above 0"), "{error}");
    }

    #[test]
    fn a_failed_series_is_an_object_with_its_error() {
        let mut out = Vec::new();
        write_json(&mut out, &series(vec![]), &Err("why".into())).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"unique_id\":\"s\",\"error\":\"why\"}\n");
    }
}
