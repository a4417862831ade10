//! The key-value space: batches under checksums in two copies, and all of it in memory.
//!
//! Every batch is written to both files, and both are synced before it counts; what is damaged in one is taken from the
//! other. When more than half of a file is out of date, the live pairs are written to new files, which then take the
//! places of the old ones.

mod batch;
mod merge;
mod open;
mod strangers;

use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use weir_engine::{Error, Kind, Kv, KvWrite, Result, VisitKey};

use super::files::{File, Mode};
use super::handle::Handles;
use super::state::{Doing, io_error, no_space};
use batch::{FILE_HEADER, Pairs, encode, file_header, pair_bytes};
use merge::COPIES;
pub use merge::Worth;
pub use open::KvCopy;
use open::{Found, TEMPORARY, file_name};
pub use strangers::{Belongs, Judge, Look};

/// The longest key or value, in bytes.
const PART_MAX: usize = 256 << 20;
/// The longest batch, in bytes.
const BATCH_MAX: usize = 1 << 30;
/// Below this size, in bytes, files are not rewritten. Small for tests, which rewrite often.
const REWRITE_MIN: u64 = if cfg!(test) { 32 << 10 } else { 1 << 20 };
/// Pairs that a scan takes at once, so that the lock is not held while they are visited.
const SCAN_BATCH: usize = 256;
/// The folders of the copies, below that of the store.
const FOLDERS: [&str; COPIES] = ["kv", "kv2"];

/// One open copy.
struct Copy {
    path: PathBuf,
    file: File,
}

/// The copies and how far they are written.
struct Tail {
    copies: Arc<Vec<Copy>>,
    generation: u64,
    pos: u64,
    /// The last batch's number.
    number: u64,
    durable: u64,
    dirty: bool,
    dir_dirty: bool,
    buf: Vec<u8>,
    poison: Option<String>,
    /// The length from which on a rewrite is tried.
    rewrite_at: u64,
    /// Opening found no room to mend the copies. Nothing is written to them, but all pairs to files of the next generation, once there
    /// is room.
    owed: Option<Vec<KvCopy>>,
}

/// The key-value space of a segment backend.
pub struct SegmentKv {
    dirs: [PathBuf; COPIES],
    handles: Arc<Handles>,
    pairs: RwLock<Pairs>,
    tail: Mutex<Option<Tail>>,
    /// Held for the length of a sync.
    syncing: Mutex<()>,
    mended: Vec<String>,
    lost: Vec<String>,
    found: Vec<KvCopy>,
}

/// The folders of the copies.
pub fn folders(store: &Path) -> [PathBuf; COPIES] {
    FOLDERS.map(|folder| store.join(folder))
}

impl SegmentKv {
    /// Opens the space of a store, whose [`folders`] exist unless only reading.
    pub fn open(store: &Path, handles: Arc<Handles>, judge: Judge<'_>) -> Result<Self> {
        let dirs = folders(store);
        let found = open::open(&dirs, &handles, judge)?;
        let Found {
            generation,
            merged,
            mended,
            lost,
            copies,
            owed,
        } = found;
        for line in mended.iter().chain(&lost) {
            tracing::error!("{line}");
        }
        let (number, mark, end) = (merged.number, merged.mark, merged.end);
        let kv = Self {
            dirs,
            handles,
            pairs: RwLock::new(merged.pairs),
            tail: Mutex::new(None),
            syncing: Mutex::default(),
            mended,
            lost,
            found: copies,
        };
        let Some(generation) = generation.filter(|_| !kv.handles.read_only) else {
            return Ok(kv);
        };
        let tail = if let Some(owed) = owed {
            let mut tail = kv.owing(generation, owed)?;
            match kv.repay(&mut tail) {
                Err(error) if error.kind == Kind::Full && tail.poison.is_none() => tracing::error!(
                    "the key-value files are mended when there is room, and take no writes until then: {error}"
                ),
                repaid => repaid?,
            }
            tail
        } else {
            let tail = Tail {
                copies: Arc::new(kv.open_copies(generation, Mode::Write)?),
                generation,
                pos: end,
                number,
                durable: mark.min(number),
                dirty: true,
                dir_dirty: true,
                buf: Vec::new(),
                poison: None,
                rewrite_at: REWRITE_MIN,
                owed: None,
            };
            if number > mark {
                // As for logs: what an earlier process could not sync is written again.
                let path = &tail.copies[0].path;
                let whole = kv.handles.files.read(path).doing("reading", path)?;
                kv.write_at(&tail.copies, &whole, 0)
                    .map_err(|(path, error)| io_error("writing again", path, error))?;
            }
            tail
        };
        *kv.tail.lock() = Some(tail);
        Ok(kv)
    }

