//! What an index says of all messages, added up: so it is compared with a log without looking up each of them.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::types::Seq;

/// Messages, added up in whatever order: the sequence, the subject and the size of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds a message; the size is that which limits count.
    pub fn add(&mut self, seq: Seq, subject: &[u8], size: u64) {
        self.add_hashed(seq, hash(subject), size);
    }

    /// The same of the subject's [`hash`].
    pub(super) fn add_hashed(&mut self, seq: Seq, subject: u64, size: u64) {
        let mut z = subject
            .wrapping_add(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_add(size.wrapping_mul(0xd6e8_feb8_6659_fd93));
        z = (z ^ (z >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = self.0.wrapping_add(z ^ (z >> 32));
    }
}

pub(super) fn hash(subject: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(subject);
    hasher.finish()
}
