//! Who wants what: from a name to the clients that subscribed to it, by itself or by a pattern.

use super::outbox::Outbox;
use super::update::{Update, UpdateType};
use hashbrown::HashMap;
use std::fmt;
use std::sync::Arc;

/// A name, or the beginning of names: `sales_model_001`, `sales_*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This name and no other.
    Exact(Arc<str>),
    /// Every name that begins so.
    Prefix(Arc<str>),
}

impl Pattern {
    /// Reads a pattern: a `*` at the end matches any rest, anywhere else it stands for itself.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Pattern::Prefix(prefix.into()),
            None => Pattern::Exact(text.into()),
        }
    }

    /// Every name.
    pub fn all() -> Self {
        Pattern::Prefix("".into())
    }

    /// Whether every name that `other` means is meant.
    pub fn includes(&self, other: &Pattern) -> bool {
        match other {
            Pattern::Exact(name) => self.matches(name),
            Pattern::Prefix(wider) => matches!(self, Pattern::Prefix(prefix) if wider.starts_with(&**prefix)),
        }
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::Exact(exact) => **exact == *name,
            Pattern::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(exact) => f.write_str(exact),
            Pattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[derive(Debug)]
struct Subscriber {
    outbox: Arc<Outbox>,
    /// Bits of [`UpdateType::bit`].
    types: u8,
}

type ByName = HashMap<Arc<str>, Vec<Subscriber>, foldhash::fast::RandomState>;

/// The index. A lookup costs a hash for the name, and one for each length that a pattern in use has.
#[derive(Debug, Default)]
pub struct Index {
    exact: ByName,
    prefix: ByName,
    /// Length of a prefix in bytes → how many prefixes of it are in use.
    lengths: std::collections::BTreeMap<usize, usize>,
}

impl Index {
    /// Adds `types` to what `outbox` gets for `pattern`.
    pub fn add(&mut self, pattern: &Pattern, types: u8, outbox: &Arc<Outbox>) {
        let (map, name) = match pattern {
            Pattern::Exact(name) => (&mut self.exact, name),
            Pattern::Prefix(name) => (&mut self.prefix, name),
        };
        let subscribers = map.entry(name.clone()).or_default();
        if subscribers.is_empty() && matches!(pattern, Pattern::Prefix(_)) {
            *self.lengths.entry(name.len()).or_default() += 1;
        }
        match subscribers.iter_mut().find(|subscriber| subscriber.outbox.id == outbox.id) {
            Some(subscriber) => subscriber.types |= types,
            None => subscribers.push(Subscriber { outbox: outbox.clone(), types }),
        }
    }

    /// Takes `types` from what the client gets for `pattern`.
    pub fn remove(&mut self, pattern: &Pattern, types: u8, client: u64) {
        let (map, name) = match pattern {
            Pattern::Exact(name) => (&mut self.exact, name),
            Pattern::Prefix(name) => (&mut self.prefix, name),
        };
        let Some(subscribers) = map.get_mut(name) else { return };
        if let Some(place) = subscribers.iter().position(|subscriber| subscriber.outbox.id == client) {
            subscribers[place].types &= !types;
            if subscribers[place].types == 0 {
                subscribers.swap_remove(place);
            }
        }
        if subscribers.is_empty() {
            map.remove(name);
            if matches!(pattern, Pattern::Prefix(_))
                && let Some(count) = self.lengths.get_mut(&name.len())
            {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&name.len());
                }
            }
        }
    }

    /// How many names and patterns each client has.
    pub fn counts(&self) -> HashMap<u64, usize> {
        let mut counts = HashMap::new();
        for subscriber in self.exact.values().chain(self.prefix.values()).flatten() {
            *counts.entry(subscriber.outbox.id).or_default() += 1;
        }
        counts
    }

    /// Calls `each` for every subscription that `update` matches; a client with several is called several times.
    pub fn matching(&self, update: &Update, mut each: impl FnMut(&Arc<Outbox>)) {
        let bit = update.kind.bit();
        let mut offer = |subscribers: &Vec<Subscriber>| {
            for subscriber in subscribers {
                if subscriber.types & bit != 0 {
                    each(&subscriber.outbox);
                }
            }
        };
        if update.kind == UpdateType::Metrics {
            // The system's own figures are about no model: whoever asks for them gets them.
            self.exact.values().chain(self.prefix.values()).for_each(offer);
            return;
        }
        let name = &*update.name;
        if let Some(subscribers) = self.exact.get(name) {
            offer(subscribers);
        }
        for &length in self.lengths.keys() {
            if let Some(subscribers) = name.get(..length).and_then(|prefix| self.prefix.get(prefix)) {
                offer(subscribers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::tests::record;
    use super::*;
    use serde_json::json;
    use tidecast_ports::OutputKind;

    fn who(index: &Index, model: &str) -> Vec<u64> {
        let value = json!({"model_id": model, "predicted_value": 1});
        let update = Update::read(&record(OutputKind::Forecast, 0, &value)).unwrap();
        let mut clients = Vec::new();
        index.matching(&update, |outbox| clients.push(outbox.id));
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    #[test]
    fn names_patterns_and_their_removal() {
        let mut index = Index::default();
        let bit = UpdateType::Forecast.bit();
        for (client, pattern) in [(1, "sales_1"), (2, "sales_*"), (3, "*"), (4, "sé*"), (5, "sales_1*")] {
            index.add(&Pattern::parse(pattern), bit, &Outbox::new(client, 1));
        }
        index.add(&Pattern::all(), UpdateType::Alert.bit(), &Outbox::new(6, 1));
        assert_eq!(who(&index, "sales_1"), [1, 2, 3, 5]);
        assert_eq!(who(&index, "sales_2"), [2, 3]);
        assert_eq!(who(&index, "séance"), [3, 4]);
        assert_eq!(who(&index, "s"), [3]);
        index.remove(&Pattern::parse("sales_*"), bit, 2);
        index.remove(&Pattern::parse("sales_1*"), bit, 5);
        index.remove(&Pattern::parse("*"), bit, 3);
        assert_eq!(who(&index, "sales_1"), [1]);
        index.remove(&Pattern::parse("*"), u8::MAX, 6);
        index.remove(&Pattern::parse("sales_1"), u8::MAX, 1);
        index.remove(&Pattern::parse("sé*"), u8::MAX, 4);
        assert!(index.exact.is_empty() && index.prefix.is_empty() && index.lengths.is_empty(), "{index:?}");
    }

    #[test]
    fn a_star_elsewhere_is_a_star() {
        assert!(Pattern::parse("a*b").matches("a*b"));
        assert!(!Pattern::parse("a*b").matches("axb"));
        assert_eq!(Pattern::parse("a*").to_string(), "a*");
    }
}
