//! The queue in front of a storage thread: many put in, one takes all that is there.
//!
//! The thread that finds nothing goes to sleep at once. Common channels yield the processor a few times before that; on a
//! machine whose processors are all busy each of those hands it to somebody's computation for milliseconds, and every
//! publisher of the shard waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

struct Shared<T> {
    state: Mutex<State<T>>,
    came: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// The taker sleeps: who puts something in wakes it.
    sleeps: bool,
    /// Nobody takes any more.
    ended: bool,
}

impl<T> Shared<T> {
    /// Nothing that is done under the lock leaves it half done.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that puts in.
pub struct Sender<T>(Arc<Shared<T>>);

/// The end that takes.
pub struct Inbox<T>(Arc<Shared<T>>);

/// A queue without a bound of its own: its callers count what waits.
pub fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            sleeps: false,
            ended: false,
        }),
        came: Condvar::new(),
    });
    (Sender(shared.clone()), Inbox(shared))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Sender<T> {
    /// Puts one in. It comes back when nobody takes any more.
    pub fn send(&self, one: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if state.ended {
            return Err(one);
        }
        state.waiting.push_back(one);
        let wake = std::mem::take(&mut state.sleeps);
        drop(state);
        if wake {
            self.0.came.notify_one();
        }
        Ok(())
    }
}

impl<T> Inbox<T> {
    /// Moves all that waits behind what `taken` has; where nothing does, sleeps until something comes, for `wait` at most.
    pub fn take(&self, taken: &mut VecDeque<T>, wait: Duration) {
        let mut state = self.0.lock();
        if state.waiting.is_empty() && !wait.is_zero() {
            state.sleeps = true;
            let (awake, _) = self
                .0
                .came
                .wait_timeout_while(state, wait, |state| state.waiting.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state = awake;
            state.sleeps = false;
        }
        match taken.is_empty() {
            true => std::mem::swap(taken, &mut state.waiting),
            false => taken.append(&mut state.waiting),
        }
    }

    /// Whether nothing waits.
    #[cfg(any(test, feature = "conformance"))]
    pub fn is_empty(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        // Dropped without the lock: what waits may hold a sender.
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests;
