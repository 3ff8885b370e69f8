//! What is wrong with a rule as written.

/// A field at fault, in the words of an answer to whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}; allowed: {allowed}")]
pub struct RuleFault {
    /// Dotted path of the field, e.g. `action[1].url`.
    pub field: String,
    /// What was found there; never a secret.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl RuleFault {
    pub(crate) fn new(
        field: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        RuleFault { field: field.into(), found: found.into(), allowed: allowed.into() }
    }

    /// What was found and what is allowed, without the field's name.
    pub fn message(&self) -> String {
        format!("found {}; allowed: {}", self.found, self.allowed)
    }
}
