//! Anomalies in one pass over a series that nobody has described: no model is named, nothing is tuned for a file.
//!
//! Six views of each value are taken: how far it is
//!
//! - from the value before it;
//! - from the mean of all before it;
//! - beyond the highest and the lowest of all before it, as a part of their distance;
//! - from what the same hour of the day had of late, where there is a day;
//! - with the seven values before it, from the third nearest such stretch of the past (k-nearest neighbours of lagged
//!   windows, as in Burnaev and Ishimtsev 2016, "Conformalized density- and distance-based anomaly detection");
//! - and how far the last ten values are, on average, from those one season earlier (a day, where times tell how long
//!   one is), or without a season from the five hundred before them.
//!
//! Each view's deviation is as rare as the newest deviations of that view say: their empirical distribution, and an
//! exponential tail beyond its 99 % quantile (peaks over threshold; Siffer et al. 2017). The rarities are added in powers
//! of ten, the fading memory of the last great surprise is taken off (what goes on is not news), for some time after an
//! anomaly only a greater one is told, and the sum is mapped to [0, 1).
//!
//! A score depends on no later value. Views and constants were chosen on the Numenta benchmark's files at even places
//! (the first three views that it had before, on all of them).

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Deviations that a view remembers, and those before it says anything.
const REMEMBERED: usize = 4_000;
const WARM_UP: usize = 100;
/// Where the exponential tail begins.
const EDGE: f64 = 0.99;
/// Powers of ten that one view counts from, and at most: once in ten is nothing, and no view decides alone.
const DECADES_MIN: f64 = 1.0;
const DECADES_MAX: f64 = 6.0;
/// Values in the short mean, and in the long one before it.
const SHORT: usize = 10;
const LONG: usize = 500;
/// Values in a stretch, stretches that it is compared with, and which nearest of them counts.
const STRETCH: usize = 8;
const STRETCHES: usize = 2_000;
const NEAREST: usize = 3;
/// Parts of a season with an expectation of their own (the hours of a day), and what a value moves it by.
const HOURS: usize = 24;
const HOUR_FOLLOWS: f64 = 0.3;
/// Observations after which the memory of a surprise has faded to 37 %: so many, and this part of all seen.
const MEMORY: f64 = 50.0;
const MEMORY_PART: f64 = 0.05;
/// How much of it is taken off.
const MEMORY_WEIGHT: f64 = 0.75;
/// Time after an anomaly in which only a greater one is told: this part of all seen.
const PAUSE_PART: f64 = 0.04;
/// Observations that count as all seen, at most.
const SEEN_MAX: u64 = 20_000;
/// Sum of powers of ten, so counted, that scores 0.8.
const THRESHOLD_DECADES: f64 = 3.2;
/// What a repeated anomaly counts for at most, in the same.
const REPEATED: f64 = 0.9 * THRESHOLD_DECADES;
/// Time steps from which the length of a day in observations is taken.
const STEPS_FOR_DAY: usize = 24;
const DAY_SECONDS: f64 = 86_400.0;
/// Longest season kept, in observations.
const SEASON_MAX: usize = 20_000;

/// Score from which a row is an anomaly.
pub const THRESHOLD: f64 = 0.8;

/// A one-pass detector. Bounded: it keeps [`REMEMBERED`]-odd deviations a view and two seasons of values, or
/// [`STRETCHES`] where that is more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// Observations in a season; `None` until given or found out, 0 where there is none.
    season: Option<usize>,
    /// Whether the season was given: then its parts are told by counting, else by the time of day.
    given: bool,
    steps: Vec<f64>,
    last_time: Option<f64>,
    rows: u64,
    count: u64,
    mean: f64,
    lowest: f64,
    highest: f64,
    /// What each hour had of late.
    hours: Vec<Option<f64>>,
    /// The newest values, at least as many as the views look back on and at most twice as many.
    recent: Vec<f64>,
    step: View,
    level: View,
    extreme: View,
    hour: View,
    stretch: View,
    shift: View,
    surprise: f64,
    /// The last anomaly that was told: its count and its news.
    told: Option<(u64, f64)>,
}

