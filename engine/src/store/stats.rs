//! What streams hold, counted for all of them together, for those of each account, and for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

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

impl Capacity {
    /// That of one kind of storage.
    pub(crate) fn of(&self, storage: Storage) -> u64 {
        match storage {
            Storage::File => self.file,
            Storage::Memory => self.memory,
        }
    }
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
    accounts: Arc<Mutex<HashMap<Box<str>, AccountPools>>>,
}

/// What the streams of an account hold, by kind of storage, in bytes.
#[derive(Clone, Debug, Default)]
struct AccountPools {
    memory: Arc<AtomicU64>,
    file: Arc<AtomicU64>,
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
            accounts: Arc::default(),
        }
    }

    /// For a stream of an account that holds nothing yet.
    pub fn stats(&self, account: &str, storage: Storage) -> Arc<StreamStats> {
        let of_account = {
            let mut accounts = self.accounts.lock();
            // There are no more than accounts that had streams since the start.
            match accounts.get(account) {
                Some(pools) => pools.clone(),
                None => accounts.entry(account.into()).or_default().clone(),
            }
        };
        let (pool, account) = match storage {
            Storage::Memory => (&self.memory, of_account.memory),
            Storage::File => (&self.file, of_account.file),
        };
        Arc::new(StreamStats {
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            consumers: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            released: AtomicBool::new(false),
            pool: Arc::clone(pool),
            account,
        })
    }
}

/// What a stream holds at the end of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// Messages.
    pub messages: u64,
    /// Bytes, as its limits count them.
    pub bytes: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that it has lost.
    pub lost: u64,
}

/// What a stream holds, as of its last turn that is committed; readable from any thread.
#[derive(Debug)]
pub struct StreamStats {
    messages: AtomicU64,
    bytes: AtomicU64,
    consumers: AtomicU64,
    lost: AtomicU64,
    /// Bytes that the pools count for it.
    counted: AtomicU64,
    /// Whether they count nothing any more: the stream is gone, or others show what it holds.
    released: AtomicBool,
    pool: Arc<Pool>,
    /// What all streams of its account hold on the same kind of storage.
    account: Arc<AtomicU64>,
}

impl Drop for StreamStats {
    fn drop(&mut self) {
        self.release();
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

    /// Bytes of all streams of the same account on the same kind of storage, as of their last turns.
    pub fn held_by_account(&self) -> u64 {
        self.account.load(Ordering::Relaxed)
    }

    /// Has the pools count nothing for it any more. Whoever still holds it sees what it showed last.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
        self.count(0);
    }

    fn count(&self, bytes: u64) {
        let before = self.counted.swap(bytes, Ordering::Relaxed);
        if before != bytes {
            // Wraps round where it became less.
            let more = bytes.wrapping_sub(before);
            self.pool.used.fetch_add(more, Ordering::Relaxed);
            self.account.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_lost(&self, messages: u64) {
        self.lost.store(messages, Ordering::Relaxed);
    }

    /// Whether all streams on the same kind of storage hold more than they may, as of their last turns.
    pub(crate) fn is_beyond_capacity(&self) -> bool {
        self.pool.used.load(Ordering::Relaxed) > self.pool.limit
    }

    pub(crate) fn set(&self, shown: Shown) {
        self.messages.store(shown.messages, Ordering::Relaxed);
        self.bytes.store(shown.bytes, Ordering::Relaxed);
        if !self.released.load(Ordering::Relaxed) {
            self.count(shown.bytes);
        }
        self.consumers.store(shown.consumers, Ordering::Relaxed);
        self.set_lost(shown.lost);
    }
}

#[cfg(test)]
mod tests;
