//! Mending a store that RocksDB does not open, or opens without compactions. What is there is only read: what can be had of
//! it comes into a folder beside.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{DB, ErrorKind, IteratorMode, WriteBatch};
use weir_engine::{Backend, Error, Kind, LogId, Result, Seq};

use super::keys::{self, Head, Meta};
use super::log::State;
use super::options::{RocksOptions, database};
use super::reader::walk;
use super::store::{Shared, failed};
use super::{RocksBackend, damage, manifest};
use crate::regular;

/// Bytes that go into the new store at a time.
const BATCH_BYTES: usize = 1 << 20;

/// What stands in the place of a head that cannot be read: it fails its checksum.
const LOST_HEAD: &[u8] = b"lost";

/// Sequences of one damaged place that are marked at most: a block has some hundreds of heads.
const MARKED_MAX: usize = 100_000;

/// What is wrong with a store as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// What names its files is damaged or missing: nothing of it can be read.
    Names(String),
    /// A block of a table is damaged: RocksDB compacts nothing.
    Block(String),
}

/// What there is in the folder beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Its logs.
    pub logs: Vec<LogId>,
    /// Tables that RocksDB could not read, which are left out.
    pub left_out: Vec<String>,
    /// Sequences the heads or bodies of which lie in damaged blocks.
    pub lost: u64,
}

/// What is wrong with the store in a folder; `None` if it can be opened and compacted. Changes nothing.
///
/// # Errors
/// If the folder cannot be read.
pub fn ailment(folder: &Path) -> Result<Option<Ailment>> {
    match manifest::check(folder) {
        Err(error) if error.kind == Kind::Damaged => return Ok(Some(Ailment::Names(error.message))),
        checked => checked?,
    }
    if let Some(what) = damage::noted(folder) {
        return Ok(Some(Ailment::Block(what)));
    }
    match Shared::open(folder, &RocksOptions::default(), true) {
        Err(error) if error.kind == Kind::Damaged => Ok(Some(Ailment::Names(error.message))),
        opened => opened.map(|_| None),
    }
}

/// Makes in `beside`, which must not exist, a store with all that can be had of the one in `folder`, and looks whether it opens.
/// What failed is left there.
///
/// # Errors
/// If files cannot be read or written, or nothing can be had.
pub fn mend(folder: &Path, beside: &Path, ailment: &Ailment) -> Result<Mended> {
    let making = |error| Error::io(format_args!("making {}", beside.display()), error);
    std::fs::create_dir(beside).map_err(making)?;
    let mut mended = Mended::default();
    match ailment {
        Ailment::Names(_) => {
            copy_files(folder, beside)?;
            DB::repair(&database(&RocksOptions::default()), beside).map_err(|error| failed("repairing", &error))?;
            mended.left_out = lost_tables(beside);
        }
        Ailment::Block(_) => copy_readable(folder, beside, &mut mended)?,
    }
    let store = RocksBackend::open(beside, &RocksOptions::default())?;
    mended.logs = store.list()?;
    for id in &mended.logs {
        store.open(*id, &weir_engine::LogOptions::default())?;
    }
    store.sync()?;
    drop(store);
    std::fs::File::open(beside)
        .and_then(|folder| folder.sync_all())
        .map_err(making)?;
    Ok(mended)
}

/// Copies the files of a store, but for the notes of what is damaged and of how far its manifest is whole.
fn copy_files(folder: &Path, beside: &Path) -> Result<()> {
    let copying = |error| Error::io(format_args!("copying {}", folder.display()), error);
    for entry in std::fs::read_dir(folder).map_err(copying)? {
        let entry = entry.map_err(copying)?;
        let name = entry.file_name();
        let is_file = entry.file_type().map_err(copying)?.is_file();
        if !is_file || name == damage::DAMAGED || name == manifest::SYNCED || name == "LOCK" {
            continue;
        }
        let path = entry.path();
        let named = |error| Error::io(format_args!("copying {}", path.display()), error);
        let mut from = regular::open(&path, std::fs::File::options().read(true)).map_err(named)?;
        let mut to = std::fs::File::create_new(beside.join(&name)).map_err(named)?;
        std::io::copy(&mut from, &mut to).map_err(named)?;
        to.sync_all().map_err(named)?;
    }
    Ok(())
}

