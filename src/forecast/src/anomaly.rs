//! How unusual an observation is, as a number that means the same for every series.
//!
//! The score is the rarity of the error in powers of ten: `min(1, −log₁₀ P / 5)`, where `P` is the two-sided tail of
//! the predictive error distribution beyond the error that came. So 0.8 is once in 10,000 observations and 1.0 once
//! in 100,000 or rarer, whatever the series. The distribution is a mean of Student's t of several weights of tail, each as
//! likely as the recent errors make it, scaled by the middle part of those, which anomalies themselves hardly move.

use crate::quantile::{sorted_quantile, student_tail};
use serde::{Deserialize, Serialize};

/// Powers of ten that the score spans: rarer than once in `10^5` is 1.0.
pub const DECADES: f64 = 5.0;

/// How serious an anomaly is: quarters of the way from the threshold to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Not an anomaly, or hardly one.
    Low,
    /// In the second quarter.
    Medium,
    /// In the third quarter.
    High,
    /// In the last quarter: as rare as can be told.
    Critical,
}

/// An observation judged against the forecast that was made before it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnomalyScore {
    /// In [0, 1]; see the module's documentation.
    pub score: f64,
    /// The calibrated prediction interval for this observation.
    pub expected: [f64; 2],
    /// By the score and the threshold.
    pub severity: Severity,
    /// A sentence saying what came, what was expected and how rare that is; empty below the threshold.
    pub message: String,
    /// What a person might do about it; empty below the threshold.
    pub recommended_actions: Vec<String>,
}

/// Score of a standardised error among recent absolute standardised errors (any order, `errors` may be empty).
///
/// `error` is in standard deviations of the model, and so is `least`, below which no spread of errors is believed (what
/// rounding alone makes; 0 for none). In [0, 1].
pub fn score(error: f64, errors: impl Iterator<Item = f32>, least: f64) -> f64 {
    // Of what is not negative, the bits are in the order of the values, and sorted several times as fast.
    let mut sorted: Vec<u32> = errors.map(|error| error.abs().to_bits()).collect();
    sorted.sort_unstable();
    let sorted: Vec<f64> = sorted.into_iter().map(|bits| f64::from(f32::from_bits(bits))).collect();
    from_tail(tail(error.abs(), &sorted, least))
}

/// The score of a tail probability.
pub fn from_tail(p: f64) -> f64 {
    (-p.max(1e-300).log10() / DECADES).clamp(0.0, 1.0)
}

/// What the model says of itself counts as this many observations, so that few errors do not decide alone.
const PRIOR: f64 = 16.0;
/// Errors from which they tell their tail, and degrees of freedom before that.
const TELLING: usize = 32;
const UNTOLD: f64 = 6.0;
/// Parts of the ascending absolute errors: those in the middle say how large an error is, those towards the end how heavy the
/// tail is. The last of all are left out, for they may be the anomalies.
const MIDDLE: (f64, f64) = (0.156, 0.781);
const TOP: (f64, f64) = (0.812, 0.945);

/// A tail that errors may have, Student's t with so many degrees of freedom: in samples of [`SAMPLE`], the mean of the
/// middle part, and mean and standard deviation of the logarithm of the top part's mean over the middle's.
struct Shape {
    degrees: f64,
    middle: f64,
    top: f64,
    spread: f64,
    /// How many series have it, against the others; chosen so that 0.8 is as rare as it says for errors of several kinds.
    share: f64,
}

const SAMPLE: f64 = 128.0;
/// The lightest first.
const SHAPES: [Shape; 5] = [
    Shape { degrees: 30.0, middle: 0.664, top: 0.892, spread: 0.078, share: 48.0 },
    Shape { degrees: 8.0, middle: 0.691, top: 0.940, spread: 0.083, share: 8.0 },
    Shape { degrees: 5.0, middle: 0.715, top: 0.985, spread: 0.088, share: 2.0 },
    Shape { degrees: 3.5, middle: 0.744, top: 1.039, spread: 0.095, share: 0.8 },
    Shape { degrees: 2.5, middle: 0.787, top: 1.122, spread: 0.107, share: 0.2 },
];
const LIGHTEST: &Shape = &SHAPES[0];
const HEAVIEST: &Shape = &SHAPES[4];

/// Mean of a part of ascending values.
fn mean_of((from, to): (f64, f64), sorted: &[f64]) -> f64 {
    let n = sorted.len() as f64;
    let part = &sorted[(from * n) as usize..(to * n) as usize];
    part.iter().sum::<f64>() / part.len() as f64
}

