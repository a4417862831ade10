//! The hash table of a [`Sublist`](super::Sublist): from the hash of (parent, token) to the number of a node.
//!
//! Open addressing with linear probing; a removal shifts back what follows, so there are no tombstones. A slot keeps
//! 32 bits of hash beside the number, so that a probe looks at a node only when it is very likely the right one.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use super::NIL;

/// The smallest table with anything in it. A power of two, as all sizes are.
const MIN_SLOTS: usize = 16;

#[derive(Default)]
pub(super) struct Edges {
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    /// `NIL` in an empty slot.
    node: u32,
}

const EMPTY: Slot = Slot { hash: 0, node: NIL };

pub(super) fn token_hash(hasher: &FixedState, token: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(token);
    hasher.finish()
}

/// Joins the parent to a token's hash by folding a full multiplication, whose middle bits depend on all of both.
pub(super) fn edge_hash(parent: u32, token: u64) -> u32 {
    let spread = u64::from(parent).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let product = u128::from(token ^ spread) * 0xd6e8_feb8_6659_fd93;
    ((product >> 64) as u64 ^ product as u64) as u32
}

impl Edges {
    /// The size of the table.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The node under `hash` that `is_it` agrees to, or `NIL`.
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> u32 {
        if self.slots.is_empty() {
            return NIL;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.node == NIL || (slot.hash == hash && is_it(slot.node)) {
                return slot.node;
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a node that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, node: u32) {
        // Three quarters full at most: probes stay short, and there is always an empty slot to end them.
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(MIN_SLOTS));
        }
        self.put(Slot { hash, node });
        self.len += 1;
    }

    /// Removes a node that is there.
    pub(super) fn remove(&mut self, hash: u32, node: u32) {
        if self.slots.is_empty() {
            return;
        }
        let mask = self.slots.len() - 1;
        let mut hole = hash as usize & mask;
        while self.slots[hole].node != node {
            if self.slots[hole].node == NIL {
                return;
            }
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.node == NIL {
                break;
            }
            // It may fill the hole unless its search begins behind the hole.
            let home = slot.hash as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
        if self.slots.len() > MIN_SLOTS && self.len * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].node != NIL {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for slot in old {
            if slot.node != NIL {
                self.put(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests;
