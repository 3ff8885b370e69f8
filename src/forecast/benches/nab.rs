//! The Numenta Anomaly Benchmark's standard profile, scored as its paper says (Lavin and Ahmad, "Evaluating Real-time
//! Anomaly Detection Algorithms", 2015), for the one-pass detector.
//!
//!     TIDECAST_BENCH_NAB=DIRECTORY cargo bench -p tidecast-forecast --bench nab
//!
//! DIRECTORY holds the corpus: `data/**.csv` and `labels/combined_windows.json`. Halves are files at even and odd places in
//! order of name. The detector's views and constants were chosen on the even ones; three of its six views came from
//! an earlier search with the whole corpus in sight. Each half is printed at the detector's own threshold and at the best
//! one, which is what the benchmark's own table shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tidecast_forecast::detect::{Detector, THRESHOLD};
use tidecast_forecast::quantile::normal_quantile;

/// Rows at the start that are not scored: 15 %, at most so many.
const PROBATION_MAX: usize = 750;
const FALSE_POSITIVE_WEIGHT: f64 = 0.11;

struct File {
    scores: Vec<f64>,
    windows: Vec<(usize, usize)>,
}

/// Where every anomaly is a false one: how many of 1,000 rows of independent noise are told, over eight series of 30,000
/// rows each.
fn noise() {
    const SERIES: u64 = 8;
    const ROWS: usize = 30_000;
    const FIRST: usize = 10_000;
    type Kind = (&'static str, fn(f64) -> f64);
    let kinds: [Kind; 3] =
        [("normal", normal_quantile), ("uniform", |u| u), ("log-normal", |u| normal_quantile(u).exp())];
    println!("{:12} {:>10} {:>10}", "noise", "first", "later");
    for (name, of) in kinds {
        let mut told = [0_usize; 2];
        for seed in 0..SERIES {
            let mut state = seed;
            let mut detector = Detector::new();
            for row in 0..ROWS {
                // SplitMix64.
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                let uniform = (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
                let score = detector.observe(Some(row as f64 * 300.0), of(uniform));
                told[usize::from(row >= FIRST)] += usize::from(score.is_some_and(|s| s >= THRESHOLD));
            }
        }
        let per_thousand = |told: usize, rows: usize| told as f64 * 1_000.0 / (rows as f64 * SERIES as f64);
        println!(
            "{name:12} {:>10.2} {:>10.2}",
            per_thousand(told[0], FIRST),
            per_thousand(told[1], ROWS - FIRST)
        );
    }
}

fn main() {
    noise();
    let Ok(folder) = std::env::var("TIDECAST_BENCH_NAB") else {
        println!("nab: TIDECAST_BENCH_NAB names no folder with data/ and labels/combined_windows.json");
        return;
    };
    let folder = Path::new(&folder);
    let labels = std::fs::read_to_string(folder.join("labels/combined_windows.json"))
        .expect("the labels are readable");
    let labels: BTreeMap<String, Vec<[String; 2]>> =
        serde_json::from_str(&labels).expect("the labels are windows by file");
    let started = Instant::now();
    let mut rows = 0;
    let files: Vec<File> = labels
        .iter()
        .map(|(name, windows)| {
            let text = std::fs::read_to_string(folder.join("data").join(name))
                .expect("every labelled file is there");
            let file = read(&text, windows);
            rows += file.scores.len();
            file
        })
        .collect();
    let micros = 1e6 * started.elapsed().as_secs_f64() / rows as f64;
    println!("{} files, {rows} rows, {micros:.1} us a row with reading", files.len());
    let mut thresholds: Vec<f64> = (1..400).map(|i| f64::from(i) / 400.0).collect();
    thresholds.push(THRESHOLD);
    let best = |part: Option<usize>| {
        thresholds
            .iter()
            .map(|&t| (score(&files, part, t), t))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("a threshold")
    };
    println!("{:12} {:>10} {:>10} {:>10}", "files", "at 0.8", "best", "threshold");
    for (name, part) in [("even places", Some(0)), ("odd places", Some(1)), ("all", None)] {
        let (top, at) = best(part);
        println!("{name:12} {:>10.2} {top:>10.2} {at:>10.4}", score(&files, part, THRESHOLD));
    }
    let (_, at) = best(Some(0));
    println!("odd places at the threshold that is best for even ones: {:.2}", score(&files, Some(1), at));
}

/// Normalised score: 0 for a detector that says nothing, 100 for a perfect one.
fn score(files: &[File], part: Option<usize>, threshold: f64) -> f64 {
    let chosen = files.iter().enumerate().filter(|(i, _)| part.is_none_or(|p| i % 2 == p));
    let (sum, windows) = chosen.fold((0.0, 0.0), |(sum, windows), (_, file)| {
        (sum + file.score(threshold), windows + file.windows.len() as f64)
    });
    100.0 * (sum + windows) / (2.0 * windows)
}

impl File {
    fn score(&self, threshold: f64) -> f64 {
        let n = self.scores.len();
        let probation = (n * 15 / 100).min(PROBATION_MAX);
        let mut best = vec![-1.0; self.windows.len()];
        let mut wrong = 0.0;
        for i in (probation..n).filter(|&i| self.scores[i] >= threshold) {
            match self.windows.iter().position(|w| (w.0..=w.1).contains(&i)) {
                Some(at) => {
                    let (start, end) = self.windows[at];
                    let position = -((end - i + 1) as f64) / (end - start + 1) as f64;
                    best[at] = f64::max(best[at], sigmoid(position) / sigmoid(-1.0));
                }
                None => {
                    let before = self.windows.iter().filter(|w| w.1 < i).max_by_key(|w| w.1);
                    let penalty = match before {
                        Some(&(start, end)) => sigmoid((i - end) as f64 / (end - start) as f64),
                        None => -1.0,
                    };
                    wrong += FALSE_POSITIVE_WEIGHT * penalty;
                }
            }
        }
        wrong + best.iter().sum::<f64>()
    }
}

/// 1 at the start of a window, 0 at its end, −1 far after it.
fn sigmoid(x: f64) -> f64 {
    if x > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * x).exp()) - 1.0 }
}

fn read(text: &str, windows: &[[String; 2]]) -> File {
    let rows: Vec<(f64, f64)> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(time, value)| (seconds(time), value.trim().parse().unwrap_or(f64::NAN)))
        .collect();
    let mut detector = Detector::new();
    let scores =
        rows.iter().map(|&(time, value)| detector.observe(Some(time), value).unwrap_or(0.0)).collect();
    let windows = windows
        .iter()
        .map(|[from, to]| {
            let inside = |row: &(f64, f64)| (seconds(from)..=seconds(to)).contains(&row.0);
            let first = rows.iter().position(inside).expect("a window has rows");
            (first, rows.iter().rposition(inside).expect("a window has rows"))
        })
        .collect();
    File { scores, windows }
}

/// `2014-04-01 00:05:00` (and a fraction) as seconds from the epoch (days from the civil calendar, Howard Hinnant).
fn seconds(text: &str) -> f64 {
    let number =
        |range: std::ops::Range<usize>| text.get(range).and_then(|t| t.parse::<i64>().ok()).unwrap_or(0);
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let time = number(11..13) * 3_600 + number(14..16) * 60 + number(17..19);
    (days * 86_400 + time) as f64
}
