//! What of removed records is still in the tables, which nobody reads but a compaction, that comes to a stop where a block is damaged.

use std::collections::BTreeMap;
use std::path::Path;

use rocksdb::{ErrorKind, ReadOptions};
use weir_engine::{Kind, LogId, Result, Seq};

use super::keys::{self, Meta};
use super::options::RocksOptions;
use super::store::{Shared, failed};

/// Keys from the first up to, but without, the second; without an end where that is none.
pub(super) type Stretch = (Vec<u8>, Option<Vec<u8>>);

/// All keys there are.
pub(super) const EVERYTHING: Stretch = (Vec::new(), None);

/// How the first damaged block shows that lies where no log has a record; `None` if there is none, or the store cannot be opened.
/// Blocks with a log's first or last record in them are read as well. With `of`, only where these logs had records.
///
/// # Errors
/// If files cannot be read.
pub fn damaged(folder: &Path, of: Option<&[LogId]>) -> Result<Option<String>> {
    let Ok(shared) = Shared::open(folder, &RocksOptions::of_a_tool(), true) else {
        return Ok(None);
    };
    let stretches = match of {
        None => stretches(&shared)?,
        Some(ids) => stretches_of(&shared, ids)?,
    };
    for family in std::iter::once(keys::HEADS).chain(keys::BODIES) {
        for stretch in &stretches {
            if let Some(what) = unreadable(&shared, family, stretch)? {
                return Ok(Some(what));
            }
        }
    }
    Ok(None)
}

/// Where there may be removed records of some logs. Of one whose entry cannot be read it is told elsewhere.
fn stretches_of(shared: &Shared, ids: &[LogId]) -> Result<Vec<Stretch>> {
    let mut all = Vec::new();
    for id in ids {
        let meta = match shared.meta(*id) {
            Err(error) if error.kind != Kind::Damaged => return Err(error),
            Err(_) | Ok(None) => continue,
            Ok(Some(meta)) => meta,
        };
        let begin = keys::record(meta.place, 0).to_vec();
        let end = Some(keys::record(meta.place + 1, 0).to_vec());
        match is_gapless(&meta) {
            false => all.push((begin, end)),
            true => all.extend([
                (begin, Some(keys::record(meta.place, meta.first).to_vec())),
                (keys::record(meta.place, meta.last + 1).to_vec(), end),
            ]),
        }
    }
    Ok(all)
}

/// Whether a log lacks none between its first record and its last, and has any.
fn is_gapless(meta: &Meta) -> bool {
    let span = meta.last.checked_sub(meta.first);
    meta.count > 0 && span.is_some_and(|span| span + 1 == meta.count)
}

/// Where there may be removed records: all but what the logs have that lack none between their first and their last.
fn stretches(shared: &Shared) -> Result<Vec<Stretch>> {
    let mut whole: BTreeMap<u64, (Seq, Seq)> = BTreeMap::new();
    let read = shared.each_named(keys::PREFIX_LOG, &mut |id, value| {
        let key = keys::named(keys::PREFIX_LOG, id);
        if let Some(meta) = Meta::decode(&key, value)
            && is_gapless(&meta)
        {
            whole.insert(meta.place, (meta.first, meta.last));
        }
        Ok(())
    });
    match read {
        // Of the logs whose entries are lost, all is gone through.
        Err(error) if error.kind != Kind::Damaged => return Err(error),
        _ => {}
    }
    let mut begin = Vec::new();
    let mut stretches = Vec::with_capacity(whole.len() + 1);
    for (place, (first, last)) in whole {
        stretches.push((begin, Some(keys::record(place, first).to_vec())));
        begin = keys::record(place, last + 1).to_vec();
    }
    stretches.push((begin, None));
    Ok(stretches)
}

/// Why a stretch of a family cannot be read, with what was removed from it; `None` if it can be, or the family is not there. A compaction reads
/// the same, and comes to a stop there.
pub(super) fn unreadable(shared: &Shared, family: &str, (low, high): &Stretch) -> Result<Option<String>> {
    let Ok(cf) = shared.cf(family) else {
        return Ok(None);
    };
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_lower_bound(low.clone());
    if let Some(high) = high {
        options.set_iterate_upper_bound(high.clone());
    }
    #[expect(
        deprecated,
        reason = "nothing else has an iterator read what a range deletion covers"
    )]
    options.set_ignore_range_deletions(true);
    let mut iter = shared.db.raw_iterator_cf_opt(cf, options);
    iter.seek_to_first();
    while iter.valid() {
        iter.next();
    }
    match iter.status() {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corruption => Ok(Some(format!("{family}: {error}"))),
        Err(error) => Err(failed(&format!("reading all of {family}"), &error)),
    }
}
