//! The newest updates in the order in which they were offered, for clients that come back soon: within a bound of
//! bytes, and without asking Kafka.

use super::position::Position;
use super::update::Update;
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tidecast_ports::OutputKind;

/// What a partition has here.
#[derive(Debug, Default)]
struct Partition {
    /// Everything from this offset on is here (repeats, which nobody gets, excepted).
    complete_from: i64,
    /// Offset and number of each update of it, in order.
    places: VecDeque<(i64, u64)>,
}

/// See the module.
#[derive(Debug)]
pub struct Recent {
    bytes_max: usize,
    bytes: usize,
    updates: VecDeque<Arc<Update>>,
    /// The number of the first of `updates`; the others follow.
    first: u64,
    partitions: BTreeMap<(OutputKind, i32), Partition>,
    /// The numbers of each name's updates: many clients come back at once, each for a few names of very many.
    by_name: HashMap<Arc<str>, VecDeque<u64>, foldhash::fast::RandomState>,
}

impl Recent {
    /// Empty.
    pub fn new(bytes_max: usize) -> Self {
        let (updates, partitions, by_name) = (VecDeque::new(), BTreeMap::new(), HashMap::default());
        Recent { bytes_max, bytes: 0, updates, first: 0, partitions, by_name }
    }

    /// A record came, whether or not it became an update.
    pub fn came(&mut self, kind: OutputKind, partition: i32, offset: i64) {
        let new = || Partition { complete_from: offset, places: VecDeque::new() };
        self.partitions.entry((kind, partition)).or_insert_with(new);
    }

