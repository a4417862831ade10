//! Mending a store that RocksDB does not open, or opens without compactions. What is there is only read: what can be had of
//! it comes into a folder beside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rocksdb::{DB, ErrorKind, IteratorMode, WriteBatch};
use weir_engine::{Backend, Error, Kind, LogId, Result, Seq};

use super::keys::{self, Head, Meta};
use super::log::{State, clip_lost};
use super::nameless::{self, Told};
pub use super::nameless::{Claim, Fits};
use super::names::{self, Named};
use super::options::{RocksOptions, database};
use super::reader::walk;
use super::store::{Shared, failed};
use super::{RocksBackend, damage, manifest, removed, room};
use crate::regular;

/// Bytes that go into the new store at a time.
const BATCH_BYTES: usize = 1 << 20;

/// What stands in the place of a head that cannot be read: it fails its checksum.
const LOST_HEAD: &[u8] = b"lost";

/// Sequences of one damaged place that are marked at most: a block has some hundreds of heads.
const MARKED_MAX: usize = 100_000;

/// Ranges of lost sequences that are noted of one log, at most: those with the highest sequences are left out.
const LOST_MAX: usize = 1 << 20;

/// The end of the name of a folder beside that in which a store is made: files are put together there that cannot be read whole.
const PARTS: &str = "parts";

/// Those of a program that somebody waits for: its compactions do not stand back behind whatever else the machine does. All databases of a
/// process share the threads that compact, and one that is only looked at would set their priority for them all.
fn options() -> RocksOptions {
    RocksOptions {
        unlinks_with_pauses: false,
        compacts_aside: false,
        ..RocksOptions::default()
    }
}

/// What is wrong with a store as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// What names its files is damaged or missing: nothing of it can be read.
    Names(String),
    /// A block of a table is damaged: RocksDB compacts nothing, or a stream cannot be opened for want of a key.
    Block(String),
}

/// What there is in the folder beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Its logs.
    pub logs: Vec<LogId>,
    /// Whether RocksDB put its files together anew, by what its tables say of themselves.
    pub put_together: bool,
    /// Tables that RocksDB could not read, which are left out.
    pub left_out: Vec<String>,
    /// Sequences the heads or bodies of which lie in damaged blocks.
    pub lost: u64,
    /// Logs that count more records than can be found, and how many are missing of each.
    pub short: Vec<(LogId, u64)>,
    /// Logs whose entries in the catalogue were lost, and are made anew from their records.
    pub recounted: Vec<LogId>,
    /// Of these, those both notes of which are lost, and whose records told that they are theirs.
    pub recognized: Vec<LogId>,
    /// Whether the key-value space was left out, as something of it is lost: the next opening makes the indexes in it anew.
    pub without_keys: bool,
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
    let shared = match Shared::open(folder, &options(), true) {
        Err(error) if error.kind == Kind::Damaged => return Ok(Some(Ailment::Names(error.message))),
        opened => opened?,
    };
    // Keys that are no record's first: a damaged block of these costs more than what lies in it.
    let damaged = damaged_in(&shared)?.into_iter().next();
    let damaged = match damaged {
        Some((_, what)) => Some(what),
        None => any_unreadable(&shared, folder)?,
    };
    Ok(damaged.map(Ailment::Block))
}

/// The manifest that a store whose [names](Ailment::Names) are lost goes on with: only `CURRENT` has to be written again, and names it.
/// `None` if RocksDB has to put its files together anew, as where the names are whole and a table is missing.
///
/// # Errors
/// If the folder cannot be read.
pub fn manifest(folder: &Path) -> Result<Option<String>> {
    if manifest::check(folder).is_ok() {
        return Ok(None);
    }
    manifest::named(folder).map_err(|error| Error::io(format_args!("reading {}", folder.display()), error))
}

/// What is wrong with small files of a store where that costs nothing: one line each, with the file in front.
pub fn small_files(folder: &Path) -> Vec<String> {
    manifest::beside(folder)
}

/// Keys that are no record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The catalogue of the store's logs, or its second note.
    Catalogue,
    /// The key-value space, which has paged indexes.
    Space,
}

