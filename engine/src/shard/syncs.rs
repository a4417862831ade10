//! How long syncing the journals takes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Nanos;

/// Upper bounds of the classes that syncs are counted in, in nanoseconds: 0.1 ms to 10 s. A last class has what took longer.
pub const SYNC_CLASSES: [Nanos; 12] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_000_000_000,
    10_000_000_000,
];

/// Syncs of the journals, by how long they took; counted since the store was opened.
#[derive(Debug, Default)]
pub struct Syncs {
    classes: [AtomicU64; SYNC_CLASSES.len() + 1],
    nanos: AtomicU64,
}

impl Syncs {
    /// Another one.
    pub(crate) fn count(&self, took: Nanos) {
        let class = SYNC_CLASSES.partition_point(|bound| *bound < took);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.nanos
            .fetch_add(u64::try_from(took).unwrap_or(0), Ordering::Relaxed);
    }

    /// How many there were of each class.
    #[must_use]
    pub fn classes(&self) -> [u64; SYNC_CLASSES.len() + 1] {
        std::array::from_fn(|class| self.classes[class].load(Ordering::Relaxed))
    }

    /// How long they took together, in nanoseconds.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