    /// Damage that opening found and another copy mended, one line each.
    pub fn mended(&self) -> &[String] {
        &self.mended
    }

    /// Damage that opening found in every copy, one line each: some writes are lost.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// What each copy was when it was opened.
    pub fn copies(&self) -> &[KvCopy] {
        &self.found
    }

    /// All pairs are to be written anew, and there may be no room for that: the copies stay as they are until then, and those that have
    /// all are held, so that what an earlier process could not sync can be.
    fn owing(&self, generation: u64, owed: Vec<KvCopy>) -> Result<Tail> {
        let whole = owed.iter().filter(|copy| copy.worth == Worth::Whole);
        let open = |copy: &KvCopy| {
            let path = copy.path.clone();
            let file = self.handles.files.open(&path, Mode::Write).doing("opening", &path)?;
            Ok(Copy { path, file })
        };
        let copies: Vec<Copy> = whole.map(open).collect::<Result<_>>()?;
        for copy in &copies {
            let whole = self.handles.files.read(&copy.path).doing("reading", &copy.path)?;
            match self.handles.files.write_at(&copy.file, &copy.path, &whole, 0) {
                // It is there, and was synced or not.
                Err(error) if no_space(&error) => {}
                written => written.doing("writing again", &copy.path)?,
            }
        }
        Ok(Tail {
            copies: Arc::new(copies),
            generation,
            pos: 0,
            number: 0,
            durable: 0,
            dirty: true,
            dir_dirty: true,
            buf: Vec::new(),
            poison: None,
            rewrite_at: REWRITE_MIN,
            owed: Some(owed),
        })
    }

    /// Does what opening had no room for.
    ///
    /// # Errors
    /// Of kind [`Kind::Full`] while there is none; nothing is changed then.
    fn repay(&self, tail: &mut Tail) -> Result<()> {
        let Some(owed) = tail.owed.clone() else {
            return Ok(());
        };
        let old = tail.generation;
        match self.write_all(old + 1) {
            Ok(new) => *tail = new,
            Err(error) => {
                if error.kind != Kind::Full || self.has_begun(old + 1) {
                    tail.poison = Some(error.message.clone());
                }
                return Err(error);
            }
        }
        let retired = open::retire(&owed, &self.handles);
        if let Err(error) = &retired {
            tail.poison = Some(error.message.clone());
        }
        retired
    }

    /// Whether a file of that generation has its name.
    fn has_begun(&self, generation: u64) -> bool {
        let name = file_name(generation);
        let mut dirs = self.dirs.iter();
        dirs.any(|dir| self.handles.files.len(&dir.join(&name)).is_ok())
    }

    fn open_copies(&self, generation: u64, mode: Mode) -> Result<Vec<Copy>> {
        let open = |dir: &PathBuf| {
            let path = dir.join(file_name(generation));
            let file = self.handles.files.open(&path, mode).doing("opening", &path)?;
            Ok(Copy { path, file })
        };
        self.dirs.iter().map(open).collect()
    }

