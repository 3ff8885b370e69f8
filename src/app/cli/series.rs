//! Options of the commands that need no stream: `forecast`, `backtest` and `detect` over CSV files.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

const COUNT: std::ops::RangeInclusive<i64> = 1..=100_000;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
    /// CSV
    Csv,
}

const FORECAST_HELP: &str = "\
FILE has the columns unique_id, ds and y (others are left aside), or is one column of numbers, with a header or \
without. An empty cell or NaN is a missing observation, and so is a step of ds that no row has.

  tidecast forecast passengers.csv --model 'ARIMA(0,1,1)(0,1,1)12' --log --horizon 24
  tidecast forecast sales.csv --model AutoETS --season 7 --horizon 28 --format json
  tail -n 500 load.txt | tidecast forecast - --model Theta --format csv

Models: ARIMA(p,d,q), ARIMA(p,d,q)(P,D,Q)m, AutoARIMA, ETS, ETS(M,Ad,M), AutoETS, Theta, DynamicOptimizedTheta, \
GARCH(p,q), SeasonalNaive, Naive, Drift, Ensemble, CrostonSBA, TSB, MSTL(24,168).";

/// `tidecast forecast`.
#[derive(Debug, Clone, Args)]
#[command(after_help = FORECAST_HELP)]
pub struct ForecastOptions {
    /// CSV of `unique_id,ds,y`, or one column of numbers; `-` is standard input
    pub file: PathBuf,
    /// The model, e.g. 'ARIMA(2,1,1)', AutoARIMA, AutoETS, Theta, Ensemble
    #[arg(long, default_value = "AutoETS")]
    pub model: String,
    /// Steps ahead
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(COUNT), allow_negative_numbers = true)]
    pub horizon: u32,
    /// Level of the intervals, per cent
    #[arg(long, default_value_t = 95.0, value_parser = level, allow_negative_numbers = true)]
    pub level: f64,
    /// Steps in a season, e.g. 12 for months of a year; 1 is none
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(COUNT), allow_negative_numbers = true)]
    pub season: u32,
    /// Model the logarithm; forecasts are medians
    #[arg(long)]
    pub log: bool,
    /// ARIMA: fit no mean where no difference is taken
    #[arg(long)]
    pub no_mean: bool,
    /// ARIMA: fit a drift, a slope per step
    #[arg(long)]
    pub drift: bool,
    /// Intervals calibrated on the model's own past errors
    #[arg(long)]
    pub conformal: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

const BACKTEST_HELP: &str = "\
  tidecast backtest sales.csv --models 'Theta,AutoARIMA,ETS(A,Ad,A)' --horizon 18 --season 12

sMAPE is in per cent (0 to 200), MASE and RMSSE are scaled by the in-sample error of the seasonal naive forecast, \
coverage is that of the intervals, and all are averaged over series. Seconds are of the clock.";

/// `tidecast backtest`.
#[derive(Debug, Clone, Args)]
#[command(after_help = BACKTEST_HELP)]
pub struct BacktestOptions {
    /// CSV of `unique_id,ds,y`, or one column of numbers; `-` is standard input
    pub file: PathBuf,
    /// Models, comma-separated (commas inside parentheses belong to a model)
    #[arg(long, default_value = "SeasonalNaive,AutoETS,Theta")]
    pub models: String,
    /// Steps held out
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(COUNT), allow_negative_numbers = true)]
    pub horizon: u32,
    /// Steps in a season; 1 is none
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(COUNT), allow_negative_numbers = true)]
    pub season: u32,
    /// Level of the intervals, per cent
    #[arg(long, default_value_t = 95.0, value_parser = level, allow_negative_numbers = true)]
    pub level: f64,
    /// Windows, each one horizon before the next
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub windows: u32,
    /// Intervals calibrated on the model's own past errors
    #[arg(long)]
    pub conformal: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

const DETECT_HELP: &str = "\
  tidecast detect cpu.csv > scored.csv
  tail -f metrics.csv | tidecast detect - --value latency --format json

One pass: the score of a row, from 0 to 1, depends on the rows before it alone. The first hundred rows or so teach \
what is usual and score low.";

/// `tidecast detect`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DETECT_HELP)]
pub struct DetectOptions {
    /// CSV with a timestamp and a value in each row; `-` is standard input
    pub file: PathBuf,
    /// The column to score
    #[arg(long, default_value = "value")]
    pub value: String,
    /// The column of times
    #[arg(long, default_value = "timestamp")]
    pub timestamp: String,
    /// Score from which a row is an anomaly
    #[arg(long, default_value_t = tidecast_forecast::detect::THRESHOLD, value_parser = threshold, allow_negative_numbers = true)]
    pub threshold: f64,
    /// Rows in a season, 1 for none; where it is not given, a day by the times
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub season: Option<u32>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| "not a number".to_owned())
}

/// Per cent, both ends left out.
fn level(text: &str) -> Result<f64, String> {
    match number(text)? {
        level if level > 0.0 && level < 100.0 => Ok(level),
        _ => Err("a level is per cent, above 0 and below 100, e.g. 95".to_owned()),
    }
}

fn threshold(text: &str) -> Result<f64, String> {
    match number(text)? {
        threshold if (0.0..=1.0).contains(&threshold) => Ok(threshold),
        _ => Err("scores are from 0 to 1, and so is a threshold".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use clap::Parser;

    fn parsed(arguments: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(arguments).map(|cli| cli.command)
    }

    #[test]
    fn unless_told_otherwise_there_is_no_season_and_the_level_is_95() {
        let Ok(Command::Forecast(options)) = parsed(&["tidecast", "forecast", "a.csv"]) else { panic!() };
        assert_eq!((options.season, options.level, options.horizon), (1, 95.0, 12));
        let Ok(Command::Detect(options)) = parsed(&["tidecast", "detect", "-"]) else { panic!() };
        assert_eq!((options.threshold, options.value.as_str(), options.season), (0.8, "value", None));
    }

    #[test]
    fn levels_horizons_and_thresholds_out_of_range_are_wrong_usage() {
        for wrong in [
            ["forecast", "a.csv", "--level", "0"],
            ["forecast", "a.csv", "--level", "100"],
            ["forecast", "a.csv", "--level", "NaN"],
            ["forecast", "a.csv", "--horizon", "0"],
            ["backtest", "a.csv", "--season", "0"],
            ["backtest", "a.csv", "--windows", "0"],
            ["detect", "a.csv", "--threshold", "1.1"],
        ] {
            let error = parsed(&[&["tidecast"], &wrong[..]].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
        assert!(parsed(&["tidecast", "forecast", "a.csv", "--level", "0.5"]).is_ok());
    }
}
