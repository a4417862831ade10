//! What the journal's tail does to a stream's messages, without writing it: the same outcome as when a server applies
//! it.

use std::collections::{BTreeMap, BTreeSet};

use weir_engine::stream::{Storage, stored_size, subject_of};
use weir_engine::{NanoTime, Seq};

/// A message that only the journal has.
#[derive(Clone, Debug)]
pub(super) struct Unwritten {
    /// When it was stored.
    pub time: NanoTime,
    /// Its subject.
    pub subject: Box<[u8]>,
    /// As [`record_bytes`] counts.
    pub bytes: u64,
}

/// Changes on top of a log. As large as the journal's tail at most.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Messages above the log's last.
    pub unwritten: BTreeMap<Seq, Unwritten>,
    /// Everything below is gone.
    floor: Seq,
    /// Single ones that are gone.
    erased: BTreeSet<Seq>,
    /// The last sequence given.
    pub last: Seq,
    /// When that was.
    pub last_time: Option<NanoTime>,
}

impl Changes {
    /// A message was stored; the log has all up to `last` already, or had them and let them go.
    pub fn publish(&mut self, seq: Seq, time: NanoTime, head: &[u8], body_len: usize) {
        if seq <= self.last {
            return;
        }
        self.unwritten.insert(
            seq,
            Unwritten {
                time,
                subject: subject_of(head).into(),
                bytes: record_bytes(head.len(), body_len),
            },
        );
        self.last = seq;
        self.last_time = Some(time);
    }

    /// Messages went away: all below `first`, and those of `seqs`.
    pub fn remove(&mut self, first: Seq, seqs: &[Seq]) {
        self.floor = self.floor.max(first);
        self.unwritten = self.unwritten.split_off(&self.floor);
        if first > self.last {
            // A purge of all: what comes next has this number.
            self.last = first - 1;
            return;
        }
        for seq in seqs {
            if self.unwritten.remove(seq).is_none() && *seq >= self.floor {
                self.erased.insert(*seq);
            }
        }
    }

    /// Sequences up to this were given away with nothing stored under them.
    pub fn raise(&mut self, last: Seq, time: NanoTime) {
        if last > self.last {
            self.last = last;
            self.last_time = Some(time);
        }
    }

    /// Whether the log's record of that sequence is gone.
    pub fn is_gone(&self, seq: Seq) -> bool {
        seq < self.floor || self.erased.contains(&seq)
    }
}

/// The size of a message as the stream's limits count it, from its record's.
pub(super) fn record_bytes(head_len: usize, body_len: usize) -> u64 {
    // The head is a byte of flags, the length of the headers if there are any, and the subject: so headers need no
    // counting of their own here.
    stored_size(Storage::File, head_len, 0, body_len) - 1
}

#[cfg(test)]
mod tests;
