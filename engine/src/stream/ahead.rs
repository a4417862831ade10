//! Reading ahead: consumers mostly go through a stream in order, and a scan costs a backend far less than as many
//! lookups of single records.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::backend::{Direction, LogReader, Want};
use crate::error::Result;
use crate::types::{Entry, Seq};

/// Records read at once.
const RECORDS: usize = 256;
/// Bytes read at once: a record of this size or above is read alone.
const BYTES: usize = 512 << 10;
/// How far ahead of the last one asked for a record may lie to count as the next in order: filters leave gaps.
const STRIDE: Seq = 64;

/// The records after the last one that was asked for.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    entries: VecDeque<Entry>,
    /// From here to the first entry the log holds nothing else.
    covered: Seq,
    /// The last one asked for.
    last: Seq,
}

impl ReadAhead {
    /// The record of that sequence. `last` is the last sequence that the log has.
    pub fn get(&mut self, reader: &dyn LogReader, seq: Seq, last: Seq) -> Result<Option<Entry>> {
        if let Ok(at) = self.entries.binary_search_by_key(&seq, |entry| entry.seq) {
            self.entries.drain(..at);
            self.last = seq;
            self.covered = seq + 1;
            return Ok(self.entries.pop_front());
        }
        let in_order = seq > self.last && seq - self.last <= STRIDE;
        self.last = seq;
        if !in_order || seq >= last {
            return reader.get(seq);
        }
        self.entries.clear();
        self.covered = seq + 1;
        let mut bytes = 0;
        let entries = &mut self.entries;
        reader.scan(seq..=last, Want::Full, Direction::Forward, &mut |entry| {
            bytes += entry.body.len();
            entries.push_back(entry.to_entry());
            match entries.len() >= RECORDS || bytes >= BYTES {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        match self.entries.front() {
            Some(entry) if entry.seq == seq => Ok(self.entries.pop_front()),
            // Gone, or damaged: the lookup says which.
            _ => reader.get(seq),
        }
    }

    /// The first live sequence from `from` on, if it is known from what was read already.
    pub fn next(&self, from: Seq) -> Option<Seq> {
        let next = self.entries.front()?.seq;
        (self.covered..=next).contains(&from).then_some(next)
    }

    /// A record is gone.
    pub fn forget(&mut self, seq: Seq) {
        if let Ok(at) = self.entries.binary_search_by_key(&seq, |entry| entry.seq) {
            self.entries.remove(at);
        }
    }

    /// Everything is gone, or no consumer reads.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}
