//! S2 streams as they are written: the other side of [`unpack`](crate::unpack).

use crate::unpack::{COMPRESSED, IDENTIFIED, UNCOMPRESSED, checksum};

/// Bytes of a block, before it is packed: as nats-server and the reference implementation have it.
const BLOCK: usize = 1 << 20;

/// Packs an S2 stream.
#[derive(Debug)]
pub struct Packer {
    /// What is ready.
    packed: Vec<u8>,
    /// The block that is being filled.
    block: Vec<u8>,
}

impl Packer {
    pub fn new() -> Self {
        Self {
            packed: IDENTIFIED.to_vec(),
            block: Vec::new(),
        }
    }

    /// Adds bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (some, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(some);
            bytes = rest;
            if self.block.len() == BLOCK {
                self.end_block();
            }
        }
    }

    /// What is ready so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packed)
    }

    /// Packs what is left.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_block();
        self.packed
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let small = minlz::encode(&self.block);
        // Where it saves less, it is not worth the unpacking.
        let (kind, body) = match small.len() <= self.block.len().saturating_sub(self.block.len() / 32 + 5) {
            true => (COMPRESSED, &small),
            false => (UNCOMPRESSED, &self.block),
        };
        let sum = checksum(&self.block).to_le_bytes();
        let [a, b, c, _] = ((sum.len() + body.len()) as u32).to_le_bytes();
        self.packed.extend_from_slice(&[kind, a, b, c]);
        self.packed.extend_from_slice(&sum);
        self.packed.extend_from_slice(body);
        self.block.clear();
    }
}

#[cfg(test)]
mod tests;
