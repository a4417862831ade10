//! A set of sequences, one bit each where they lie close together: which messages of a stream are deleted.

use std::collections::BTreeMap;

use weir_engine::Seq;

/// Sequences per node.
const NODE: u64 = 2048;
const WORDS: usize = (NODE / 64) as usize;

/// A set of sequences.
#[derive(Debug, Default)]
pub(super) struct SeqSet {
    nodes: BTreeMap<u64, Box<[u64; WORDS]>>,
}

impl SeqSet {
    pub fn insert(&mut self, seq: Seq) {
        let node = self.nodes.entry(seq / NODE).or_insert_with(|| Box::new([0; WORDS]));
        let at = seq % NODE;
        node[(at / 64) as usize] |= 1 << (at % 64);
    }

    pub fn contains(&self, seq: Seq) -> bool {
        let at = seq % NODE;
        self.nodes
            .get(&(seq / NODE))
            .is_some_and(|node| node[(at / 64) as usize] & (1 << (at % 64)) != 0)
    }

    /// Takes a set off the front, as nats-server's `avl` package writes it; `None` if it makes no sense.
    ///
    /// Magic and version; the number of nodes and of sequences (u32 each); then each node: the first sequence it has
    /// room for, a bit for each of 2048 (version 1: 4096) sequences from there, and its height in their tree (u16).
    pub fn take(from: &mut &[u8]) -> Option<Self> {
        const MAGIC: u8 = 22;
        let words = match from.get(..2)? {
            [MAGIC, 1] => 2 * WORDS,
            [MAGIC, 2] => WORDS,
            _ => return None,
        };
        let mut rest = &from[2..];
        let nodes = take_u32(&mut rest)?;
        let _size = take_u32(&mut rest)?;
        let mut set = Self::default();
        for _ in 0..nodes {
            let (node, behind) = rest.split_at_checked((words + 1) * 8 + 2)?;
            rest = behind;
            let mut numbers = node.chunks_exact(8).map(|bytes| {
                let mut eight = [0; 8];
                eight.copy_from_slice(bytes);
                u64::from_le_bytes(eight)
            });
            let base = numbers.next()?;
            // No sequence is as high: adding to it must not overflow.
            if base >= weir_engine::SEQ_LIMIT {
                return None;
            }
            for (index, mut bits) in (0u64..).zip(numbers.take(words)) {
                while bits != 0 {
                    set.insert(base + index * 64 + u64::from(bits.trailing_zeros()));
                    bits &= bits - 1;
                }
            }
        }
        *from = rest;
        Some(set)
    }
}

fn take_u32(from: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
