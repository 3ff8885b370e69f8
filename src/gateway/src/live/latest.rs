//! The newest forecast of each model, for clients that come later; and ids seen, so that a repeat is not pushed.

use super::update::Update;
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::sync::Arc;
use tidecast_event::OutputId;

/// The newest update of each name, within a bound of bytes; the one longest without a newer value goes first.
#[derive(Debug)]
pub struct Latest {
    bytes_max: usize,
    bytes: usize,
    by_name: HashMap<Arc<str>, (u64, Arc<Update>), foldhash::fast::RandomState>,
    /// In order of arrival; an entry whose number is not the map's is out of date.
    order: VecDeque<(u64, Arc<str>)>,
    number: u64,
}

impl Latest {
    /// Empty.
    pub fn new(bytes_max: usize) -> Self {
        Latest { bytes_max, bytes: 0, by_name: HashMap::default(), order: VecDeque::new(), number: 0 }
    }

    /// Keeps `update` as the newest of its name.
    pub fn keep(&mut self, update: &Arc<Update>) {
        self.number += 1;
        self.bytes += update.weight();
        if let Some((_, old)) = self.by_name.insert(update.name.clone(), (self.number, update.clone())) {
            self.bytes -= old.weight();
        }
        self.order.push_back((self.number, update.name.clone()));
        while self.bytes > self.bytes_max && self.by_name.len() > 1 {
            let Some((number, name)) = self.order.pop_front() else { break };
            if self.by_name.get(&name).is_some_and(|(newest, _)| *newest == number)
                && let Some((_, old)) = self.by_name.remove(&name)
            {
                self.bytes -= old.weight();
            }
        }
        if self.order.len() > 2 * self.by_name.len() + 64 {
            self.order
                .retain(|(number, name)| self.by_name.get(name).is_some_and(|(newest, _)| newest == number));
        }
    }

    /// The newest of one name.
    pub fn get(&self, name: &str) -> Option<&Arc<Update>> {
        self.by_name.get(name).map(|(_, update)| update)
    }

    /// Forgets a name (its model was removed).
    pub fn forget(&mut self, name: &str) {
        if let Some((_, old)) = self.by_name.remove(name) {
            self.bytes -= old.weight();
        }
    }

    /// Every name's newest, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.by_name.values().map(|(_, update)| update)
    }

    /// Names kept.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// None kept.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// The newest ids seen: outputs are read ahead of commits, and the repeat of an aborted one carries the same id.
#[derive(Debug)]
pub struct SeenIds {
    most: usize,
    ids: HashSet<OutputId, foldhash::fast::RandomState>,
    order: VecDeque<OutputId>,
}

impl SeenIds {
    /// Remembers `most` ids.
    pub fn new(most: usize) -> Self {
        SeenIds { most, ids: HashSet::default(), order: VecDeque::new() }
    }

    /// Whether `id` was not here yet; it is from now on.
    pub fn is_new(&mut self, id: OutputId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::tests::record;
    use super::*;
    use serde_json::json;
    use tidecast_ports::OutputKind;

    fn forecast(model: &str, offset: i64) -> Arc<Update> {
        let value = json!({"model_id": model, "predicted_value": offset});
        Arc::new(Update::read(&record(OutputKind::Forecast, offset, &value)).unwrap())
    }

    #[test]
    fn the_newest_is_kept_and_the_stalest_name_goes_first() {
        let weight = forecast("m0", 0).weight();
        let mut latest = Latest::new(weight * 3);
        for (offset, model) in ["m0", "m1", "m2", "m0", "m3"].into_iter().enumerate() {
            latest.keep(&forecast(model, offset as i64));
        }
        assert!(latest.get("m1").is_none(), "m0 has had a newer value, m1 has not");
        assert_eq!(&*latest.get("m0").unwrap().name_of_place(), "f2-3");
        assert_eq!(latest.len(), 3);
        for offset in 0..10_000 {
            latest.keep(&forecast("m0", offset));
        }
        assert!(latest.order.len() < 100, "repeats leave nothing behind");
        latest.forget("m0");
        assert_eq!(latest.bytes, latest.iter().map(|update| update.weight()).sum::<usize>());
    }

    #[test]
    fn ids_repeat_within_the_memory_and_not_past_it() {
        let mut seen = SeenIds::new(2);
        assert!(seen.is_new(OutputId(1)));
        assert!(!seen.is_new(OutputId(1)));
        assert!(seen.is_new(OutputId(2)) && seen.is_new(OutputId(3)));
        assert!(seen.is_new(OutputId(1)), "forgotten");
    }
}
