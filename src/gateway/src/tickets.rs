//! One-use tickets: how a page, which cannot send a header with a WebSocket, shows who it is. A ticket is good on every
//! gateway of the group: behind one address the WebSocket seldom comes to the gateway that gave it.

use crate::access::{Caller, Role};
use crate::live::index::Pattern;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tidecast_ports::Notes;

/// How long a ticket is good.
pub const LIFE: Duration = Duration::from_secs(60);
/// Tickets at once; past it those that have run out are looked for, and then none is given.
const MOST: usize = 100_000;
/// Notes of tickets begin so. The rest is the ticket's SHA-256: who reads the notes cannot use them.
const TICKETS: &str = "ticket/";
/// How long Kafka is waited for. A ticket that it did not get is good where it was given.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for a ticket that another gateway gave: its note may still be on the way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The tickets that are out.
#[derive(Default)]
pub struct Tickets {
    /// What this process' tickets begin with.
    here: OnceLock<String>,
    out: Mutex<HashMap<String, Out>>,
    /// Keys of those of others that were used here, until when they would have been good.
    used: Mutex<HashMap<String, Instant>>,
    /// Where the gateways of a group tell each other.
    notes: OnceLock<Arc<dyn Notes>>,
}

/// A ticket that was given here.
struct Out {
    until: Instant,
    caller: Arc<Caller>,
    /// The others know it: where its note is gone, one of them took it.
    is_told: bool,
}

/// What a note says of a ticket.
#[derive(Serialize, Deserialize)]
struct Given {
    until: SystemTime,
    subject: Option<Arc<str>>,
    roles: Vec<Role>,
    models: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    expires: Option<SystemTime>,
}

impl Given {
    fn of(caller: &Caller) -> Self {
        let names = |patterns: &Option<Vec<Pattern>>| {
            patterns.as_ref().map(|patterns| patterns.iter().map(Pattern::to_string).collect())
        };
        Given {
            until: SystemTime::now() + LIFE,
            subject: caller.subject.clone(),
            roles: caller.roles.clone(),
            models: names(&caller.models),
            topics: names(&caller.topics),
            expires: caller.expires,
        }
    }

    fn caller(self) -> Caller {
        let patterns = |names: Option<Vec<String>>| {
            names.map(|names| names.iter().map(|name| Pattern::parse(name)).collect())
        };
        Caller {
            subject: self.subject,
            roles: self.roles,
            models: patterns(self.models),
            topics: patterns(self.topics),
            expires: self.expires,
        }
    }
}

impl Tickets {
    /// Lets the gateways that share these notes take each other's tickets, from now on.
    pub fn share(&self, notes: Arc<dyn Notes>) {
        let _ = self.notes.set(notes);
    }

    /// A new ticket for `caller`; `None` when too many are out, or the system gives no randomness.
    pub async fn give(&self, caller: Arc<Caller>, now: Instant) -> Option<String> {
        let ticket = format!("{}.{}", self.here()?, random::<32>()?);
        let note = Given::of(&caller);
        {
            let mut out = locked(&self.out);
            if out.len() >= MOST {
                out.retain(|_, ticket| ticket.until > now);
            }
            if out.len() >= MOST {
                return None;
            }
            out.insert(ticket.clone(), Out { until: now + LIFE, caller, is_told: false });
        }
        if let Some(notes) = self.notes.get() {
            let note = serde_json::to_vec(&note).expect("a note is plain");
            let is_told = in_time("told", notes.put(&key(&ticket), Bytes::from(note))).await;
            if let Some(given) = locked(&self.out).get_mut(&ticket) {
                given.is_told = is_told;
            }
        }
        Some(ticket)
    }

    /// Whose ticket this is. It is used up, good or not.
    pub async fn take(&self, ticket: &str, now: Instant) -> Option<Arc<Caller>> {
        let found = locked(&self.out).remove(ticket);
        if let Some(given) = found {
            if let Some(notes) = self.notes.get().filter(|_| given.is_told) {
                let key = key(ticket);
                notes.get(&key)?;
                in_time("taken back", notes.delete(&key)).await;
            }
            return (given.until > now).then_some(given.caller);
        }
        let notes = self.notes.get()?;
        let (giver, _) = ticket.split_once('.')?;
        if giver == self.here()? {
            return None;
        }
        let key = key(ticket);
        if locked(&self.used).contains_key(&key) {
            return None;
        }
        let look = async {
            let mut again = tokio::time::interval(LOOK_AGAIN);
            loop {
                again.tick().await;
                if let Some(note) = notes.get(&key) {
                    return note;
                }
            }
        };
        let note = tokio::time::timeout(PATIENCE, look).await.ok()?;
        if locked(&self.used).insert(key.clone(), now + 2 * LIFE).is_some() {
            return None;
        }
        in_time("taken back", notes.delete(&key)).await;
        let given: Given = serde_json::from_slice(&note).ok()?;
        (given.until > SystemTime::now()).then(|| Arc::new(given.caller()))
    }

