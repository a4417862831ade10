//! Taking the lock of a store. A process that has a store open and begins a program leaves the program the lock for the moment until that
//! runs, also if it closes the store meanwhile: who finds a lock taken looks again for a little before it says so.

use std::time::{Duration, Instant};

/// How long a lock is asked for again.
const PATIENCE: Duration = Duration::from_millis(250);
/// After how long each time.
const AGAIN: Duration = Duration::from_millis(5);

/// Takes a lock, or says why it cannot be had: at once, unless that is because somebody holds it.
pub fn patiently<T, E>(mut take: impl FnMut() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match take() {
            Err(error) if is_held(&error) && begun.elapsed() < PATIENCE => std::thread::sleep(AGAIN),
            taken => return taken,
        }
    }
}

#[cfg(test)]
mod tests;
