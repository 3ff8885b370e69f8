//! How right forecasts were: sMAPE, MASE, RMSSE, coverage and width, per series and on average.

use crate::Step;

/// Symmetric mean absolute percentage error in per cent, 0 to 200, as the M3 competition defined it:
/// the mean of `200 |y − ŷ| / (|y| + |ŷ|)`, a step where both are zero counting 0. Missing actuals are left out;
/// `None` where all are missing.
pub fn smape(actual: &[f64], path: &[Step]) -> Option<f64> {
    mean(actual, path, |y, step| {
        // Halves keep sums of huge values finite.
        let size = 0.5 * y.abs() + 0.5 * step.mean.abs();
        if size == 0.0 { 0.0 } else { 200.0 * ((0.5 * y - 0.5 * step.mean) / size).abs() }
    })
}

/// Mean absolute error over the in-sample mean absolute error of the seasonal naive forecast (Hyndman and Koehler
/// 2006). `None` where that is zero or nothing is known.
pub fn mase(actual: &[f64], path: &[Step], history: &[f64], season: usize) -> Option<f64> {
    let scale = naive_error(history, season, f64::abs)?;
    mean(actual, path, |y, step| (y - step.mean).abs() / scale)
}

/// Root of the mean squared error over the in-sample mean squared error of the seasonal naive forecast (M5). `None`
/// where that is zero or nothing is known.
pub fn rmsse(actual: &[f64], path: &[Step], history: &[f64], season: usize) -> Option<f64> {
    let scale = naive_error(history, season, |e| e * e)?;
    mean(actual, path, |y, step| (y - step.mean).powi(2) / scale).map(f64::sqrt)
}

/// Share of actuals inside their interval, 0 to 1.
pub fn coverage(actual: &[f64], path: &[Step]) -> Option<f64> {
    mean(actual, path, |y, step| if (step.lower..=step.upper).contains(&y) { 1.0 } else { 0.0 })
}

/// Mean width of the intervals, in units of the series, over the steps whose actual is known.
pub fn width(actual: &[f64], path: &[Step]) -> Option<f64> {
    mean(actual, path, |_, step| step.upper - step.lower)
}

fn mean(actual: &[f64], path: &[Step], value: impl Fn(f64, &Step) -> f64) -> Option<f64> {
    let (sum, count) = actual
        .iter()
        .zip(path)
        .filter(|(y, _)| y.is_finite())
        .fold((0.0, 0usize), |(sum, count), (&y, step)| (sum + value(y, step), count + 1));
    (count > 0).then(|| sum / count as f64).filter(|v| v.is_finite())
}

fn naive_error(history: &[f64], season: usize, size: impl Fn(f64) -> f64) -> Option<f64> {
    let m = season.max(1);
    let (sum, count) = history
        .iter()
        .skip(m)
        .zip(history)
        .map(|(a, b)| a - b)
        .filter(|e| e.is_finite())
        .fold((0.0, 0usize), |(sum, count), e| (sum + size(e), count + 1));
    (count > 0).then(|| sum / count as f64).filter(|v| v.is_finite() && *v > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(means: &[f64]) -> Vec<Step> {
        means.iter().map(|&mean| Step { mean, lower: mean - 1.0, upper: mean + 1.0 }).collect()
    }

    #[test]
    fn measures_are_their_definitions() {
        let path = steps(&[10.0, 0.0, 3.0]);
        let actual = [12.0, 0.0, f64::NAN];
        assert!((smape(&actual, &path).unwrap() - 0.5 * 200.0 * 2.0 / 22.0).abs() < 1e-12);
        assert_eq!(coverage(&actual, &path), Some(0.5));
        assert_eq!(width(&actual, &path), Some(2.0));
        // In-sample changes at season 2: |3−1| and |5−2|, mean 2.5; squares 4 and 9, mean 6.5.
        let history = [1.0, 2.0, 3.0, 5.0];
        assert!((mase(&actual, &path, &history, 2).unwrap() - 1.0 / 2.5).abs() < 1e-12);
        assert!((rmsse(&actual, &path, &history, 2).unwrap() - (2.0_f64 / 6.5).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_measured_is_none() {
        let path = steps(&[1.0]);
        assert_eq!(smape(&[f64::NAN], &path), None);
        assert_eq!(mase(&[2.0], &path, &[5.0, 5.0, 5.0], 1), None);
        assert_eq!(smape(&[1e308], &steps(&[-1e308])), Some(200.0));
    }
}