    /// Keeps an update whose record came.
    pub fn keep(&mut self, update: &Arc<Update>) {
        let number = self.first + self.updates.len() as u64;
        if let Some(partition) = self.partitions.get_mut(&update.place()) {
            partition.places.push_back((update.offset, number));
        }
        self.by_name.entry(update.name.clone()).or_default().push_back(number);
        self.bytes += update.weight();
        self.updates.push_back(update.clone());
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.updates.pop_front()
        {
            self.bytes -= oldest.weight();
            self.first += 1;
            if let Some(partition) = self.partitions.get_mut(&oldest.place()) {
                partition.complete_from = oldest.offset + 1;
                partition.places.pop_front();
            }
            if let Some(numbers) = self.by_name.get_mut(&oldest.name) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.by_name.remove(&oldest.name);
                }
            }
        }
    }

    /// Everything that `from` has not seen of the kinds wanted, oldest first; of these `names`, or of all. `None` where
    /// some of it is not here any more, or `from` has seen what has not come here yet.
    pub fn since(
        &self,
        from: &Position,
        head: &Position,
        wanted: impl Fn(OutputKind) -> bool,
        names: Option<&[Arc<str>]>,
    ) -> Option<Vec<Arc<Update>>> {
        let mut start = self.first + self.updates.len() as u64;
        for (kind, partition, next) in from.partitions().filter(|(kind, ..)| wanted(*kind)) {
            if next > head.next(kind, partition) {
                return None;
            }
        }
        for (&(kind, number), partition) in self.partitions.iter().filter(|((kind, _), _)| wanted(*kind)) {
            let next = from.next(kind, number);
            if next < partition.complete_from {
                return None;
            }
            let seen = partition.places.partition_point(|(offset, _)| *offset < next);
            if let Some((_, first)) = partition.places.get(seen) {
                start = start.min(*first);
            }
        }
        let place = |number: u64| usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let is_missed = |update: &&Arc<Update>| {
            wanted(update.place().0) && !from.covers(update.place().0, update.place().1, update.offset)
        };
        let Some(names) = names else {
            return Some(self.updates.iter().skip(place(start)).filter(is_missed).cloned().collect());
        };
        let mut numbers: Vec<u64> = Vec::new();
        for all in names.iter().filter_map(|name| self.by_name.get(name)) {
            numbers.extend(all.range(all.partition_point(|number| *number < start)..));
        }
        numbers.sort_unstable();
        numbers.dedup();
        let missed = numbers.iter().filter_map(|number| self.updates.get(place(*number)));
        Some(missed.filter(is_missed).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::tests::record;
    use super::*;
    use serde_json::json;

    fn fill(recent: &mut Recent, head: &mut Position, partition: i32, offset: i64) {
        let value = json!({"model_id": format!("m{}", offset % 3), "predicted_value": 1});
        let mut record = record(OutputKind::Forecast, offset, &value);
        record.partition = partition;
        recent.came(OutputKind::Forecast, partition, offset);
        head.advance(OutputKind::Forecast, partition, offset);
        recent.keep(&Arc::new(Update::read(&record).unwrap()));
    }

    fn offsets(found: Option<Vec<Arc<Update>>>) -> Option<Vec<(i32, i64)>> {
        found.map(|found| found.iter().map(|update| (update.place().1, update.offset)).collect())
    }

    #[test]
    fn what_was_missed_comes_in_order_and_nothing_else() {
        let (mut recent, mut head) = (Recent::new(1 << 20), Position::default());
        let mut from = Position::default();
        for offset in 5..10 {
            fill(&mut recent, &mut head, 0, offset);
            fill(&mut recent, &mut head, 1, offset * 10);
            if offset == 7 {
                from = head.clone();
            }
        }
        let all = |_| true;
        assert_eq!(
            offsets(recent.since(&from, &head, all, None)).unwrap(),
            [(0, 8), (1, 80), (0, 9), (1, 90)]
        );
        from.advance(OutputKind::Forecast, 1, 85);
        assert_eq!(offsets(recent.since(&from, &head, all, None)).unwrap(), [(0, 8), (0, 9), (1, 90)]);
        assert_eq!(offsets(recent.since(&head, &head, all, None)).unwrap(), []);
        assert_eq!(
            recent.since(&Position::default(), &head, all, None).map(|found| found.len()),
            None,
            "older"
        );
        assert!(
            recent
                .since(&Position::default(), &head, |kind| kind == OutputKind::Alert, None)
                .unwrap()
                .is_empty()
        );
        let mut ahead = head.clone();
        ahead.advance(OutputKind::Forecast, 0, 100);
        assert!(recent.since(&ahead, &head, all, None).is_none(), "this gateway is behind");
    }

    #[test]
    fn what_went_for_want_of_room_is_known_to_be_gone() {
        let (mut recent, mut head) = (Recent::new(2_000), Position::default());
        let mut positions = Vec::new();
        for offset in 0..100 {
            fill(&mut recent, &mut head, 0, offset);
            positions.push(head.clone());
        }
        assert!(recent.bytes <= 2_000);
        let kept = recent.updates.len();
        assert!(recent.since(&positions[99 - kept], &head, |_| true, None).is_some());
        assert!(recent.since(&positions[98 - kept], &head, |_| true, None).is_none());
        assert_eq!(recent.partitions[&(OutputKind::Forecast, 0)].places.len(), kept);
        assert_eq!(recent.by_name.values().map(VecDeque::len).sum::<usize>(), kept);
    }

    #[test]
    fn by_names_it_is_what_all_would_be_without_the_others() {
        let (mut recent, mut head) = (Recent::new(20_000), Position::default());
        let mut positions = Vec::new();
        for offset in 0..200 {
            fill(&mut recent, &mut head, (offset % 4) as i32, offset);
            positions.push(head.clone());
        }
        for names in [&["m1"][..], &["m2", "m0", "m2"], &["nobody"], &[]] {
            let arcs: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
            for from in &positions {
                let all = recent.since(from, &head, |_| true, None);
                let by_all = all.map(|all| all.into_iter().filter(|u| names.contains(&&*u.name)).collect());
                let by_name = recent.since(from, &head, |_| true, Some(&arcs));
                assert_eq!(offsets(by_name), offsets(by_all), "{names:?}");
            }
        }
    }
}
