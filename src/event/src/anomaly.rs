//! An anomaly, as written to `streaming-alerts` and pushed as `anomaly_alert`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad it is, from least to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Odd, and no more.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Drop what you are doing.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Low => "LOW",
            Severity::Medium => "MEDIUM",
            Severity::High => "HIGH",
            Severity::Critical => "CRITICAL",
        })
    }
}

/// One observation that its model did not expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The model.
    pub model_id: String,
    /// End of the window observed, RFC 3339.
    pub timestamp: String,
    /// In [0, 1]; an anomaly at or above the model's threshold.
    pub anomaly_score: f64,
    /// What came.
    pub observed_value: f64,
    /// What was expected.
    pub predicted_value: f64,
    /// Between what it was expected, lower then upper.
    pub expected_range: [f64; 2],
    /// How bad.
    pub severity: Severity,
    /// Why, in a sentence.
    pub message: String,
    /// What to do, if anything is known.
    #[serde(default)]
    pub recommended_actions: Vec<String>,
}
