//! How far the opening of the store is, for health and the log: a large one takes a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often the log is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The stream that is being read.
#[derive(Debug, Default)]
pub struct Opening(Mutex<Option<At>>);

#[derive(Debug)]
struct At {
    text: String,
    told: Instant,
}

impl Opening {
    /// So many records of a stream's log are read.
    pub fn read(&self, stream: &str, done: u64, of: u64) {
        let text = format!("opening stream {stream}: {done} of {of} records read");
        let mut at = self.0.lock();
        let told = at.as_ref().map(|at| at.told);
        let is_due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if is_due {
            tracing::info!("{text}");
        }
        *at = Some(At {
            text,
            told: told.filter(|_| !is_due).unwrap_or_else(Instant::now),
        });
    }

    /// All are open.
    pub fn done(&self) {
        *self.0.lock() = None;
    }

    /// What is being done; `None` if nothing is that takes long.
    pub fn text(&self) -> Option<String> {
        self.0.lock().as_ref().map(|at| at.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_which_stream_is_read() {
        let opening = Opening::default();
        assert_eq!(opening.text(), None);
        opening.read("ORDERS", 16_384, 100_000);
        opening.read("ORDERS", 32_768, 100_000);
        let text = "opening stream ORDERS: 32768 of 100000 records read";
        assert_eq!(opening.text().as_deref(), Some(text));
        opening.done();
        assert_eq!(opening.text(), None);
    }
}
