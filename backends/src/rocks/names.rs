//! Which place each log has, and its label, once more: should a bit flip in the table that has the catalogue's entries, the log's
//! records are still found, and it is known whose they are. A column family of its own lies in tables of its own.

use std::collections::BTreeMap;

use rocksdb::WriteBatch;
use weir_engine::{Kind, LogId, Result};

use super::keys;
use super::store::{Shared, failed};

/// What is known of a log twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub place: u64,
    /// Empty if it has none.
    pub label: Vec<u8>,
}

/// Adds the second note of a log to a batch.
pub(super) fn put(shared: &Shared, batch: &mut WriteBatch, id: LogId, named: &Named) -> Result<()> {
    let key = id.0.to_be_bytes();
    batch.put_cf(
        shared.cf(keys::NAMES)?,
        key,
        keys::encode_name(&key, named.place, &named.label),
    );
    Ok(())
}

/// Adds to a batch that a log is no more.
pub(super) fn delete(shared: &Shared, batch: &mut WriteBatch, id: LogId) -> Result<()> {
    batch.delete_cf(shared.cf(keys::NAMES)?, id.0.to_be_bytes());
    Ok(())
}

/// Notes a log if that was not done, or otherwise: by a version that knew only the first note. Without room for it, that waits for
/// the next opening.
pub(super) fn keep(shared: &Shared, id: LogId, named: &Named) -> Result<()> {
    let key = id.0.to_be_bytes();
    let value = keys::encode_name(&key, named.place, &named.label);
    // What cannot be read is written anew.
    if matches!(shared.db.get_pinned_cf(shared.cf(keys::NAMES)?, key), Ok(Some(there)) if *there == *value) {
        return Ok(());
    }
    let mut batch = WriteBatch::default();
    put(shared, &mut batch, id, named)?;
    match shared.write(batch) {
        Err(error) if error.kind == Kind::Full => Ok(()),
        written => written,
    }
}

/// All that can be read of them.
pub(super) fn all(shared: &Shared) -> Result<BTreeMap<LogId, Named>> {
    let mut found = BTreeMap::new();
    // Versions that did not know it have none.
    let Ok(family) = shared.cf(keys::NAMES) else {
        return Ok(found);
    };
    for_each_readable(shared, family, &mut |key, value| {
        if let (Ok(id), Some((place, label))) = (key.try_into(), keys::decode_name(key, value)) {
            let label = label.to_vec();
            found.insert(LogId(u64::from_be_bytes(id)), Named { place, label });
        }
    })?;
    Ok(found)
}

/// Visits the keys of a small family that can be read: those up to the first damaged block, and those behind the last one.
pub(super) fn for_each_readable(
    shared: &Shared,
    family: &rocksdb::ColumnFamily,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<()> {
    let mut iter = shared.db.raw_iterator_cf(family);
    iter.seek_to_first();
    while let Some((key, value)) = iter.item() {
        visit(key, value);
        iter.next();
    }
    match iter.status() {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() != rocksdb::ErrorKind::Corruption => return Err(failed("reading", &error)),
        Err(_) => {}
    }
    let mut iter = shared.db.raw_iterator_cf(family);
    iter.seek_to_last();
    while let Some((key, value)) = iter.item() {
        visit(key, value);
        iter.prev();
    }
    match iter.status() {
        Err(error) if error.kind() != rocksdb::ErrorKind::Corruption => Err(failed("reading", &error)),
        _ => Ok(()),
    }
}
