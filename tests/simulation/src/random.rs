//! Randomness from a seed: the same numbers on every machine, for ever.

/// splitmix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// A sequence of its own for each seed and purpose.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut mixed = Seeded(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        mixed.bits();
        mixed
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// From `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}
