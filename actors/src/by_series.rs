//! Things by the series that they are of: of one key of a family, or of all of its keys.

use std::collections::BTreeMap;
use tidecast_config::SeriesRef;

/// The things.
#[derive(Debug)]
pub struct BySeries<T>(BTreeMap<String, Family<T>>);

#[derive(Debug)]
struct Family<T> {
    single: BTreeMap<String, Vec<T>>,
    all: Vec<T>,
}

impl<T> Default for BySeries<T> {
    fn default() -> Self {
        BySeries(BTreeMap::new())
    }
}

impl<T> BySeries<T> {
    /// Adds one: `family:*` is all keys.
    pub fn add(&mut self, series: &SeriesRef, thing: T) {
        let new = || Family { single: BTreeMap::new(), all: Vec::new() };
        let family = self.0.entry(series.family.clone()).or_insert_with(new);
        let list = match series.is_template() {
            true => &mut family.all,
            false => family.single.entry(series.key.clone()).or_default(),
        };
        list.push(thing);
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The families that there is something of.
    pub fn families(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Those of this key alone.
    pub fn of_key(&self, family: &str, key: &str) -> &[T] {
        self.0.get(family).and_then(|family| family.single.get(key)).map_or(&[], Vec::as_slice)
    }

    /// Those of all keys.
    pub fn of_all(&self, family: &str) -> &[T] {
        self.0.get(family).map_or(&[], |family| family.all.as_slice())
    }
}
