//! What outlives the read that it came with.
//!
//! A piece of a read chunk keeps all memory of the chunk: up to 128 KiB, or one larger message and what was read with it. So a piece
//! is shared only if it is most of what it keeps; all others are copied, those of one read close together.

use bytes::{Bytes, BytesMut};

use super::Inbound;
use crate::limits::{KEEP_BLOCK, KEEP_SHARE};

/// Whether so many bytes are most of the memory that they would keep: only then they are shared, and not copied.
pub(crate) fn is_most(bytes: usize, keeps: usize) -> bool {
    bytes.saturating_mul(KEEP_SHARE) >= keeps
}

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
        match is_most(total, self.holds) {
            true => self.part(first, total),
            false => None,
        }
    }

    /// The same, however little it is: for what is kept beside a piece that was shared.
    pub fn part(&self, first: &[u8], total: usize) -> Option<Bytes> {
        let start = first.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        (start.checked_add(total)? <= self.bytes.len()).then(|| self.bytes.slice(start..start + total))
    }
}

impl Inbound<'_> {
    /// A slice of this message as its own owner. What is kept by it is little more than itself: it shares the read chunk
    /// only if it is most of it, and is copied otherwise.
    #[must_use]
    pub fn own(&self, slice: &[u8]) -> Bytes {
        self.share(slice, slice.len())
            .unwrap_or_else(|| Bytes::copy_from_slice(slice))
    }

    /// Headers and payload in one piece; the first `headers.len()` bytes are the headers. As [`own`](Self::own).
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.share(self.start(), self.headers.len() + self.payload.len())
            .unwrap_or_else(|| [self.headers, self.payload].concat().into())
    }

    /// Subject, reply and [`body`](Self::body), kept together.
    pub(crate) fn keep(&self, blocks: &mut Blocks) -> (Bytes, Bytes, Bytes) {
        let total = self.headers.len() + self.payload.len();
        if let Some(chunk) = self.chunk
            && let Some(body) = chunk.share(self.start(), total)
        {
            let beside = |slice: &[u8]| {
                chunk
                    .part(slice, slice.len())
                    .unwrap_or_else(|| Bytes::copy_from_slice(slice))
            };
            return (beside(self.subject), beside(self.reply), body);
        }
        let mut all = blocks.copy([self.subject, self.reply, self.headers, self.payload]);
        let subject = all.split_to(self.subject.len());
        let reply = all.split_to(self.reply.len());
        (subject, reply, all)
    }

    /// Subject, reply and [`body`](Self::body) as parts of the read chunk, which they keep; `None` if they are no parts
    /// of one.
    pub(crate) fn parts(&self) -> Option<(Bytes, Bytes, Bytes)> {
        let chunk = self.chunk?;
        let body = chunk.part(self.start(), self.headers.len() + self.payload.len())?;
        let part = |slice: &[u8]| match slice {
            [] => Some(Bytes::new()),
            slice => chunk.part(slice, slice.len()),
        };
        Some((part(self.subject)?, part(self.reply)?, body))
    }

    /// Where headers and payload begin.
    fn start(&self) -> &[u8] {
        if self.headers.is_empty() {
            self.payload
        } else {
            self.headers
        }
    }

    fn share(&self, first: &[u8], total: usize) -> Option<Bytes> {
        self.chunk?.share(first, total)
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
