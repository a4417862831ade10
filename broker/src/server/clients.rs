//! Which connections there are, and which there were.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::Server;
use crate::context::TrafficTotal;
use crate::limits::CLOSED_KEPT;
use crate::session::{Client, CloseReason, Snapshot};

/// Connections by number, and the last ones that ended.
#[derive(Default)]
pub(super) struct Clients {
    open: Mutex<HashMap<u64, Arc<Client>>>,
    closed: Mutex<VecDeque<Arc<Snapshot>>>,
}

impl Server {
    /// Takes a connection into the books. False: there are too many.
    pub(crate) fn admit(&self, client: &Arc<Client>) -> bool {
        let mut open = self.clients.open.lock();
        if open.len() >= self.connections_max {
            return false;
        }
        open.insert(client.id, Arc::clone(client));
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes it out again.
    pub(crate) fn retire(&self, client: &Client, mut last: Snapshot, reason: CloseReason) {
        last.stop = Some((Timestamp::now(), reason));
        self.counters.absorb(&last);
        self.clients.open.lock().remove(&client.id);
        let mut closed = self.clients.closed.lock();
        if closed.len() == CLOSED_KEPT {
            closed.pop_front();
        }
        closed.push_back(Arc::new(last));
        drop(closed);
        self.one_less.notify_waiters();
    }

    /// The connections there are now, in no particular order.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.open.lock().values().cloned().collect()
    }

    /// A connection by its number.
    #[must_use]
    pub fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.clients.open.lock().get(&id).cloned()
    }

    /// How many connections there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.open.lock().len()
    }

    /// The last connections that ended, oldest first.
    pub(crate) fn closed_clients(&self) -> Vec<Arc<Snapshot>> {
        self.clients.closed.lock().iter().cloned().collect()
    }

    /// Traffic since the start.
    pub(crate) fn traffic(&self) -> TrafficTotal {
        let mut total = self.counters.absorbed();
        for client in self.clients() {
            total.add(&client.snapshot());
        }
        total
    }
}
