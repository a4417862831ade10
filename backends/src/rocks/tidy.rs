//! What was deleted is compacted away, beside the writer of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_engine::{Result, Seq, Upkeep, UpkeepPiece};

use super::log::State;

/// The log is compacted once so many bytes of records were deleted, and more than are left.
const GONE_MIN: u64 = 16 << 20;
/// Bytes of files that one step compacts, about; files of up to 32 MiB are rewritten whole.
const STEP: u64 = 64 << 20;
/// Bytes that a record takes in files besides its head and body, about.
const RECORD: u64 = 64;

/// What was deleted from a log, and is not compacted away yet.
pub(super) struct Gone {
    /// Bytes of records.
    bytes: u64,
    /// The lowest and the highest sequence that was erased to be overwritten.
    to_overwrite: Option<(Seq, Seq)>,
    /// What is being compacted: the next sequence, and the last.
    running: Option<(Arc<AtomicU64>, Seq)>,
}

impl Gone {
    /// Of a log that was just opened: what its files have beyond what it holds, as far as that shows.
    pub fn in_log(state: &State) -> Self {
        let now = *state.now.read();
        let held = now.meta.bytes + RECORD * now.meta.count;
        Self {
            bytes: now.disk_bytes.saturating_sub(held),
            to_overwrite: None,
            running: None,
        }
    }

    /// Records of so many bytes were deleted.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// These were erased, and no trace of them is to stay.
    pub fn note_overwrite(&mut self, low: Seq, high: Seq) {
        let (a, b) = self.to_overwrite.unwrap_or((low, high));
        self.to_overwrite = Some((a.min(low), b.max(high)));
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        (self.bytes, self.to_overwrite, self.running) = (0, None, None);
    }

    /// What is to be compacted next: from which sequence to which, and where to note how far it came.
    pub fn next(&mut self, state: &State) -> Option<(Seq, Seq, Arc<AtomicU64>)> {
        if let Some((next, high)) = self.running.take() {
            let next = next.load(Ordering::Acquire);
            if next <= high {
                // It was broken off.
                self.note_overwrite(next, high);
            }
        }
        let meta = state.now.read().meta;
        let range = match self.to_overwrite.take() {
            None if self.bytes < GONE_MIN || self.bytes < meta.bytes => return None,
            None => {
                self.bytes = 0;
                (0, meta.last)
            }
            Some(range) => range,
        };
        let next = Arc::new(AtomicU64::new(range.0));
        self.running = Some((next.clone(), range.1));
        Some((range.0, range.1, next))
    }
}

/// Compacts a range of sequences.
pub(super) struct Tidying {
    state: Arc<State>,
    next: Seq,
    high: Seq,
    done: Arc<AtomicU64>,
    synced: bool,
}

impl Tidying {
    pub fn new(state: Arc<State>, (low, high): (Seq, Seq), done: Arc<AtomicU64>) -> Self {
        Self {
            state,
            next: low,
            high,
            done,
            synced: false,
        }
    }
}

impl Upkeep for Tidying {
    fn step(&mut self) -> Result<UpkeepPiece> {
        if !std::mem::replace(&mut self.synced, true) {
            // What is in memory only cannot be compacted.
            self.state.sync()?;
            return Ok(UpkeepPiece::default());
        }
        let now = *self.state.now.read();
        let width = (now.meta.last - now.meta.first.min(now.meta.last)).max(1);
        let each = (now.disk_bytes / width).max(1);
        let end = self.next.max(now.meta.first).saturating_add(STEP / each).min(self.high);
        let shared = &self.state.shared;
        shared.compact_between(now.meta.families, self.state.place, (self.next, end))?;
        self.next = end.saturating_add(1);
        self.done.store(self.next, Ordering::Release);
        let over = end >= self.high;
        if over {
            let disk_bytes = shared.disk_bytes(self.state.place, now.meta.families)?;
            self.state.now.write().disk_bytes = disk_bytes;
        }
        Ok(UpkeepPiece {
            bytes: STEP.min(now.disk_bytes),
            over,
        })
    }
}
