//! What streams hold, counted for all of them together and for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stream::Storage;

/// How much all streams of a store may hold together, in bytes as their own limits count them. Publishes beyond are
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Those in memory.
    pub memory: u64,
    /// Those on disk.
    pub file: u64,
}

impl Default for Capacity {
    /// No bound.
    fn default() -> Self {
        Self {
            memory: u64::MAX,
            file: u64::MAX,
        }
    }
}

/// What streams of one kind of storage hold together, and may hold.
#[derive(Debug)]
struct Pool {
    used: AtomicU64,
    limit: u64,
}

/// The pools of a store.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    memory: Arc<Pool>,
    file: Arc<Pool>,
}

impl Pools {
    pub(super) fn new(capacity: Capacity) -> Self {
        let pool = |limit| {
            Arc::new(Pool {
                used: AtomicU64::new(0),
                limit,
            })
        };
        Self {
            memory: pool(capacity.memory),
            file: pool(capacity.file),
        }
    }

    /// For a stream that holds nothing yet.
    pub fn stats(&self, storage: Storage) -> Arc<StreamStats> {
        Arc::new(StreamStats {
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            consumers: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            pool: Arc::clone(match storage {
                Storage::Memory => &self.memory,
                Storage::File => &self.file,
            }),
        })
    }
}

/// What a stream holds, as of its last turn; readable from any thread.
#[derive(Debug)]
pub struct StreamStats {
    messages: AtomicU64,
    bytes: AtomicU64,
    consumers: AtomicU64,
    lost: AtomicU64,
    pool: Arc<Pool>,
}

impl Drop for StreamStats {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl StreamStats {
    /// Messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes, as the stream's limits count them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Consumers.
    pub fn consumers(&self) -> u64 {
        self.consumers.load(Ordering::Relaxed)
    }

    /// Messages that it has lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lost(&self, messages: u64) {
        self.lost.store(messages, Ordering::Relaxed);
    }

    /// Whether all streams on the same kind of storage hold more than they may, as of their last turns.
    pub(crate) fn is_beyond_capacity(&self) -> bool {
        self.pool.used.load(Ordering::Relaxed) > self.pool.limit
    }

    pub(crate) fn set(&self, messages: u64, bytes: u64, consumers: u64) {
        self.messages.store(messages, Ordering::Relaxed);
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if before != bytes {
            // Wraps round where it became less.
            self.pool.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        }
        self.consumers.store(consumers, Ordering::Relaxed);
    }
}
