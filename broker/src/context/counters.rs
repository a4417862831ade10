//! What the server has counted since its start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Events of the whole server, and the traffic of connections that are gone (those that live count for themselves).
#[derive(Default)]
pub struct Counters {
    /// Connections ever accepted.
    pub connections: AtomicU64,
    /// Connections closed because they did not read fast enough.
    pub slow_consumers: AtomicU64,
    /// Connections closed because they did not answer PINGs.
    pub stale_connections: AtomicU64,
    /// Clients that were refused because their account is not pinned.
    pub not_pinned: AtomicU64,
    /// Times a publisher was made to wait for a receiver.
    pub stalled_clients: AtomicU64,
    in_messages: AtomicU64,
    in_bytes: AtomicU64,
    out_messages: AtomicU64,
    out_bytes: AtomicU64,
    /// Requests to each path of the monitoring port.
    pub(crate) pages: Mutex<BTreeMap<&'static str, u64>>,
}

/// Messages and bytes of headers and payloads, in and out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Messages that came from clients.
    pub in_messages: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages that went to clients.
    pub out_messages: u64,
    /// Their bytes.
    pub out_bytes: u64,
}

impl Traffic {
    /// Adds what one connection counted.
    pub fn add(&mut self, one: &Self) {
        self.in_messages += one.in_messages;
        self.in_bytes += one.in_bytes;
        self.out_messages += one.out_messages;
        self.out_bytes += one.out_bytes;
    }
}

impl Counters {
    /// Takes over the traffic of a connection that is gone.
    pub(crate) fn absorb(&self, gone: &Traffic) {
        self.in_messages.fetch_add(gone.in_messages, Ordering::Relaxed);
        self.in_bytes.fetch_add(gone.in_bytes, Ordering::Relaxed);
        self.out_messages.fetch_add(gone.out_messages, Ordering::Relaxed);
        self.out_bytes.fetch_add(gone.out_bytes, Ordering::Relaxed);
    }

    /// The traffic of connections that are gone.
    pub(crate) fn absorbed(&self) -> Traffic {
        Traffic {
            in_messages: self.in_messages.load(Ordering::Relaxed),
            in_bytes: self.in_bytes.load(Ordering::Relaxed),
            out_messages: self.out_messages.load(Ordering::Relaxed),
            out_bytes: self.out_bytes.load(Ordering::Relaxed),
        }
    }
}
