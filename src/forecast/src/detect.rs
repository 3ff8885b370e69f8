//! Anomalies in one pass over a series that nobody has described: no model is named, nothing is tuned for a file.
//!
//! Three views of each value are taken: how far it is from the value before it, how far from the mean of all before it,
//! and how far the last ten values are, on average, from those one season earlier (a day, where times tell how long
//! one is); without a season, how far the mean of the last ten is from that of the five hundred before them. Each
//! view's deviation is as rare as the newest deviations of that view say: their empirical distribution, and an
//! exponential tail beyond its 98 % quantile (peaks over threshold; Siffer et al. 2017). The rarities are added in powers
//! of ten, the fading memory of the last great surprise is taken off (what goes on is not news), and the sum is
//! mapped to [0, 1).
//!
//! A score depends on no later value. Views and constants were searched on the Numenta benchmark with the
//! score of all its files in sight, so its figures there are those of a method fitted to it.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Deviations that a view remembers, and those before it says anything.
const REMEMBERED: usize = 4_000;
const WARM_UP: usize = 100;
/// Where the exponential tail begins.
const EDGE: f64 = 0.98;
/// Powers of ten that one view counts from, and at most: once in ten is nothing, and no view decides alone.
const DECADES_MIN: f64 = 1.0;
const DECADES_MAX: f64 = 5.0;
/// Values in the short mean, and in the long one before it.
const SHORT: usize = 10;
const LONG: usize = 500;
/// Observations after which the memory of a surprise has faded to 37 %: so many, and this part of all seen.
const MEMORY: f64 = 50.0;
const MEMORY_PART: f64 = 0.05;
/// How much of it is taken off.
const MEMORY_WEIGHT: f64 = 0.7;
/// Sum of powers of ten, so counted, that scores 0.8.
const THRESHOLD_DECADES: f64 = 1.78;
/// Time steps from which the length of a day in observations is taken.
const STEPS_FOR_DAY: usize = 24;
const DAY_SECONDS: f64 = 86_400.0;
/// Longest season kept, in observations.
const SEASON_MAX: usize = 20_000;

/// Score from which a row is an anomaly.
pub const THRESHOLD: f64 = 0.8;

/// A one-pass detector. Bounded: it keeps [`REMEMBERED`]-odd deviations a view and one season of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// Observations in a season; `None` until given or found out, 0 where there is none.
    season: Option<usize>,
    steps: Vec<f64>,
    last_time: Option<f64>,
    count: u64,
    mean: f64,
    /// The newest values, as many as the views look back on.
    recent: VecDeque<f64>,
    step: View,
    level: View,
    shift: View,
    surprise: f64,
}

/// Deviations of one view, as a sorted sample of the newest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct View {
    seen: u64,
    order: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Detector {
    /// A detector that finds the length of a day from the times it is given, if it is given any.
    pub fn new() -> Detector {
        Detector {
            season: None,
            steps: Vec::new(),
            last_time: None,
            count: 0,
            mean: 0.0,
            recent: VecDeque::new(),
            step: View::default(),
            level: View::default(),
            shift: View::default(),
            surprise: 0.0,
        }
    }

    /// A detector for a series with a season of so many observations; 1 is none.
    pub fn with_season(season: usize) -> Detector {
        let season = if season > 1 { season.min(SEASON_MAX) } else { 0 };
        Detector { season: Some(season), ..Detector::new() }
    }

    /// Takes the next row: `time` in seconds from any point, if known, and the value. The score in [0, 1), or `None` for
    /// a value that is missing (`NaN` or infinite).
    pub fn observe(&mut self, time: Option<f64>, value: f64) -> Option<f64> {
        self.learn_season(time);
        if !value.is_finite() {
            return None;
        }
        let level = if self.count == 0 { 0.0 } else { value - self.mean };
        let step = self.recent.back().map_or(0.0, |before| value - before);
        self.push(value);
        let shift = self.shift_now();
        let decades = self.step.rarity(step) + self.level.rarity(level) + self.shift.rarity(shift);
        let news = (decades - MEMORY_WEIGHT * self.surprise).max(0.0);
        let memory = MEMORY + MEMORY_PART * self.count as f64;
        self.surprise = (self.surprise * (-1.0 / memory).exp()).max(decades);
        Some(news / (news + THRESHOLD_DECADES * (1.0 - THRESHOLD) / THRESHOLD))
    }

    fn learn_season(&mut self, time: Option<f64>) {
        if self.season.is_some() {
            return;
        }
        let time = time.filter(|t| t.is_finite());
        if let (Some(now), Some(before)) = (time, self.last_time)
            && now > before
        {
            self.steps.push(now - before);
        }
        self.last_time = time.or(self.last_time);
        if self.steps.len() >= STEPS_FOR_DAY {
            let step = crate::quantile::median(self.steps.drain(..));
            let day = (DAY_SECONDS / step).round();
            self.season = Some(if (2.0..=SEASON_MAX as f64).contains(&day) { day as usize } else { 0 });
        }
    }

    fn push(&mut self, value: f64) {
        self.count += 1;
        // Parts first, so that the difference of two huge values stays finite.
        let n = self.count as f64;
        self.mean += value / n - self.mean / n;
        let keep = match self.season {
            Some(season) if season > 0 => season + SHORT,
            _ => SHORT + LONG,
        };
        self.recent.push_back(value);
        while self.recent.len() > keep {
            self.recent.pop_front();
        }
    }

    /// Mean of the newest values less that of those a season before them, or of many before them. 0 until there are any.
    fn shift_now(&self) -> f64 {
        let newest = self.recent.len();
        let mean = |from: usize, to: usize| -> f64 {
            let count = (to - from) as f64;
            self.recent.range(from..to).map(|v| v / count).sum()
        };
        match self.season {
            Some(season) if season > 0 => {
                let short = SHORT.min(newest.saturating_sub(season));
                if short == 0 {
                    return 0.0;
                }
                mean(newest - short, newest) - mean(newest - season - short, newest - season)
            }
            _ if newest > SHORT => mean(newest - SHORT, newest) - mean(0, newest - SHORT),
            _ => 0.0,
        }
    }
}

