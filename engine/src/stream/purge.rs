//! Removing many messages on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::Deserialize;

use crate::error::Result;
use crate::reject;
use crate::shard::turn::Turn;
use crate::stream::Stream;
use crate::stream::removal::Removal;
use crate::stream::search::filters_of;
use crate::types::{NanoTime, SEQ_LIMIT, Seq};

/// Messages to keep up to which they are looked for one by one, from the end.
const KEPT_ONE_BY_ONE: u64 = 256;

/// What to purge; all if nothing is said (js-api, STREAM.PURGE).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Purge {
    /// Only messages of these subjects; all if empty.
    pub filter: String,
    /// Only messages below this sequence; 0 for no bound.
    pub seq: Seq,
    /// So many of the newest stay.
    pub keep: u64,
}

/// How many messages a purge takes away: counted as they go, so it is known once the call that asked for it is answered.
#[derive(Clone, Debug, Default)]
pub struct Purged(Arc<AtomicU64>);

impl Purged {
    /// As many as went so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn add(&self, gone: u64) {
        self.0.fetch_add(gone, Ordering::AcqRel);
    }
}

impl Stream {
    /// Purges. Messages that come later stay.
    ///
    /// # Errors
    /// If the stream does not allow it, or storage cannot be read.
    pub(crate) fn purge(&mut self, purge: &Purge, turn: &mut Turn<'_>) -> Result<Purged> {
        let purged = Purged::default();
        if self.messages.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        if self.messages.config.deny_purge {
            return Err(reject::STREAM_PURGE_FAILED.with("stream purge not permitted").into());
        }
        if purge.seq > SEQ_LIMIT {
            let text = format!("purge sequence must be at most {SEQ_LIMIT}");
            return Err(reject::STREAM_PURGE_FAILED.with(text).into());
        }
        let everything = purge.filter.is_empty() || purge.filter == ">";
        if everything && purge.keep == 0 && (purge.seq == 0 || purge.seq > self.messages.last()) {
            self.tell_removed();
            for consumer in self.consumers.values_mut() {
                consumer.doom_all();
            }
            let gone = self.messages.clear(purge.seq)?;
            self.tell_purged(b"", self.messages.last() + 1, turn.now)?;
            purged.add(gone);
            return Ok(purged);
        }
        let filter = match everything {
            true => &[][..],
            false => purge.filter.as_bytes(),
        };
        let end = match purge.seq {
            0 => self.messages.last() + 1,
            seq => seq.min(self.messages.last() + 1),
        };
        let filters = filters_of(filter);
        if purge.keep > 0 && self.messages.index.is_wide(&filters)? {
            let removal = Removal::Keep {
                filter: filter.into(),
                left: purge.keep,
                from: self.messages.last(),
                end,
            };
            self.begin_purge(removal, &purged, turn)?;
            return Ok(purged);
        }
        let end = match purge.keep {
            0 => end,
            keep => self.newest_begin(&filters, keep)?.min(end),
        };
        if everything && purge.keep == 0 {
            // Also what is missing now, and may be put back.
            self.messages.ledger.purged(end);
        }
        let removal = Removal::below(filter, end, 0);
        self.begin_purge(removal, &purged, turn)?;
        Ok(purged)
    }

    /// Purges the messages of subjects below `end`. Consumers stand at `start` at least when they are gone, for 0 at the first
    /// message that is left.
    pub(super) fn purge_below(&mut self, filter: &[u8], end: Seq, start: Seq, turn: &mut Turn<'_>) -> Result<()> {
        self.begin_removal(Removal::below(filter, end, start), turn)
    }

    /// The sequence of the oldest of the `keep` newest messages that match; 0 if there are no more than these.
    fn newest_begin(&mut self, filters: &[Bytes], keep: u64) -> Result<Seq> {
        if self.messages.index.count_from(filters, 0)? <= keep {
            return Ok(0);
        }
        if keep <= KEPT_ONE_BY_ONE {
            let mut begin = self.messages.last() + 1;
            for _ in 0..keep {
                begin = match self.messages.index.prev_match(filters, begin - 1)? {
                    Some(seq) => seq,
                    None => return Ok(0),
                };
            }
            return Ok(begin);
        }
        // The highest sequence from which on there are as many.
        let (mut low, mut high) = (self.messages.first(), self.messages.last());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.messages.index.count_from(filters, middle)? >= keep {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        Ok(low)
    }

    /// Counts what a purge has just taken away as such: consumers are placed when it is over. A single message counts as
    /// deleted, as for nats-server.
    pub(super) fn note_purged(&mut self, single: bool) {
        if self.messages.removed.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.messages.removed);
        for removed in &all {
            self.find_interested(&removed.subject);
            for serial in &self.interested {
                let Some(consumer) = self.consumers.get_mut(serial) else {
                    continue;
                };
                consumer.uncount(removed.seq);
                if single {
                    consumer.lost(removed.seq);
                    self.progressed.push(*serial);
                }
            }
            self.uncount_listed(removed.seq);
        }
        let mut seqs: Vec<Seq> = all.iter().map(|removed| removed.seq).collect();
        seqs.sort_unstable();
        for consumer in self.consumers.values_mut() {
            if consumer.doom(&seqs) {
                self.progressed.push(consumer.serial);
            }
        }
    }

    /// Tells the consumers that messages of the subjects that `filter` matches were purged, of all if it is empty; those
    /// of them that are left are at or above `start`.
    pub(super) fn tell_purged(&mut self, filter: &[u8], start: Seq, now: NanoTime) -> Result<()> {
        let mut freed = Vec::new();
        for consumer in self.consumers.values_mut() {
            if consumer.purged(filter, start, now, &mut self.messages)? {
                freed.push(consumer.serial);
            }
            self.progressed.push(consumer.serial);
        }
        for serial in freed {
            self.enqueue(serial);
        }
        Ok(())
    }

    /// Removes one message; `secure` also overwrites its bytes. Answers whether there was one.
    ///
    /// # Errors
    /// If the stream does not allow it, or storage cannot be read.
    pub(crate) fn delete_message(&mut self, seq: Seq, secure: bool) -> Result<bool> {
        if self.messages.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        if self.messages.config.deny_delete {
            return Err(reject::STREAM_MSG_DELETE_FAILED
                .with("message delete not permitted")
                .into());
        }
        let removed = match secure {
            true => self.messages.remove_securely(seq)?,
            false => self.messages.remove(seq)?,
        };
        self.tell_removed();
        Ok(removed)
    }
}