/// Two-sided tail beyond `error >= 0` given ascending absolute errors: the mean of what the shapes say, each as likely as the
/// errors make it.
fn tail(error: f64, sorted: &[f64], least: f64) -> f64 {
    let n = sorted.len() as f64;
    let scale = |typical: f64| (n * typical + PRIOR) / (n + PRIOR);
    if sorted.len() < TELLING {
        let normal_median = 0.674_489_750_196_081_7;
        let median = if sorted.is_empty() { normal_median } else { sorted_quantile(sorted, 0.5) };
        return student_tail(error / scale(median / normal_median).max(least), UNTOLD);
    }
    let top = mean_of(TOP, sorted);
    // Where most errors are nothing at all (a timetable that is kept), the middle says nothing of those that are: it counts
    // as no less than what the heaviest tail makes of the top.
    let middle = mean_of(MIDDLE, sorted).max(top / HEAVIEST.top.exp());
    if scale(middle / LIGHTEST.middle) < least {
        // Errors of nothing but rounding do not show a tail.
        return student_tail(error / least, UNTOLD);
    }
    let ratio = if top > 0.0 { (top / middle).ln().max(LIGHTEST.top) } else { LIGHTEST.top };
    let (mut sum, mut weights) = (0.0, 0.0);
    for shape in &SHAPES {
        let spread = shape.spread * (SAMPLE / n).sqrt();
        let weight = shape.share * (-0.5 * ((ratio - shape.top) / spread).powi(2)).exp() / spread;
        weights += weight;
        sum += weight * student_tail(error / scale(middle / shape.middle), shape.degrees);
    }
    sum / weights
}

/// Severity of `score` where anomalies begin at `threshold`.
pub fn severity(score: f64, threshold: f64) -> Severity {
    let part = (score - threshold) / (1.0 - threshold).max(1e-9);
    if score >= 1.0 || part >= 0.75 {
        Severity::Critical
    } else if part >= 0.5 {
        Severity::High
    } else if part >= 0.25 {
        Severity::Medium
    } else {
        Severity::Low
    }
}

/// The whole judgement: `score` of `y` against `predicted` and the calibrated interval `expected`.
pub fn judge(y: f64, predicted: f64, expected: [f64; 2], score: f64, threshold: f64) -> AnomalyScore {
    let severity = severity(score, threshold);
    if score < threshold {
        // Nearly always: nobody reads a sentence about it.
        return AnomalyScore {
            score,
            expected,
            severity,
            message: String::new(),
            recommended_actions: Vec::new(),
        };
    }
    let side = if y > expected[1] {
        "above"
    } else if y < expected[0] {
        "below"
    } else {
        "within"
    };
    let [lo, hi] = expected;
    let rarity = if score >= 1.0 {
        "rarer than once in 100,000 observations".to_owned()
    } else {
        format!("about once in {} observations", count(10f64.powf(score * DECADES)))
    };
    let message = format!(
        "observed {} is {side} the expected range {} to {} (predicted {}): {rarity}",
        number(y),
        number(lo),
        number(hi),
        number(predicted)
    );
    AnomalyScore { score, expected, severity, message, recommended_actions: actions(side, severity) }
}

fn actions(side: &str, severity: Severity) -> Vec<String> {
    let mut actions = vec![match side {
        "above" => "Check the source for a surge, repeated events or a unit that changed".to_owned(),
        "below" => "Check the source for an outage, lost events or a unit that changed".to_owned(),
        _ => "Compare with related series over the same windows".to_owned(),
    }];
    if severity >= Severity::High {
        actions.push(
            "Look at what changed (deployments, configuration, calendar) just before this window".into(),
        );
    }
    if severity == Severity::Critical {
        actions.push(
            "Treat forecasts of this series with care until the next windows confirm or clear this".into(),
        );
    }
    actions
}