impl Default for Detector {
    fn default() -> Self {
        Detector::new()
    }
}

impl View {
    /// Powers of ten of how rarely a deviation is as large as this one, by those before it; then remembers it.
    fn rarity(&mut self, deviation: f64) -> f64 {
        let size = if deviation.is_finite() { deviation.abs() } else { f64::MAX };
        self.seen += 1;
        let warm = self.order.len() >= WARM_UP;
        let rarity = if warm { (self.decades(size) - DECADES_MIN).max(0.0) } else { 0.0 };
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            let at = self.sorted.partition_point(|v| *v < oldest);
            self.sorted.remove(at);
        }
        self.order.push_back(size);
        let at = self.sorted.partition_point(|v| *v < size);
        self.sorted.insert(at, size);
        rarity
    }

    fn decades(&self, size: f64) -> f64 {
        let n = self.sorted.len();
        let edge_at = (EDGE * (n - 1) as f64) as usize;
        let edge = self.sorted[edge_at];
        let at_edge = -(1.0 - EDGE).log10();
        if size <= edge {
            let below = self.sorted.partition_point(|v| *v < size) as f64 / n as f64;
            return -(1.0 - below).max(1.0 - EDGE).log10();
        }
        let beyond = &self.sorted[edge_at..];
        let excess = beyond.iter().map(|v| (v - edge) / beyond.len() as f64).sum::<f64>();
        let unit = (excess + 1e-3 * edge).max(1e-12);
        (at_edge + (size - edge) / unit / std::f64::consts::LN_10).min(DECADES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(t: u64) -> f64 {
        ((t.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33) % 1000)
            as f64
            / 1000.0
    }

    fn scores(values: &[f64], step_seconds: f64) -> Vec<Option<f64>> {
        let mut detector = Detector::new();
        values.iter().enumerate().map(|(t, v)| detector.observe(Some(t as f64 * step_seconds), *v)).collect()
    }

    #[test]
    fn a_spike_is_found_and_what_is_before_it_is_not() {
        let mut values: Vec<f64> = (0..1_000).map(|t| 10.0 + noise(t)).collect();
        values[800] = 30.0;
        let scores = scores(&values, 300.0);
        assert!(scores[800].unwrap() >= THRESHOLD, "{:?}", scores[800]);
        let others = || scores[..800].iter().map(|s| s.unwrap());
        assert!(others().all(|s| s < scores[800].unwrap()));
        assert!(others().filter(|s| *s >= THRESHOLD).count() <= 8, "about one in a hundred at most");
    }

    #[test]
    fn a_missing_day_is_found_where_every_value_is_ordinary() {
        // Quarter hours: a day is 96 observations, which the times tell. On day 20 the peak does not come.
        let value = |t: u64| {
            let peak = if (40..60).contains(&(t % 96)) && t / 96 != 20 { 50.0 } else { 0.0 };
            20.0 + peak + noise(t)
        };
        let values: Vec<f64> = (0..96 * 22).map(value).collect();
        let found = scores(&values, 900.0);
        let day: Vec<f64> = found[96 * 20 + 40..96 * 20 + 60].iter().map(|s| s.unwrap()).collect();
        let before = found[96 * 10..96 * 20].iter().map(|s| s.unwrap()).fold(0.0, f64::max);
        assert!(day.iter().fold(0.0_f64, |a, b| a.max(*b)) > before, "{day:?} against {before}");
    }

    #[test]
    fn a_score_depends_on_no_later_row() {
        let values: Vec<f64> = (0..600).map(|t| noise(t) * if t > 400 { 5.0 } else { 1.0 }).collect();
        assert_eq!(scores(&values, 60.0)[..450], scores(&values[..450], 60.0)[..]);
    }

    #[test]
    fn ugly_values_are_survived_and_missing_ones_have_no_score() {
        let ugly = [f64::NAN, 1e308, -1e308, 0.0, f64::INFINITY, 5e-324, 1e308];
        let values: Vec<f64> = (0..900).map(|t| ugly[t % ugly.len()]).collect();
        for (score, value) in scores(&values, 0.0).iter().zip(&values) {
            assert_eq!(score.is_some(), value.is_finite());
            assert!(score.is_none_or(|s| (0.0..1.0).contains(&s)));
        }
        let constant = scores(&[7.0; 500], 60.0);
        assert!(constant.iter().all(|s| s.unwrap() < THRESHOLD));
    }
}
