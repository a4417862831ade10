//! The writer of a log that encrypts.

use std::ops::RangeInclusive;
use std::sync::Arc;

use weir_engine::{Compression, Error, Log, LogChange, LogReader, Record, Result, Seq, Upkeep};

use super::reader::EncryptedReader;

/// The room for what is sealed is kept for the next change, as long as it is no more bytes than this: there are many logs.
const ARENA_KEPT: usize = 16 << 10;
/// The same of a journal, of which there are few.
const ARENA_KEPT_OF_JOURNAL: usize = 4 << 20;

/// See the module.
pub struct EncryptedLog {
    inner: Box<dyn Log>,
    reader: Arc<EncryptedReader>,
    /// What a change has, sealed.
    arena: Vec<u8>,
    /// How large that may be, kept for the next change.
    kept: usize,
}

impl EncryptedLog {
    pub fn new(inner: Box<dyn Log>, reader: Arc<EncryptedReader>, is_journal: bool) -> Self {
        Self {
            inner,
            reader,
            arena: Vec::new(),
            kept: match is_journal {
                true => ARENA_KEPT_OF_JOURNAL,
                false => ARENA_KEPT,
            },
        }
    }

    fn check(&self, change: &LogChange<'_>) -> Result<()> {
        if !change.kv.is_empty() {
            return Err(Error::unsupported(
                "no keys are written together with the records of a log that is encrypted",
            ));
        }
        match change.append.iter().find(|record| record.head.len() > Record::HEAD_MAX) {
            Some(record) => Err(Error::invalid(format!(
                "the head of sequence {} has {} bytes, more than {}",
                record.seq,
                record.head.len(),
                Record::HEAD_MAX
            ))),
            None => Ok(()),
        }
    }
}

impl Log for EncryptedLog {
    fn write(&mut self, change: &LogChange<'_>) -> Result<()> {
        self.check(change)?;
        let mut arena = std::mem::take(&mut self.arena);
        let mut ends = Vec::with_capacity(change.append.len());
        for record in change.append {
            ends.push(self.reader.seal(record, &mut arena)?);
        }
        let (mut rest, mut sealed) = (&arena[..], Vec::with_capacity(ends.len()));
        for (record, (head_len, body_len)) in change.append.iter().zip(ends) {
            let (head, after) = rest.split_at(head_len);
            let (body, after) = after.split_at(body_len);
            rest = after;
            sealed.push(Record {
                seq: record.seq,
                time: record.time,
                head,
                body,
            });
        }
        let written = self.inner.write(&LogChange {
            append: &sealed,
            ..*change
        });
        if arena.capacity() <= self.kept {
            arena.clear();
            self.arena = arena;
        }
        if written.is_ok() {
            self.reader.removed(change.erase, change.trim);
        }
        written
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        // How many records it is to be is not told. What they become longer by is less than a message has in a journal.
        self.inner.reserve(bytes.saturating_mul(2))
    }

    fn truncate(&mut self, last: Seq) -> Result<()> {
        self.inner.truncate(last)?;
        self.reader.truncated(last);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.inner.sync()
    }

    fn last_change(&self) -> u64 {
        self.inner.last_change()
    }

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.inner.upkeep()
    }

    fn compact(&mut self, _: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.inner.compact(None, progress)
    }

    fn recompress(&mut self, _: Compression, _: RangeInclusive<Seq>) {
        // What is encrypted does not compress.
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.reader.clone()
    }
}
