//! What was read from a connection and not worked off yet, and the memory for what is read next.

use bytes::{Bytes, BytesMut};

use crate::limits::{READ_BUFFER_MAX, READ_BUFFER_MIN};

/// The read buffer of one connection.
pub(super) struct Intake {
    /// Read and not worked off: never more than the start of one operation.
    pub buf: BytesMut,
    /// The size of the memory that `buf` is a part of.
    memory: usize,
    /// How much memory to have for the next read.
    target: usize,
    /// How much `buf` must hold before the parser can go on.
    pub need: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            buf: BytesMut::new(),
            memory: 0,
            target: READ_BUFFER_MIN,
            need: 1,
        }
    }
}

impl Intake {
    /// Makes room for a read, which with what is there already is as much as is wished for. Memory is used from its start again, over
    /// and over, so that it stays in the processor's cache, unless somebody keeps a piece of it.
    pub fn make_room(&mut self) {
        let held = self.buf.len();
        let least = self.need.saturating_sub(held).max(1);
        let wish = self.target.saturating_sub(held).max(least);
        let is_small = self.memory < held + wish;
        if !is_small && (self.room() >= wish || self.buf.try_reclaim(wish)) {
            return;
        }
        // Down to a quarter of what is wished for, reading on behind what is kept is cheaper than other memory.
        if is_small || self.room() < least.max(wish.div_ceil(4)) {
            let mut buf = BytesMut::with_capacity(held + wish);
            buf.extend_from_slice(&self.buf);
            self.memory = buf.capacity();
            self.buf = buf;
        }
    }

    /// Bytes that the next read may have.
    pub fn room(&self) -> usize {
        self.buf.capacity() - self.buf.len()
    }

    /// Follows the size of reads, of which one has just filled so many bytes of those `offered`: one that left no room asks for more,
    /// small ones for less. Memory is at most doubled, so that behind a CONNECT, which is no longer than a control line may be, stands
    /// little more than that.
    pub fn adapt(&mut self, offered: usize, read: usize) {
        if read == offered && self.buf.len() >= self.target {
            self.target = (self.target * 2).min(READ_BUFFER_MAX);
        } else if read < self.target / 8 {
            self.target = (self.target / 2).max(READ_BUFFER_MIN);
        }
    }

    /// Whether the parser can go on.
    pub fn is_enough(&self) -> bool {
        self.buf.len() >= self.need
    }

    /// All that was read, and the size of the memory that a piece of it keeps. Frozen, so that services may keep pieces; while nobody
    /// does, the memory is used again by the next read.
    pub fn take(&mut self) -> (Bytes, usize) {
        (self.buf.split().freeze(), self.memory)
    }

    /// Puts the start of an unfinished operation, which is in `chunk` behind what is `done`, in front of what is read next.
    pub fn keep_rest(&mut self, chunk: Bytes, done: usize) {
        let rest = &chunk[done..];
        if rest.len() <= self.buf.capacity() {
            self.buf.extend_from_slice(rest);
            return;
        }
        // With the chunk gone, the memory can be used from its start again. The rest is at most one read.
        let rest = rest.to_vec();
        drop(chunk);
        self.need = self.need.max(rest.len());
        self.make_room();
        self.buf.extend_from_slice(&rest);
    }

    /// Nothing was read for a while: gives back what is not needed until something is.
    pub fn relax(&mut self) {
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
            self.memory = 0;
        }
        self.target = READ_BUFFER_MIN;
    }
}

#[cfg(test)]
mod tests;
