//! What outlives the read that it came with.
//!
//! A piece of a read chunk keeps all memory of the chunk: 64 KiB, or one larger message and what was read with it. So a piece
//! is shared only if it is most of what it keeps; all others are copied, those of one read close together.

use bytes::{Bytes, BytesMut};

use crate::limits::{KEEP_BLOCK, KEEP_SHARE};

/// The read chunk that a message stands in.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub bytes: &'a Bytes,
    /// Bytes of memory that a piece of it keeps: more than its own where the buffer that it was read into is larger.
    pub holds: usize,
}

impl Chunk<'_> {
    /// Where it lies in memory.
    pub fn place(&self) -> usize {
        self.bytes.as_ptr().addr()
    }

    /// `total` bytes from the start of `first` on as their own owner; `None` if that is no part of this chunk, or so little
    /// of it that it is better copied.
    pub fn share(&self, first: &[u8], total: usize) -> Option<Bytes> {
        if total.saturating_mul(KEEP_SHARE) < self.holds {
            return None;
        }
        self.part(first, total)
    }

    /// The same, however little it is: for what is kept beside a piece that was shared.
    pub fn part(&self, first: &[u8], total: usize) -> Option<Bytes> {
        let start = first.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        (start.checked_add(total)? <= self.bytes.len()).then(|| self.bytes.slice(start..start + total))
    }
}

/// Copies of small pieces, several to an allocation: one of its own for each would cost more than the copying.
#[derive(Default)]
pub(crate) struct Blocks {
    block: BytesMut,
    /// The size of the next block: grows with what one batch needs, so that a single message gets what it takes.
    next: usize,
}

impl Blocks {
    /// These parts, one behind the other.
    pub fn copy(&mut self, parts: [&[u8]; 4]) -> Bytes {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > KEEP_BLOCK {
            return parts.concat().into();
        }
        if self.block.capacity() < total {
            self.block = BytesMut::with_capacity(total.max(self.next));
            self.next = (self.block.capacity() * 2).min(KEEP_BLOCK);
        }
        for part in parts {
            self.block.extend_from_slice(part);
        }
        self.block.split().freeze()
    }

    /// The end of a batch: what is left of the block is not kept for a next one.
    pub fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