/// Six significant digits, without trailing zeros.
fn number(v: f64) -> String {
    if v != 0.0 && (v.abs() >= 1e9 || v.abs() < 1e-4) {
        return format!("{v:.4e}");
    }
    let digits = (5 - v.abs().max(1e-4).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{v:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn count(v: f64) -> String {
    let whole = v.round().max(1.0) as u64;
    let round = 10u64.pow(whole.ilog10().saturating_sub(1));
    (whole / round * round).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_rarity_in_powers_of_ten() {
        assert!((from_tail(1e-4) - 0.8).abs() < 1e-12);
        assert_eq!((from_tail(1.0), from_tail(0.0)), (0.0, 1.0));
    }

    #[test]
    fn a_few_anomalies_do_not_hide_the_next_one() {
        let calm: Vec<f32> = (0..100).map(|i| (i % 20) as f32 / 10.0).collect();
        let mut stained = calm.clone();
        stained[10..15].fill(500.0);
        let (a, b) = (score(12.0, calm.into_iter(), 0.0), score(12.0, stained.into_iter(), 0.0));
        assert!(a > 0.8 && b > 0.8, "{a} {b}");
    }

    /// Errors of a kind, from a seed; in units in which the middle of them is about that of standard normal ones.
    struct Errors(u64);

    impl Errors {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
            (((mixed ^ (mixed >> 33)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            crate::quantile::normal_quantile(self.uniform())
        }

        fn student(&mut self, degrees: usize) -> f64 {
            let squares: f64 = (0..degrees).map(|_| self.normal().powi(2)).sum();
            self.normal() / (squares / degrees as f64).sqrt()
        }
    }

    #[test]
    fn the_shapes_are_those_of_their_samples() {
        for shape in SHAPES.iter().filter(|shape| shape.degrees.fract() == 0.0) {
            let mut errors = Errors(7);
            let samples = 400;
            let (mut middles, mut tops) = (0.0, Vec::new());
            for _ in 0..samples {
                let mut sample: Vec<f64> =
                    (0..128).map(|_| errors.student(shape.degrees as usize).abs()).collect();
                sample.sort_by(f64::total_cmp);
                let middle = mean_of(MIDDLE, &sample);
                middles += middle / f64::from(samples);
                tops.push((mean_of(TOP, &sample) / middle).ln());
            }
            let mean = tops.iter().sum::<f64>() / tops.len() as f64;
            let spread = (tops.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / tops.len() as f64).sqrt();
            let found = (middles, mean, spread);
            assert!((middles - shape.middle).abs() < 0.015, "{}: {found:?}", shape.degrees);
            assert!((mean - shape.top).abs() < 0.02, "{}: {found:?}", shape.degrees);
            assert!((spread - shape.spread).abs() < 0.012, "{}: {found:?}", shape.degrees);
        }
    }

    #[test]
    fn a_score_is_as_rare_as_it_says_for_errors_of_several_kinds() {
        // Of so many errors, a hundredth is to score 0.4 and a ten-thousandth 0.8.
        const COUNT: usize = 30_000;
        type Kind = (&'static str, fn(&mut Errors) -> f64, usize, [f64; 2]);
        // With how many may score 0.8, and which part of errors of eight and of fifteen must.
        let kinds: [Kind; 3] = [
            ("normal", |errors| errors.normal(), 3, [0.95, 0.99]),
            ("Student, 5", |errors| errors.student(5), 35, [0.4, 0.9]),
            ("Student, 3", |errors| errors.student(3), 75, [0.0, 0.5]),
        ];
        for (name, draw, most, found) in kinds {
            let mut errors = Errors(11);
            let mut kept: std::collections::VecDeque<f32> =
                (0..128).map(|_| draw(&mut errors).abs() as f32).collect();
            let (mut high, mut some, mut seen) = (0, 0, [0.0; 2]);
            for at in 0..COUNT {
                let error = draw(&mut errors);
                let of = |error: f64| score(error, kept.iter().copied(), 0.0);
                let score = of(error);
                some += usize::from(score >= 0.4);
                high += usize::from(score >= 0.8);
                if at % 100 == 0 {
                    let told = |error: f64| if of(error) >= 0.8 { 100.0 / COUNT as f64 } else { 0.0 };
                    seen = [seen[0] + told(8.0), seen[1] + told(15.0)];
                }
                kept.pop_front();
                kept.push_back(error.abs() as f32);
            }
            assert!(high <= most && (100..=1_200).contains(&some), "{name}: {high} and {some} of {COUNT}");
            assert!(seen[0] >= found[0] && seen[1] >= found[1], "{name}: {seen:?}");
        }
    }

    #[test]
    fn a_miss_as_large_as_others_before_is_not_rare_where_most_errors_are_nothing() {
        let kept: Vec<f32> = (0..100).map(|i| if i % 6 == 0 { 3.0 } else { 0.0 }).collect();
        let score = |error| score(error, kept.iter().copied(), 0.0);
        assert!(score(3.0) < 0.5, "{}", score(3.0));
        assert!(score(100.0) > 0.8, "{}", score(100.0));
    }

    #[test]
    fn counts_that_are_always_right_may_be_off_by_one() {
        let never = std::iter::repeat_n(0.0_f32, 200);
        let rounding = 1.0 / 12.0_f64.sqrt();
        let score = |steps: f64| score(steps, never.clone(), rounding);
        assert!(score(1.0) < 0.5 && score(2.0) < 0.8, "{} {}", score(1.0), score(2.0));
        assert!(score(4.0) > 0.8, "{}", score(4.0));
    }

    #[test]
    fn severity_is_the_way_from_threshold_to_one() {
        let all = [0.5, 0.8, 0.86, 0.91, 0.96, 1.0].map(|s| severity(s, 0.8));
        use Severity::*;
        assert_eq!(all, [Low, Low, Medium, High, Critical, Critical]);
    }

    #[test]
    fn the_sentence_says_what_came_and_what_was_expected() {
        let judged = judge(812.0, 100.25, [90.0, 110.5], 0.9, 0.8);
        assert!(
            judged.message.contains("observed 812 is above the expected range 90 to 110.5"),
            "{}",
            judged.message
        );
        assert!(judged.message.contains("once in 31000"), "{}", judged.message);
        assert!(!judged.recommended_actions.is_empty());
    }
}