/// Deviations of one view, as a sorted sample of the newest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct View {
    order: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Detector {
    /// A detector that finds the length of a day from the times it is given, if it is given any.
    pub fn new() -> Detector {
        Detector {
            season: None,
            given: false,
            steps: Vec::new(),
            last_time: None,
            rows: 0,
            count: 0,
            mean: 0.0,
            lowest: 0.0,
            highest: 0.0,
            hours: vec![None; HOURS],
            recent: Vec::new(),
            step: View::default(),
            level: View::default(),
            extreme: View::default(),
            hour: View::default(),
            stretch: View::default(),
            shift: View::default(),
            surprise: 0.0,
            told: None,
        }
    }

    /// A detector for a series with a season of so many observations; 1 is none.
    pub fn with_season(season: usize) -> Detector {
        let season = if season > 1 { season.min(SEASON_MAX) } else { 0 };
        Detector { season: Some(season), given: true, ..Detector::new() }
    }

    /// Takes the next row: `time` in seconds from any point, if known, and the value. The score in [0, 1), or `None` for
    /// a value that is missing (`NaN` or infinite).
    pub fn observe(&mut self, time: Option<f64>, value: f64) -> Option<f64> {
        let time = time.filter(|t| t.is_finite());
        self.learn_season(time);
        let hour = self.hour_of(time);
        self.rows += 1;
        if !value.is_finite() {
            return None;
        }
        let first = self.count == 0;
        let level = if first { 0.0 } else { value - self.mean };
        let step = self.recent.last().map_or(0.0, |before| value - before);
        let beyond = if first { 0.0 } else { self.beyond(value) };
        self.push(value);
        let mut decades = self.step.rarity(step) + self.level.rarity(level) + self.extreme.rarity(beyond);
        let shift = self.shift_now();
        decades += self.shift.rarity(shift);
        if let Some(deviation) = hour.and_then(|hour| self.unlike_hour(hour, value)) {
            decades += self.hour.rarity(deviation);
        }
        if let Some(distance) = self.nearest() {
            decades += self.stretch.rarity(distance);
        }
        // Whatever grows is farther than ever from where it was, and on a straight line that is nothing new.
        let news = self.news(if self.is_straight() { 0.0 } else { decades });
        Some(news / (news + THRESHOLD_DECADES * (1.0 - THRESHOLD) / THRESHOLD))
    }

    /// What is new in so many powers of ten: less the last surprise, and little where an anomaly as great was just told.
    fn news(&mut self, decades: f64) -> f64 {
        let news = (decades - MEMORY_WEIGHT * self.surprise).max(0.0);
        let seen = self.count.min(SEEN_MAX) as f64;
        let memory = MEMORY + MEMORY_PART * seen;
        self.surprise = (self.surprise * (-1.0 / memory).exp()).max(decades);
        if news < THRESHOLD_DECADES {
            return news;
        }
        let pause = PAUSE_PART * seen;
        match self.told {
            Some((at, told)) if ((self.count - at) as f64) < pause && news <= told => news.min(REPEATED),
            _ => {
                self.told = Some((self.count, news));
                news
            }
        }
    }

    fn learn_season(&mut self, time: Option<f64>) {
        if self.season.is_some() {
            return;
        }
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

    /// Which part of the season a row is in: by its place in a season that was given, else by its time of the day.
    fn hour_of(&self, time: Option<f64>) -> Option<usize> {
        match self.season {
            Some(season) if self.given => {
                (season > 0).then(|| (self.rows % season as u64) as usize * HOURS.min(season) / season)
            }
            _ => {
                let part = time?.rem_euclid(DAY_SECONDS) / DAY_SECONDS;
                Some(((part * HOURS as f64) as usize).min(HOURS - 1))
            }
        }
    }

    /// Deviation from what that hour had of late, which then moves; `None` where the hour is seen for the first time.
    fn unlike_hour(&mut self, hour: usize, value: f64) -> Option<f64> {
        let expected = self.hours.get_mut(hour)?;
        let before = expected.unwrap_or(value);
        let deviation = expected.map(|before| value - before);
        // Parts first, as everywhere here, so that the difference of two huge values stays finite.
        *expected = Some(before * (1.0 - HOUR_FOLLOWS) + value * HOUR_FOLLOWS);
        deviation
    }

    /// How far a value is beyond all before it, as a part of their distance; 0 within.
    fn beyond(&self, value: f64) -> f64 {
        let over = (value - self.highest).max(self.lowest - value).max(0.0);
        let range = self.highest - self.lowest;
        if over > 0.0 && range > 0.0 { over / range } else { 0.0 }
    }

    fn push(&mut self, value: f64) {
        self.lowest = if self.count == 0 { value } else { self.lowest.min(value) };
        self.highest = if self.count == 0 { value } else { self.highest.max(value) };
        self.count += 1;
        let n = self.count as f64;
        self.mean += value / n - self.mean / n;
        let keep = (self.season.unwrap_or(0) + SHORT).max(SHORT + LONG).max(STRETCHES + 2 * STRETCH);
        if self.recent.len() >= 2 * keep {
            self.recent.drain(..self.recent.len() - keep);
        }
        self.recent.push(value);
    }

    /// Mean of the newest values less that of those a season before them, or of many before them. 0 until there are any.
    fn shift_now(&self) -> f64 {
        let newest = self.recent.len();
        let mean = |from: usize, to: usize| -> f64 {
            let count = (to - from) as f64;
            self.recent[from..to].iter().map(|v| v / count).sum()
        };
        match self.season {
            Some(season) if season > 0 => {
                let short = SHORT.min(newest.saturating_sub(season));
                if short == 0 {
                    return 0.0;
                }
                mean(newest - short, newest) - mean(newest - season - short, newest - season)
            }
            _ if newest > SHORT => {
                let from = newest.saturating_sub(SHORT + LONG);
                mean(newest - SHORT, newest) - mean(from, newest - SHORT)
            }
            _ => 0.0,
        }
    }

    /// Whether the newest stretch is on a straight line, up or down, within what rounding leaves.
    fn is_straight(&self) -> bool {
        let Some(from) = self.recent.len().checked_sub(STRETCH) else { return false };
        let newest = &self.recent[from..];
        // Halves, so that the difference of two huge values stays finite.
        let half = |at: usize| 0.5 * newest[at];
        let slope = (half(STRETCH - 1) - half(0)) / (STRETCH - 1) as f64;
        let rounding = f64::EPSILON * newest.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        slope.abs() > rounding
            && (0..STRETCH).all(|at| (half(at) - half(0) - slope * at as f64).abs() <= rounding)
    }

    /// Distance of the newest stretch from the [`NEAREST`]-th nearest one before it that shares no value with it.
    fn nearest(&self) -> Option<f64> {
        let now = self.recent.len().checked_sub(STRETCH)?;
        let stretches = (now + 1).checked_sub(STRETCH)?.min(STRETCHES);
        if stretches < WARM_UP {
            return None;
        }
        let first = now + 1 - STRETCH - stretches;
        let mut squares = vec![0.0; stretches];
        for (i, &value) in self.recent[now..].iter().enumerate() {
            let past = &self.recent[first + i..first + i + stretches];
            for (sum, other) in squares.iter_mut().zip(past) {
                let apart = value - other;
                *sum += apart * apart;
            }
        }
        let mut nearest = [f64::INFINITY; NEAREST];
        for square in squares {
            if square < nearest[NEAREST - 1] {
                let at = nearest.partition_point(|other| *other <= square);
                nearest[at..].rotate_right(1);
                nearest[at] = square;
            }
        }
        Some(nearest[NEAREST - 1].sqrt())
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
        // The mean is moved by the anomalies themselves and hides the next ones; the median says little of a tail that is
        // heavier than an exponential one.
        let mean = beyond.iter().map(|v| (v - edge) / beyond.len() as f64).sum::<f64>();
        let by_median = (beyond[beyond.len() / 2] - edge) / std::f64::consts::LN_2;
        let unit = (0.5 * mean + 0.5 * by_median + 1e-3 * edge).max(1e-12);
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
    fn of_noise_one_row_in_a_thousand_or_so_is_told() {
        // Twenty thousand rows of each; anomalies may be one in 500 at most. Measured: one in 700 to 3,000.
        let normal = |t: u64| (0..12).map(|i| noise(12 * t + i)).sum::<f64>();
        let wave = |t: u64| 5.0 * (t as f64 * std::f64::consts::TAU / 288.0).sin();
        let kinds: [&dyn Fn(u64) -> f64; 3] = [&noise, &normal, &|t| wave(t) + normal(t)];
        for (kind, value) in kinds.iter().enumerate() {
            let values: Vec<f64> = (0..20_000).map(value).collect();
            let told = scores(&values, 300.0).iter().filter(|s| s.unwrap() >= THRESHOLD).count();
            assert!(told <= 40, "kind {kind}: {told}");
        }
    }

    #[test]
    fn a_straight_line_has_no_anomaly_and_what_leaves_it_is_one() {
        type Line = fn(f64) -> f64;
        let lines: [Line; 5] =
            [|t| t, |t| -0.37 * t - 1e4, |t| 1e6 + 0.1 * t, |t| 1e9 + t / 3.0, |t| 1e-9 * t];
        for (nth, line) in lines.iter().enumerate() {
            let mut values: Vec<f64> = (1..=2_000).map(|t| line(f64::from(t))).collect();
            // Rows in a day: 24, 288, 1440, and one.
            for step in [3_600.0, 300.0, 60.0, 86_400.0] {
                let most = scores(&values, step).iter().map(|s| s.unwrap()).fold(0.0, f64::max);
                assert!(most < THRESHOLD, "line {nth} in steps of {step} s: {most}");
            }
            values[1_700] += 500.0 * (line(2.0) - line(1.0)).abs();
            assert!(scores(&values, 300.0)[1_700].unwrap() >= THRESHOLD, "line {nth}");
        }
    }

    #[test]
    fn an_anomaly_that_repeats_soon_is_told_once() {
        let mut values: Vec<f64> = (0..4_000).map(|t| 10.0 + noise(t)).collect();
        for (t, value) in [(3_000, 30.0), (3_020, 30.0), (3_040, 30.0)] {
            values[t] = value;
        }
        let scores = scores(&values, 300.0);
        let told = |t: usize| scores[t].unwrap() >= THRESHOLD;
        assert!(told(3_000) && !told(3_020) && !told(3_040), "{:?}", &scores[3_000..3_041]);
    }

    #[test]
    fn a_shift_of_the_level_hides_no_later_spike() {
        // Normal enough: its standard deviation is one.
        let normal = |t: u64| (0..12).map(|i| noise(12 * t + i)).sum::<f64>();
        let mut values: Vec<f64> =
            (0..3_000).map(|t| normal(t) + if t < 1_000 { 100.0 } else { 150.0 }).collect();
        let spikes = [1_600, 2_100, 2_600];
        spikes.iter().for_each(|t| values[*t] += 12.0);
        let scores = scores(&values, 300.0);
        let found = spikes.map(|t| scores[t].unwrap());
        assert!(scores[1_000].unwrap() >= THRESHOLD && found.iter().all(|s| *s >= THRESHOLD), "{found:?}");
    }

    #[test]
    fn a_season_given_by_its_length_needs_no_times() {
        let value = |t: u64| if t % 48 == 7 { 90.0 } else { 20.0 + noise(t) };
        let mut values: Vec<f64> = (0..2_400).map(value).collect();
        values[2_000] = 90.0;
        let mut detector = Detector::with_season(48);
        let scores: Vec<f64> = values.iter().map(|v| detector.observe(None, *v).unwrap()).collect();
        let usual = &scores[1_500..2_000];
        assert!(scores[2_000] >= THRESHOLD && usual.iter().all(|s| *s < scores[2_000]), "{}", scores[2_000]);
        assert!(usual.iter().filter(|s| **s >= THRESHOLD).count() <= 1, "one in 500 at most");
        assert!(detector.recent.len() <= 2 * (STRETCHES + 2 * STRETCH));
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
