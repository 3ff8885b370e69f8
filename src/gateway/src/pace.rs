//! REST calls a second, per client: the token's subject, or the address where there is none.

use hashbrown::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients told apart within one second; past it all others are counted as one.
const CLIENTS_MAX: usize = 10_000;

/// Counts calls in seconds of the clock.
#[derive(Debug)]
pub(crate) struct Pace {
    most: u32,
    state: Mutex<(Instant, HashMap<String, u32>)>,
}

impl Pace {
    /// At most `most` calls a second for each client.
    pub(crate) fn new(most: u32) -> Self {
        Pace { most, state: Mutex::new((Instant::now(), HashMap::new())) }
    }

    /// Counts a call; `Err` is how long the client has to wait.
    pub(crate) fn count(&self, client: &str, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, counts) = &mut *state;
        let gone = now.saturating_duration_since(*started);
        if gone >= Duration::from_secs(1) {
            *started = now;
            counts.clear();
        }
        let client = if counts.len() >= CLIENTS_MAX && !counts.contains_key(client) { "" } else { client };
        let count = counts.entry_ref(client).or_insert(0);
        *count = count.saturating_add(1);
        if *count <= self.most { Ok(()) } else { Err(Duration::from_secs(1).saturating_sub(gone)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_second() {
        let (pace, now) = (Pace::new(2), Instant::now());
        assert!(pace.count("a", now).is_ok() && pace.count("a", now).is_ok());
        assert!(pace.count("a", now).is_err());
        assert!(pace.count("b", now).is_ok());
        assert!(pace.count("a", now + Duration::from_secs(1)).is_ok());
    }
}