/// Which keys are damaged that are no record's, and how that shows; none if the store cannot be opened at all.
///
/// # Errors
/// If files cannot be read.
pub fn damaged_keys(folder: &Path) -> Result<Vec<(Keys, String)>> {
    match Shared::open(folder, &RocksOptions::of_a_tool(), true) {
        Ok(shared) => damaged_in(&shared),
        Err(_) => Ok(Vec::new()),
    }
}

/// How the first damaged block of any table shows at which a compaction would come to a stop; `None` if there is none, or the store cannot
/// be opened at all. Reads everything.
///
/// # Errors
/// If files cannot be read.
pub fn damaged_block(folder: &Path) -> Result<Option<String>> {
    let Ok(shared) = Shared::open(folder, &options(), true) else {
        return Ok(None);
    };
    any_unreadable(&shared, folder)
}

/// Why the first of all families that is not readable as a whole is not.
fn any_unreadable(shared: &Shared, folder: &Path) -> Result<Option<String>> {
    let families = DB::list_cf(&database(&options()).0, folder).unwrap_or_default();
    for family in families {
        if let Some(what) = unreadable(shared, &family)? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

fn damaged_in(shared: &Shared) -> Result<Vec<(Keys, String)>> {
    let mut damaged = Vec::new();
    for (keys, family) in [
        (Keys::Catalogue, rocksdb::DEFAULT_COLUMN_FAMILY_NAME),
        (Keys::Catalogue, keys::NAMES),
        (Keys::Space, keys::KV),
    ] {
        damaged.extend(unreadable(shared, family)?.map(|what| (keys, what)));
    }
    Ok(damaged)
}

/// Why a family cannot be read as a whole; `None` if it can be, or is not there.
fn unreadable(shared: &Shared, family: &str) -> Result<Option<String>> {
    removed::unreadable(shared, family, &removed::EVERYTHING)
}

/// Makes in `beside`, which must not exist, a store with all that can be had of the one in `folder`, and looks whether it opens. `claims`
/// are the logs that it should have.
/// What failed is left there.
///
/// # Errors
/// If files cannot be read or written, or nothing can be had.
pub fn mend(folder: &Path, beside: &Path, ailment: &Ailment, claims: &[Claim]) -> Result<Mended> {
    let making = |error| Error::io(format_args!("making {}", beside.display()), error);
    let mut mended = Mended::default();
    match ailment {
        Ailment::Names(_) => {
            let parts = beside.with_extension(PARTS);
            match std::fs::remove_dir_all(&parts) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(making(error)),
                _ => std::fs::create_dir(&parts).map_err(making)?,
            }
            copy_files(folder, &parts)?;
            // RocksDB's own repair leaves a table out for one damaged block: with the manifest of old nothing is left out.
            let is_named =
                manifest::name_again(folder, &parts).map_err(making)? && Shared::open(&parts, &options(), true).is_ok();
            if !is_named {
                DB::repair(&database(&options()).0, &parts).map_err(|error| failed("repairing", &error))?;
                mended.put_together = true;
                mended.left_out = lost_tables(&parts);
            }
            let tables = if is_named { Tables::There } else { Tables::Missing };
            match damaged_block(&parts)? {
                // What was put together has the damaged blocks of its tables still, and would come to a stop at them.
                Some(_) => {
                    std::fs::create_dir(beside).map_err(making)?;
                    copy_readable(&parts, beside, tables, claims, &mut mended)?;
                    std::fs::remove_dir_all(&parts).map_err(making)?;
                }
                None => {
                    std::fs::rename(&parts, beside).map_err(making)?;
                    if tables == Tables::Missing {
                        complete(beside, claims, &mut mended)?;
                    }
                }
            }
        }
        Ailment::Block(_) => {
            std::fs::create_dir(beside).map_err(making)?;
            copy_readable(folder, beside, Tables::There, claims, &mut mended)?;
        }
    }
    let store = RocksBackend::open(beside, &options())?;
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
        let own = [damage::DAMAGED, manifest::SYNCED, room::ROOM, "LOCK"];
        if !is_file || own.iter().any(|own| name == *own) {
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

/// Whether all tables are there that a store had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    There,
    /// It was put together of those that can be read. Which others there were, nothing tells for certain.
    Missing,
}

/// A store that RocksDB has put together of its tables: each log is counted anew, and what it lacks is noted. The key-value space, of
/// which nobody knows what is missing, goes.
fn complete(beside: &Path, claims: &[Claim], mended: &mut Mended) -> Result<()> {
    let shared = Arc::new(Shared::open(beside, &options(), false)?);
    for (id, known) in logs_with(&shared, claims, mended)? {
        let found = find_all(&shared, id, &known, Tables::Missing)?;
        enter(&shared, id, &known.named, &found.meta)?;
        note_lost(&shared, id, &known, &found, mended)?;
    }
    let mut batch = WriteBatch::default();
    // Whatever has records and no log any more is in nobody's way.
    let next = next_place(&shared)?.max(nameless::free(&shared)?);
    batch.put(keys::KEY_NEXT_PLACE, next.to_le_bytes());
    // No key begins like this.
    let end = [0xff; 16];
    batch.delete_range_cf(shared.kv()?, &[][..], &end[..]);
    shared.write(batch)?;
    mended.without_keys = true;
    shared.sync()
}

/// The records of a log whose heads can be read.
struct There {
    meta: Meta,
    /// How many more its entry counted.
    short: u64,
    /// Where these may have been, and what was noted so before.
    lost: Vec<(Seq, Seq)>,
}

/// Goes through the heads of a log. Those that cannot be read count as lost, and where tables may be missing and it counts more than
/// there are, all between the others.
fn find_all(shared: &Arc<Shared>, id: LogId, known: &Known, tables: Tables) -> Result<There> {
    let place = known.named.place;
    let all = known.meta.unwrap_or(Meta {
        place,
        first: 1,
        last: Seq::MAX - 1,
        // Any of them may have bodies.
        families: (1 << keys::BODIES.len()) - 1,
        ..Meta::default()
    });
    let state = State::open(shared, id, all)?;
    let mut meta = Meta {
        count: 0,
        bytes: 0,
        ..all
    };
    let (mut bad, mut gaps, mut next) = (Vec::new(), Vec::new(), None);
    walk(&state, all.first, all.last, &mut |seq, head| {
        if head.family == keys::NO_FAMILY {
            bad.push((seq, seq));
            return true;
        }
        // Of one without an entry it is not known what was removed from its beginning.
        let from = next.unwrap_or(if known.meta.is_some() { all.first } else { seq });
        if from < seq && gaps.len() < LOST_MAX {
            gaps.push((from, seq - 1));
        }
        if meta.count == 0 && known.meta.is_none() {
            meta.first = seq;
        }
        next = Some(seq + 1);
        meta.count += 1;
        meta.bytes += head.bytes();
        true
    })?;
    match known.meta {
        Some(_) => {
            let from = next.unwrap_or(all.first);
            if from <= all.last {
                gaps.push((from, all.last));
            }
        }
        None => {
            meta.last = next.map_or(0, |next| next - 1);
            meta.first = meta.first.min(meta.last + 1);
        }
    }
    let short = all.count.saturating_sub(meta.count);
    let is_short = short > 0 || known.meta.is_none();
    let mut lost = match tables {
        Tables::Missing if is_short => gaps,
        _ => [bad, state.damage_within(all.first..=all.last)].concat(),
    };
    lost.extend(state.lost());
    let lost = clip_lost(joined(lost), meta.first, meta.last);
    Ok(There { meta, short, lost })
}

/// Ranges in order, none of which touch.
fn joined(mut ranges: Vec<(Seq, Seq)>) -> Vec<(Seq, Seq)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, one| {
        let touches = next.0 <= one.1.saturating_add(1);
        if touches {
            one.1 = one.1.max(next.1);
        }
        touches
    });
    ranges.truncate(LOST_MAX);
    ranges
}

