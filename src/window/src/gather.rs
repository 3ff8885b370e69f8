//! One field's statistics, put together from the parts that cover a window: values as they are, and summaries.

use crate::cells::Portable;
use crate::moments::Moments;
use crate::sketch::{bucket, middle, split};
use tidecast_event::FieldStats;

/// Percentiles are exact while a window has no more values than this and no part of it is summed up already.
const EXACT_VALUES: usize = 64;

/// Scratch for one field of one window; reused.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    moments: Moments,
    values: Vec<f64>,
    /// The octaves seen, in order, and the places of their counters; empty while the values are enough.
    octaves: Vec<(i16, u32)>,
    /// Counters of this gathering, and after them those of earlier ones to use again.
    counters: Vec<[u64; 64]>,
}

impl Gather {
    pub fn clear(&mut self) {
        self.moments = Moments::default();
        self.values.clear();
        self.octaves.clear();
    }

    /// Values as they came.
    pub fn values(&mut self, values: &[f64]) {
        self.values.extend_from_slice(values);
    }

    /// A summary: its moments; its counters come by [`Gather::counters`].
    pub fn moments(&mut self, moments: &Moments) {
        self.moments.merge(moments);
    }

    /// Counters of one octave of a summary.
    pub fn counters(&mut self, octave: i16, counters: &[u32; 64]) {
        for (mine, theirs) in self.octave(octave).iter_mut().zip(counters) {
            *mine += u64::from(*theirs);
        }
    }

    /// A count for one bucket of a summary.
    pub fn bucket(&mut self, bucket: i32, count: u64) {
        let (octave, place) = split(bucket);
        self.octave(octave)[place] += count;
    }

    /// The counters of an octave, zero where it is new.
    fn octave(&mut self, octave: i16) -> &mut [u64; 64] {
        let place = match self.octaves.binary_search_by_key(&octave, |(octave, _)| *octave) {
            Ok(at) => self.octaves[at].1,
            Err(at) => {
                let place = self.octaves.len() as u32;
                match self.counters.get_mut(place as usize) {
                    Some(counters) => counters.fill(0),
                    None => self.counters.push([0; 64]),
                }
                self.octaves.insert(at, (octave, place));
                place
            }
        };
        &mut self.counters[place as usize]
    }

    /// The statistics of all that came since [`Gather::clear`]; none without a value.
    pub fn stats(&mut self, percentiles: bool) -> Option<FieldStats> {
        let values = Moments::of(&self.values);
        self.moments.merge(&values);
        if self.moments.count == 0 {
            return None;
        }
        let mut stats = self.moments.stats();
        if percentiles {
            let [p50, p95, p99] = if self.octaves.is_empty() && self.values.len() <= EXACT_VALUES {
                self.exact()
            } else {
                self.sketched()
            };
            (stats.p50, stats.p95, stats.p99) = (Some(p50), Some(p95), Some(p99));
        }
        Some(stats)
    }

    /// All that came since [`Gather::clear`], to be gathered again elsewhere.
    pub fn export(&self) -> Portable {
        let counts = self.octaves.iter().flat_map(|(octave, place)| {
            let counted = self.counters[*place as usize].iter().enumerate().filter(|(_, count)| **count > 0);
            counted.map(|(place, count)| {
                (i32::from(*octave) * 64 + place as i32, u32::try_from(*count).unwrap_or(u32::MAX))
            })
        });
        let summary = (self.moments.count > 0).then(|| (self.moments, counts.collect()));
        Portable { values: self.values.clone(), summary }
    }

    /// Takes in what another gathering exported.
    pub fn import(&mut self, portable: &Portable) {
        self.values(&portable.values);
        if let Some((moments, counts)) = &portable.summary {
            self.moments(moments);
            for &(bucket, count) in counts {
                self.bucket(bucket, u64::from(count));
            }
        }
    }

    fn exact(&mut self) -> [f64; 3] {
        let mut from = 0;
        let count = self.values.len() as u64;
        PERCENTS.map(|percent| {
            let rank = nearest_rank(percent, count) as usize;
            if rank < from {
                return self.values[rank];
            }
            let (_, value, _) = self.values[from..].select_nth_unstable_by(rank - from, f64::total_cmp);
            let value = *value;
            // What is at and below the rank is in its place: the next percentile is above.
            from = rank + 1;
            value
        })
    }

    fn sketched(&mut self) -> [f64; 3] {
        let values = std::mem::take(&mut self.values);
        let mut last = 0;
        for &value in &values {
            let (octave, place) = split(bucket(value));
            match self.octaves.get(last) {
                Some((found, counters)) if *found == octave => self.counters[*counters as usize][place] += 1,
                _ => {
                    self.octave(octave)[place] += 1;
                    last = self.octaves.partition_point(|(found, _)| *found < octave);
                }
            }
        }
        self.values = values;
        let count: u64 = self.counters[..self.octaves.len()].iter().flatten().sum();
        let mut left = PERCENTS.map(|percent| nearest_rank(percent, count)).into_iter().peekable();
        let mut found = [self.moments.max; 3];
        let mut below = 0;
        let mut at = 0;
        for (octave, counters) in &self.octaves {
            for (place, counter) in self.counters[*counters as usize].iter().enumerate() {
                below += counter;
                while left.next_if(|&rank| rank < below).is_some() {
                    let value = middle(i32::from(*octave) * 64 + place as i32);
                    found[at] = value.max(self.moments.min).min(self.moments.max);
                    at += 1;
                }
            }
        }
        found
    }
}

const PERCENTS: [u64; 3] = [50, 95, 99];

/// The rank, from 0, of the smallest value that at least `percent` of `count` values do not exceed.
fn nearest_rank(percent: u64, count: u64) -> u64 {
    ((u128::from(count) * u128::from(percent)).div_ceil(100) as u64).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::Gather;

    fn naive(values: &[f64], percent: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[((percent / 100.0 * sorted.len() as f64).ceil() as usize).max(1) - 1]
    }

    #[test]
    fn percentiles_are_exact_when_small_and_within_one_per_cent_when_large() {
        for count in [1usize, 2, 3, 10, 20, 63, 64, 65, 101, 5_000] {
            let values: Vec<f64> =
                (0..count).map(|at| ((at * 7_919) % 10_007) as f64 * 1.37 - 3_000.0).collect();
            let mut gather = Gather::default();
            for _ in 0..2 {
                gather.clear();
                gather.values(&values);
                let stats = gather.stats(true).unwrap();
                for (percent, found) in [(50.0, stats.p50), (95.0, stats.p95), (99.0, stats.p99)] {
                    let (expected, found) = (naive(&values, percent), found.unwrap());
                    let allowed = if count <= 64 { 0.0 } else { expected.abs() * 0.01 };
                    assert!((found - expected).abs() <= allowed, "{count} {percent} {expected} {found}");
                }
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(Gather::default().stats(true).is_none());
    }
}
