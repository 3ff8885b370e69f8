//! What gateways write down for each other and for later: who changed what, which alerts somebody has seen to, which
//! are silenced, what was published in which hour.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Rows that every gateway shares, JSON by key, in a compacted topic. Keys begin with what kind of note it is.
#[async_trait::async_trait]
pub trait Notes: Send + Sync {
    /// Writes a row; returns once Kafka has it and this process has read it back. The error says what to do.
    async fn put(&self, key: &str, value: Bytes) -> Result<(), String>;

    /// Removes a row, likewise.
    async fn delete(&self, key: &str) -> Result<(), String>;

    /// One row.
    fn get(&self, key: &str) -> Option<Bytes>;

    /// The rows whose key begins so, in the order of their keys.
    fn below(&self, prefix: &str) -> Vec<(String, Bytes)>;
}

/// Keys of silences begin so.
pub const SILENCES: &str = "silence/";

/// Alerts that notify nobody for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Names it.
    pub name: String,
    /// Model ids that it covers, `*` at the end matches; every one where absent.
    #[serde(default)]
    pub model_id: Option<String>,
    /// Rules that it covers, likewise.
    #[serde(default)]
    pub rule: Option<String>,
    /// When it is over, RFC 3339.
    pub until: String,
    /// The same, epoch milliseconds.
    pub until_ms: i64,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub by: Option<String>,
}

impl Silence {
    /// Whether an alert of this rule about this model is silenced at `now_ms`.
    pub fn covers(&self, rule: Option<&str>, model_id: Option<&str>, now_ms: i64) -> bool {
        let fits = |wanted: &Option<String>, found: Option<&str>| match (wanted, found) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(found)) => match wanted.strip_suffix('*') {
                Some(prefix) => found.starts_with(prefix),
                None => wanted == found,
            },
        };
        now_ms < self.until_ms && fits(&self.rule, rule) && fits(&self.model_id, model_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_covers_what_it_names_until_it_is_over() {
        let silence = Silence {
            name: "s".into(),
            model_id: Some("sales_*".into()),
            rule: None,
            until: "1970-01-01T00:00:01Z".into(),
            until_ms: 1_000,
            reason: None,
            by: None,
        };
        assert!(silence.covers(Some("r"), Some("sales_1"), 999));
        assert!(!silence.covers(Some("r"), Some("sales_1"), 1_000), "over");
        assert!(!silence.covers(Some("r"), Some("cost_1"), 0) && !silence.covers(Some("r"), None, 0));
        let of_rule = Silence { model_id: None, rule: Some("r".into()), ..silence };
        assert!(of_rule.covers(Some("r"), None, 0) && !of_rule.covers(Some("r2"), None, 0));
    }
}
