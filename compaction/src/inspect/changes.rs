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
mod tests {
    use super::*;

    fn with(last: Seq) -> Changes {
        Changes {
            last,
            ..Changes::default()
        }
    }

    #[test]
    fn what_the_log_has_is_not_counted_again() {
        let mut changes = with(5);
        for seq in 4..=7 {
            changes.publish(seq, seq as i64, b"\0a.b", 3);
        }
        let left: Vec<Seq> = changes.unwritten.keys().copied().collect();
        assert_eq!(left, [6, 7]);
        assert_eq!(&*changes.unwritten[&6].subject, b"a.b");
        assert_eq!(changes.unwritten[&6].bytes, stored_size(Storage::File, 3, 0, 3));
        assert_eq!((changes.last, changes.last_time), (7, Some(7)));
    }

    #[test]
    fn removals_reach_both_the_log_and_the_journal() {
        let mut changes = with(5);
        changes.publish(6, 6, b"\0a", 0);
        changes.publish(7, 7, b"\0a", 0);
        changes.remove(2, &[4, 6]);
        let gone: Vec<Seq> = (1..=5).filter(|seq| changes.is_gone(*seq)).collect();
        assert_eq!(gone, [1, 4]);
        let left: Vec<Seq> = changes.unwritten.keys().copied().collect();
        assert_eq!(left, [7]);
        changes.remove(11, &[]);
        assert!(changes.unwritten.is_empty());
        assert_eq!(changes.last, 10);
    }

    #[test]
    fn a_record_s_size_is_its_message_s() {
        // Flags and subject.
        assert_eq!(record_bytes(1 + 3, 10), stored_size(Storage::File, 3, 0, 10));
        // Flags, length, subject; 12 bytes of headers before 10 of payload.
        assert_eq!(record_bytes(1 + 4 + 3, 22), stored_size(Storage::File, 3, 12, 10));
    }
}
