//! Holding out the last steps of a series, forecasting them from what came before, and measuring.

use crate::conformal;
use crate::{Budget, Fit, FitError, Predict, Spec, Step, accuracy};

/// What is held out and how forecasts are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backtest {
    /// Steps held out in each window, at least 1.
    pub horizon: usize,
    /// Season of the naive forecast that scales MASE and RMSSE; 1 is none.
    pub season: usize,
    /// Windows, each one horizon before the next; the last ends with the series.
    pub windows: usize,
    /// Level of the intervals in (0, 1).
    pub level: f64,
    /// Calibrated intervals instead of the model's own.
    pub conformal: bool,
}

/// Sums over windows and series, from which averages are made. Tallies of parts add up to that of the whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    measures: [Mean; 5],
    seconds: f64,
    series: usize,
    failed: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    sum: f64,
    count: usize,
}

/// Averages over series. A measure is `None` where no series has it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// In per cent, 0 to 200.
    pub smape: Option<f64>,
    /// Scaled by the in-sample seasonal naive error.
    pub mase: Option<f64>,
    /// Scaled by the in-sample seasonal naive squared error.
    pub rmsse: Option<f64>,
    /// From 0 to 1.
    pub coverage: Option<f64>,
    /// In units of the series.
    pub mean_width: Option<f64>,
    /// Time spent in fits and forecasts.
    pub seconds: f64,
    /// Series that were forecast.
    pub series: usize,
    /// Series that could not be.
    pub failed: usize,
}

impl Backtest {
    /// Measures `spec` on one series. `now` gives seconds from any fixed point; it is read, never waited for.
    pub fn run(&self, spec: &Spec, y: &[f64], now: &impl Fn() -> f64) -> Tally {
        let mut tally = Tally::default();
        let horizon = self.horizon.max(1);
        let started = now();
        let mut means = [Mean::default(); 5];
        for window in (1..=self.windows.max(1)).rev() {
            let Some(end) = y.len().checked_sub(horizon * window).filter(|end| *end > 0) else { continue };
            let (history, actual) = (&y[..end], &y[end..end + horizon]);
            if let Ok(path) = self.forecast(spec, history) {
                let values = [
                    accuracy::smape(actual, &path),
                    accuracy::mase(actual, &path, history, self.season),
                    accuracy::rmsse(actual, &path, history, self.season),
                    accuracy::coverage(actual, &path),
                    accuracy::width(actual, &path),
                ];
                means.iter_mut().zip(values).for_each(|(mean, v)| mean.add(v));
            }
        }
        tally.seconds = now() - started;
        let worked = means[0].count > 0;
        (tally.series, tally.failed) = (usize::from(worked), usize::from(!worked));
        for (total, mean) in tally.measures.iter_mut().zip(means) {
            total.add((mean.count > 0).then(|| mean.sum / mean.count as f64));
        }
        tally
    }

    fn forecast(&self, spec: &Spec, history: &[f64]) -> Result<Vec<Step>, FitError> {
        if self.conformal {
            return conformal::forecast(spec, history, self.horizon, self.level).map(|(_, path)| path);
        }
        Ok(spec.fit(history, &mut Budget::default())?.forecast(self.horizon.max(1), self.level))
    }
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(v) = value.filter(|v| v.is_finite()) {
            self.sum += v;
            self.count += 1;
        }
    }
}

impl Tally {
    /// Adds the tally of other series.
    pub fn merge(&mut self, other: &Tally) {
        for (mine, theirs) in self.measures.iter_mut().zip(other.measures) {
            mine.sum += theirs.sum;
            mine.count += theirs.count;
        }
        self.seconds += other.seconds;
        self.series += other.series;
        self.failed += other.failed;
    }

    /// The averages.
    pub fn report(&self) -> Report {
        let [smape, mase, rmsse, coverage, mean_width] =
            self.measures.map(|m| (m.count > 0).then(|| m.sum / m.count as f64));
        Report {
            smape,
            mase,
            rmsse,
            coverage,
            mean_width,
            seconds: self.seconds,
            series: self.series,
            failed: self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn backtest(windows: usize) -> Backtest {
        Backtest { horizon: 2, season: 1, windows, level: 0.9, conformal: false }
    }

    #[test]
    fn the_last_steps_are_held_out_and_measured() {
        let ticks = Cell::new(0.0);
        let now = || ticks.replace(ticks.get() + 1.5);
        let y = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 4.0, 2.0];
        let report = backtest(1).run(&Spec::Naive, &y, &now).report();
        // Naive says 2 and 2: errors 2 and 0, scaled by in-sample changes of 1.
        assert_eq!(report.mase, Some(1.0));
        assert!((report.smape.unwrap() - 0.5 * 200.0 / 3.0).abs() < 1e-12);
        assert_eq!((report.seconds, report.series, report.failed), (1.5, 1, 0));
    }

    #[test]
    fn windows_end_one_horizon_apart_and_a_series_counts_once() {
        let y: Vec<f64> = (0..30).map(f64::from).collect();
        let report = backtest(3).run(&Spec::Naive, &y, &|| 0.0).report();
        assert_eq!((report.series, report.mase), (1, Some(1.5)));
    }

    #[test]
    fn a_series_too_short_is_counted_as_failed() {
        let mut tally = backtest(1).run(&Spec::Naive, &[1.0, 2.0], &|| 0.0);
        tally.merge(&backtest(1).run(&Spec::Naive, &[1.0, 2.0, 3.0, 4.0], &|| 0.0));
        let report = tally.report();
        assert_eq!((report.series, report.failed), (1, 1));
    }
}
