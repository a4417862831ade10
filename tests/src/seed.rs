//! Repeatable choices: everything random in a test follows from one number.

/// SplitMix64 (Steele, Lea and Flood, 2014): a full-period generator of one
/// word of state, so that a seed printed by a failed test is all it takes.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// A generator for `parts`, which differs when any of them does.
    pub fn of(parts: &[u64]) -> Seed {
        let mut seed = Seed(0);
        for part in parts {
            seed.0 ^= part.wrapping_mul(0xff51_afd7_ed55_8ccd);
            seed.0 = seed.next();
        }
        seed
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it is endless, no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number in `low..=high`. The bias of the remainder is of no matter here.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
