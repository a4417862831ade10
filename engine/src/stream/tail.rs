//! The newest messages of a stream, in memory: those not yet in the log, and as many of those before as are worth
//! keeping for consumers that are caught up.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::types::{Entry, NanoTime, Record, Seq};

/// Bytes kept of messages that the log already has: enough for the messages in flight to consumers that keep up.
const KEEP_BYTES: usize = 1 << 20;
/// Messages kept of those that the log already has.
const KEEP_MESSAGES: usize = 4096;

/// The end of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// How many entries at the end are not in the log yet.
    unwritten: usize,
    /// How many of these are of turns that are over, and wait for them to be committed.
    staged: usize,
}

impl Tail {
    /// Adds the newest message.
    pub fn push(&mut self, seq: Seq, time: NanoTime, head: Bytes, body: Bytes) {
        self.bytes += head.len() + body.len();
        self.unwritten += 1;
        self.entries.push_back(Entry { seq, time, head, body });
    }

    /// The message of that sequence, if it is here.
    pub fn get(&self, seq: Seq) -> Option<&Entry> {
        let first = self.entries.front()?.seq;
        let guess = usize::try_from(seq.checked_sub(first)?).ok()?;
        match self.entries.get(guess) {
            Some(entry) if entry.seq == seq => Some(entry),
            // Sequences have gaps: the entry lies before the guess.
            _ => {
                let at = self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
                self.entries.get(at)
            }
        }
    }

    /// What the log does not have yet, oldest first.
    pub fn unwritten(&self) -> impl Iterator<Item = Record<'_>> {
        self.entries
            .range(self.entries.len() - self.unwritten..)
            .map(|entry| Record {
                seq: entry.seq,
                time: entry.time,
                head: &entry.head,
                body: &entry.body,
            })
    }

    /// Whether messages came that are not staged.
    pub fn has_unstaged(&self) -> bool {
        self.unwritten > self.staged
    }

    /// The turn is over: what came since the one before is staged. Answers how many messages those are.
    pub fn stage(&mut self) -> usize {
        let count = self.unwritten - self.staged;
        self.staged = self.unwritten;
        count
    }

    /// The log has the first `count` of what is staged.
    pub fn written(&mut self, count: usize) {
        self.staged -= count;
        self.unwritten -= count;
    }

    /// Lets go of what the log has and nobody needs any more; `keep` says whether a consumer reads the tail.
    pub fn let_go(&mut self, keep: bool) {
        let (bytes, messages) = if keep { (KEEP_BYTES, KEEP_MESSAGES) } else { (0, 0) };
        while (self.bytes > bytes || self.entries.len() > messages) && self.entries.len() > self.unwritten {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= entry.head.len() + entry.body.len();
        }
        if self.entries.is_empty() && self.entries.capacity() > 64 {
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
