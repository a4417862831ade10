//! What was read through maps, so that it counts as this process's memory for a while only.
//!
//! The pages of a map that were looked at are this process's until they are let go of, as well as the system's, which keeps them for
//! whoever reads next. Without this, a process that reads a stream of 100 GB is told to have so much.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes around a place that Linux gives a process when it looks there, those of them that are in memory.
const WINDOW: u64 = 1 << WINDOW_BITS;
const WINDOW_BITS: u32 = 16;

/// Bytes of windows that are looked at until all are let go of. What is read again and again and is less than that stays.
pub const MOST: u64 = 128 << 20;

/// Why something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Somebody asked for it, and may again.
    One,
    /// It came next. Such is let go of after a quarter of [`MOST`].
    InOrder,
}

impl Reading {
    fn weight(self) -> u64 {
        match self {
            Self::One => 1,
            Self::InOrder => 4,
        }
    }
}

/// The windows of a file that were looked at, a bit for each; made when the first one is. The number of words is a power of two.
#[derive(Debug, Default)]
pub struct Windows(OnceLock<Box<[AtomicU64]>>);

impl Windows {
    /// Notes bytes that are looked at, of a file that may become `planned` bytes long. Answers how many count towards [`MOST`]: those of
    /// windows that were not noted before, four times where they are read in order.
    #[inline]
    pub fn note(&self, bytes: Range<u64>, planned: u64, reading: Reading) -> u64 {
        let words = self.0.get_or_init(|| {
            let windows = planned.max(bytes.end).div_ceil(WINDOW);
            let words = windows.div_ceil(64).next_power_of_two();
            (0..words).map(|_| AtomicU64::new(0)).collect()
        });
        let mut new = 0;
        for window in bytes.start >> WINDOW_BITS..bytes.end.div_ceil(WINDOW) {
            // A file that becomes longer than planned has less counted.
            let (at, bit) = ((window / 64) as usize & (words.len() - 1), 1 << (window % 64));
            let Some(word) = words.get(at) else { continue };
            if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                new += 1;
            }
        }
        new * WINDOW * reading.weight()
    }

    /// None was looked at.
    pub fn forget(&self) {
        for word in self.0.get().into_iter().flatten() {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_once_until_it_is_forgotten_and_more_in_order() {
        let windows = Windows::default();
        let note = |bytes, reading| windows.note(bytes, 1 << 20, reading);
        assert_eq!(note(0..1, Reading::One), WINDOW);
        assert_eq!(note(5..WINDOW, Reading::One), 0);
        assert_eq!(note(5..WINDOW + 1, Reading::InOrder), 4 * WINDOW);
        assert_eq!(note(3 * WINDOW - 1..4 * WINDOW + 1, Reading::One), 3 * WINDOW);
        assert_eq!(note(7..7, Reading::One), 0);
        windows.forget();
        assert_eq!(note(0..5 * WINDOW, Reading::One), 5 * WINDOW);
        // Longer than planned.
        assert_eq!(note(65 * WINDOW..66 * WINDOW, Reading::One), 0, "takes another's bit");
        assert_eq!(note(70 * WINDOW..71 * WINDOW, Reading::One), WINDOW);
    }
}
