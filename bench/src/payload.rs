//! The body of every message that is sent: it says which message it is, so that the receiver can
//! tell a lost, doubled, reordered or changed one.
//!
//! Layout, little endian: `counter u64, sent u64 (ns of our clock), publisher u32, filler`.

use crate::error::{LoadError, Result};

const COUNTER: std::ops::Range<usize> = 0..8;
const SENT: std::ops::Range<usize> = 8..16;
const PUBLISHER: std::ops::Range<usize> = 16..20;

/// Smallest body that can carry the stamp, in bytes.
pub const MIN_BYTES: usize = PUBLISHER.end;

/// Counter of the message that ends a core NATS run; its `sent` field holds the number of messages.
pub const END: u64 = u64::MAX;

/// What a body says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the message in its publisher's order, from 0.
    pub counter: u64,
    /// When it was encoded, ns of [`crate::clock::now_ns`]; with [`END`] the number of messages.
    pub sent_ns: u64,
    /// Which connection published it.
    pub publisher: u32,
}

/// A body of a fixed size, written and checked without allocating.
#[derive(Debug, Clone)]
pub struct Payload {
    bytes: Vec<u8>,
}

impl Payload {
    /// A body of `size` bytes; sizes below [`MIN_BYTES`] are raised to it.
    pub fn new(size: usize) -> Self {
        let filler = (0..size.max(MIN_BYTES)).map(|i| b'a' + (i % 26) as u8);
        Self {
            bytes: filler.collect(),
        }
    }

    /// The body with this stamp.
    pub fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        self.bytes[COUNTER].copy_from_slice(&stamp.counter.to_le_bytes());
        self.bytes[SENT].copy_from_slice(&stamp.sent_ns.to_le_bytes());
        self.bytes[PUBLISHER].copy_from_slice(&stamp.publisher.to_le_bytes());
        &self.bytes
    }

    /// Reads the stamp of a received body and compares the rest, byte for byte.
    ///
    /// # Errors
    /// [`LoadError::Verify`] when length or filler differ from what was sent.
    pub fn check(&self, body: &[u8]) -> Result<Stamp> {
        if body.len() != self.bytes.len() {
            return Err(LoadError::Verify(format!(
                "a body of {} bytes arrived, {} were sent",
                body.len(),
                self.bytes.len()
            )));
        }
        let (stamp, filler) = body.split_at(MIN_BYTES);
        if filler != &self.bytes[MIN_BYTES..] {
            return Err(LoadError::Verify("a body arrived with changed bytes".into()));
        }
        let mut publisher = [0u8; 4];
        publisher.copy_from_slice(&stamp[PUBLISHER]);
        Ok(Stamp {
            counter: u64_at(&stamp[COUNTER]),
            sent_ns: u64_at(&stamp[SENT]),
            publisher: u32::from_le_bytes(publisher),
        })
    }
}

fn u64_at(bytes: &[u8]) -> u64 {
    let mut value = [0u8; 8];
    value.copy_from_slice(bytes);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests;
