//! A connection's subscriptions by the names that its client gave them.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use super::Subscription;

/// The subscriptions of one connection. Its session has it, and each subscription knows it, so that one that ends by itself is
/// gone here as well. The lock is never held together with another one.
#[derive(Default)]
pub struct Own(Mutex<HashMap<Box<[u8]>, Arc<Subscription>, FixedState>>);

/// Why a subscription was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// The name is taken.
    Known,
    /// There are as many as there may be.
    TooMany,
}

impl Own {
    /// Adds the subscription that `make` makes, unless the name is taken or there are `max`.
    pub(crate) fn add(
        &self,
        sid: &[u8],
        max: usize,
        make: impl FnOnce() -> Arc<Subscription>,
    ) -> Result<Arc<Subscription>, NotAdded> {
        let mut all = self.0.lock();
        if all.contains_key(sid) {
            return Err(NotAdded::Known);
        }
        if all.len() >= max {
            return Err(NotAdded::TooMany);
        }
        let new = make();
        all.insert(sid.into(), Arc::clone(&new));
        Ok(new)
    }

    /// The subscription of that name.
    pub(crate) fn get(&self, sid: &[u8]) -> Option<Arc<Subscription>> {
        self.0.lock().get(sid).cloned()
    }

    /// Takes out this very subscription: its name may belong to a newer one by now.
    pub(crate) fn remove(&self, subscription: &Subscription) {
        let mut all = self.0.lock();
        if all
            .get(subscription.sid())
            .is_some_and(|found| std::ptr::eq(&**found, subscription))
        {
            all.remove(subscription.sid());
        }
    }

    /// Takes out all of them.
    pub(crate) fn take(&self) -> Vec<Arc<Subscription>> {
        std::mem::take(&mut *self.0.lock()).into_values().collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// No more than `max` of them, in no particular order.
    pub(crate) fn list(&self, max: usize) -> Vec<Arc<Subscription>> {
        self.0.lock().values().take(max).cloned().collect()
    }
}
