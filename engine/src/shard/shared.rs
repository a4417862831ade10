//! A shard that others may look into while its own thread has nothing to do: who only reads needs not wake that.
//!
//! The shard's thread has it for itself, from its start to its end, but while it waits for something to do. Others never wait for
//! a turn: while there is one, or something waits for the next, what they ask goes the way of everything.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{ArcMutexGuard, Mutex, RawMutex};

/// How long somebody who looks into a shard waits for others who do: about ten looks.
const WAIT: Duration = Duration::from_micros(20);

/// The shard, as its own thread has it.
pub(crate) struct Held<T> {
    /// Empty from the moment that this is dropped: nothing of the shard outlives it.
    shard: ArcMutexGuard<RawMutex, Option<T>>,
    is_open: Arc<AtomicBool>,
}

/// The shard, as others have it.
pub(crate) struct Window<T> {
    shard: Arc<Mutex<Option<T>>>,
    /// Whether its own thread lets others in: so that nobody waits for a turn.
    is_open: Arc<AtomicBool>,
}

impl<T> Clone for Window<T> {
    fn clone(&self) -> Self {
        Self {
            shard: Arc::clone(&self.shard),
            is_open: Arc::clone(&self.is_open),
        }
    }
}

impl<T> Window<T> {
    /// Onto a shard that is still to come.
    pub fn new() -> Self {
        Self {
            shard: Arc::default(),
            is_open: Arc::default(),
        }
    }

    /// Behind it is this shard from now on.
    pub fn hold(&self, shard: T) -> Held<T> {
        let mut guard = self.shard.lock_arc();
        *guard = Some(shard);
        Held {
            shard: guard,
            is_open: Arc::clone(&self.is_open),
        }
    }

    /// Looks in, for as short as can be: its own thread may be waiting. `None` if that has the shard for itself, or it is gone.
    pub fn look<R>(&self, look: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        if !self.is_open.load(Ordering::Relaxed) {
            return None;
        }
        look(self.shard.try_lock_for(WAIT)?.as_mut()?)
    }
}

impl<T> Held<T> {
    /// Lets others look in while something is waited for.
    pub fn let_in<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        let is_open = &self.is_open;
        is_open.store(true, Ordering::Relaxed);
        ArcMutexGuard::unlocked(&mut self.shard, || {
            let done = wait();
            is_open.store(false, Ordering::Relaxed);
            done
        })
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.shard.as_ref() {
            Some(shard) => shard,
            None => unreachable!("the shard is taken out when this is dropped"),
        }
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        match self.shard.as_mut() {
            Some(shard) => shard,
            None => unreachable!("the shard is taken out when this is dropped"),
        }
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        *self.shard = None;
    }
}

#[cfg(test)]
mod tests;
