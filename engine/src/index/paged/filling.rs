//! A paged index that is written all at once, from one in memory. Nothing of it is read, where adding one message after the other looks
//! up each one's subject.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::keys::{self, Keys, Totals};
use crate::backend::{Kv, KvWrite};
use crate::error::Result;
use crate::index::chunk::chunk_of;
use crate::index::resident::Resident;
use crate::types::{LogId, Seq};

/// Keys that are written at a time.
const AT_ONCE: usize = 4096;

struct Writes<'a> {
    kv: &'a dyn Kv,
    some: Vec<KvWrite>,
}

impl Writes<'_> {
    fn put(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        self.some.push((key, Some(value)));
        match self.some.len() < AT_ONCE {
            true => Ok(()),
            false => self.write(),
        }
    }

    fn write(&mut self) -> Result<()> {
        self.kv.put_all(&self.some)?;
        self.some.clear();
        Ok(())
    }
}

/// Writes the index of a log that has just the messages of another one, whose index is given. Nobody may have it open. If it is broken
/// off, what there is of it is to be [forgotten](super::forget). About `at_once` messages are put in the order of their subjects at a
/// time.
///
/// # Errors
/// If it cannot be written.
pub fn fill(kv: &dyn Kv, log: LogId, index: &Resident, at_once: u64) -> Result<()> {
    let keys = Keys::new(log, 0);
    kv.remove_prefix(&keys.prefix())?;
    let (Some(first), Some(last)) = (index.first(), index.last_live()) else {
        return Ok(());
    };
    let mut writes = Writes { kv, some: Vec::new() };
    index.each_inner(at_once, &mut |subject, info, inner| {
        writes.put(keys.subject(subject).into(), keys::encode(info))?;
        for seq in inner {
            writes.put(keys.posting(subject, seq), Bytes::new())?;
        }
        Ok(())
    })?;
    let mut chunks: BTreeMap<u64, u32> = BTreeMap::new();
    index.each_live(0, Seq::MAX, &mut |seq| *chunks.entry(chunk_of(seq)).or_default() += 1);
    for (number, count) in chunks {
        writes.put(keys.chunk(number), Bytes::copy_from_slice(&count.to_le_bytes()))?;
    }
    index.each_ending(&mut |at, seq| writes.put(keys.ending(at, seq), Bytes::new()))?;
    let totals = Totals {
        len: index.len(),
        subjects: index.subjects(),
        first,
        last,
        next: last + 1,
        digest: Some(index.digest()),
        ..Totals::default()
    };
    // Last of all: without them there is none.
    writes.put(keys.prefix().into(), totals.encode())?;
    writes.write()
}
