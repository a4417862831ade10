//! Which connections there are, and which there were.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Connections `C` by number, and what was last seen (`L`) of those that ended. What a connection is stands on higher floors.
pub struct Connections<C, L> {
    /// Connections at most.
    max: AtomicUsize,
    /// Connections that ended and are remembered, at most.
    closed_max: usize,
    last_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<C>>>,
    closed: Mutex<VecDeque<Arc<L>>>,
    /// One has ended.
    one_less: Notify,
}

impl<C, L> Connections<C, L> {
    /// None yet, and never more than `max`; of those that ended the last `closed_max` are remembered.
    #[must_use]
    pub fn new(max: usize, closed_max: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            closed_max,
            last_id: AtomicU64::new(0),
            open: Mutex::default(),
            closed: Mutex::default(),
            one_less: Notify::new(),
        }
    }

    /// Connections at most.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Takes no more than so many from now on; those that are there stay.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A number for a connection, from 1 on, never used twice.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes a connection into the books. False: there are too many.
    pub fn admit(&self, id: u64, connection: &Arc<C>) -> bool {
        let mut open = self.open.lock();
        if open.len() >= self.max() {
            return false;
        }
        open.insert(id, Arc::clone(connection));
        true
    }

    /// Takes it out again, and keeps what was last seen of it.
    pub fn retire(&self, id: u64, last: Arc<L>) {
        // In this order, so that whoever no longer finds it among those that are there finds it among those that ended.
        let mut closed = self.closed.lock();
        self.open.lock().remove(&id);
        closed.push_back(last);
        while closed.len() > self.closed_max {
            closed.pop_front();
        }
        drop(closed);
        self.one_less.notify_waiters();
    }

    /// The connections there are now, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<C>> {
        self.open.lock().values().cloned().collect()
    }

    /// A connection by its number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<C>> {
        self.open.lock().get(&id).cloned()
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// The last connections that ended, oldest first.
    #[must_use]
    pub fn closed(&self) -> Vec<Arc<L>> {
        self.closed.lock().iter().cloned().collect()
    }

    /// Comes when a connection ends after this call.
    pub(crate) fn one_less(&self) -> tokio::sync::futures::Notified<'_> {
        self.one_less.notified()
    }
}