    /// Writes to every copy.
    fn write_at<'c>(&self, copies: &'c [Copy], bytes: &[u8], at: u64) -> Result<(), (&'c Path, io::Error)> {
        copies.iter().try_for_each(|copy| {
            let written = self.handles.files.write_at(&copy.file, &copy.path, bytes, at);
            written.map_err(|error| (&*copy.path, error))
        })
    }

    fn create(&self) -> Result<Tail> {
        let generation = 1;
        let copies = self.open_copies(generation, Mode::Create)?;
        self.write_at(&copies, &file_header(generation), 0)
            .map_err(|(path, error)| Error::io(format_args!("writing {}", path.display()), error))?;
        Ok(Tail {
            copies: Arc::new(copies),
            generation,
            pos: FILE_HEADER as u64,
            number: 0,
            durable: 0,
            dirty: true,
            dir_dirty: true,
            buf: Vec::new(),
            poison: None,
            rewrite_at: REWRITE_MIN,
            owed: None,
        })
    }

    fn write(&self, tail: &mut Tail, writes: &[KvWrite]) -> Result<()> {
        self.repay(tail)?;
        self.append(tail, writes)?;
        {
            let mut pairs = self.pairs.write();
            for (key, value) in writes {
                pairs.apply(key, value.as_deref());
            }
        }
        let live = self.pairs.read().live;
        if tail.pos > tail.rewrite_at && tail.pos > 2 * live {
            self.rewrite(tail)?;
        }
        Ok(())
    }

    /// Writes one batch; one without writes only states the mark.
    fn append(&self, tail: &mut Tail, writes: &[KvWrite]) -> Result<()> {
        if tail.buf.capacity() > (1 << 20) {
            tail.buf = Vec::new();
        }
        tail.buf.clear();
        encode(
            &mut tail.buf,
            tail.generation,
            tail.pos,
            tail.number + 1,
            tail.durable,
            writes.iter().map(|(k, v)| (&k[..], v.as_deref())),
        );
        if let Err((path, error)) = self.write_at(&tail.copies, &tail.buf, tail.pos) {
            let error = io_error("writing", path, error);
            if error.kind != Kind::Full {
                tail.poison = Some(error.message.clone());
                return Err(error);
            }
            // On a full disk nothing that counts was touched: the next batch is written over it. What there is of this one would be an
            // unfinished write for the next start, and takes room.
            for copy in tail.copies.iter() {
                if let Err(error) = self.handles.files.shorten(&copy.file, &copy.path, tail.pos) {
                    tracing::warn!(file = %copy.path.display(), "what was written of a batch without room stays: {error}");
                }
            }
            return Err(error);
        }
        tail.pos += tail.buf.len() as u64;
        tail.number += 1;
        tail.dirty |= !writes.is_empty();
        Ok(())
    }

    /// Gives back what is out of date in the files, however little that is; unless there is no room to write them anew.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn give_back(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        let live = self.pairs.read().live;
        match tail.as_mut() {
            Some(tail) if tail.owed.is_none() && tail.pos > 2 * live => self.rewrite(tail),
            _ => Ok(()),
        }
    }

    /// Writes the live pairs to files of the next generation, which take the place of the old ones. When there is no room
    /// for them, the old ones go on.
    fn rewrite(&self, tail: &mut Tail) -> Result<()> {
        let old = tail.generation;
        match self.write_all(old + 1) {
            Ok(new) => *tail = new,
            Err(error) => {
                if self.has_begun(old + 1) {
                    tail.poison = Some(error.message.clone());
                    return Err(error);
                }
                tracing::warn!("the key-value files stay as long as they are for now: {error}");
                tail.rewrite_at = tail.pos.saturating_mul(2);
                return Ok(());
            }
        }
        let removed = self.remove_all(old);
        if let Err(error) = &removed {
            tail.poison = Some(error.message.clone());
        }
        removed
    }

    /// Writes all pairs to files of that generation; they have their names when all of them are durable. Where there is no room for
    /// them, nothing is left of them.
    fn write_all(&self, generation: u64) -> Result<Tail> {
        let written = self.try_write_all(generation);
        if matches!(&written, Err(error) if error.kind == Kind::Full) && !self.has_begun(generation) {
            for dir in &self.dirs {
                // A name that stays goes with the next start.
                let _ = self
                    .handles
                    .files
                    .remove(&dir.join(file_name(generation)).with_extension(TEMPORARY));
            }
        }
        written
    }

    fn try_write_all(&self, generation: u64) -> Result<Tail> {
        let files = &self.handles.files;
        let paths = self.dirs.each_ref().map(|dir| dir.join(file_name(generation)));
        let mut copies = Vec::new();
        let (mut pos, mut number) = (0, 0);
        for path in &paths {
            let temporary = path.with_extension(TEMPORARY);
            match files.remove(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.doing("removing", &temporary)?,
            }
            let file = files.open(&temporary, Mode::Create).doing("making", &temporary)?;
            (pos, number) = self.write_pairs(generation, &file, &temporary)?;
            // Nothing counts on it yet: where there is no room for it, that is no worse than before.
            files.sync(&file, &temporary).doing("syncing", &temporary)?;
            copies.push(Copy {
                path: path.clone(),
                file,
            });
        }
        for path in &paths {
            let temporary = path.with_extension(TEMPORARY);
            files.rename(&temporary, path).doing("renaming", &temporary)?;
        }
        for dir in &self.dirs {
            files.sync_dir(dir).syncing(dir)?;
        }
        Ok(Tail {
            copies: Arc::new(copies),
            generation,
            pos,
            number,
            durable: number,
            dirty: false,
            dir_dirty: false,
            buf: Vec::new(),
            poison: None,
            rewrite_at: REWRITE_MIN,
            owed: None,
        })
    }

    /// Writes a header and all pairs; answers where that ends, and the number of the last batch.
    fn write_pairs(&self, generation: u64, file: &File, path: &Path) -> Result<(u64, u64)> {
        let mut buf = file_header(generation).to_vec();
        let (mut pos, mut number) = (0, 0);
        // Only this thread changes the pairs: it holds the tail.
        let pairs = self.pairs.read();
        let mut pairs = pairs.map.iter().peekable();
        loop {
            let mut size = 0;
            let chunk = std::iter::from_fn(|| {
                if size > REWRITE_MIN {
                    return None;
                }
                let (key, value) = pairs.next()?;
                size += pair_bytes(key, value);
                Some((&key[..], Some(&value[..])))
            });
            number += 1;
            let at = pos + buf.len() as u64;
            // All of it is durable before it counts.
            encode(&mut buf, generation, at, number, number, chunk);
            self.handles
                .files
                .write_at(file, path, &buf, pos)
                .doing("writing", path)?;
            pos += buf.len() as u64;
            buf.clear();
            if pairs.peek().is_none() {
                return Ok((pos, number));
            }
        }
    }

    /// Removes the files of a generation, durably: they must not come back once newer ones were written to.
    fn remove_all(&self, generation: u64) -> Result<()> {
        let files = &self.handles.files;
        for dir in &self.dirs {
            let path = dir.join(file_name(generation));
            match files.remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.doing("removing", &path)?,
            }
            files.sync_dir(dir).syncing(dir)?;
        }
        Ok(())
    }

    /// Makes everything written before the call durable, in every copy.
    pub fn sync(&self) -> Result<()> {
        let _syncing = self.syncing.lock();
        let (copies, generation, number, dir) = {
            let mut tail = self.tail.lock();
            let Some(tail) = tail.as_mut() else {
                return Ok(());
            };
            if let Some(why) = &tail.poison {
                return Err(poisoned(why));
            }
            if !tail.dirty && !tail.dir_dirty {
                return Ok(());
            }
            tail.dirty = false;
            let dir = std::mem::take(&mut tail.dir_dirty);
            (tail.copies.clone(), tail.generation, tail.number, dir)
        };
        // Of a generation that was replaced meanwhile the files have no names any more, but can still be synced.
        let files = &self.handles.files;
        let mut result = copies
            .iter()
            .try_for_each(|copy| files.sync(&copy.file, &copy.path).syncing(&copy.path));
        if result.is_ok() && dir {
            result = self.dirs.iter().try_for_each(|dir| files.sync_dir(dir).syncing(dir));
        }
        let mut tail = self.tail.lock();
        let Some(tail) = tail.as_mut() else {
            return result;
        };
        if let Err(error) = &result {
            tail.poison = Some(error.message.clone());
        } else if tail.generation == generation && tail.owed.is_none() {
            tail.durable = tail.durable.max(number);
            // States the mark, so that damage in the last batch can be told from an unfinished write. It is durable
            // with the next sync; without it nothing else is lost.
            if let Err(error) = self.append(tail, &[]) {
                tracing::warn!("no mark behind what was synced: {error}");
            }
        }
        result
    }
}

