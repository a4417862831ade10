//! Removing many messages on request.

use bytes::Bytes;
use serde::Deserialize;

use crate::error::Result;
use crate::index::Cursor;
use crate::reject;
use crate::stream::Stream;
use crate::types::{NanoTime, SEQ_LIMIT, Seq};

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

impl Stream {
    /// Purges; answers how many messages went.
    ///
    /// # Errors
    /// If the stream does not allow it, or storage cannot be read.
    pub(crate) fn purge(&mut self, purge: &Purge, now: NanoTime) -> Result<u64> {
        if self.core.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        if self.core.config.deny_purge {
            return Err(reject::STREAM_PURGE_FAILED.with("stream purge not permitted").into());
        }
        if purge.seq > SEQ_LIMIT {
            let text = format!("purge sequence must be at most {SEQ_LIMIT}");
            return Err(reject::STREAM_PURGE_FAILED.with(text).into());
        }
        let everything = purge.filter.is_empty() || purge.filter == ">";
        if everything && purge.keep == 0 && (purge.seq == 0 || purge.seq > self.core.last()) {
            let gone = self.core.clear(purge.seq)?;
            for consumer in self.consumers.values_mut() {
                consumer.recount(&mut self.core)?;
            }
            self.tell_purged(b"", self.core.last() + 1, now)?;
            return Ok(gone);
        }
        let (gone, filter) = match everything {
            true => (self.purge_front(purge)?, Vec::new()),
            false => {
                let filter = Bytes::copy_from_slice(purge.filter.as_bytes());
                (self.purge_matching(purge)?, vec![filter])
            }
        };
        let start = self.core.index.next_match(&mut Cursor::new(&filter), 0)?;
        let start = start.unwrap_or(self.core.last() + 1);
        self.tell_purged(filter.first().map_or(b"", |filter| filter), start, now)?;
        Ok(gone)
    }

    /// Tells the consumers that messages of the subjects that `filter` matches were purged, of all if it is empty; those
    /// of them that are left are at or above `start`.
    pub(super) fn tell_purged(&mut self, filter: &[u8], start: Seq, now: NanoTime) -> Result<()> {
        if self.consumers.is_empty() {
            return Ok(());
        }
        let all = std::mem::take(&mut self.core.removed);
        for removed in &all {
            self.find_interested(&removed.subject);
            for serial in &self.interested {
                let Some(consumer) = self.consumers.get_mut(serial) else {
                    continue;
                };
                consumer.uncount(removed.seq);
                // As for nats-server, a single message counts as deleted.
                if all.len() == 1 {
                    consumer.lost(removed.seq);
                }
            }
        }
        let mut freed = Vec::new();
        for consumer in self.consumers.values_mut() {
            if consumer.purged(filter, start, now, &mut self.core)? {
                freed.push(consumer.serial);
            }
            self.progressed.push(consumer.serial);
        }
        for serial in freed {
            self.enqueue(serial);
        }
        Ok(())
    }

    /// Purges the oldest messages, whatever their subject.
    fn purge_front(&mut self, purge: &Purge) -> Result<u64> {
        let mut gone = 0;
        while let Some(first) = self.core.index.first() {
            let kept = purge.keep > 0 && self.core.index.len() <= purge.keep;
            if kept || (purge.seq > 0 && first >= purge.seq) {
                break;
            }
            if !self.core.remove(first)? {
                break;
            }
            gone += 1;
        }
        Ok(gone)
    }

    /// Purges messages of some subjects.
    pub(super) fn purge_matching(&mut self, purge: &Purge) -> Result<u64> {
        let filters = [Bytes::copy_from_slice(purge.filter.as_bytes())];
        let mut cursor = Cursor::new(&filters);
        let mut left = self.core.index.count_from(&filters, 0)?;
        let mut next = 0;
        let mut gone = 0;
        while left > purge.keep {
            let Some(seq) = self.core.index.next_match(&mut cursor, next)? else {
                break;
            };
            if purge.seq > 0 && seq >= purge.seq {
                break;
            }
            gone += u64::from(self.core.remove(seq)?);
            left -= 1;
            next = seq + 1;
        }
        Ok(gone)
    }

    /// Removes one message; `secure` also overwrites its bytes. Answers whether there was one.
    ///
    /// # Errors
    /// If the stream does not allow it, or storage cannot be read.
    pub(crate) fn delete_message(&mut self, seq: Seq, secure: bool) -> Result<bool> {
        if self.core.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        if self.core.config.deny_delete {
            return Err(reject::STREAM_MSG_DELETE_FAILED
                .with("message delete not permitted")
                .into());
        }
        let removed = match secure {
            true => self.core.remove_securely(seq)?,
            false => self.core.remove(seq)?,
        };
        self.tell_removed();
        Ok(removed)
    }
}
