//! Count, sum, mean, spread and extremes, mergeable. Values are taken in blocks, so that a division is paid for a block
//! and not for each value.

use tidecast_event::FieldStats;

/// What is kept of values that are not kept themselves.
///
/// The sum is compensated (Neumaier 1974); blocks and panes merge as in Chan, Golub and LeVeque 1983. What passes the
/// range of a double is held at its end: a sum above 1.8e308, a spread of values above about 1e154.
#[derive(Debug, Clone, Copy, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Moments {
    pub count: u64,
    sum: f64,
    /// What rounding has taken from `sum`.
    carry: f64,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    pub min: f64,
    pub max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Moments { count: 0, sum: 0.0, carry: 0.0, mean: 0.0, squares: 0.0, min, max }
    }
}

/// The exact rounding error of `a + b` beside the sum (Knuth's two-sum: no comparison).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// Values are added up in so many lanes at a time, which a processor does at once.
const LANES: usize = 4;

#[derive(Clone, Copy)]
struct Lane {
    sum: f64,
    carry: f64,
    min: f64,
    max: f64,
}

impl Default for Lane {
    fn default() -> Self {
        Lane { sum: 0.0, carry: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Lane {
    #[inline(always)]
    fn add(&mut self, value: f64) {
        let (sum, lost) = two_sum(self.sum, value);
        self.sum = sum;
        self.carry += lost;
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
    }
}

fn held(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-f64::MAX, f64::MAX) }
}

impl Moments {
    /// Of values that are all finite.
    pub fn of(values: &[f64]) -> Self {
        let mut moments = Moments { count: values.len() as u64, ..Moments::default() };
        if values.is_empty() {
            return moments;
        }
        let count = values.len() as f64;
        let mut lanes = [Lane::default(); LANES];
        let mut blocks = values.chunks_exact(LANES);
        for block in &mut blocks {
            for (lane, &value) in lanes.iter_mut().zip(block) {
                lane.add(value);
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(blocks.remainder()) {
            lane.add(value);
        }
        for lane in lanes {
            let (sum, lost) = two_sum(moments.sum, lane.sum);
            moments.sum = sum;
            moments.carry += lane.carry + lost;
            moments.min = moments.min.min(lane.min);
            moments.max = moments.max.max(lane.max);
        }
        moments.mean = (moments.sum + moments.carry) / count;
        if !moments.mean.is_finite() {
            moments.mean = held(values.iter().map(|value| value / count).sum());
            moments.sum = held(moments.mean * count);
            moments.carry = 0.0;
        }
        let mean = moments.mean;
        let mut squares = [0.0; LANES];
        let mut blocks = values.chunks_exact(LANES);
        for block in &mut blocks {
            for (squares, &value) in squares.iter_mut().zip(block) {
                *squares += (value - mean) * (value - mean);
            }
        }
        for (squares, &value) in squares.iter_mut().zip(blocks.remainder()) {
            *squares += (value - mean) * (value - mean);
        }
        moments.squares = held(squares.iter().sum());
        moments
    }

    /// Takes in what another has seen.
    pub fn merge(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (mine, theirs) = (self.count as f64, other.count as f64);
        let count = mine + theirs;
        let distance = other.mean - self.mean;
        let mean = self.mean + distance * (theirs / count);
        self.mean = if mean.is_finite() {
            mean
        } else {
            held(self.mean * (mine / count) + other.mean * (theirs / count))
        };
        self.squares = held(self.squares + other.squares + distance * distance * (mine * (theirs / count)));
        let (sum, lost) = two_sum(self.sum, other.sum);
        let carry = self.carry + other.carry + lost;
        (self.sum, self.carry) = if (sum + carry).is_finite() { (sum, carry) } else { (held(sum), 0.0) };
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// As written in an aggregate, without percentiles. Of at least one value.
    pub fn stats(&self) -> FieldStats {
        let count = self.count.max(1) as f64;
        let sum = self.sum + self.carry;
        let average = if sum.abs() < f64::MAX { sum / count } else { self.mean };
        FieldStats {
            count: self.count,
            sum,
            avg: average.max(self.min).min(self.max),
            min: self.min,
            max: self.max,
            std: (self.squares / count).sqrt(),
            p50: None,
            p95: None,
            p99: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn blocks_merge_to_what_the_whole_gives() {
        let values: Vec<f64> = (0..1_000).map(|at| ((at * 7_919) % 1_009) as f64 * 0.1 - 20.0).collect();
        let whole = Moments::of(&values).stats();
        let mut merged = Moments::default();
        for block in values.chunks(64) {
            merged.merge(&Moments::of(block));
        }
        let merged = merged.stats();
        assert_eq!(
            (merged.count, merged.sum, merged.min, merged.max),
            (whole.count, whole.sum, whole.min, whole.max)
        );
        assert!((merged.std - whole.std).abs() < 1e-12 * whole.std);
    }

    #[test]
    fn a_sum_that_plain_addition_loses_is_kept() {
        let stats = Moments::of(&[1e16, 1.0, -1e16]).stats();
        assert_eq!(stats.sum, 1.0);
        let mut merged = Moments::of(&[1e16]);
        merged.merge(&Moments::of(&[1.0]));
        merged.merge(&Moments::of(&[-1e16]));
        assert_eq!(merged.stats().sum, 1.0);
    }

    #[test]
    fn spread_survives_a_large_offset() {
        let values: Vec<f64> = (0..1_000).map(|at| 1e9 + f64::from(at % 2)).collect();
        let mut merged = Moments::default();
        for block in values.chunks(64) {
            merged.merge(&Moments::of(block));
        }
        assert!((merged.stats().std - 0.5).abs() < 1e-9, "{}", merged.stats().std);
    }

    #[test]
    fn nothing_leaves_the_range_of_a_double() {
        for values in [vec![1.7e308, 1.7e308], vec![1.7e308, -1.7e308], vec![-1.7e308; 3], vec![1e200, 3e200]]
        {
            let mut merged = Moments::default();
            for value in &values {
                merged.merge(&Moments::of(&[*value]));
            }
            for stats in [Moments::of(&values).stats(), merged.stats()] {
                for name in ["sum", "avg", "min", "max", "std"] {
                    assert!(stats.statistic(name).unwrap().is_finite(), "{name} of {values:?}: {stats:?}");
                }
            }
        }
    }
}
