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

/// Sequences that it is asked of at most whether they are in memory: of twice as many as those went over that were read the last time. To
/// ask of a thousand large records takes longer than to read the few that are read at once.
const LOOKED_FOR: Seq = 1024;
/// The same at least, and where none were read yet.
const LOOKED_FOR_LEAST: Seq = 4;
const LOOKED_FOR_FIRST: Seq = 16;

/// What became of reading a record or a message.
#[derive(Debug)]
pub(crate) enum Loaded<T> {
    /// It is this one.
    There(T),
    /// There is none.
    Gone,
    /// A disk would have to be waited for.
    Cold,
}

/// What is done about a record that a disk would have to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfCold {
    /// It is told.
    Tell,
    /// It is read, and nothing else: others wait for the thread.
    ReadIt,
    /// It is read with those behind it.
    ReadOn,
}

impl<T> From<Option<T>> for Loaded<T> {
    fn from(found: Option<T>) -> Self {
        found.map_or(Self::Gone, Self::There)
    }
}

/// The records after the last one that was asked for.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    entries: VecDeque<Entry>,
    /// The last one asked for.
    last: Seq,
    /// Over how many sequences those went that were read at once.
    span: Seq,
}

impl ReadAhead {
    /// The record of that sequence. `last` is the last sequence that the log has.
    pub fn get(&mut self, reader: &dyn LogReader, seq: Seq, last: Seq, if_cold: IfCold) -> Result<Loaded<Entry>> {
        if let Ok(at) = self.entries.binary_search_by_key(&seq, |entry| entry.seq) {
            self.entries.drain(..at);
            self.last = seq;
            return Ok(self.entries.pop_front().into());
        }
        let in_order = seq > self.last && seq - self.last <= STRIDE;
        let alone = !in_order || seq >= last;
        let looked_for = match self.span {
            0 => LOOKED_FOR_FIRST,
            span => span.saturating_mul(2).clamp(LOOKED_FOR_LEAST, LOOKED_FOR),
        };
        let far = if alone { seq } else { last.min(seq + looked_for) };
        let reach = match if_cold {
            IfCold::ReadOn => Some(far),
            IfCold::Tell | IfCold::ReadIt => reader.at_hand(seq..=far),
        };
        if reach.is_none() && if_cold == IfCold::Tell {
            return Ok(Loaded::Cold);
        }
        self.last = seq;
        let Some(reach) = reach.filter(|_| !alone) else {
            return reader.get(seq).map(Loaded::from);
        };
        self.entries.clear();
        let mut bytes = 0;
        let entries = &mut self.entries;
        reader.scan(seq..=reach, Want::Full, Direction::Forward, &mut |entry| {
            bytes += entry.body.len();
            entries.push_back(entry.to_entry());
            match entries.len() >= RECORDS || bytes >= BYTES {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        self.span = self.entries.back().map_or(0, |newest| newest.seq - seq + 1);
        match self.entries.front() {
            Some(entry) if entry.seq == seq => Ok(self.entries.pop_front().into()),
            // Gone, or damaged: the lookup says which.
            _ => reader.get(seq).map(Loaded::from),
        }
    }

    /// Whether the next record that was read already is that of this sequence. Of sequences before it nothing is known: a scan passes
    /// over damaged records without a word.
    pub fn is_next(&self, seq: Seq) -> bool {
        self.entries.front().is_some_and(|entry| entry.seq == seq)
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

#[cfg(test)]
mod tests;
