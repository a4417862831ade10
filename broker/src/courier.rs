//! How the server itself sends messages: deliveries of consumers, answers of the JetStream API.

use std::sync::Arc;

use crate::account::Account;
use crate::jetstream::Batch;
use crate::routing::{Outgoing, Router};

/// Sends messages into one account, from any thread. What is sent may wait in buffers until [`flush`](Self::flush); dropping
/// a courier flushes it.
pub struct Courier {
    account: Arc<Account>,
    router: Router,
    batch: Batch,
}

impl Courier {
    /// A courier for `account`. Cheap, but meant to be kept: it remembers who listens where.
    #[must_use]
    pub fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            router: Router::default(),
            batch: Batch::default(),
        }
    }

    /// Gives a message to everybody who listens on `to`; what they read as its subject is `subject`. `reply` and `headers`
    /// (a whole block) may be empty. Returns whether anybody took it.
    pub fn send(&mut self, to: &[u8], subject: &[u8], reply: &[u8], headers: &[u8], payload: &[u8]) -> bool {
        let message = Outgoing {
            subject,
            reply,
            headers,
            payload,
            from: None,
            echo: true,
            chunk: None,
        };
        self.router.route(&self.account, to, &message, &mut self.batch) > 0
    }

    /// True if anybody listens on `to` now.
    pub fn has_interest(&mut self, to: &[u8]) -> bool {
        self.router.has_interest(&self.account, to)
    }

    /// Writes what was sent, once per receiver, and submits what streams of this server took of it.
    pub fn flush(&mut self) {
        self.router.sink.flush();
        self.router.sink.stall = false;
        self.batch.submit();
        self.router.refresh(&self.account);
    }

    /// True if a receiver of what was sent since the last [`flush`](Self::flush) is far behind (its pending bytes are above
    /// three quarters of `max_pending`): going on at this pace will make it a slow consumer.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.router.sink.stall
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.flush();
    }
}