/// Writes down what a log lacks: each opening tells of it.
fn note_lost(shared: &Shared, id: LogId, known: &Known, found: &There, mended: &mut Mended) -> Result<()> {
    if known.meta.is_none() {
        mended.recounted.push(id);
    }
    if found.short > 0 {
        mended.short.push((id, found.short));
    }
    if found.lost.is_empty() {
        return Ok(());
    }
    let key = keys::named(keys::PREFIX_LOST, id.0);
    let mut batch = WriteBatch::default();
    batch.put(key, keys::encode_lost(&key, &found.lost));
    shared.write(batch)
}

/// What is known of a log.
struct Known {
    named: Named,
    /// Its entry in the catalogue; `None` if that cannot be read.
    meta: Option<Meta>,
}

/// The logs, by what can be read of the catalogue, and by the second note that is made of each.
fn logs_of(shared: &Shared) -> Result<BTreeMap<LogId, Known>> {
    let of_name = |(id, named)| (id, Known { named, meta: None });
    let mut logs: BTreeMap<LogId, Known> = names::all(shared)?.into_iter().map(of_name).collect();
    let mut labels = BTreeMap::new();
    let catalogue = shared.cf(rocksdb::DEFAULT_COLUMN_FAMILY_NAME)?;
    names::for_each_readable(shared, catalogue, &mut |key, value| {
        let Some((prefix, id)) = key.split_first() else {
            return;
        };
        let Ok(id) = id.try_into().map(u64::from_be_bytes).map(LogId) else {
            return;
        };
        if *prefix == keys::PREFIX_LABEL
            && let Some(label) = keys::decode_label(key, value)
        {
            labels.insert(id, label.to_vec());
        }
        if *prefix == keys::PREFIX_LOG
            && let Some(meta) = Meta::decode(key, value)
        {
            let (place, label) = (meta.place, Vec::new());
            let named = Named { place, label };
            let known = logs.entry(id).or_insert(Known { named, meta: None });
            known.named.place = place;
            known.meta = Some(meta);
        }
    })?;
    for (id, label) in labels {
        if let Some(known) = logs.get_mut(&id) {
            known.named.label = label;
        }
    }
    // A damaged block of one table ends an iterator that has more in others: what a lookup finds is there.
    for (id, known) in logs.iter_mut().filter(|(_, known)| known.meta.is_none()) {
        let key = keys::named(keys::PREFIX_LOG, id.0);
        let found = shared.db.get(key).ok().flatten();
        known.meta = found.and_then(|value| Meta::decode(&key, &value));
    }
    Ok(logs)
}

