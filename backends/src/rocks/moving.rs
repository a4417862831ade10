//! Bodies move to the family that is compressed as new ones are: read beside the writer of the log, some at a time, and moved by it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use weir_engine::{Entry, Kind, LogReader, Result, Seq, Upkeep, UpkeepPiece};

use super::keys;
use super::log::State;
use super::reader::{RocksReader, walk};

/// Records whose bodies move at a time.
const RECORDS: usize = 128;
/// Bytes of such records, give or take one: the log is not written meanwhile.
const BYTES: u64 = 256 << 10;
/// Records that are looked at for that, at a time.
const LOOKS: usize = 16 << 10;

/// What was read.
pub(super) struct Gathered {
    /// Records whose bodies are to move, and the families that these are in.
    pub entries: Vec<(Entry, u8)>,
    /// Where the next ones begin.
    pub next: Seq,
}

/// A move of bodies.
pub(super) struct Moving {
    next: Seq,
    last: Seq,
    gathered: Arc<Mutex<Option<Gathered>>>,
}

impl Moving {
    /// Of these sequences; `None` if there are none.
    pub fn of(range: RangeInclusive<Seq>) -> Option<Self> {
        let (next, last) = range.into_inner();
        (next <= last).then(|| Self {
            next,
            last,
            gathered: Arc::default(),
        })
    }

    /// The sequences that are left.
    pub fn range(&self) -> RangeInclusive<Seq> {
        self.next..=self.last
    }

    /// What was read, if it was not broken off.
    pub fn gathered(&mut self) -> Option<Gathered> {
        self.gathered.lock().take()
    }

    /// All below was moved.
    pub fn came_to(&mut self, next: Seq) {
        self.next = next;
    }

    /// Reads what comes next: bodies that are not in `family`.
    pub fn gather(&mut self, state: Arc<State>, family: u8) -> Gather {
        self.gathered = Arc::default();
        Gather {
            state,
            family,
            next: self.next,
            last: self.last,
            gathered: self.gathered.clone(),
        }
    }
}

/// Reads some bodies.
pub(super) struct Gather {
    state: Arc<State>,
    family: u8,
    next: Seq,
    last: Seq,
    gathered: Arc<Mutex<Option<Gathered>>>,
}

impl Upkeep for Gather {
    fn step(&mut self) -> Result<UpkeepPiece> {
        let meta = self.state.now.read().meta;
        let (from, to) = (self.next.max(meta.first), self.last.min(meta.last));
        let mut found: Vec<(Seq, u8)> = Vec::new();
        let (mut bytes, mut looks) = (0, 0);
        let mut next = self.last.saturating_add(1);
        if from <= to {
            walk(&self.state, from, to, &mut |seq, head| {
                looks += 1;
                if head.body_len > 0 && head.family != self.family && head.family != keys::NO_FAMILY {
                    bytes += head.bytes();
                    found.push((seq, head.family));
                }
                let is_more = found.len() < RECORDS && bytes < BYTES && looks < LOOKS;
                if !is_more {
                    next = seq + 1;
                }
                is_more
            })?;
        }
        let reader = RocksReader {
            state: self.state.clone(),
        };
        let mut entries = Vec::with_capacity(found.len());
        for (seq, old) in found {
            match reader.get(seq) {
                Ok(entry) => entries.extend(entry.map(|entry| (entry, old))),
                // It stays.
                Err(error) if error.kind == Kind::Damaged => {}
                Err(error) => return Err(error),
            }
        }
        *self.gathered.lock() = Some(Gathered { entries, next });
        Ok(UpkeepPiece {
            bytes: 2 * bytes,
            over: true,
        })
    }
}
