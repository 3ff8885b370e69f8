//! When what failed is started again: one pure function.

use std::time::Duration;

/// How often, how fast, and when to stop trying.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Wait before the first restart; doubled for each further failure.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Failures within `window` that are answered with a restart of the part alone.
    pub restarts: usize,
    /// Failures within `window` that are answered at all; past them the part is put in quarantine.
    pub rebuilds: usize,
    /// Failures longer ago than this are forgiven.
    pub window: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(10),
            restarts: 3,
            rebuilds: 8,
            window: Duration::from_secs(300),
        }
    }
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start the part again after a wait.
    Restart(Duration),
    /// Start the whole partition again from its snapshot after a wait.
    Rebuild(Duration),
    /// Leave it stopped, readiness false, until an operator acts.
    Quarantine,
}

/// Decides from the failures so far (times since the process started, oldest first, the newest being this one).
pub fn decide(policy: &Policy, failures: &[Duration]) -> Decision {
    let Some(&now) = failures.last() else {
        return Decision::Restart(policy.backoff);
    };
    let recent = failures.iter().filter(|&&at| now.saturating_sub(at) <= policy.window).count();
    let doublings = u32::try_from(recent.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = policy.backoff.saturating_mul(1 << doublings).min(policy.backoff_max);
    if recent <= policy.restarts {
        Decision::Restart(wait)
    } else if recent <= policy.rebuilds {
        Decision::Rebuild(wait)
    } else {
        Decision::Quarantine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[u64]) -> Vec<Duration> {
        seconds.iter().map(|&second| Duration::from_secs(second)).collect()
    }

    #[test]
    fn escalates_with_failures_and_forgives_with_time() {
        let policy = Policy::default();
        assert_eq!(decide(&policy, &at(&[0])), Decision::Restart(Duration::from_millis(50)));
        assert_eq!(decide(&policy, &at(&[0, 1])), Decision::Restart(Duration::from_millis(100)));
        assert_eq!(decide(&policy, &at(&[0, 1, 2, 3])), Decision::Rebuild(Duration::from_millis(400)));
        assert_eq!(decide(&policy, &at(&[0, 1, 2, 3, 4, 5, 6, 7, 8])), Decision::Quarantine);
        // The same nine failures, the last of them long after the others.
        assert_eq!(
            decide(&policy, &at(&[0, 1, 2, 3, 4, 5, 6, 7, 900])),
            Decision::Restart(Duration::from_millis(50))
        );
    }

    #[test]
    fn waits_no_longer_than_the_maximum() {
        let policy = Policy { restarts: 100, rebuilds: 100, ..Policy::default() };
        let failures: Vec<Duration> = (0..60).map(Duration::from_secs).collect();
        assert_eq!(decide(&policy, &failures), Decision::Restart(policy.backoff_max));
    }
}
