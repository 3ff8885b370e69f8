//! Why a history could not be fitted, in words that say what to do.

/// A fit that was refused or failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Fewer observations than the family can be identified from.
    #[error(
        "{family} needs at least {needed} observations and got {got}: give more history or a simpler model"
    )]
    TooShort {
        /// The family's name.
        family: &'static str,
        /// Least number of observations that are not missing.
        needed: usize,
        /// Observations that are not missing in the history given.
        got: usize,
    },
    /// An order, season or setting that no model has.
    #[error("{0}")]
    Specification(String),
    /// The likelihood could not be evaluated anywhere the search looked.
    #[error("{family} did not fit: {reason}")]
    Numerical {
        /// The family's name.
        family: &'static str,
        /// What went wrong, for a reader who knows the model.
        reason: String,
    },
}