    /// Clears away, until dropped, what nobody used in time: also what processes left that are gone.
    pub async fn keep_clean(&self) {
        let mut every = tokio::time::interval(LIFE);
        loop {
            every.tick().await;
            self.clean(Instant::now(), SystemTime::now()).await;
        }
    }

    async fn clean(&self, now: Instant, time: SystemTime) {
        locked(&self.out).retain(|_, ticket| ticket.until > now);
        locked(&self.used).retain(|_, until| *until > now);
        let Some(notes) = self.notes.get() else { return };
        for (key, note) in notes.below(TICKETS) {
            // Another's clock may be behind this one's.
            let is_over = serde_json::from_slice::<Given>(&note).is_ok_and(|given| given.until + LIFE < time);
            if is_over && let Err(error) = notes.delete(&key).await {
                tracing::debug!(error, "tickets that nobody used stay for now");
                return;
            }
        }
    }

    fn here(&self) -> Option<&str> {
        match self.here.get() {
            Some(here) => Some(here),
            None => {
                let here = random::<9>()?;
                Some(self.here.get_or_init(|| here))
            }
        }
    }
}

fn locked<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(ticket: &str) -> String {
    format!("{TICKETS}{}", URL_SAFE_NO_PAD.encode(Sha256::digest(ticket)))
}

fn random<const BYTES: usize>() -> Option<String> {
    let mut secret = [0u8; BYTES];
    getrandom::fill(&mut secret).ok()?;
    Some(URL_SAFE_NO_PAD.encode(secret))
}

/// Waits for Kafka, but not for long: without it tickets are good where they were given. Whether it was.
async fn in_time(what: &str, written: impl Future<Output = Result<(), String>>) -> bool {
    match tokio::time::timeout(PATIENCE, written).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => tracing::warn!(error, "a ticket could not be {what}"),
        Err(_) => tracing::warn!("a ticket could not be {what} in time"),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Bytes>>);

    #[async_trait::async_trait]
    impl Notes for Kept {
        async fn put(&self, key: &str, value: Bytes) -> Result<(), String> {
            locked(&self.0).insert(key.to_owned(), value);
            Ok(())
        }

        async fn delete(&self, key: &str) -> Result<(), String> {
            locked(&self.0).remove(key);
            Ok(())
        }

        fn get(&self, key: &str) -> Option<Bytes> {
            locked(&self.0).get(key).cloned()
        }

        fn below(&self, prefix: &str) -> Vec<(String, Bytes)> {
            let rows = locked(&self.0);
            rows.iter().filter(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect()
        }
    }

    #[tokio::test]
    async fn a_ticket_is_good_once_and_for_a_minute() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.give(Caller::anybody(), now).await.unwrap();
        assert!(tickets.take("other", now).await.is_none());
        assert!(tickets.take(&ticket, now + LIFE / 2).await.is_some());
        assert!(tickets.take(&ticket, now + LIFE / 2).await.is_none());
        let late = tickets.give(Caller::anybody(), now).await.unwrap();
        assert!(tickets.take(&late, now + LIFE).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_on_whichever_gateway() {
        let (one, other, notes) = (Tickets::default(), Tickets::default(), Arc::new(Kept::default()));
        one.share(notes.clone());
        other.share(notes.clone());
        let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(4_000_000_000_123);
        let caller = Arc::new(Caller {
            subject: Some("ann".into()),
            roles: vec![Role::Viewer, Role::Publisher],
            models: Some(vec![Pattern::parse("sales_*"), Pattern::parse("cost_1")]),
            topics: Some(Vec::new()),
            expires: Some(expires),
        });
        let now = Instant::now();
        for taker in [&other, &one] {
            let ticket = one.give(caller.clone(), now).await.unwrap();
            let rows = notes.below(TICKETS);
            assert!(rows.len() == 1 && !rows[0].0.contains(&ticket), "{rows:?}");
            let taken = taker.take(&ticket, now).await.unwrap();
            assert_eq!(format!("{taken:?}"), format!("{caller:?}"));
            assert!(notes.below(TICKETS).is_empty(), "a used ticket is taken back");
            assert!(other.take(&ticket, now).await.is_none() && one.take(&ticket, now).await.is_none());
        }
        // The note comes back, as where two gateways take it at once: here it is used up.
        let ticket = one.give(caller, now).await.unwrap();
        let rows = notes.below(TICKETS);
        assert!(other.take(&ticket, now).await.is_some());
        locked(&notes.0).extend(rows);
        assert!(other.take(&ticket, now).await.is_none());
        other.clean(now, SystemTime::now() + LIFE).await;
        assert_eq!(notes.below(TICKETS).len(), 1, "its time may not be over elsewhere");
        other.clean(now, SystemTime::now() + 3 * LIFE).await;
        assert!(notes.below(TICKETS).is_empty());
    }
}
