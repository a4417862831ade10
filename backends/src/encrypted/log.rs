//! The writer of a log that encrypts.

use std::ops::RangeInclusive;
use std::sync::Arc;

use weir_engine::{Compression, Error, Log, LogChange, LogReader, Record, Result, Seq, SyncBeside, Upkeep};

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
    /// A body, compressed.
    scratch: Vec<u8>,
    /// How large these may be, kept for the next change.
    kept: usize,
}

impl EncryptedLog {
    pub fn new(mut inner: Box<dyn Log>, reader: Arc<EncryptedReader>, is_journal: bool) -> Self {
        inner.recode_by(reader.clone());
        Self {
            inner,
            reader,
            arena: Vec::new(),
            scratch: Vec::new(),
            kept: match is_journal {
                true => ARENA_KEPT_OF_JOURNAL,
                false => ARENA_KEPT,
            },
        }
    }

    fn check(&self, change: &LogChange<'_>) -> Result<()> {
        if !change.counts.is_empty() {
            return Err(Error::unsupported("a body that is encrypted counts for what it has"));
        }
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
        let (mut arena, mut scratch) = (std::mem::take(&mut self.arena), std::mem::take(&mut self.scratch));
        let compression = self.reader.compression();
        let (mut ends, mut counts) = (Vec::with_capacity(change.append.len()), Vec::new());
        for record in change.append {
            let sealed = self.reader.seal(record, compression, &mut arena, &mut scratch)?;
            counts.push(sealed.counts);
            ends.push(sealed);
        }
        let (mut rest, mut sealed) = (&arena[..], Vec::with_capacity(ends.len()));
        for (record, end) in change.append.iter().zip(ends) {
            let (head, after) = rest.split_at(end.head);
            let (body, after) = after.split_at(end.body);
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
            counts: &counts,
            ..*change
        });
        for (buffer, kept) in [(arena, &mut self.arena), (scratch, &mut self.scratch)] {
            if buffer.capacity() <= self.kept {
                *kept = buffer;
                kept.clear();
            }
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

    fn sync_beside(&self) -> Option<SyncBeside> {
        self.inner.sync_beside()
    }

    fn last_change(&self) -> u64 {
        self.inner.last_change()
    }

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.inner.upkeep()
    }

    fn compact(&mut self, compression: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        if let Some(compression) = compression {
            self.reader.compress_by(compression);
        }
        self.inner.compact(compression.map(|_| Compression::None), progress)
    }

    fn recompress(&mut self, compression: Compression, range: RangeInclusive<Seq>) {
        self.reader.compress_by(compression);
        self.inner.recompress(Compression::None, range);
    }

    fn recompressing(&self) -> Option<RangeInclusive<Seq>> {
        self.inner.recompressing()
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.reader.clone()
    }
}