fn poisoned(why: &str) -> Error {
    Error::new(
        Kind::Poisoned,
        format!("key-value space: an earlier write or sync failed: {why}"),
    )
}

impl Kv for SegmentKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.pairs.read().map.get(key).cloned())
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        if self.handles.read_only {
            return Err(Error::unsupported("this store is open for reading only"));
        }
        let mut total = 0;
        for (key, value) in writes {
            let value = value.as_ref().map_or(0, Bytes::len);
            if key.len() > PART_MAX || value > PART_MAX {
                return Err(Error::invalid(format!(
                    "a key of {} and a value of {value} bytes; at most {PART_MAX} each",
                    key.len()
                )));
            }
            total += 8 + key.len() + value;
        }
        if total > BATCH_MAX {
            return Err(Error::invalid(format!(
                "{total} bytes in one step; at most {BATCH_MAX}"
            )));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let mut slot = self.tail.lock();
        if slot.is_none() {
            *slot = Some(self.create()?);
        }
        let Some(tail) = slot.as_mut() else {
            return Ok(());
        };
        if let Some(why) = &tail.poison {
            return Err(poisoned(why));
        }
        self.write(tail, writes)
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()> {
        let start = from.filter(|from| *from > prefix).unwrap_or(prefix);
        let mut bound = Bound::Included(Bytes::copy_from_slice(start));
        loop {
            let taken: Vec<(Bytes, Bytes)> = self
                .pairs
                .read()
                .map
                .range((bound, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .take(SCAN_BATCH)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            for (key, value) in &taken {
                if let ControlFlow::Break(()) = visit(key, value) {
                    return Ok(());
                }
            }
            match taken.last() {
                Some((key, _)) if taken.len() == SCAN_BATCH => {
                    bound = Bound::Excluded(key.clone());
                }
                _ => return Ok(()),
            }
        }
    }
}
