//! How unusual an observation is, as a number that means the same for every series.
//!
//! The score is the rarity of the error in powers of ten: `min(1, −log₁₀ P / 5)`, where `P` is the two-sided tail of
//! the predictive error distribution beyond the error that came. So 0.8 is once in 10,000 observations and 1.0 once
//! in 100,000 or rarer, whatever the series. The distribution is a Student t, its scale the median of the recent
//! absolute errors (which anomalies themselves hardly move) and its tail as heavy as those errors show.

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

/// Degrees of freedom before the errors tell.
const UNTOLD: f64 = 6.0;
/// The heaviest tail that is believed: degrees of freedom, and its ratio of the 90 % to the 50 % quantile.
const HEAVIEST: (f64, f64) = (2.5, 3.52);

/// Two-sided tail beyond `error >= 0` given ascending absolute errors.
fn tail(error: f64, sorted: &[f64], least: f64) -> f64 {
    // What the model says of itself counts as this many observations, so that few errors do not decide alone.
    const PRIOR: f64 = 16.0;
    let n = sorted.len() as f64;
    let normal_median = 0.674_489_750_196_081_7;
    // Where most errors are nothing at all (a timetable that is kept), their median says nothing of those that are: it
    // counts as no less than what the heaviest tail makes of the 90 % quantile.
    let typical = |sorted| sorted_quantile(sorted, 0.5).max(sorted_quantile(sorted, 0.9) / HEAVIEST.1);
    let median = if sorted.is_empty() { normal_median } else { typical(sorted) };
    let scale = (n * median / normal_median + PRIOR) / (n + PRIOR);
    let nu = degrees(sorted);
    if scale < least {
        // Errors of nothing but rounding do not show a tail.
        return student_tail(error / least, nu.min(UNTOLD));
    }
    student_tail(error / scale.max(1e-12), nu)
}

/// Degrees of freedom from the ratio of the 90 % to the 50 % quantile of absolute errors: 2.44 for the normal,
/// growing as the tail grows heavier. Between 2.5 and 30; 6 before there are enough errors to tell.
fn degrees(sorted: &[f64]) -> f64 {
    if sorted.len() < 32 {
        return UNTOLD;
    }
    let ratio = sorted_quantile(sorted, 0.9) / sorted_quantile(sorted, 0.5).max(1e-12);
    // Ratios of Student's t at these degrees of freedom.
    const TABLE: [(f64, f64); 8] = [
        HEAVIEST,
        (3.0, 3.08),
        (4.0, 2.88),
        (5.0, 2.77),
        (6.0, 2.71),
        (8.0, 2.63),
        (12.0, 2.56),
        (30.0, 2.48),
    ];
    TABLE.iter().find(|(_, r)| ratio >= *r).map_or(30.0, |(nu, _)| *nu)
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
