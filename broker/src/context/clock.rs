//! How long the server runs, and which times of the day that makes.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A clock that never goes back, beside the time of the day at which it was started.
pub struct Clock {
    /// When the server was started.
    pub start: Timestamp,
    began: Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Timestamp::now(),
            began: Instant::now(),
        }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn uptime_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        self.uptime_ns() / 1_000_000
    }

    /// What the uptime was at `time`, in nanoseconds; 0 if that was before the start.
    #[must_use]
    pub fn uptime_at(&self, time: Timestamp) -> u64 {
        u64::try_from(time.duration_since(self.start).as_nanos()).unwrap_or(0)
    }

    /// What the time was when the uptime was `ms`.
    #[must_use]
    pub fn time_at(&self, ms: u64) -> Timestamp {
        let after = SignedDuration::try_from(Duration::from_millis(ms)).unwrap_or(SignedDuration::ZERO);
        self.start.saturating_add(after).unwrap_or(self.start)
    }
}
