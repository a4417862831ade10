//! How many handshakes are begun in a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts as nats-server does: the first of a second opens it, and with it less than the limit go on.
#[derive(Default)]
pub(super) struct Rate(Mutex<Second>);

#[derive(Default)]
struct Second {
    end: Option<Instant>,
    count: u64,
    blocked: u64,
}

impl Rate {
    /// Whether one more may go on.
    pub fn allow(&self, limit: u64) -> bool {
        let now = Instant::now();
        let mut second = self.0.lock();
        match second.end {
            Some(end) if now <= end => second.count += 1,
            _ => (second.end, second.count) = (Some(now + Duration::from_secs(1)), 0),
        }
        let allowed = second.count < limit;
        second.blocked += u64::from(!allowed);
        allowed
    }

    /// How many could not, since this was last asked.
    pub fn take_blocked(&self) -> u64 {
        std::mem::take(&mut self.0.lock().blocked)
    }
}
