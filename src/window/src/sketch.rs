//! Percentiles within 1 %: values counted by exponent and the first six bits of their mantissa, straight from the bits
//! of the double. A bucket is 1/64 of its octave wide, so its middle is within 0.78 % of anything in it.
//!
//! A sketch holds one chunk of 64 counters for each octave that it has seen: two to four for most data, 4,094 at the
//! very most (1 MiB). Magnitudes below 2.3e-308 (subnormal) count as zero. A counter holds at 2^32 - 1.

use crate::slab::Slab;

/// Counters of one octave.
pub(crate) type Chunk = [u32; 64];

/// Chunks of all the sketches of a series.
pub(crate) type ChunkPool = Slab<Chunk>;

/// Bits of the double that name a bucket: sign apart, 11 of exponent and 6 of mantissa.
const BUCKET_SHIFT: u32 = 46;

/// The bucket of a finite value; buckets are in the order of their values.
#[inline(always)]
pub(crate) fn bucket(value: f64) -> i32 {
    let magnitude = (value.abs().to_bits() >> BUCKET_SHIFT) as i32;
    let magnitude = if magnitude < 64 { 0 } else { magnitude };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The middle of a bucket.
pub(crate) fn middle(bucket: i32) -> f64 {
    let magnitude = u64::from(bucket.unsigned_abs());
    if magnitude == 0 {
        return 0.0;
    }
    let value = f64::from_bits(magnitude << BUCKET_SHIFT | 1 << (BUCKET_SHIFT - 1));
    if bucket < 0 { -value } else { value }
}

/// The octave of a bucket, and its place there.
#[inline(always)]
pub(crate) fn split(bucket: i32) -> (i16, usize) {
    ((bucket >> 6) as i16, (bucket & 63) as usize)
}

/// The octaves seen, in order, and where their chunks are.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    pub octaves: Vec<(i16, u32)>,
    /// The place in `octaves` of the one met last.
    last: usize,
}

impl Sketch {
    #[inline]
    pub fn add(&mut self, value: f64, pool: &mut ChunkPool) {
        let (octave, place) = split(bucket(value));
        let chunk = match self.octaves.get(self.last) {
            Some(&(last, chunk)) if last == octave => chunk,
            _ => self.chunk(octave, pool),
        };
        let counter = &mut pool[chunk][place];
        *counter = counter.saturating_add(1);
    }

    /// The chunk of an octave, a new one where there is none yet.
    pub fn chunk(&mut self, octave: i16, pool: &mut ChunkPool) -> u32 {
        self.last = match self.octaves.binary_search_by_key(&octave, |&(octave, _)| octave) {
            Ok(at) => at,
            Err(at) => {
                self.octaves.insert(at, (octave, pool.insert([0; 64])));
                at
            }
        };
        self.octaves[self.last].1
    }

    /// Gives its chunks back.
    pub fn clear(&mut self, pool: &mut ChunkPool) {
        for (_, chunk) in self.octaves.drain(..) {
            pool.free(chunk);
        }
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{bucket, middle};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_middle_of_a_bucket_is_within_one_per_cent_of_what_is_in_it(value in proptest::num::f64::NORMAL) {
            let error = (middle(bucket(value)) / value - 1.0).abs();
            prop_assert!(error <= 1.0 / 128.0, "{} {}", value, error);
        }

        #[test]
        fn buckets_are_in_the_order_of_their_values(a in proptest::num::f64::NORMAL, b in -10.0..10.0f64) {
            prop_assert_eq!(a < b, bucket(a) < bucket(b) || (bucket(a) == bucket(b) && a < b));
        }
    }
}
