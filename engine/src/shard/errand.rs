//! What is done beside a shard while it goes on: on a thread of its own, or in steps where somebody steps the whole store
//! on one thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// One piece of work after the other; the last has the result.
type Work<T> = Box<dyn FnMut() -> Option<T> + Send>;

/// Who does the errands of a store.
#[derive(Default)]
pub(crate) struct Errands {
    /// Those that wait for a step; `None` if each has a thread.
    stepped: Option<Mutex<VecDeque<Arc<dyn Step>>>>,
}

/// An errand that was begun.
pub(super) enum Errand<T> {
    Thread(JoinHandle<T>),
    Stepped(Arc<Slot<T>>),
}

/// Work that waits for its next step, or what came of it.
pub(super) struct Slot<T>(Mutex<State<T>>);

enum State<T> {
    Waiting(Work<T>),
    Done(Option<T>),
}

trait Step: Send + Sync {
    /// Does the next piece; answers whether it was the last.
    fn step(&self) -> bool;
}

impl<T: Send> Step for Slot<T> {
    fn step(&self) -> bool {
        let mut state = self.0.lock();
        if let State::Waiting(work) = &mut *state
            && let Some(result) = work()
        {
            *state = State::Done(Some(result));
        }
        matches!(*state, State::Done(_))
    }
}

impl Errands {
    /// Errands that wait until somebody steps them.
    #[cfg(feature = "conformance")]
    pub fn stepped() -> Self {
        Self {
            stepped: Some(Mutex::default()),
        }
    }

    /// Whether nothing runs beside the shards but what somebody steps.
    pub fn are_stepped(&self) -> bool {
        self.stepped.is_some()
    }

    /// How many wait for a step; none where each has a thread.
    #[cfg(feature = "conformance")]
    pub fn waiting(&self) -> usize {
        self.stepped.as_ref().map_or(0, |waiting| waiting.lock().len())
    }

    /// Does the next piece of the `n`-th that waits, if there are as many.
    #[cfg(feature = "conformance")]
    pub fn step(&self, n: usize) {
        let Some(waiting) = &self.stepped else { return };
        let errand = waiting.lock().get(n).cloned();
        if let Some(errand) = errand
            && errand.step()
        {
            waiting.lock().retain(|other| !Arc::ptr_eq(other, &errand));
        }
    }

    /// Forgets those that wait.
    #[cfg(feature = "conformance")]
    pub fn clear(&self) {
        if let Some(waiting) = &self.stepped {
            let all = std::mem::take(&mut *waiting.lock());
            // Dropped without the lock: each may hold much.
            drop(all);
        }
    }

    /// Begins one.
    ///
    /// # Errors
    /// If its thread cannot be started.
    pub(super) fn begin<T: Send + 'static>(&self, name: String, work: Work<T>) -> io::Result<Errand<T>> {
        self.begin_paced(name, work, || Duration::ZERO)
    }

    /// Begins one whose thread rests after each piece, so long as `rest` says, so that others get at the disk and the processors.
    /// Waiting for it ends a rest.
    ///
    /// # Errors
    /// If its thread cannot be started.
    pub(super) fn begin_paced<T: Send + 'static>(
        &self,
        name: String,
        mut work: Work<T>,
        rest: impl Fn() -> Duration + Send + 'static,
    ) -> io::Result<Errand<T>> {
        if let Some(waiting) = &self.stepped {
            let slot = Arc::new(Slot(Mutex::new(State::Waiting(work))));
            waiting.lock().push_back(slot.clone());
            return Ok(Errand::Stepped(slot));
        }
        let whole = move || {
            loop {
                if let Some(result) = work() {
                    return result;
                }
                let rest = rest();
                if !rest.is_zero() {
                    std::thread::park_timeout(rest);
                }
            }
        };
        Ok(Errand::Thread(std::thread::Builder::new().name(name).spawn(whole)?))
    }
}

impl<T: Send> Errand<T> {
    /// Whether waiting for it takes no time.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Thread(thread) => thread.is_finished(),
            Self::Stepped(slot) => matches!(*slot.0.lock(), State::Done(_)),
        }
    }

    /// Waits until it is over; `None` if it panicked.
    pub fn wait(self) -> Option<T> {
        match self {
            Self::Thread(thread) => {
                thread.thread().unpark();
                thread.join().ok()
            }
            Self::Stepped(slot) => {
                while !slot.step() {}
                match &mut *slot.0.lock() {
                    State::Done(result) => result.take(),
                    State::Waiting(_) => None,
                }
            }
        }
    }
}