/// The same with the logs of some claims the records of which tell that they are theirs.
fn logs_with(shared: &Shared, claims: &[Claim], mended: &mut Mended) -> Result<BTreeMap<LogId, Known>> {
    let mut logs = logs_of(shared)?;
    let open: Vec<&Claim> = claims.iter().filter(|claim| !logs.contains_key(&claim.id)).collect();
    let taken: BTreeSet<u64> = logs.values().map(|known| known.named.place).collect();
    let told = nameless::assign(shared, &taken, &open)?;
    let above = taken.last().map_or(0, |place| place.saturating_add(1));
    let mut free = next_place(shared).unwrap_or(0).max(above).max(nameless::free(shared)?);
    for (id, told) in told {
        let (place, meta) = match told {
            Told::Place(place) => (place, None),
            Told::Empty(last) => {
                let place = free;
                free = free.saturating_add(1);
                let first = last.saturating_add(1);
                let meta = Meta {
                    place,
                    first,
                    last,
                    ..Meta::default()
                };
                (place, Some(meta))
            }
        };
        let label = Vec::new();
        let named = Named { place, label };
        logs.insert(id, Known { named, meta });
        mended.recognized.push(id);
    }
    Ok(logs)
}

/// What the records at a place come to.
fn recount(shared: &Arc<Shared>, id: LogId, place: u64) -> Result<Meta> {
    let all = Meta {
        place,
        first: 1,
        last: Seq::MAX - 1,
        ..Meta::default()
    };
    let state = State::open(shared, id, all)?;
    let mut meta = Meta {
        first: 1,
        last: 0,
        // Any of them may have bodies.
        families: (1 << keys::BODIES.len()) - 1,
        ..all
    };
    walk(&state, all.first, all.last, &mut |seq, head| {
        if meta.count == 0 {
            meta.first = seq;
        }
        meta.count += 1;
        meta.bytes += head.bytes();
        meta.last = seq;
        true
    })?;
    for (first, last) in state.damage_within(all.first..=all.last) {
        for seq in (first..=last).take(MARKED_MAX) {
            if is_unreadable_head(shared, place, seq)? {
                meta.count += 1;
                meta.first = meta.first.min(seq);
                meta.last = meta.last.max(seq);
            }
        }
    }
    Ok(meta)
}

