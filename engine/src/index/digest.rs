//! What an index says of all messages, added up: so it is compared with a log, or with the index of a copy, without looking up each of
//! them.
//!
//! A sum, so that a message comes in or goes out in a step, in whatever order. It is kept on disk and told by one machine to another:
//! it must come out the same on each. It shows mistakes, and keeps nobody from making two that are the same on purpose.

use std::fmt;

use crate::types::Seq;

/// What bits are spread with: odd numbers without a pattern (those of SplitMix64 and of MurmurHash3).
const SPREAD: [u64; 4] = [
    0x9e37_79b9_7f4a_7c15,
    0xd6e8_feb8_6659_fd93,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

/// Messages, added up in whatever order: the sequence, the subject and the size of each. That of none is 0. When a message came is not
/// in it: to take one out again it would have to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds a message; the size is that which limits count.
    pub fn add(&mut self, seq: Seq, subject: &[u8], size: u64) {
        self.include(Self::of(seq, hash(subject), size));
    }

    /// That of a single message, by its subject's [`hash`].
    pub(crate) fn of(seq: Seq, subject: u64, size: u64) -> Self {
        Self(spread(
            subject
                .wrapping_add(seq.wrapping_mul(SPREAD[0]))
                .wrapping_add(size.wrapping_mul(SPREAD[1])),
        ))
    }

    /// That whose number is this one; see [`Digest::number`].
    pub(crate) fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// As a number: any two programs that read this version of it have the same for the same messages.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Adds what another one is of.
    pub(crate) fn include(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Takes away what another one is of, which this one is of as well.
    pub(crate) fn leave_out(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }

    /// Of some numbers that belong together, in their order.
    pub(crate) fn of_numbers(numbers: &[u64]) -> Self {
        let all = numbers.iter().fold(0, |all, number| fold(all ^ number, SPREAD[2]));
        Self(spread(all.wrapping_add(numbers.len() as u64)))
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A subject as a number, the same on every machine.
pub(super) fn hash(subject: &[u8]) -> u64 {
    let mut state = spread(SPREAD[0] ^ subject.len() as u64);
    let mut rest = subject;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*word), SPREAD[2]);
        rest = behind;
    }
    if rest.is_empty() {
        return state;
    }
    // The last eight, some of them once more; of fewer than eight all.
    let last = match subject.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    fold(state ^ last, SPREAD[3])
}

/// Both halves of a product, one over the other.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product as u64) ^ (product >> 64) as u64
}

/// Spreads the bits of a number over all of it.
fn spread(mut z: u64) -> u64 {
    z = (z ^ (z >> 32)).wrapping_mul(SPREAD[2]);
    z = (z ^ (z >> 29)).wrapping_mul(SPREAD[3]);
    z ^ (z >> 32)
}

#[cfg(test)]
mod tests;
