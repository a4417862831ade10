//! Bodies move to the family that is compressed as new ones are, or are compressed as those are by whoever does that above: read beside the writer of the log, some at a time, and moved by it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use weir_engine::{Entry, Kind, LogReader, Recoder, Record, Result, Seq, Upkeep, UpkeepPiece};

use super::keys::{self, Head};
use super::log::State;
use super::reader::{RocksReader, walk};

/// Records whose bodies move at a time.
const RECORDS: usize = 128;
/// Bytes of such records, give or take one: the log is not written meanwhile.
const BYTES: u64 = 256 << 10;
/// Records that are looked at for that, at a time.
const LOOKS: usize = 16 << 10;

/// A record that is written anew.
pub(super) struct Moved {
    /// As it is to be.
    pub entry: Entry,
    /// What its body counts for.
    pub counts: u32,
    /// The family that its body is in.
    pub old: u8,
}

/// Which records are written anew, and how.
#[derive(Clone)]
pub(super) struct Mover {
    /// The family that bodies are to be in.
    pub family: u8,
    /// Who compresses them, where that is somebody above.
    pub recoder: Option<Arc<dyn Recoder>>,
}

impl Mover {
    /// Whether a record may have to be.
    pub fn may_move(&self, head: &Head<'_>) -> bool {
        let is_elsewhere = head.family != self.family || self.recoder.is_some();
        head.body_len > 0 && is_elsewhere && head.family != keys::NO_FAMILY
    }

    /// Reads such a record; `None` if it is gone, damaged, or stays as it is.
    pub fn read(&self, reader: &RocksReader, seq: Seq, old: u8, counts: u32) -> Result<Option<Moved>> {
        let entry = match reader.get(seq) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            // It stays.
            Err(error) if error.kind == Kind::Damaged => return Ok(None),
            Err(error) => return Err(error),
        };
        let stored = Record {
            seq,
            time: entry.time,
            head: &entry.head,
            body: &entry.body,
        };
        let anew = self
            .recoder
            .as_ref()
            .map(|recoder| recoder.recode(&stored))
            .transpose()?;
        Ok(match anew.flatten() {
            Some(anew) => Some(Moved {
                counts: anew.counts,
                entry: Entry {
                    head: anew.head.into(),
                    body: anew.body.into(),
                    ..entry
                },
                old,
            }),
            None => (old != self.family).then_some(Moved { entry, counts, old }),
        })
    }
}

/// What was read.
pub(super) struct Gathered {
    /// Records that are to be written anew.
    pub entries: Vec<Moved>,
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

    /// Reads what comes next.
    pub fn gather(&mut self, state: Arc<State>, mover: Mover) -> Gather {
        self.gathered = Arc::default();
        Gather {
            state,
            mover,
            next: self.next,
            last: self.last,
            gathered: self.gathered.clone(),
        }
    }
}

/// Reads some bodies.
pub(super) struct Gather {
    state: Arc<State>,
    mover: Mover,
    next: Seq,
    last: Seq,
    gathered: Arc<Mutex<Option<Gathered>>>,
}

impl Upkeep for Gather {
    fn step(&mut self) -> Result<UpkeepPiece> {
        let meta = self.state.now.read().meta;
        let (from, to) = (self.next.max(meta.first), self.last.min(meta.last));
        let mut found: Vec<(Seq, u8, u32)> = Vec::new();
        let (mut bytes, mut looks) = (0, 0);
        let mut next = self.last.saturating_add(1);
        if from <= to {
            walk(&self.state, from, to, &mut |seq, head| {
                looks += 1;
                if self.mover.may_move(head) {
                    bytes += head.bytes();
                    found.push((seq, head.family, head.body_len));
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
        for (seq, old, counts) in found {
            entries.extend(self.mover.read(&reader, seq, old, counts)?);
        }
        *self.gathered.lock() = Some(Gathered { entries, next });
        Ok(UpkeepPiece {
            bytes: 2 * bytes,
            over: true,
        })
    }
}
