//! One-use tickets: how a page, which cannot send a header with a WebSocket, shows who it is.

use crate::access::Caller;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a ticket is good.
pub const LIFE: Duration = Duration::from_secs(60);
/// Tickets at once; past it those that have run out are looked for, and then none is given.
const MOST: usize = 100_000;

/// The tickets that are out.
#[derive(Debug, Default)]
pub struct Tickets {
    out: Mutex<HashMap<String, (Instant, Arc<Caller>)>>,
}

impl Tickets {
    /// A new ticket for `caller`; `None` when too many are out, or the system gives no randomness.
    pub fn give(&self, caller: Arc<Caller>, now: Instant) -> Option<String> {
        let mut secret = [0u8; 32];
        getrandom::fill(&mut secret).ok()?;
        let ticket = URL_SAFE_NO_PAD.encode(secret);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.len() >= MOST {
            out.retain(|_, (until, _)| *until > now);
        }
        if out.len() >= MOST {
            return None;
        }
        out.insert(ticket.clone(), (now + LIFE, caller));
        Some(ticket)
    }

    /// Whose ticket this is. It is used up, good or not.
    pub fn take(&self, ticket: &str, now: Instant) -> Option<Arc<Caller>> {
        let (until, caller) = self.out.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket)?;
        (until > now).then_some(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_a_minute() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.give(Caller::anybody(), now).unwrap();
        assert!(tickets.take("other", now).is_none());
        assert!(tickets.take(&ticket, now + LIFE / 2).is_some());
        assert!(tickets.take(&ticket, now + LIFE / 2).is_none());
        let late = tickets.give(Caller::anybody(), now).unwrap();
        assert!(tickets.take(&late, now + LIFE).is_none());
    }
}