/// The tables that RocksDB's repair has put aside.
fn lost_tables(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("lost")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut tables: Vec<String> = names.filter(|name| name.ends_with(".sst")).collect();
    tables.sort();
    tables
}

/// Writes what can be read, key by key, into a new store.
fn copy_readable(folder: &Path, beside: &Path, mended: &mut Mended) -> Result<()> {
    let options = RocksOptions::default();
    let from = Arc::new(Shared::open(folder, &options, true)?);
    let to = Shared::open(beside, &options, false)?;
    for family in [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, keys::KV] {
        copy_all(&from, &to, family)?;
    }
    let mut logs = Vec::new();
    from.each_named(keys::PREFIX_LOG, &mut |id, value| {
        let key = keys::named(keys::PREFIX_LOG, id);
        let unreadable = || {
            Error::damaged(format!(
                "rocksdb: the catalogue's entry of log {} fails its checksum",
                LogId(id)
            ))
        };
        logs.push((LogId(id), Meta::decode(&key, value).ok_or_else(unreadable)?));
        Ok(())
    })?;
    for (id, meta) in logs {
        copy_log(&from, &to, id, meta, mended)?;
    }
    to.sync()
}

/// Copies a family in which nothing may be missing.
fn copy_all(from: &Shared, to: &Shared, name: &str) -> Result<()> {
    let (source, target) = (from.cf(name)?, to.cf(name)?);
    let mut batch = WriteBatch::default();
    for item in from.db.iterator_cf(source, IteratorMode::Start) {
        let (key, value) = item.map_err(|error| failed(&format!("reading all of {name}"), &error))?;
        batch.put_cf(target, key, value);
        write_if_full(to, &mut batch)?;
    }
    to.write(batch)
}

/// Copies the records of a log that can be read; of those without a readable body, the head.
fn copy_log(from: &Arc<Shared>, to: &Shared, id: LogId, meta: Meta, mended: &mut Mended) -> Result<()> {
    let place = meta.place;
    let state = State::open(from, id, meta)?;
    let (mut batch, mut outcome) = (WriteBatch::default(), Ok(()));
    let mut copy = |seq: Seq, head: &Head<'_>| -> Result<()> {
        let key = keys::record(place, seq);
        if let Some(value) = get(from, keys::HEADS, &key)? {
            batch.put_cf(to.heads()?, key, value);
        }
        let bodies: Vec<&str> = match keys::BODIES.get(usize::from(head.family)) {
            Some(family) => vec![family],
            None => keys::BODIES.to_vec(),
        };
        let mut has_body = head.body_len == 0;
        for family in bodies {
            if let Some(body) = get(from, family, &key)? {
                batch.put_cf(to.cf(family)?, key, body);
                has_body = true;
            }
        }
        mended.lost += u64::from(!has_body);
        write_if_full(to, &mut batch)
    };
    walk(&state, meta.first, meta.last, &mut |seq, head| {
        outcome = copy(seq, head);
        outcome.is_ok()
    })?;
    outcome?;
    // What cannot be read is damaged there, too, and does not count as deleted.
    for (first, last) in state.damage_within(meta.first..=meta.last) {
        for seq in (first..=last).take(MARKED_MAX) {
            let key = keys::record(place, seq);
            let found = from.db.get_cf(from.heads()?, key);
            if found.is_err_and(|error| error.kind() == ErrorKind::Corruption) {
                batch.put_cf(to.heads()?, key, LOST_HEAD);
                mended.lost += 1;
            }
            write_if_full(to, &mut batch)?;
        }
    }
    to.write(batch)
}

/// A value; `None` if it is not there or its block is damaged.
fn get(from: &Shared, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
    match from.db.get_cf(from.cf(family)?, key) {
        Ok(value) => Ok(value),
        Err(error) if error.kind() == ErrorKind::Corruption => Ok(None),
        Err(error) => Err(failed("reading a record", &error)),
    }
}

fn write_if_full(to: &Shared, batch: &mut WriteBatch) -> Result<()> {
    match batch.size_in_bytes() < BATCH_BYTES {
        true => Ok(()),
        false => to.write(std::mem::take(batch)),
    }
}
