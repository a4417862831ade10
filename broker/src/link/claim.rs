//! What a link needs to know of a subscription.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the client calls a subscription, and how many messages it wants and has had of it.
pub struct Claim {
    /// The client's name for it; empty for parts of the server.
    pub sid: Box<[u8]>,
    /// Messages after which it ends by itself; 0: never.
    pub(super) max: AtomicU64,
    /// Messages delivered. Written only by whoever holds the receiving link's outbound lock.
    pub(super) delivered: AtomicU64,
}

impl Claim {
    /// Nothing was delivered yet, and there is no end.
    #[must_use]
    pub fn new(sid: &[u8]) -> Self {
        Self {
            sid: sid.into(),
            max: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    /// Counts a delivery to a part of the server. Several senders may do so at once.
    pub(crate) fn count(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages delivered so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages after which it ends by itself; 0: never.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}
