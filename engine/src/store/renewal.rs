//! When a backend that failed for good may be opened anew: one with the journals at once, for nothing goes on without it; any other
//! the later the more often it fails, as its streams are read in between, and nobody else waits for it.

use crate::types::{NanoTime, Nanos, SECOND};

/// How long a backend that was opened anew and failed again is left as it is, the first time; twice as long each time after.
const WAIT_FIRST: Nanos = 2 * SECOND;
/// The longest that it is left so.
const WAIT_MAX: Nanos = 60 * SECOND;
/// One that did not fail for so long begins at the first wait again.
const CALM: Nanos = 600 * SECOND;

/// When a backend was let go of, to be opened anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewal {
    last: Option<NanoTime>,
    wait: Nanos,
}

impl Renewal {
    /// Lets go of it, if it is time. Answers whether it was.
    pub fn begin(&mut self, now: NanoTime) -> bool {
        let passed = self.last.map(|last| now.saturating_sub(last));
        // A clock that went back says nothing.
        let passed = passed.filter(|passed| (0..CALM).contains(passed));
        match passed {
            Some(passed) if passed < self.wait => return false,
            Some(_) => self.wait = self.wait.saturating_mul(2).min(WAIT_MAX),
            None => self.wait = WAIT_FIRST,
        }
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests;