/// Writes all that the catalogue has of a log.
fn enter(shared: &Shared, id: LogId, named: &Named, meta: &Meta) -> Result<()> {
    let mut batch = WriteBatch::default();
    let key = keys::named(keys::PREFIX_LOG, id.0);
    batch.put(key, meta.encode(&key));
    if !named.label.is_empty() {
        let key = keys::named(keys::PREFIX_LABEL, id.0);
        batch.put(key, keys::encode_label(&key, &named.label));
    }
    names::put(shared, &mut batch, id, named)?;
    let next = next_place(shared)?.max(meta.place.saturating_add(1));
    batch.put(keys::KEY_NEXT_PLACE, next.to_le_bytes());
    shared.write(batch)
}

/// The place that the next log gets, as far as the catalogue tells.
fn next_place(shared: &Shared) -> Result<u64> {
    Ok(match shared.get_meta(keys::KEY_NEXT_PLACE)? {
        Some(value) => value.try_into().map_or(0, u64::from_le_bytes),
        None => 0,
    })
}

/// Writes what can be read, key by key, into a new store.
fn copy_readable(folder: &Path, beside: &Path, tables: Tables, claims: &[Claim], mended: &mut Mended) -> Result<()> {
    let options = RocksOptions::default();
    let from = Arc::new(Shared::open(folder, &options, true)?);
    let to = Shared::open(beside, &options, false)?;
    mended.without_keys = tables == Tables::Missing || unreadable(&from, keys::KV)?.is_some();
    if !mended.without_keys {
        copy_all(&from, &to, keys::KV)?;
    }
    for (id, known) in logs_with(&from, claims, mended)? {
        if mended.without_keys {
            // No index tells of what cannot be read, and none that is made anew will.
            let found = find_all(&from, id, &known, tables)?;
            enter(&to, id, &known.named, &found.meta)?;
            note_lost(&to, id, &known, &found, mended)?;
            copy_log(&from, &to, id, found.meta, mended)?;
            continue;
        }
        let meta = match known.meta {
            Some(meta) => meta,
            None => {
                mended.recounted.push(id);
                recount(&from, id, known.named.place)?
            }
        };
        enter(&to, id, &known.named, &meta)?;
        let lost = from.lost(id, meta.first)?;
        if !lost.is_empty() {
            let key = keys::named(keys::PREFIX_LOST, id.0);
            let mut batch = WriteBatch::default();
            batch.put(key, keys::encode_lost(&key, &lost));
            to.write(batch)?;
        }
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
    let without_keys = mended.without_keys;
    let mut copy = |seq: Seq, head: &Head<'_>| -> Result<()> {
        if without_keys && head.family == keys::NO_FAMILY {
            return Ok(());
        }
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
    if without_keys {
        return to.write(batch);
    }
    // What cannot be read is damaged there, too, and does not count as deleted.
    for (first, last) in state.damage_within(meta.first..=meta.last) {
        for seq in (first..=last).take(MARKED_MAX) {
            if is_unreadable_head(from, place, seq)? {
                batch.put_cf(to.heads()?, keys::record(place, seq), LOST_HEAD);
                mended.lost += 1;
            }
            write_if_full(to, &mut batch)?;
        }
    }
    to.write(batch)
}

/// Whether a head may have been there, in a block that is damaged.
fn is_unreadable_head(shared: &Shared, place: u64, seq: Seq) -> Result<bool> {
    let found = shared.db.get_cf(shared.heads()?, keys::record(place, seq));
    Ok(found.is_err_and(|error| error.kind() == ErrorKind::Corruption))
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
